"""What the worker tells: events about orders, and the views of an order that queries and the command line show."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from schemas.base import Fen, FenOrZero, GatewayName, Instant, Message, Natural, OrderNo, Positive, Source
from schemas.orders import Product

State = Literal[
    "queued",
    "submitting",
    "unknown",
    "pending",
    "awaiting_payment",
    "review",
    "succeeded",
    "partial",
    "failed",
    "refunded",
    "cancelled",
]
EventName = Literal[
    "order.accepted",
    "order.awaiting_payment",
    "order.succeeded",
    "order.partial",
    "order.failed",
    "order.refunded",
    "order.cancelled",
    "order.review",
    "order.pending",
    "order.unknown",
]
"""`order.pending` and `order.unknown` are published only where the settings ask for them."""

_UNDER_WAY = ("queued", "submitting", "unknown", "pending")
EVENT_STATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "order.accepted": _UNDER_WAY,
        "order.awaiting_payment": ("awaiting_payment",),
        "order.succeeded": ("succeeded",),
        "order.partial": ("partial",),
        "order.failed": ("failed",),
        "order.refunded": ("refunded",),
        "order.cancelled": ("cancelled",),
        "order.review": ("review",),
        "order.pending": ("pending",),
        "order.unknown": ("unknown",),
    }
)
"""The states that each event may report."""
_REASONED = ("order.partial", "order.failed", "order.refunded", "order.cancelled", "order.review")


def _when(names: tuple[str, ...], rule: Mapping[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {"event": {"enum": list(names)}}}, "then": {"properties": dict(rule)}}


_EVENT_RULES = {
    "allOf": [
        *(_when((name,), {"state": {"enum": list(states)}}) for name, states in EVENT_STATES.items()),
        _when(_REASONED, {"reason": {"type": "object"}}),
        _when(("order.partial",), {"arrived_fen": {"type": "integer"}}),
        _when(("order.awaiting_payment",), {"payment": {"type": "object"}}),
    ]
}


class Reason(Message):
    """Why an order is where it is."""

    code: str = Field(min_length=1, max_length=128, description="A stable code, for programs")
    message: str = Field(description="A masked line, for people")


Version = Annotated[Natural, Field(description="Grows with every step of the order; an event's id is order_no:version")]
Attempt = Annotated[Positive, Field(description="1, and one more for each failover or resubmission")]
UpstreamNo = Annotated[str | None, Field(description="The gateway's number of the order, where known")]


class Event(Message, json_schema_extra=_EVENT_RULES):
    """What became of an order. It may come twice with the same message_id, never not at all."""

    event: EventName = Field(description="What happened; the same as the message's type")
    order_no: OrderNo = Field(description="The producer's number of the order")
    source: Source = Field(description="Who asked for the order")
    product: Product = Field(description="What is bought")
    state: State = Field(description="Where the order stands")
    version: Version
    gateway: GatewayName = Field(description="The gateway of the current attempt")
    attempt: Attempt
    upstream_no: UpstreamNo
    amount_fen: Fen = Field(description="Total of the order, in fen")
    arrived_fen: FenOrZero | None = Field(description="What arrived, in fen; always given on `partial`")
    cost_fen: FenOrZero | None = Field(description="What the gateway charges us, in fen, where it says so")
    reason: Reason | None = Field(description="Given on partial, failed, refunded, cancelled and review")
    payment: dict[str, JsonValue] | None = Field(
        description="The credential for the payer, whole as the gateway gave it; given on awaiting_payment"
    )
    at: Instant = Field(description="When the step was committed, UTC")

    @field_validator("state")
    @classmethod
    def _one_of_the_event(cls, value: str, info: ValidationInfo) -> str:
        if value not in EVENT_STATES.get(info.data.get("event", ""), (value,)):
            raise ValueError("expected a state of this event")
        return value

    @field_validator("arrived_fen", "reason", "payment")
    @classmethod
    def _given_where_promised(cls, value: Any, info: ValidationInfo) -> Any:
        promised = {"arrived_fen": ("order.partial",), "reason": _REASONED, "payment": ("order.awaiting_payment",)}
        if value is None and info.data.get("event") in promised[str(info.field_name)]:
            raise ValueError("required on this event")
        return value


class OrderView(Message):
    """An order as `order.query` answers it and `worker orders list --json` writes it, a line each."""

    order_no: OrderNo = Field(description="The producer's number of the order")
    source: Source = Field(description="Who asked for the order")
    product: Product = Field(description="What is bought")
    state: State = Field(description="Where the order stands")
    version: Version
    gateway: GatewayName = Field(description="The gateway of the current attempt")
    attempt: Attempt
    upstream_no: UpstreamNo
    amount_fen: Fen = Field(description="Total of the order, in fen")
    arrived_fen: FenOrZero | None = Field(description="What arrived, in fen, where the gateway says so")
    cost_fen: FenOrZero | None = Field(description="What the gateway charges us, in fen, where it says so")
    reason: Reason | None = Field(description="Why the order is where it is, where there is something to say")
    created_at: Instant = Field(description="When the order was admitted")
    updated_at: Instant = Field(description="When its last step was committed")
    due_at: Instant | None = Field(description="When something is done about it next; null: nothing, or a person")


class JournalEntry(Message):
    """One step of an order's life."""

    version: Version
    at: Instant = Field(description="When the step was committed")
    from_: State | None = Field(alias="from", description="The state before; null: there was no order")
    to: State = Field(description="The state after")
    cause: str = Field(min_length=1, description="What happened")
    attempt: Attempt
    code: str | None = Field(description="The code that the gateway or the worker gave")
    message: str | None = Field(description="A masked line, for people")


class EarlierAttempt(Message):
    """An attempt that was given up, by a failover or a resubmission."""

    attempt: Attempt
    gateway: GatewayName = Field(description="The gateway that had it")
    reference: str = Field(min_length=1, description="The number under which that gateway knows it")


class OrderStory(OrderView):
    """An order with its whole journal, as `worker orders show --json` writes it."""

    earlier_attempts: list[EarlierAttempt] = Field(description="The attempts before the current one, the first first")
    journal: list[JournalEntry] = Field(description="Every step, the oldest first")
