"""What comes in and what goes out, as plain data: no handler ever holds a channel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

PERSISTENT = 2
_NO_HEADERS: Mapping[str, Any] = MappingProxyType({})


def no_headers() -> Mapping[str, Any]:
    """Return the empty headers, for dataclass defaults."""
    return _NO_HEADERS


@dataclass(frozen=True, slots=True)
class Properties:
    """A message's properties as its producer set them; `type` is what pamqp calls `message_type`."""

    content_type: str | None = None
    content_encoding: str | None = None
    type: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, Any] = field(default_factory=no_headers)
    priority: int | None = None
    timestamp: datetime | None = None
    expiration: str | None = None
    user_id: str | None = None
    app_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as the broker handed it to us. Only what its handler returns settles it."""

    queue: str
    exchange: str
    routing_key: str
    body: bytes
    properties: Properties
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish, persistent. An answer goes to exchange `""` with the `reply_to` as routing key."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str | None = None  # without one it gets a random one
    type: str | None = None
    correlation_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=no_headers)
    reply_to: str | None = None
    content_type: str | None = "application/json"
    content_encoding: str | None = None
    priority: int | None = None
    timestamp: datetime | None = None
    app_id: str | None = None


def read_delivery(queue: str, frame: Basic.Deliver, message: DeliveredMessage) -> Delivery:
    """Return aiormq's message as ours."""
    given = message.header.properties
    return Delivery(
        queue,
        frame.exchange or "",
        frame.routing_key or "",
        message.body,
        Properties(
            given.content_type,
            given.content_encoding,
            given.message_type,
            given.message_id,
            given.correlation_id,
            given.reply_to,
            given.headers or _NO_HEADERS,
            given.priority,
            given.timestamp,
            given.expiration,
            given.user_id,
            given.app_id,
        ),
        bool(frame.redelivered),
    )


def wire_properties(message: Outgoing) -> Basic.Properties:
    """Return the properties as pamqp's, persistent."""
    return Basic.Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers) or None,
        delivery_mode=PERSISTENT,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        timestamp=message.timestamp,
        message_type=message.type,
        app_id=message.app_id,
    )
