"""The consumer, against a real broker: the ack policy each way, and coming back after whatever happens."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

import pytest
from support import amqp
from support.proxy import Proxy

from worker.broker.consumer import Consumer, ConsumerOptions
from worker.broker.message import Delivery
from worker.broker.publisher import Publisher
from worker.broker.settlement import AWAY, COMMITTED, STOPPING, Handler, Settled
from worker.broker.topology import Topology, declare
from worker.embedded import RabbitMQ

HASTY = ConsumerOptions(prefetch=20, drain_seconds=5, watch_every=0.3, idle_seconds=1)
POISON = Settled.impossible("invalid_message", "field `x`: wrong")


def never(reason: str) -> None:
    pytest.fail(f"stuck: {reason}")


class Handling:
    """A handler that notes what it is given, says what it is told to, and may be held up."""

    def __init__(self, says: Settled | Callable[[Delivery], Settled] = COMMITTED) -> None:
        self.says = says
        self.seen: list[Delivery] = []
        self.finished = 0
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, delivery: Delivery) -> Settled:
        """Handle one delivery."""
        self.seen.append(delivery)
        await self.free.wait()
        settled = self.says if isinstance(self.says, Settled) else self.says(delivery)
        self.finished += 1
        return settled

    @property
    def bodies(self) -> Counter[bytes]:
        """How often each body came."""
        return Counter(delivery.body for delivery in self.seen)


class Bench:
    """Starts consumers on one test's topology, through a proxy, and stops them."""

    def __init__(self, url: str, topology: Topology, proxy: Proxy, publisher: Publisher) -> None:
        self.url, self.topology, self.proxy, self.publisher = url, topology, proxy, publisher
        self.queue = topology.commands
        self.running: list[Consumer] = []

    async def consume(
        self,
        handle: Handler,
        *,
        queues: Iterable[str] = (),
        options: ConsumerOptions = HASTY,
        on_stuck: Callable[[str], None] = never,
        ready: bool = True,
        gate: Callable[[], bool] = lambda: True,
    ) -> Consumer:
        """Start a consumer, and wait until it consumes."""

        async def ask() -> bool:
            return gate()

        it = Consumer(
            self.proxy.url,
            tuple(queues) or (self.queue,),
            handle,
            publish=self.publisher.publish,
            dead_exchange=self.topology.dead,
            on_stuck=on_stuck,
            gate=ask,
            options=options,
            chance=lambda: 0,
        )
        self.running.append(it)
        await it.start()
        if ready:
            await amqp.until(lambda: it.ready)
        return it

    def put(self, *bodies: bytes, **properties: object) -> None:
        """Publish to the queue."""
        amqp.put(self.url, self.queue, *bodies, **properties)

    def depth(self, queue: str | None = None) -> int:
        """Messages that are ready."""
        return amqp.depth(self.url, queue or self.queue)


@pytest.fixture
async def bench(amqp_url: str, amqp_prefix: str) -> AsyncIterator[Bench]:
    topology = Topology(amqp_prefix)
    await declare(amqp_url, topology)
    publisher = Publisher(amqp_url, on_stuck=never, away_seconds=1)
    await publisher.start()
    async with Proxy(amqp_url) as proxy:
        it = Bench(amqp_url, topology, proxy, publisher)
        yield it
        for consumer in it.running:
            await consumer.stop()
        await publisher.stop()


# --- the ack policy ---------------------------------------------------------------------------


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


# --- acks and the end of connections -------------------------------------------------------------


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
    assert consumer.ready
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


# --- the watchdog ----------------------------------------------------------------------------------


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
