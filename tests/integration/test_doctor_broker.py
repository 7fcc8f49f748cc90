"""What the doctor finds at a broker, each provoked at a real one: topology, alarms, and queues that nobody empties."""

from pathlib import Path

import pika
import pytest
from support import amqp
from support.doctor import TINY, about, collect, settings, trouble

from worker.broker.topology import MIGRATE_UNHEARD, Topology, declare
from worker.core.finding import Finding
from worker.embedded import RabbitMQ
from worker.ops.doctor.broker import check_broker

SAFE = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "{}.dead",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


async def findings(path: Path, url: str, prefix: str) -> list[Finding]:
    given = settings(path / "worker.toml", {"one": TINY}, amqp={"url": url, "prefix": prefix})
    return await collect(check_broker(given))


async def test_a_healthy_broker(amqp_url: str, amqp_prefix: str, tmp_path: Path) -> None:
    await declare(amqp_url, Topology(amqp_prefix))
    found = await findings(tmp_path, amqp_url, amqp_prefix)
    assert not trouble(found)
    assert [finding.check for finding in found] == ["broker", "broker.topology", "broker.alarms"]
    assert about(found, "broker").detail.startswith("RabbitMQ ")
    for queue in Topology(amqp_prefix).queues:
        assert amqp.depth(amqp_url, queue.name) == 0  # to look leaves nothing


@pytest.mark.parametrize("url", ["amqp://guest:guest@127.0.0.1:1/", "amqp://guest:s3cret-pass@{}/"])
async def test_a_broker_that_is_away_or_lets_nobody_in(url: str, amqp_url: str, tmp_path: Path) -> None:
    host = pika.URLParameters(amqp_url)
    (finding,) = await findings(tmp_path, url.format(f"{host.host}:{host.port}"), "orders")
    assert (finding.check, finding.status) == ("broker", "failed")
    assert "start RabbitMQ, or correct" in str(finding.fix)
    assert "s3cret-pass" not in str(finding)


async def test_what_is_missing(amqp_url: str, amqp_prefix: str, tmp_path: Path) -> None:
    topology = Topology(amqp_prefix)
    found = await findings(tmp_path, amqp_url, amqp_prefix)
    assert trouble(found) == {"broker.topology": "failed"}
    assert len(found) == 2 + len(topology.exchanges) + len(topology.queues)
    await declare(amqp_url, topology)
    amqp.delete(amqp_url, topology.dead)
    found = await findings(tmp_path, amqp_url, amqp_prefix)
    finding = about(found, "broker.topology")
    assert finding.detail == f"queue `{topology.dead}` is missing"
    assert finding.fix == "run `worker migrate --broker`"


async def test_a_missing_exchange_of_events(amqp_url: str, amqp_prefix: str, tmp_path: Path) -> None:
    """It took the producers' bindings with it: made while workers run, it loses the events that waited."""
    topology = Topology(amqp_prefix)
    await declare(amqp_url, topology)
    with amqp.channel(amqp_url) as there:
        there.exchange_delete(topology.events)
    finding = about(await findings(tmp_path, amqp_url, amqp_prefix), "broker.topology")
    assert (finding.detail, finding.fix) == (f"exchange `{topology.events}` is missing", MIGRATE_UNHEARD)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"x-dead-letter-exchange": None}, "x-dead-letter-exchange"),
        ({"x-dead-letter-exchange": "elsewhere"}, "x-dead-letter-exchange"),
        ({"x-dead-letter-strategy": None}, "x-dead-letter-strategy"),
        ({"x-overflow": "drop-head"}, "x-overflow"),
        ({"x-max-length": 1000}, "x-max-length"),
        ({"x-max-length-bytes": 1000}, "x-max-length-bytes"),
        ({"x-message-ttl": 1000}, "x-message-ttl"),
        ({"x-delivery-limit": 3}, "x-delivery-limit"),
        ({"x-queue-type": "classic", "x-dead-letter-strategy": None}, "x-queue-type"),
    ],
)
async def test_a_queue_that_could_lose_messages(
    changes: dict[str, object], told: str, amqp_url: str, amqp_prefix: str, tmp_path: Path
) -> None:
    topology = Topology(amqp_prefix)
    arguments = {name: value.format(amqp_prefix) for name, value in SAFE.items()} | changes
    with amqp.channel(amqp_url) as there:
        given = {name: value for name, value in arguments.items() if value is not None}
        there.queue_declare(topology.commands, durable=True, arguments=given)
    with pytest.raises(Exception, match="exists with other properties"):
        await declare(amqp_url, topology)
    found = await findings(tmp_path, amqp_url, amqp_prefix)
    finding = about(found, "broker.topology")
    assert finding.detail.startswith(f"queue `{topology.commands}` exists with other properties")
    assert told in finding.detail
    assert "worker migrate --broker" in str(finding.fix)


async def test_dead_letters_with_a_length(amqp_url: str, amqp_prefix: str, tmp_path: Path) -> None:
    """They have no place after this one: what it drops is gone."""
    topology = Topology(amqp_prefix)
    with amqp.channel(amqp_url) as there:
        limited = {"x-queue-type": "quorum", "x-max-length": 1000}
        there.queue_declare(topology.dead, durable=True, arguments=limited)
    found = await findings(tmp_path, amqp_url, amqp_prefix)
    told = [finding for finding in found if f"queue `{topology.dead}` exists" in finding.detail]
    assert len(told) == 1
    assert "x-max-length" in told[0].detail


async def test_an_exchange_that_drops_what_no_queue_takes(amqp_url: str, amqp_prefix: str, tmp_path: Path) -> None:
    topology = Topology(amqp_prefix)
    with amqp.channel(amqp_url) as there:
        there.exchange_declare(topology.main, "topic", durable=True)
    with pytest.raises(Exception, match="alternate-exchange"):
        await declare(amqp_url, topology)
    finding = about(await findings(tmp_path, amqp_url, amqp_prefix), "broker.topology")
    assert "alternate-exchange" in finding.detail


async def test_messages_that_wait(amqp_url: str, amqp_prefix: str, tmp_path: Path) -> None:
    topology = Topology(amqp_prefix)
    await declare(amqp_url, topology)
    amqp.put(amqp_url, topology.submit("oil"), b"1", b"2")
    amqp.put(amqp_url, topology.dead, b"3")
    found = await findings(tmp_path, amqp_url, amqp_prefix)
    assert trouble(found) == {"broker.queues": "warning", "broker.dead": "warning"}
    assert f"2 in `{topology.submit('oil')}`" in about(found, "broker.queues").detail
    assert about(found, "broker.dead").detail == f"1 dead letters wait in `{topology.dead}`"
    with amqp.channel(amqp_url) as there:  # whoever is slow is at it all the same
        there.basic_qos(prefetch_count=1)
        there.basic_consume(topology.submit("oil"), lambda *_: None)
        assert "broker.queues" not in trouble(await findings(tmp_path, amqp_url, amqp_prefix))


async def test_an_alarm(tmp_path: Path) -> None:
    """A broker of its own, since its alarm is everybody's."""
    with RabbitMQ(config="vm_memory_high_watermark.absolute = 1MB\n") as node:
        found = await findings(tmp_path, node.url, "orders")
        assert about(found, "broker.alarms").status == "failed"
        assert "it takes no messages" in about(found, "broker.alarms").detail
