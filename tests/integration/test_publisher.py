"""The publisher, against a real broker: what it says of a message is true."""

import asyncio
from collections.abc import AsyncIterator

import pika
import pytest
from aiormq import Connection
from support import amqp
from support.proxy import Proxy

from worker.broker.connection import BrokerLostError, BrokerRefusedError, UnsendableError
from worker.broker.message import Outgoing
from worker.broker.publisher import Publisher
from worker.broker.topology import MIGRATE, MIGRATE_UNHEARD, Topology
from worker.core.masking import mask_text
from worker.embedded import RabbitMQ


def never(reason: str) -> None:
    pytest.fail(f"stuck: {reason}")


@pytest.fixture
def queue(amqp_url: str, amqp_prefix: str) -> str:
    name = f"{amqp_prefix}.seen"
    amqp.quorum(amqp_url, name)
    return name


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(amqp_url) as it:
        yield it


@pytest.fixture
async def publisher(proxy: Proxy) -> AsyncIterator[Publisher]:
    it = Publisher(proxy.url, on_stuck=never, away_seconds=3, confirm_seconds=2, chance=lambda: 0)
    await it.start()
    yield it
    await it.stop()


async def test_a_routed_message_arrives_as_it_was_given(publisher: Publisher, queue: str, amqp_url: str) -> None:
    message = Outgoing(
        "", queue, b"{}", message_id="T1:3", type="order.succeeded", correlation_id="c", headers={"a": 1}, reply_to="r"
    )
    assert await publisher.publish(message) is True
    ((_, properties, body),) = amqp.take(amqp_url, queue)
    assert body == b"{}"
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/json"
    assert (properties.message_id, properties.type) == ("T1:3", "order.succeeded")
    assert (properties.correlation_id, properties.reply_to, properties.headers["a"]) == ("c", "r", 1)


@pytest.mark.parametrize("frame_max", [0, 8192])  # 0: no limit; RabbitMQ 4.3 takes no less than 8192
async def test_bodies_are_cut_into_frames_that_the_broker_takes(frame_max: int) -> None:
    bodies = [b"", b"x", b"x" * 8184, b"x" * 8185, b"x" * 16_368, b"x" * 300_000]
    with RabbitMQ(config=f"frame_max = {frame_max}\n") as broker:
        with amqp.channel(broker.url) as there:
            there.queue_declare("seen", durable=True)
        it = Publisher(broker.url, on_stuck=never, confirm_seconds=3, chance=lambda: 0)
        await it.start()
        try:
            assert await it.publish_many([Outgoing("", "seen", body) for body in bodies]) == [True] * len(bodies)
        finally:
            await it.stop()
        assert [body for *_, body in amqp.take(broker.url, "seen")] == bodies


async def test_an_unroutable_message_is_false(publisher: Publisher, queue: str) -> None:
    assert await publisher.publish(Outgoing("", f"{queue}.nobody", b"x", message_id="a")) is False
    assert await publisher.publish(Outgoing("", f"{queue}.nobody", b"x")) is False
    assert await publisher.publish(Outgoing("", queue, b"x")) is True


async def test_many_keep_their_places(publisher: Publisher, queue: str, amqp_url: str) -> None:
    batch = [Outgoing("", queue if n % 3 else "nobody", b"%d" % n, message_id=f"m{n}") for n in range(300)]
    assert await publisher.publish_many(batch) == [bool(n % 3) for n in range(300)]
    assert len(amqp.take(amqp_url, queue)) == 200
    assert await publisher.publish_many([]) == []


async def test_one_id_twice_at_once_does_not_mix_up_the_answers(
    publisher: Publisher, queue: str, amqp_url: str
) -> None:
    pair = [Outgoing("", "nobody", b"x", message_id="same"), Outgoing("", queue, b"x", message_id="same")]
    for _ in range(20):
        assert await publisher.publish_many(pair) == [False, True]
        assert await asyncio.gather(*map(publisher.publish, reversed(pair))) == [True, False]
    assert len(amqp.take(amqp_url, queue)) == 40


