"""The consumer comes back after whatever happens to its connection, its queue or the broker, and loses nothing."""

import asyncio

import pytest
from support import amqp
from support.consumers import Bench, Handling, never

from worker.broker.consumer import Consumer
from worker.broker.message import Delivery
from worker.broker.settlement import Settled
from worker.broker.topology import Topology, declare
from worker.embedded import RabbitMQ


@pytest.mark.parametrize("count", [3, 60], ids=["few", "three times the prefetch"])
async def test_behind_a_straggler_nothing_waits_to_be_acknowledged(bench: Bench, count: int) -> None:
    held = asyncio.Event()
    handle = Handling()

    async def hold(delivery: Delivery) -> Settled:
        if delivery.body == b"0" and not delivery.redelivered:
            await held.wait()
        return await handle(delivery)

    bench.put(*(b"%d" % n for n in range(count)))
    await bench.consume(hold)
    await amqp.until(lambda: handle.finished == count - 1)
    await asyncio.sleep(1.5)  # an ack leaves no trace to wait for; the patience is a fifth of a second
    bench.proxy.cut()
    await amqp.until(lambda: handle.finished >= count)
    assert handle.seen[-1].body == b"0"
    assert handle.seen[-1].redelivered
    held.set()
    await amqp.until(lambda: handle.finished == count + 1)
    await asyncio.sleep(0.3)
    assert handle.bodies == {b"%d" % n: 1 for n in range(count)} | {b"0": 2}


async def test_work_in_hand_survives_a_reset_and_is_redelivered(bench: Bench) -> None:
    handle = Handling()
    handle.free.clear()
    bench.put(b"a", b"b", b"c")
    consumer = await bench.consume(handle)
    await amqp.until(lambda: consumer.in_hand == 3)
    bench.proxy.cut()
    await amqp.until(lambda: len(handle.seen) == 6)
    handle.free.set()
    await amqp.until(lambda: consumer.in_hand == 0)
    assert handle.finished == 6  # nobody was cancelled
    await consumer.stop()
    assert bench.depth() == 0


async def test_many_resets_under_load_lose_nothing(bench: Bench) -> None:
    handle = Handling()
    await bench.consume(handle)
    for turn in range(6):
        bench.put(*(b"%d.%d" % (turn, n) for n in range(100)))
        await asyncio.sleep(0.02 * turn)
        bench.proxy.cut()
    await amqp.until(lambda: len(handle.bodies) == 600)
    await amqp.until(lambda: bench.depth() == 0)
    (consumer,) = bench.running
    await consumer.stop()
    assert bench.depth() == 0


async def test_a_vanished_peer_is_noticed(bench: Bench) -> None:
    handle = Handling()
    consumer = await bench.consume(handle)
    bench.proxy.blackhole()
    await amqp.until(lambda: bench.proxy.connections == 2 and consumer.ready, 30)
    bench.put(b"x", b"y")  # one may go to the old connection, which the broker still believes in
    await amqp.until(lambda: handle.finished >= 1)


@pytest.mark.long
async def test_what_was_on_its_way_to_a_vanished_peer_comes_again(bench: Bench) -> None:
    handle = Handling()
    await bench.consume(handle)
    bench.proxy.blackhole()
    bench.put(b"x")
    await amqp.until(lambda: handle.finished == 1, 45)  # when the broker misses the heartbeats of the old connection
    assert handle.seen[0].redelivered


async def test_a_deleted_queue_is_consumed_again_when_it_is_back(bench: Bench) -> None:
    handle = Handling()
    other = bench.topology.callbacks
    consumer = await bench.consume(handle, queues=(bench.queue, other))
    amqp.delete(bench.url, bench.queue)
    await amqp.until(lambda: not consumer.ready)
    amqp.put(bench.url, other, b"meanwhile")
    await amqp.until(lambda: handle.finished == 1)
    await declare(bench.url, bench.topology)
    bench.put(b"back")
    await amqp.until(lambda: handle.finished == 2)
    await amqp.until(lambda: consumer.ready)  # what it sends may come before the answer that it is consumed
    assert bench.proxy.connections == 1


async def test_a_missing_queue_is_told_and_waited_for(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    amqp.delete(bench.url, bench.queue)
    handle = Handling()
    consumer = await bench.consume(handle, queues=(bench.queue, bench.topology.callbacks), ready=False)
    await asyncio.sleep(0.5)
    assert not consumer.ready
    assert "worker migrate" in capsys.readouterr().out
    await declare(bench.url, bench.topology)
    await amqp.until(lambda: consumer.ready)


async def test_an_outage_is_waited_for(bench: Bench) -> None:
    handle = Handling()
    await bench.proxy.refuse()
    consumer = await bench.consume(handle, ready=False)
    await asyncio.sleep(0.5)
    assert not consumer.ready
    await bench.proxy.accept()
    await amqp.until(lambda: consumer.ready)


@pytest.mark.long
async def test_a_broker_that_restarts_is_consumed_again(amqp_prefix: str) -> None:
    node = await asyncio.to_thread(lambda: RabbitMQ().__enter__())
    try:
        topology = Topology(amqp_prefix, ("oil",))
        await declare(node.url, topology)
        handle = Handling()

        async def publish(_: object) -> bool:
            return True

        consumer = Consumer(
            node.url,
            (topology.commands, topology.submit("oil")),
            handle,
            publish=publish,
            dead_exchange=topology.dead,
            on_stuck=never,
        )
        await consumer.start()
        await amqp.until(lambda: consumer.ready)
        for body, end in ((b"stopped", node.stop), (b"killed", node.kill)):
            await asyncio.to_thread(end)
            await amqp.until(lambda: not consumer.ready)
            await asyncio.to_thread(node.start)
            amqp.put(node.url, topology.commands, body)
            await amqp.until(lambda: consumer.ready, 30)
        # a kill may overtake an ack, so that a message comes again: never not at all is the promise
        await amqp.until(lambda: set(handle.bodies) == {b"stopped", b"killed"}, 30)
        await consumer.stop()
    finally:
        await asyncio.to_thread(node.__exit__)
