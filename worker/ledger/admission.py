"""Letting orders in: each is new, a repetition, or in conflict with what the ledger has."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from worker.core.machine import Decision
from worker.core.order import FINAL, Order, State
from worker.ledger.rows import OutboxEvent, Stored, admit_values, clean, from_record, to_event

if TYPE_CHECKING:
    import asyncpg

Render = Callable[[Order, str, datetime], OutboxEvent | None]
"""Makes the event `order.<what>` of an order as it is; None where settings do not publish it."""

_OWN_EVENT = {state: state.value for state in (*FINAL, State.REVIEW, State.AWAITING_PAYMENT)}


class Admission(Enum):
    """What became of an order that asked to be let in."""

    NEW = auto()
    DUPLICATE = auto()  # the same order again: its current state is published again
    CONFLICT = auto()  # another order under the same number


class Admitted(NamedTuple):
    """An admission, and the order as the ledger has it."""

    admission: Admission
    order: Order


class Entry(NamedTuple):
    """One order at the door. `token` names this very write, so that it is known again after a lost commit."""

    decision: Decision
    digest: bytes
    token: int
    event: OutboxEvent | None
    correlation_id: str | None
    trace: str | None


class Admissions:
    """Lets batches of orders in."""

    def __init__(
        self,
        fetch: "Callable[..., Awaitable[list[asyncpg.Record]]]",
        render: Render,
        tell: Callable[[Sequence[OutboxEvent]], None],
    ) -> None:
        self._fetch = fetch
        self._render = render
        self._tell = tell

    async def flush(self, entries: Sequence[Entry]) -> list[Admitted]:
        """Insert what is new, in one statement, and judge the rest; may run twice."""
        firsts: dict[str, Entry] = {}
        for entry in entries:
            firsts.setdefault(entry.decision.order.order_no, entry)
        ordered = [firsts[order_no] for order_no in sorted(firsts)]
        values = [admit_values(e.decision, e.digest, e.token, e.event) for e in ordered]
        rows = await self._fetch("admit", *zip(*values, strict=True))
        fresh = {row["order_no"]: row["id"] for row in rows if row["id"] is not None}
        outbox = {row["message_id"]: row["outbox_id"] for row in rows if row["outbox_id"] is not None}
        others = [order_no for order_no in firsts if order_no not in fresh]
        found = await self._fetch("find", others) if others else []
        known = {row["order_no"]: from_record(row) for row in found}

        told = []
        repeats: list[OutboxEvent] = []
        admissions = []
        for entry in entries:
            order_no = entry.decision.order.order_no
            key = fresh.get(order_no)
            if key is None:
                admissions.append(self._judge(entry, known.get(order_no), repeats))
            elif firsts[order_no] is entry:
                admissions.append(Admitted(Admission.NEW, entry.decision.order.changed({"id": key})))
                if entry.event is not None:
                    told.append(entry.event.stored(outbox.get(entry.event.message_id, 0)))
            else:
                admissions.append(_judge_twin(entry, firsts[order_no], key, repeats))
        if repeats:
            columns = zip(
                *((e.message_id, e.key, e.body, clean(e.correlation_id), e.trace) for e in repeats), strict=True
            )
            told += [to_event(row) for row in await self._fetch("republish", *columns)]
        if told:
            self._tell(told)
        return admissions

    def _judge(self, entry: Entry, stored: Stored | None, repeats: list[OutboxEvent]) -> Admitted:
        if stored is None:
            # not an order_no, yet refused: the number of another order's later attempt
            return Admitted(Admission.CONFLICT, entry.decision.order)
        if stored.write_token == entry.token:
            # our own insert, whose commit was not heard of; its event leaves through the outbox
            return Admitted(Admission.NEW, stored.order)
        if stored.digest != entry.digest:
            return Admitted(Admission.CONFLICT, stored.order)
        what = _OWN_EVENT.get(stored.order.state, "accepted")
        event = self._render(stored.order, what, stored.updated_at)
        if event is not None:
            repeats.append(event._replace(correlation_id=entry.correlation_id, trace=entry.trace or event.trace))
        return Admitted(Admission.DUPLICATE, stored.order)


def _judge_twin(entry: Entry, first: Entry, key: int, repeats: list[OutboxEvent]) -> Admitted:
    """Judge a second message with an order_no of the same batch, whose first one was new."""
    order = first.decision.order.changed({"id": key})
    if entry.digest != first.digest:
        return Admitted(Admission.CONFLICT, order)
    if first.event is not None:
        repeats.append(
            first.event._replace(correlation_id=entry.correlation_id, trace=entry.trace or first.event.trace)
        )
    return Admitted(Admission.DUPLICATE, order)
