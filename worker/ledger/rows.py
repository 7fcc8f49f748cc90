"""Between the machine's order and its row: the one place that knows both."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import orjson

from worker.core.machine import Decision
from worker.core.order import TASKS, Event, Order, Reason, ReviewKind, State

_DEEPEST = 50
_HUGE = 2**63


class OutboxEvent(NamedTuple):
    """An event on its way out; `id` is its row, 0 before it has one."""

    message_id: str
    key: str
    body: bytes
    correlation_id: str | None
    id: int = 0
    trace: str | None = None  # of the order that it is about

    def stored(self, key: int) -> "OutboxEvent":
        """Return this event as its row has it."""
        return OutboxEvent(self.message_id, self.key, self.body, self.correlation_id, key, self.trace)


def to_event(row: asyncpg.Record) -> OutboxEvent:
    """Return the event that a row of `outbox` is."""
    return OutboxEvent(row["message_id"], row["key"], row["body"], row["correlation_id"], row["id"], row["trace"])


@dataclass(frozen=True, slots=True)
class Stored:
    """An order with what only its row knows."""

    order: Order
    digest: bytes
    created_at: datetime
    updated_at: datetime
    write_token: int


def json_text(value: Any) -> str | None:
    """Return `value` as JSON that PostgreSQL takes; characters that it cannot hold become U+FFFD."""
    if value is None:
        return None
    try:
        text = orjson.dumps(value, default=dict).decode()
    except TypeError:
        text = orjson.dumps(_plain(value, _DEEPEST)).decode()
    return text.replace("\\u0000", "\\ufffd") if "\\u0000" in text else text


def _plain(value: Any, depth: int) -> Any:
    """Return `value` in the same shape, with what JSON has no word for told as text."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping) and depth:
        return {clean(str(key)): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth:
        return [_plain(item, depth - 1) for item in value]
    if value is None or isinstance(value, bool | float | datetime) or (isinstance(value, int) and abs(value) < _HUGE):
        return value
    return clean(repr(value)) if depth else "\u2026"


def clean(text: str | None) -> str | None:
    """Return text from outside as PostgreSQL can hold it."""
    if text is None or (text.isascii() and "\x00" not in text):
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def from_record(row: asyncpg.Record) -> Stored:
    """Return the order that a row of `orders` is."""
    reason, doubt = row["reason_code"], row["doubt_code"]
    order = Order(
        order_no=row["order_no"],
        source=row["source"],
        product=row["product"],
        amount_fen=row["amount_fen"],
        target=row["target"],
        route=tuple(row["route"]),
        gateway=row["gateway"],
        expires_at=row["expires_at"],
        correlation_id=row["correlation_id"],
        state=State(row["state"]),
        version=row["version"],
        attempt=row["attempt"],
        sending=row["sending"],
        upstream_no=row["upstream_no"],
        arrived_fen=row["arrived_fen"],
        cost_fen=row["cost_fen"],
        reason=None if reason is None else Reason(reason, row["reason_message"] or ""),
        payment=row["payment"],
        payment_expires_at=row["payment_expires_at"],
        sent_at=row["sent_at"],
        queries=row["queries"],
        unsent=row["unsent"],
        absent_count=row["absent_count"],
        absent_since=row["absent_since"],
        doubt=None if doubt is None else Reason(doubt, row["doubt_message"] or ""),
        review_kind=None if row["review_kind"] is None else ReviewKind(row["review_kind"]),
        noted=row["noted"],
        delivered=row["delivered"],
        cancelling=row["cancelling"],
        trace=row["trace"],
        id=row["id"],
        revision=row["revision"],
    )
    return Stored(order, row["digest"], row["created_at"], row["updated_at"], row["write_token"])


def admit_values(decision: Decision, digest: bytes, token: int, event: OutboxEvent | None) -> tuple[Any, ...]:
    """Return the parameters of `admit.sql` for one new order, in its order."""
    order = decision.order
    return (
        order.order_no,
        order.source,
        order.product,
        order.amount_fen,
        json_text(order.target),
        digest,
        ",".join(order.route),
        order.expires_at,
        clean(order.correlation_id),
        order.state.value,
        order.gateway,
        order.sending,
        order.sent_at,
        token,
        TASKS[order.state].value,
        decision.due_in,
        event.key if event else None,
        event.body if event else None,
        decision.at,
        order.trace,
    )


def step_values(decision: Decision, token: int) -> tuple[Any, ...]:
    """Return the parameters of `step.sql` for one decision, in its order, without its event."""
    order, fact = decision.order, decision.fact
    task = TASKS.get(order.state)
    return (
        order.id,
        order.revision - 1,
        token,
        json_text(_columns(decision)),
        decision.before.value if decision.before else None,
        decision.event.value if decision.journal else None,
        order.attempt - decision.new_attempt if decision.event in _ABOUT_THE_ORDER else fact.attempt,
        clean(fact.code),
        clean(fact.message),
        json_text(fact.evidence) if fact.evidence else None,
        task.value if task else None,
        decision.due_in,
        order.reference if decision.new_attempt else None,
    )


def event_values(order_id: int, event: OutboxEvent) -> tuple[Any, ...]:
    """Return the parameters of `step.sql` for the event of one step."""
    return order_id, event.message_id, event.key, event.body, clean(event.correlation_id), event.trace


def _columns(decision: Decision) -> dict[str, Any]:
    """Return the changed fields of an order as columns; a reason is two of them."""
    columns = dict(decision.changes)
    if "version" in columns:
        columns["updated_at"] = decision.at
    for name in ("reason", "doubt"):
        if name in columns:
            value: Reason | None = columns.pop(name)
            columns[f"{name}_code"] = value and value.code
            columns[f"{name}_message"] = value and value.message
    return columns


_ABOUT_THE_ORDER = frozenset(
    {
        Event.TAKEN,
        Event.EXPIRED,
        Event.CANCEL_REQUESTED,
        Event.RESOLVED_SUCCEEDED,
        Event.RESOLVED_FAILED,
        Event.RESUBMITTED,
    }
)
"""Their facts name no attempt."""
