"""The consumer, against a real broker: the ack policy each way, and stopping with messages in hand."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from support import amqp
from support.consumers import HASTY, Bench, Handling

from worker.broker.message import Delivery
from worker.broker.settlement import AWAY, COMMITTED, STOPPING, Settled
from worker.broker.subscription import AT_ONCE
from worker.broker.topology import declare

POISON = Settled.impossible("invalid_message", "field `x`: wrong")


# --- the ack policy ---------------------------------------------------------------------------


async def test_a_delivery_whose_handling_was_cancelled_comes_again(bench: Bench) -> None:
    """Whoever did that: what is neither settled nor given back would be nobody's as long as the channel lives."""
    handle = Handling()

    def cancelled_once(_: Delivery) -> Settled:
        if len(handle.seen) == 1:
            raise asyncio.CancelledError
        return COMMITTED

    handle.says = cancelled_once
    bench.put(b"x")
    consumer = await bench.consume(handle)
    await amqp.until(lambda: handle.finished == 1)
    await consumer.stop()
    assert bench.depth() == 0


async def test_committed_is_acknowledged(bench: Bench) -> None:
    handle = Handling()
    bench.put(*(b"%d" % n for n in range(100)), message_id="m", type="t", correlation_id="c", reply_to="r")
    consumer = await bench.consume(handle)
    await amqp.until(lambda: handle.finished == 100)
    await consumer.stop()
    assert bench.depth() == 0
    first = handle.seen[0]
    assert (first.queue, first.exchange, first.routing_key, first.body) == (bench.queue, "", bench.queue, b"0")
    given = first.properties
    assert (given.message_id, given.type, given.correlation_id, given.reply_to) == ("m", "t", "c", "r")
    assert not first.redelivered


async def test_bodies_of_no_frame_one_and_several_arrive_whole(bench: Bench) -> None:
    handle = Handling()
    several = bytes(range(256)) * 2048  # the broker cuts bodies into frames of 128 KiB
    bench.put(b"", b"one", several, b"", several[::-1], b"end")
    consumer = await bench.consume(handle)
    await amqp.until(lambda: handle.finished == 6)
    await consumer.stop()
    assert [delivery.body for delivery in handle.seen] == [b"", b"one", several, b"", several[::-1], b"end"]
    assert bench.depth() == 0


async def test_only_so_many_are_handled_at_once_and_the_rest_follows_in_order(bench: Bench) -> None:
    handle = Handling()
    handle.free.clear()
    bodies = [b"%d" % n for n in range(2 * AT_ONCE + 10)]
    bench.put(*bodies)
    consumer = await bench.consume(handle, options=replace(HASTY, prefetch=len(bodies)))
    await amqp.until(lambda: bench.depth() == 0)
    await asyncio.sleep(0.3)
    assert len(handle.seen) == consumer.in_hand == AT_ONCE
    handle.free.set()
    await amqp.until(lambda: handle.finished == len(bodies))
    await consumer.stop()
    assert [delivery.body for delivery in handle.seen] == bodies
    assert bench.depth() == 0


async def test_a_stop_leaves_those_whose_turn_has_not_come(bench: Bench) -> None:
    handle = Handling()
    handle.free.clear()
    bench.put(*(b"%d" % n for n in range(AT_ONCE + 10)))
    consumer = await bench.consume(handle, options=replace(HASTY, prefetch=1000))
    await amqp.until(lambda: len(handle.seen) == AT_ONCE and bench.depth() == 0)
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.sleep(0.1)
    handle.free.set()
    await stopping
    assert handle.finished == AT_ONCE
    await amqp.until(lambda: bench.depth() == 10)


async def test_impossible_is_a_dead_letter_and_then_acknowledged(bench: Bench) -> None:
    bench.put(b"\xff", message_id="m", headers={"tenant": "a"})
    handle = Handling(POISON)
    consumer = await bench.consume(handle)
    await amqp.until(lambda: bench.depth(bench.topology.dead) == 1)
    await consumer.stop()
    assert bench.depth() == 0
    ((method, properties, body),) = amqp.take(bench.url, bench.topology.dead)
    assert (method.exchange, method.routing_key, body) == (bench.topology.dead, bench.queue, b"\xff")
    assert properties.message_id == "m"
    assert properties.headers["tenant"] == "a"
    assert properties.headers["x-dead-reason"] == "invalid_message"
    assert properties.headers["x-dead-detail"] == "field `x`: wrong"
    assert properties.headers["x-dead-queue"] == bench.queue
    assert properties.headers["x-dead-at"].endswith("Z")
    assert properties.content_type is None


async def test_impossible_without_a_place_for_it_is_kept(bench: Bench) -> None:
    amqp.delete(bench.url, bench.topology.dead)
    handle = Handling(POISON)
    bench.put(b"x")
    await bench.consume(handle, ready=False)
    await amqp.until(lambda: len(handle.seen) >= 2)
    await declare(bench.url, bench.topology)
    await amqp.until(lambda: bench.depth(bench.topology.dead) == 1)


