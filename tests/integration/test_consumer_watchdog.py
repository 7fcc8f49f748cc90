"""The consumer's watchdog: a subscription that died in silence is repaired, and what cannot be ends the process."""

import asyncio
from dataclasses import replace

import pytest
from support import amqp
from support.consumers import HASTY, Bench, Handling

from worker.broker.consumer import Consumer


async def forget(consumer: Consumer, queue: str) -> None:
    """Let the broker forget our consumer, without our noticing."""
    subscription = consumer._subscriptions[queue]
    await subscription._channel.basic_cancel(subscription._tag)


async def test_a_forgotten_consumer_is_noticed(bench: Bench) -> None:
    handle = Handling()
    consumer = await bench.consume(handle)
    await forget(consumer, bench.queue)
    bench.put(b"x")
    await amqp.until(lambda: handle.finished == 1)


async def test_ready_messages_that_do_not_come_are_noticed(bench: Bench) -> None:
    handle = Handling()
    consumer = await bench.consume(handle)
    await bench.consume(Handling(), queues=(bench.topology.callbacks,))
    bench.put(b"first")
    await amqp.until(lambda: handle.finished == 1)
    with amqp.channel(bench.url) as there:  # another consumer, which takes nothing: the broker knows of one
        there.basic_qos(prefetch_count=1)
        there.basic_consume(bench.queue, lambda *_: None)
        await forget(consumer, bench.queue)
        bench.put(b"to the other", b"x")
        await amqp.until(lambda: handle.bodies[b"x"] == 1)


async def test_an_idle_or_busy_queue_is_left_alone(bench: Bench) -> None:
    handle = Handling()
    consumer = await bench.consume(handle)
    await asyncio.sleep(1.5)
    handle.free.clear()
    bench.put(*(b"%d" % n for n in range(30)))  # more than the prefetch: some stay ready
    await asyncio.sleep(1.5)
    assert consumer.in_hand == 20
    assert bench.proxy.connections == 1
    handle.free.set()


async def test_what_repairs_do_not_help_ends_the_process(bench: Bench) -> None:
    stuck: list[str] = []
    options = replace(HASTY, repairs=2, watch_every=0.1)
    consumer = await bench.consume(Handling(), options=options, on_stuck=stuck.append)
    for _ in range(2):
        await amqp.until(lambda: consumer.ready)
        await forget(consumer, bench.queue)
        await amqp.until(lambda: not consumer.ready)
    assert len(stuck) == 1
    assert "the broker knows of no consumer" in stuck[0]


async def test_a_fault_of_the_acker_ends_the_process_and_is_not_repaired_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each repair would deliver something and so look healthy, while nothing is ever acknowledged."""

    def fail(*_: object, **__: object) -> list[object]:
        raise ValueError("a fault")

    monkeypatch.setattr("worker.broker.frontier.Frontier.take", fail)
    stuck: list[str] = []
    await bench.consume(Handling(), on_stuck=stuck.append)
    bench.put(b"one")
    await amqp.until(lambda: bool(stuck))
    assert "ValueError" in stuck[0]
