"""What comes in and what goes out, as plain data: no handler ever holds a channel."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from pamqp.commands import Basic

PERSISTENT = 2
NO_HEADERS: Mapping[str, Any] = MappingProxyType({})
_LONGEST = 255  # bytes of a short string
_SURELY_SHORT = _LONGEST // 4  # characters


class Properties(NamedTuple):
    """A message's properties as its producer set them; `type` is what pamqp calls `message_type`."""

    content_type: str | None = None
    content_encoding: str | None = None
    type: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, Any] = NO_HEADERS
    priority: int | None = None
    timestamp: datetime | None = None
    expiration: str | None = None
    user_id: str | None = None
    app_id: str | None = None

    def outgoing(self, exchange: str, routing_key: str, body: bytes, headers: Mapping[str, Any]) -> "Outgoing":
        """Return a message with these properties under other headers, without what could undo it there.

        Its `expiration` would let it vanish from its queue, and the broker refuses another user's `user_id`.
        """
        return Outgoing(
            exchange,
            routing_key,
            body,
            message_id=self.message_id,
            type=self.type,
            correlation_id=self.correlation_id,
            headers=headers,
            reply_to=self.reply_to,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            priority=self.priority,
            timestamp=self.timestamp,
            app_id=self.app_id,
        )


class Delivery(NamedTuple):
    """One message as the broker handed it to us. Only what its handler returns settles it."""

    queue: str
    exchange: str
    routing_key: str
    body: bytes
    properties: Properties
    redelivered: bool = False


class Outgoing(NamedTuple):
    """One message to publish, persistent. An answer goes to exchange `""` with the `reply_to` as routing key."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str | None = None  # without one it gets a random one
    type: str | None = None
    correlation_id: str | None = None
    headers: Mapping[str, Any] = NO_HEADERS
    reply_to: str | None = None
    content_type: str | None = "application/json"
    content_encoding: str | None = None
    priority: int | None = None
    timestamp: datetime | None = None
    app_id: str | None = None


def read_delivery(queue: str, frame: Basic.Deliver, given: Basic.Properties, body: bytes) -> Delivery:
    """Return what came off the wire as ours."""
    return Delivery(
        queue,
        frame.exchange or "",
        frame.routing_key or "",
        body,
        Properties(
            given.content_type,
            given.content_encoding,
            given.message_type,
            given.message_id,
            given.correlation_id,
            given.reply_to,
            given.headers or NO_HEADERS,
            given.priority,
            given.timestamp,
            given.expiration,
            given.user_id,
            given.app_id,
        ),
        bool(frame.redelivered),
    )


def wire_properties(message: Outgoing, message_id: str) -> Basic.Properties:
    """Return the properties as pamqp's, persistent; `message_id` is the message's own, or what was made for it."""
    return Basic.Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers) or None,
        delivery_mode=PERSISTENT,
        priority=message.priority,
        correlation_id=_short(message.correlation_id),
        reply_to=message.reply_to,
        message_id=message_id,
        timestamp=message.timestamp,
        message_type=message.type,
        app_id=message.app_id,
    )


def _short(text: str | None) -> str | None:
    """Return text from outside as far as a short string can hold it: cleaned, it may have become longer."""
    if text is None or len(text) <= _SURELY_SHORT:
        return text
    return text.encode()[:_LONGEST].decode(errors="ignore")