async def test_impossible_while_nothing_can_be_published_is_kept(bench: Bench) -> None:
    await bench.publisher.stop()
    handle = Handling(POISON)
    bench.put(b"x")
    consumer = await bench.consume(handle, ready=False)
    await amqp.until(lambda: len(handle.seen) >= 2)
    await consumer.stop()
    assert bench.depth() == 1


async def test_away_gives_everything_back_and_waits_for_the_gate(bench: Bench) -> None:
    here = False
    asked = 0

    def gate() -> bool:
        nonlocal asked
        asked += 1
        return here or asked == 1

    handle = Handling(AWAY)
    bench.put(b"a", b"b")
    consumer = await bench.consume(handle, gate=gate, ready=False)
    await amqp.until(lambda: asked > 2)
    assert not consumer.ready
    assert bench.depth() == 2
    assert handle.bodies == {b"a": 1, b"b": 1}
    handle.says, here = COMMITTED, True
    await amqp.until(lambda: handle.finished == 4)
    assert [delivery.redelivered for delivery in handle.seen] == [False, False, True, True]
    await consumer.stop()
    assert bench.depth() == 0


async def test_away_lets_neighbours_finish_that_nearly_have(bench: Bench) -> None:
    calls: Counter[bytes] = Counter()

    async def handle(delivery: Delivery) -> Settled:
        calls[delivery.body] += 1
        if delivery.body == b"away":
            return AWAY
        await asyncio.sleep(0.3)
        return COMMITTED

    bench.put(b"slow", b"away")
    await bench.consume(handle, ready=False)
    await amqp.until(lambda: calls[b"away"] >= 3)
    assert calls[b"slow"] == 1


async def test_stopping_does_nothing(bench: Bench) -> None:
    handle = Handling(STOPPING)
    bench.put(b"x")
    consumer = await bench.consume(handle)
    await amqp.until(lambda: handle.finished == 1)
    await consumer.stop()
    assert bench.depth() == 1


async def test_a_handler_that_fails_is_called_again_in_place(bench: Bench) -> None:
    calls = 0

    async def handle(_: Delivery) -> Settled:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ValueError("hush-hush")
        return COMMITTED

    bench.put(b"x")
    consumer = await bench.consume(handle)
    await amqp.until(lambda: calls == 3)
    await consumer.stop()
    assert bench.depth() == 0


async def test_a_message_that_always_fails_is_poison(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    calls = 0

    async def handle(delivery: Delivery) -> Settled:
        nonlocal calls
        if delivery.body == b"good":
            return COMMITTED
        calls += 1
        raise ValueError("hush-hush")

    bench.put(b"bad", b"good")
    consumer = await bench.consume(handle)
    await amqp.until(lambda: bench.depth(bench.topology.dead) == 1)
    await consumer.stop()
    assert calls == 5
    ((_, properties, _),) = amqp.take(bench.url, bench.topology.dead)
    assert properties.headers["x-dead-reason"] == "poison"
    assert "ValueError at test_consumer.py:" in properties.headers["x-dead-detail"]
    assert "hush" not in capsys.readouterr().out


async def test_properties_that_no_client_can_read_do_not_stop_the_rest(bench: Bench) -> None:
    handle = Handling()
    bench.put(b"odd", timestamp=1_800_000_000_000_000)
    bench.put(b"plain")
    consumer = await bench.consume(handle)
    await amqp.until(lambda: handle.finished == 2)
    assert handle.bodies == {b"odd": 1, b"plain": 1}
    await consumer.stop()
    assert bench.proxy.connections == 1


# --- stopping ------------------------------------------------------------------------------------------


async def test_stop_finishes_what_is_in_hand_and_leaves_the_rest(bench: Bench) -> None:
    handle = Handling()
    handle.free.clear()
    bench.put(*(b"%d" % n for n in range(50)))
    consumer = await bench.consume(handle)
    await amqp.until(lambda: consumer.in_hand == 20)
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.sleep(0.2)
    assert not stopping.done()
    handle.free.set()
    await stopping
    assert (handle.finished, bench.depth()) == (20, 30)
    assert not any(method.redelivered for method, _, _ in amqp.take(bench.url, bench.queue))


async def test_stop_does_not_wait_for_ever(bench: Bench) -> None:
    handle = Handling()
    handle.free.clear()
    bench.put(b"x")
    consumer = await bench.consume(handle, options=replace(HASTY, drain_seconds=0.2))
    await amqp.until(lambda: consumer.in_hand == 1)
    async with asyncio.timeout(2):
        await consumer.stop()
    assert bench.depth() == 1
    handle.free.set()
    await amqp.until(lambda: consumer.in_hand == 0)
    assert bench.depth() == 1
