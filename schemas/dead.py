"""Dead letters: the headers under which a message that could not be processed is kept."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Instant, Message, OrderNo


class DeadReason(StrEnum):
    """Why a message could not be processed."""

    INVALID_MESSAGE = "invalid_message"  # unreadable, or not as its schema wants it
    UNKNOWN_PRODUCT = "unknown_product"
    UNKNOWN_GATEWAY = "unknown_gateway"  # not configured
    ORDER_CONFLICT = "order_conflict"  # the same order_no with other content
    EXPIRED = "expired"  # already on arrival
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_ORDER = "unknown_order"  # a callback about an order that nobody has
    POISON = "poison"  # it failed again and again


ReasonName = Annotated[
    Literal[
        "invalid_message",
        "unknown_product",
        "unknown_gateway",
        "order_conflict",
        "expired",
        "bad_signature",
        "unknown_order",
        "poison",
    ],
    Field(description="Why the message could not be processed"),
]
_Detail = Annotated[
    str, Field(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$", description="One line: which field and why; no secrets")
]


class DeadHeaders(Message):
    """Headers that a dead letter carries beside its original ones; body, key and properties are the original's."""

    reason: ReasonName = Field(alias="x-dead-reason")
    detail: _Detail = Field(alias="x-dead-detail")
    queue: str = Field(
        alias="x-dead-queue", min_length=1, max_length=255, description="Queue from which the message was taken"
    )
    at: Instant = Field(alias="x-dead-at", description="When it was given up, RFC 3339 text")


class SubmitRefusal(Message):
    """The same reason for the producer: why a submit message was not accepted."""

    code: ReasonName
    message: _Detail


class SubmitRefused(Message):
    """The answer to a submit message that cannot be accepted, where it names a `reply_to`."""

    ok: Literal[False] = Field(description="Always false: an accepted order is told by its events")
    error: SubmitRefusal = Field(description="The dead letter's reason and detail")


class DeadLine(Message):
    """One line of `worker dead list --json`."""

    id: str = Field(min_length=1, description="What `--id` takes; it stays the same as long as the letter lies there")
    reason: ReasonName | Literal["unroutable"] = Field(
        description="The letter's reason; `unroutable`: no queue takes its key"
    )
    detail: str | None = Field(description="One line: which field and why")
    queue: str | None = Field(description="Queue from which it was taken; null for an unroutable message")
    key: str = Field(description="Its original routing key")
    at: Instant | None = Field(description="When it was given up")
    order_no: OrderNo | None = Field(None, description="The order that it is about, where known")
