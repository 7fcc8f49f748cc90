"""Dead letters: the message as it was, under its own key, with the reason in headers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pamqp import encode

from worker.broker.message import Delivery, Outgoing

PREFIX = "x-dead-"
REASON, DETAIL, QUEUE, AT = "x-dead-reason", "x-dead-detail", "x-dead-queue", "x-dead-at"
ID = "x-dead-id"
"""The letter's id; only a letter that was laid anew has it."""
EXPIRATION, USER = "x-dead-expiration", "x-dead-user-id"
LEFT_OUT = "x-dead-headers-left-out"
DETAIL_LENGTH = 200
_HEADERS_LENGTH = 64 * 1024  # a header frame cannot be split; with the properties it stays below any `frame_max`


def dead_letter(exchange: str, delivery: Delivery, reason: str, detail: str, at: datetime) -> Outgoing:
    """Return the dead letter of a delivery: body and properties as they were, and why.

    `expiration` and `user_id` become headers: a letter that has them would not lie there for long, or not at all.
    """
    given = delivery.properties
    headers = encodable(given.headers)
    headers.pop(ID, None)
    moved = {EXPIRATION: given.expiration, USER: given.user_id}
    headers |= {name: value for name, value in moved.items() if value}
    headers |= {
        REASON: reason,
        DETAIL: one_line(detail),
        QUEUE: delivery.queue,
        AT: at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    return given.outgoing(exchange, delivery.routing_key, delivery.body, headers)


def one_line(text: str) -> str:
    """Return text on one line, printable, of at most 200 characters."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * DETAIL_LENGTH])
    return " ".join(printable.split())[:DETAIL_LENGTH]


def encodable(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers that can go out again; one of a kind that cannot becomes its text."""
    kept: dict[str, Any] = {}
    size = 0
    for name, value in headers.items():
        safe = bytearray(value) if isinstance(value, bytes) else value
        try:
            size += len(encode.field_table({name: safe}))
        except (TypeError, ValueError, ArithmeticError, RecursionError):
            safe = one_line(str(value))
            size += len(encode.field_table({name: safe}))
        if size > _HEADERS_LENGTH:
            return kept | {LEFT_OUT: len(headers) - len(kept)}
        kept[name] = safe
    return kept
