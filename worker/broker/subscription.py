"""One channel that consumes one queue: hands deliveries to tasks of ours, and acknowledges what they settle."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

import structlog
from aiormq import Channel
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from worker.broker.connection import ANSWER_SECONDS, BrokerLostError, Link, ask, close_channel
from worker.broker.frontier import Frontier
from worker.broker.inlet import consume
from worker.broker.message import Delivery, read_delivery
from worker.broker.settlement import Settled, Settlement

LAST_CHANCE_SECONDS = 1.0  # after an `AWAY`: what its neighbours may still finish before everything is given back
AT_ONCE = 128  # deliveries being handled; with a thousand in the air at once, each costs a seventh more CPU
ACK_PACE_SECONDS = 0.01  # acks gather for so long: one frame may do for many
PATIENCE_SECONDS = 0.2  # how long an ack waits for those before it

log = structlog.get_logger("worker.broker")

Hands = set[asyncio.Task[None]]
"""The tasks that handle deliveries, of this channel and of those before it."""

Work = Callable[[Delivery, Callable[[], bool]], Awaitable[Settled]]
"""Handles a delivery to its end, dead letter included; asks the second argument whether that still matters."""


class Subscription:
    """A consumer, from `basic.consume` to the end of its channel.

    The channel and its tags live and die together: what finishes after the end is not acknowledged on any
    other channel, the broker has given it to somebody again. `ended` is done with the reason, or by `AWAY`.
    """

    def __init__(self, link: Link, channel: Channel, queue: str, work: Work, *, prefetch: int, hands: Hands) -> None:
        self._link = link
        self._channel = channel
        self._queue = queue
        self._work = work
        self._hands = hands
        self._mine: set[asyncio.Task[None]] = set()
        self._next: deque[tuple[Basic.Deliver, ContentHeader, bytes]] = deque()
        self._loop = asyncio.get_running_loop()
        self._frontier = Frontier(PATIENCE_SECONDS, max(1, prefetch // 4))
        self._prefetch = prefetch
        self._acker_turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._taking = True
        self._tag = ""
        self.away = False
        self.last_delivery = self._loop.time()
        self.delivered = 0
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._acker: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, link: Link, queue: str, work: Work, *, prefetch: int, hands: Hands) -> Self:
        """Consume the queue on a new channel.

        Raises:
            BrokerRefusedError: the queue does not exist, or may not be read.
            BrokerLostError: the connection ended.
        """
        self = cls(link, await link.channel(), queue, work, prefetch=prefetch, hands=hands)
        try:
            await self._consume()
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def in_hand(self) -> int:
        """How many deliveries of this channel are being handled."""
        return len(self._mine)

    def alive(self) -> bool:
        """Whether what is settled now can still be acknowledged."""
        return not self.ended.done()

    async def drain(self, seconds: float) -> None:
        """Take no more, let what is in hand finish, acknowledge it, and make sure that the broker has read that."""
        self._taking = False
        try:
            if self.alive():
                await ask(self._channel.basic_cancel(self._tag), "cancel the consumer")
            if self._mine:
                await asyncio.wait(self._mine, timeout=seconds)
            if self.alive():
                await self._send_acks(flush=True)
                # the answer to any question proves that the acks before it were read
                await ask(self._channel.basic_qos(prefetch_count=self._prefetch), "confirm the acks")
        except BrokerLostError as error:
            log.warning("drain_incomplete", queue=self._queue, error=str(error))

    async def close(self) -> None:
        """End the channel; the broker redelivers what is not acknowledged."""
        self._taking = False
        if self.away:
            await self._last_chance()
        self._end("closed")
        self._link.lost.remove_done_callback(self._on_link_lost)
        if self._acker is not None:
            self._acker.cancel()
        if self._timer is not None:
            self._timer.cancel()
        await close_channel(self._channel)

    async def _consume(self) -> None:
        self._channel.closing.add_done_callback(self._on_channel_closed)
        self._link.lost.add_done_callback(self._on_link_lost)
        self._channel.on_consumer_cancel_callbacks.add(self._on_cancelled)
        await ask(self._channel.basic_qos(prefetch_count=self._prefetch), "qos")
        self._acker = asyncio.create_task(self._acknowledge(), name=f"acker {self._queue}")
        self._acker.add_done_callback(self._on_acker_ended)
        answer = await ask(consume(self._channel, self._queue, self._take), f"consume {self._queue}")
        self._tag = answer.consumer_tag or ""

    async def _last_chance(self) -> None:
        """What is nearly finished need not be redelivered: each redelivery counts against the delivery limit."""
        with suppress(BrokerLostError):
            await ask(self._channel.basic_cancel(self._tag), "cancel the consumer")
            if self._mine:
                await asyncio.wait(self._mine, timeout=LAST_CHANCE_SECONDS)
            await self._send_acks(flush=True)

    def _take(self, frame: Basic.Deliver, header: ContentHeader, body: bytes) -> None:
        """Hand over, nothing more: the connection's reader waits for it."""
        if not self._taking:
            return
        self.delivered += 1
        self.last_delivery = self._loop.time()
        if len(self._mine) < AT_ONCE:
            self._begin(frame, header, body)
        else:
            self._next.append((frame, header, body))

    def _begin(self, frame: Basic.Deliver, header: ContentHeader, body: bytes) -> None:
        task = self._loop.create_task(self._handle(frame, header, body))
        self._hands.add(task)
        self._mine.add(task)
        task.add_done_callback(self._on_handled)

    def _on_handled(self, task: asyncio.Task[None]) -> None:
        self._hands.discard(task)
        self._mine.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            log.error("settling_failed", queue=self._queue, error=type(error).__name__)
            self._end(f"{type(error).__name__} while settling")  # so that the delivery comes again
        if self._next and self._taking and self.alive():
            self._begin(*self._next.popleft())

    async def _handle(self, frame: Basic.Deliver, header: ContentHeader, body: bytes) -> None:
        settled = await self._work(read_delivery(self._queue, frame, header.properties, body), self.alive)
        match settled.settlement:
            case Settlement.COMMITTED:
                self._frontier.finish(frame.delivery_tag or 0, self._loop.time())
                self._wake.set()
            case Settlement.AWAY:
                self.away = True
                self._end("away")
            case _:  # STOPPING; IMPOSSIBLE never gets here: it was published, or could not be
                return

    async def _acknowledge(self) -> None:
        """Send the acks, one after another: this is the channel's only acker."""
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(ACK_PACE_SECONDS)
                self._wake.clear()
                await self._send_acks()
                if self._frontier.waiting and self._timer is None:
                    self._timer = self._loop.call_later(PATIENCE_SECONDS, self._on_timer)
        except BrokerLostError as error:
            self._end(f"acks fail: {error}")

    async def _send_acks(self, *, flush: bool = False) -> None:
        async with self._acker_turn:
            for ack in self._frontier.take(self._loop.time(), flush=flush):
                await ask(self._channel.basic_ack(ack.tag, multiple=ack.multiple), "ack", ANSWER_SECONDS)

    def _on_acker_ended(self, acker: asyncio.Task[None]) -> None:
        """Say why: a lost connection it has told itself, anything else is a fault of ours that no new channel cures."""
        if not acker.cancelled() and (error := acker.exception()) is not None and not self.ended.done():
            self.ended.set_exception(error)
        self._end("the acker ended")

    def _on_timer(self) -> None:
        self._timer = None
        self._wake.set()

    def _on_channel_closed(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self._end(f"channel closed: {error}" if str(error or "") else "channel closed")

    def _on_link_lost(self, _: asyncio.Future[Any]) -> None:
        self._end("connection lost")

    def _on_cancelled(self, _: Basic.Cancel) -> None:
        self._end("the broker cancelled the consumer")

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)


Subscriptions = dict[str, Subscription]
"""The subscriptions of this moment, by queue."""
