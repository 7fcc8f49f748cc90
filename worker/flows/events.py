"""Telling producers: makes events, publishes those of each commit at once, and whatever a crash left in the outbox."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
import structlog

from worker.broker.message import Outgoing
from worker.core.order import Order
from worker.core.trace import Kind, headers
from worker.ledger.connection import is_away
from worker.ledger.rows import OutboxEvent

if TYPE_CHECKING:
    from worker.broker.publisher import Publisher
    from worker.core.trace import Tracing
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.events")

BATCH = 500
MOST_IN_MEMORY = 20_000
"""Beyond it, events wait in the outbox alone: the broker has been away for long."""
MOST_FORGOTTEN = 5_000  # in one statement
POLL_SECONDS = 0.5
TELL_SECONDS = 10.0
"""Between two log lines about events that nobody hears: a producer without a queue must not fill the log."""


class Renderer:
    """Makes the event of an order as it is, or nothing where settings do not publish that kind."""

    def __init__(self, publish: Collection[str]) -> None:
        self._publish = frozenset(publish)

    def __call__(self, order: Order, what: str, at: datetime) -> OutboxEvent | None:
        """Return `order.<what>` of `order`, which changed at `at`."""
        if what not in self._publish:
            return None
        reason = order.reason
        body = {
            "event": f"order.{what}",
            "order_no": order.order_no,
            "source": order.source,
            "product": order.product,
            "state": order.state,
            "version": order.version,
            "gateway": order.gateway,
            "attempt": order.attempt,
            "upstream_no": order.upstream_no,
            "amount_fen": order.amount_fen,
            "arrived_fen": order.arrived_fen,
            "cost_fen": order.cost_fen,
            "reason": None if reason is None else {"code": reason.code, "message": reason.message},
            "payment": order.payment if what == "awaiting_payment" else None,
            "at": at,
        }
        return OutboxEvent(
            message_id=f"{order.order_no}:{order.version}",
            key=f"order.{what}.{order.source}",
            body=orjson.dumps(body, default=dict, option=orjson.OPT_UTC_Z),
            correlation_id=order.correlation_id,
            trace=order.trace,
        )


class EventPublisher:
    """Publishes events until the broker confirms each, then removes it from the outbox.

    A commit's events are published from memory. What is not confirmed stays in the outbox, where any
    worker takes it up again: an event may come twice, with the same `message_id`, never not at all.
    """

    def __init__(self, publisher: "Publisher", exchange: str, tracing: "Tracing") -> None:
        self._publisher = publisher
        self._exchange = exchange
        self._tracing = tracing
        self._waiting: deque[OutboxEvent] = deque()
        self._some = asyncio.Event()
        self._confirmed: list[int] = []
        self.counts: Counter[str] = Counter()
        """Events by what became of their publishing: `confirmed`, `unheard` (confirmed too) or `failed`."""
        self._unheard: Counter[str] = Counter()  # by producer, since the log had a line about it
        self._tell_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    def tell(self, events: Sequence[OutboxEvent]) -> None:
        """Take the events of a commit, to publish them at once."""
        if len(self._waiting) + len(events) <= MOST_IN_MEMORY:
            self._waiting.extend(events)
            self._some.set()
            self._idle.clear()

    async def run(self) -> None:
        """Publish what is told, until cancelled."""
        while True:
            await self._some.wait()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._waiting:
                self._some.clear()
            await self._publish(batch)
            if not self._waiting:
                self._idle.set()

    async def poll(self, ledger: "Ledger") -> None:
        """Publish what nobody got confirmed, and forget what was, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._tell_unheard()
            try:
                await self._forget(ledger)
                while self._publisher.ready and (left := await ledger.take_events(BATCH)):
                    log.info("events_taken_over", count=len(left))
                    await self._publish(left)
                    await self._forget(ledger)  # or what is told again and again would never end
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("database_away", error=type(error).__name__)

    async def drain(self, ledger: "Ledger", seconds: float) -> None:
        """Wait until all that was told is published, at most so long, and forget what was confirmed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        try:
            await self._forget(ledger)
        except Exception as error:
            if not is_away(error):
                raise

    async def _publish(self, events: list[OutboxEvent]) -> None:
        spans = [self._tracing.span("publish", Kind.PRODUCER, event.trace) for event in events]
        outgoing = [self._outgoing(event, span.context) for event, span in zip(events, spans, strict=True)]
        results = await self._publisher.publish_many(outgoing)
        failed = 0
        unheard: Counter[str] = Counter()
        for event, span, result in zip(events, spans, results, strict=True):
            lost = not isinstance(result, bool)
            span.end("not_confirmed" if lost else "confirmed", failed=lost, message_id=event.message_id)
            if isinstance(result, bool):
                if not result:  # confirmed, and heard by nobody, as with any topic exchange
                    unheard[event.key.rpartition(".")[2]] += 1
                if event.id:
                    self._confirmed.append(event.id)
            else:
                failed += 1
        deaf = unheard.total()
        self.counts.update(confirmed=len(events) - deaf - failed, unheard=deaf, failed=failed)
        self._unheard += unheard
        self._tell_unheard()
        if failed:
            log.warning("events_not_confirmed", count=failed)

    def _tell_unheard(self) -> None:
        now = time.monotonic()
        if self._unheard and now >= self._tell_at:
            sources = sorted(self._unheard)
            log.warning("events_unheard", count=self._unheard.total(), sources=sources, exchange=self._exchange)
            self._unheard.clear()
            self._tell_at = now + TELL_SECONDS

    async def _forget(self, ledger: "Ledger") -> None:
        while self._confirmed:
            some = self._confirmed[:MOST_FORGOTTEN]
            await ledger.forget_events(some)  # fails: they are forgotten later, or told again by whoever takes them
            del self._confirmed[: len(some)]

    def _outgoing(self, event: OutboxEvent, trace: str | None) -> Outgoing:
        return Outgoing(
            exchange=self._exchange,
            routing_key=event.key,
            body=event.body,
            message_id=event.message_id,
            type=event.key.rpartition(".")[0],
            correlation_id=event.correlation_id,
            headers=headers(trace),
        )
