"""The topology, against a real broker: created as the contract says, compared, never changed."""

import asyncio

import pika
import pytest
from support import amqp

from worker.broker.connection import BrokerLostError
from worker.broker.topology import Topology, TopologyError, check, declare

CONTRACT = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "{}.dead",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
QUEUES = [
    "callbacks",
    "commands",
    *(f"submit.{p}" for p in ("mobile", "power", "oil", "game", "douyin", "campus", "ebike")),
]


async def test_declares_what_the_contract_says(amqp_url: str, amqp_prefix: str) -> None:
    await declare(amqp_url, Topology(amqp_prefix))
    arguments = {name: value.format(amqp_prefix) for name, value in CONTRACT.items()}
    with amqp.channel(amqp_url) as there:  # an equal declare succeeds, any other is refused
        for end in QUEUES:
            there.queue_declare(f"{amqp_prefix}.{end}", durable=True, arguments=arguments)
        there.queue_declare(f"{amqp_prefix}.dead", durable=True, arguments={"x-queue-type": "quorum"})
        for end in (".events", ".dead"):
            there.exchange_declare(f"{amqp_prefix}{end}", "topic", durable=True)
        alternate = {"alternate-exchange": f"{amqp_prefix}.dead"}
        there.exchange_declare(amqp_prefix, "topic", durable=True, arguments=alternate)
    assert await check(amqp_url, Topology(amqp_prefix)) == []


@pytest.mark.parametrize(
    ("key", "queue"),
    [
        ("submit.mobile", "submit.mobile"),
        ("callback.wikeyun", "callbacks"),
        ("command.order.query", "commands"),
        ("submit.moblie", "dead"),
        ("nonsense", "dead"),
    ],
)
async def test_keys_reach_their_queues(amqp_url: str, amqp_prefix: str, key: str, queue: str) -> None:
    await declare(amqp_url, Topology(amqp_prefix))
    with amqp.channel(amqp_url) as there:
        there.confirm_delivery()
        there.basic_publish(amqp_prefix, key, b"x", pika.BasicProperties(delivery_mode=2), mandatory=True)
    ((method, _, _),) = amqp.take(amqp_url, f"{amqp_prefix}.{queue}")
    assert method.routing_key == key


async def test_a_rejected_message_dies_into_the_dead_letters(amqp_url: str, amqp_prefix: str) -> None:
    await declare(amqp_url, Topology(amqp_prefix))
    queue, dead = f"{amqp_prefix}.submit.oil", f"{amqp_prefix}.dead"
    with amqp.channel(amqp_url) as there:
        there.confirm_delivery()
        there.basic_publish(amqp_prefix, "submit.oil", b"x", mandatory=True)
        method, _, _ = there.basic_get(queue)
        assert method is not None
        there.basic_reject(method.delivery_tag, requeue=False)
    await amqp.until(lambda: amqp.depth(amqp_url, dead))
    ((method, _, _),) = amqp.take(amqp_url, dead)
    assert method.routing_key == "submit.oil"


async def test_is_safe_to_repeat_and_to_run_at_once(amqp_url: str, amqp_prefix: str) -> None:
    topology = Topology(amqp_prefix)
    await asyncio.gather(*(declare(amqp_url, topology) for _ in range(3)))
    amqp.put(amqp_url, topology.commands, b"kept")
    await declare(amqp_url, topology)
    assert [body for _, _, body in amqp.take(amqp_url, topology.commands)] == [b"kept"]


async def test_check_names_what_is_missing_and_creates_nothing(amqp_url: str, amqp_prefix: str) -> None:
    topology = Topology(amqp_prefix, ("oil", "game"))
    problems = await check(amqp_url, topology)
    assert len(problems) == 3 + 5
    migrated = [problem for problem in problems if problem.endswith("is missing: run `worker migrate --broker`")]
    assert len(migrated) == 3 + 5 - 1  # the exchange of events has a remedy of its own
    assert await check(amqp_url, topology) == problems
    await declare(amqp_url, topology)
    amqp.delete(amqp_url, topology.submit("oil"))
    assert await check(amqp_url, topology) == [
        f"queue `{amqp_prefix}.submit.oil` is missing: run `worker migrate --broker`"
    ]


async def test_what_differs_is_named_left_alone_and_does_not_stop_the_rest(amqp_url: str, amqp_prefix: str) -> None:
    topology = Topology(amqp_prefix)
    with amqp.channel(amqp_url) as there:
        there.queue_declare(topology.callbacks, durable=True)  # classic
        there.exchange_declare(topology.main, "topic", durable=True)  # without its alternate
    amqp.put(amqp_url, topology.callbacks, b"precious")
    with pytest.raises(TopologyError) as caught:
        await declare(amqp_url, topology)
    assert [problem.split(" exists")[0] for problem in caught.value.problems] == [
        f"exchange `{topology.main}`",
        f"queue `{topology.callbacks}`",
    ]
    assert "inequivalent arg 'alternate-exchange'" in caught.value.problems[0]
    assert "inequivalent arg 'x-" in caught.value.problems[1]
    assert "worker migrate" in str(caught.value)
    assert await check(amqp_url, topology) == caught.value.problems
    assert amqp.depth(amqp_url, topology.callbacks) == 1
    assert amqp.depth(amqp_url, topology.submit("ebike")) == 0


async def test_a_limit_as_an_argument_is_a_difference(amqp_url: str, amqp_prefix: str) -> None:
    topology = Topology(amqp_prefix, ())
    with amqp.channel(amqp_url) as there:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 3}
        there.queue_declare(topology.dead, durable=True, arguments=arguments)
    with pytest.raises(TopologyError, match="x-delivery-limit"):
        await declare(amqp_url, topology)


@pytest.mark.parametrize("call", [declare, check])
async def test_a_broker_that_is_away_is_said_so(call: object) -> None:
    assert callable(call)
    with pytest.raises(BrokerLostError, match="connect"):
        await call("amqp://guest:secret@127.0.0.1:1/", Topology("orders"))