async def test_nor_do_senders_that_wait_for_the_connection(
    proxy: Proxy, queue: str, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "FRAME_BUFFER_SIZE", 1)  # so that each write waits for the one before
    it = Publisher(proxy.url, on_stuck=never, confirm_seconds=5, chance=lambda: 0)
    await it.start()
    try:
        pair = [Outgoing("", "nobody", b"x", message_id="same"), Outgoing("", queue, b"x", message_id="same")]
        others = [Outgoing("", queue, b"y") for _ in range(40)]
        results = await asyncio.gather(*map(it.publish, [*others, *pair * 20]))
        assert results[40:] == [False, True] * 20
    finally:
        await it.stop()
    assert len(amqp.take(amqp_url, queue)) == 60


async def test_a_refusing_queue_is_not_a_success(publisher: Publisher, queue: str, amqp_url: str) -> None:
    full = f"{queue}.full"
    with amqp.channel(amqp_url) as there:
        there.queue_declare(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}, exclusive=True)
        assert await publisher.publish(Outgoing("", full, b"x")) is True
        with pytest.raises(BrokerLostError, match="Nack"):
            await publisher.publish(Outgoing("", full, b"x"))


async def test_a_missing_exchange_is_an_error_and_not_the_end(publisher: Publisher, queue: str) -> None:
    with pytest.raises(BrokerRefusedError, match="no exchange"):
        await publisher.publish(Outgoing(f"{queue}.nowhere", "key", b"x"))
    await amqp.until(lambda: "no exchange" in publisher.trouble and "worker migrate --broker" in publisher.trouble)
    assert await publisher.publish(Outgoing("", queue, b"x")) is True


async def test_of_a_missing_exchange_of_events_it_says_to_stop_first(
    amqp_url: str, amqp_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole, also where `/readyz` cuts it: made at once, it has no producer's binding."""
    topology = Topology(amqp_prefix)
    it = Publisher(amqp_url, on_stuck=never, topology=topology, chance=lambda: 0)
    await it.start()
    try:
        for exchange, remedy in ((topology.main, MIGRATE), (topology.events, MIGRATE_UNHEARD)):
            with pytest.raises(BrokerRefusedError, match="no exchange"):
                await it.publish(Outgoing(exchange, "key", b"x"))
            await amqp.until(lambda remedy=remedy: mask_text(it.trouble).endswith(f": {remedy}"))
            assert remedy in capsys.readouterr().out
    finally:
        await it.stop()


async def test_what_cannot_be_encoded_does_not_hide_the_rest(publisher: Publisher, queue: str) -> None:
    good, bad = Outgoing("", queue, b"x"), Outgoing("", queue, b"x", message_id="x" * 300)
    first, second, third = await publisher.publish_many([good, bad, good])
    assert (first, third) == (True, True)
    assert isinstance(second, UnsendableError)


@pytest.mark.parametrize("reply_to", ["amq.rabbitmq.reply-to.nonsense", "gone", "x" * 255, "a\nb", "余额"])
async def test_an_answer_that_nobody_waits_for_is_only_unroutable(publisher: Publisher, reply_to: str) -> None:
    assert await publisher.publish(Outgoing("", reply_to, b"{}")) is False


async def test_an_answer_reaches_a_direct_reply_to(publisher: Publisher, queue: str, amqp_url: str) -> None:
    answers: list[bytes] = []
    with amqp.channel(amqp_url) as there:
        there.basic_consume("amq.rabbitmq.reply-to", lambda *got: answers.append(got[-1]), auto_ack=True)
        there.basic_publish("", queue, b"?", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
        await amqp.until(lambda: amqp.depth(amqp_url, queue))
        ((_, properties, _),) = amqp.take(amqp_url, queue)
        await publisher.publish(Outgoing("", properties.reply_to, b"!"))  # RabbitMQ before 4.3 calls it unroutable
        there.connection.process_data_events(0.2)
    assert answers == [b"!"]


async def test_an_outage_is_waited_for_up_to_a_bound(
    publisher: Publisher, proxy: Proxy, queue: str, amqp_url: str
) -> None:
    assert await publisher.publish(Outgoing("", queue, b"before"))
    await proxy.refuse()
    await amqp.until(lambda: not publisher.ready)
    began = asyncio.get_running_loop().time()
    with pytest.raises(BrokerLostError, match="away"):
        await publisher.publish(Outgoing("", queue, b"lost"))
    assert asyncio.get_running_loop().time() - began < 4
    waiting = asyncio.create_task(publisher.publish(Outgoing("", queue, b"after")))
    await asyncio.sleep(0.2)
    await proxy.accept()
    assert await waiting is True
    assert [body for _, _, body in amqp.take(amqp_url, queue)] == [b"before", b"after"]


async def test_a_reset_fails_what_is_in_flight_at_once(publisher: Publisher, proxy: Proxy, queue: str) -> None:
    await amqp.until(lambda: publisher.ready)
    batch = [Outgoing("", queue, b"x" * 1000, message_id=f"m{n}") for n in range(300)]
    proxy.blackhole()  # no confirm comes
    sending = asyncio.create_task(publisher.publish_many(batch))
    await asyncio.sleep(0.05)
    proxy.cut()
    results = await asyncio.wait_for(sending, 1)
    assert all(isinstance(result, BrokerLostError) for result in results)
    again = [message for message, result in zip(batch, results, strict=True) if result is not True]
    assert await publisher.publish_many(again) == [True] * len(again)


async def test_a_silent_peer_is_left_for_a_new_connection(publisher: Publisher, proxy: Proxy, queue: str) -> None:
    assert await publisher.publish(Outgoing("", queue, b"x"))
    proxy.blackhole()
    with pytest.raises(BrokerLostError, match="in time"):
        await publisher.publish(Outgoing("", queue, b"y", message_id="y"))
    assert await publisher.publish(Outgoing("", queue, b"y", message_id="y")) is True
    assert proxy.connections == 2


async def test_a_stopped_publisher_says_so(amqp_url: str, queue: str) -> None:
    it = Publisher(amqp_url, on_stuck=never)
    await it.start()
    assert await it.publish(Outgoing("", queue, b"x"))
    await it.stop()
    assert not it.ready
    with pytest.raises(BrokerLostError, match="stopped"):
        await it.publish(Outgoing("", queue, b"x"))


async def test_stop_does_not_wait_for_a_broker_that_is_away() -> None:
    it = Publisher("amqp://guest:guest@127.0.0.1:1/", on_stuck=never)
    await it.start()
    await asyncio.sleep(0.1)
    async with asyncio.timeout(2):
        await it.stop()


@pytest.mark.long
async def test_an_alarm_blocks_without_pouring_copies_in(queue: str) -> None:
    node = await asyncio.to_thread(lambda: RabbitMQ().__enter__())
    try:
        amqp.quorum(node.url, queue)
        settings = node.directory / "rabbitmq.conf"
        settings.write_text("vm_memory_high_watermark.absolute = 1MB\n")
        await asyncio.to_thread(node.restart)
        it = Publisher(node.url, on_stuck=never, confirm_seconds=1)
        await it.start()
        for _ in range(4):
            with pytest.raises(BrokerLostError, match="blocked"):
                await it.publish(Outgoing("", queue, b"x", message_id="x"))
        assert it.ready
        settings.write_text("")
        await it.stop()
        await asyncio.to_thread(node.restart)
        assert len(amqp.take(node.url, queue)) <= 1
    finally:
        await asyncio.to_thread(node.__exit__)
