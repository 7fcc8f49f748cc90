"""The contract's wire format, written by hand and spoken with pika: a producer that shares no code with the worker."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import pika
from pika.exceptions import AMQPError
from support.waiting import until

MOBILE = "13800138000"
"""A phone number whose ending asks the sandbox for no fault."""

EVENT_FIELDS = {
    *("event", "order_no", "source", "product", "state", "version", "gateway", "attempt", "upstream_no"),
    *("amount_fen", "arrived_fen", "cost_fen", "reason", "payment", "at"),
}
"""Every field of an event, as the contract lists them."""


def order(order_no: str, /, *, mobile: str = MOBILE, **changes: Any) -> dict[str, Any]:
    """A submit message of 100 yuan for a mobile phone."""
    return {
        "order_no": order_no,
        "source": "shop",
        "product": "mobile",
        "amount_fen": 10000,
        "gateway": None,
        "expires_at": None,
        "target": {"mobile": mobile, "speed": "fast"},
    } | changes


def callback(gateway: str, raw: bytes, /, **changes: Any) -> dict[str, Any]:
    """A callback message around the raw body that a gateway posted."""
    return {
        "gateway": gateway,
        "received_at": moment(),
        "method": "POST",
        "path": f"/callbacks/{gateway}",
        "query": "",
        "headers": {"content-type": "application/x-www-form-urlencoded"},
        "body": base64.b64encode(raw).decode(),
        "remote_addr": "127.0.0.1",
    } | changes


def moment(seconds: float = 0) -> str:
    """Now, or so many seconds later, as RFC 3339."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Message:
    """A message as a consumer got it."""

    key: str
    properties: pika.BasicProperties
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The body as JSON."""
        decoded: dict[str, Any] = json.loads(self.raw)
        return decoded


class Producer:
    """A producer of orders: publishes, listens to the events (`<prefix>.seen`), and reads the dead letters."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self.prefix = prefix
        self.seen: list[Message] = []
        self.dead: list[Message] = []
        self.answers: list[Message] = []
        self._open()
        self.channel.queue_declare(f"{prefix}.seen", durable=True, arguments={"x-queue-type": "quorum"})
        self.channel.queue_bind(f"{prefix}.seen", f"{prefix}.events", "order.#")

    def _open(self) -> None:
        parameters = pika.URLParameters(self._url)
        parameters.heartbeat = 0  # tests look away for longer than that
        self.connection = pika.BlockingConnection(parameters)
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def reconnect(self) -> None:
        """Begin anew after the broker was away."""
        self.close()
        self._open()

    def publish(self, key: str, body: bytes, exchange: str | None = None, **properties: Any) -> None:
        """Publish one message, persistent and confirmed."""
        given = pika.BasicProperties(**({"delivery_mode": 2} | properties))
        self.channel.basic_publish(self.prefix if exchange is None else exchange, key, body, given, mandatory=True)

    def submit(self, *orders: dict[str, Any], **properties: Any) -> None:
        """Publish orders as the contract wants it."""
        given = {"type": "order.submit", "content_type": "application/json"} | properties
        for each in orders:
            self.publish(f"submit.{each['product']}", json.dumps(each, ensure_ascii=False).encode(), **given)

    def call_back(self, message: dict[str, Any], **properties: Any) -> None:
        """Publish a callback message as a relay would."""
        given = {"type": "gateway.callback", "content_type": "application/json"} | properties
        self.publish(f"callback.{message['gateway']}", json.dumps(message).encode(), **given)

    def take(self, queue: str) -> list[Message]:
        """Everything that is ready in a queue, removed from it."""
        got: list[Message] = []
        while True:
            method, properties, raw = self.channel.basic_get(queue, auto_ack=True)
            if method is None or properties is None or raw is None:
                return got
            got.append(Message(method.routing_key or "", properties, raw))

    def look(self) -> None:
        """Note the events and dead letters that came meanwhile."""
        self.seen += self.take(f"{self.prefix}.seen")
        self.dead += self.take(f"{self.prefix}.dead")

    def letters(self) -> list[Message]:
        """The dead letters so far."""
        self.look()
        return self.dead

    def events(self, order_no: str) -> list[Message]:
        """The events of an order so far."""
        self.look()
        return [each for each in self.seen if each.body["order_no"] == order_no]

    def names(self, order_no: str) -> list[str]:
        """What the events of an order said so far."""
        return [each.body["event"].removeprefix("order.") for each in self.events(order_no)]

    def await_event(self, order_no: str, what: str, count: int = 1, seconds: float = 20) -> Message:
        """Wait for an event of an order (for the `count`-th of that name) and return it."""

        def found() -> list[Message]:
            return [each for each in self.events(order_no) if each.body["event"] == f"order.{what}"]

        until(lambda: len(found()) >= count, seconds, lambda: f"{order_no}: {what} not among {self.names(order_no)}")
        return found()[count - 1]

    def ready(self, *queues: str) -> dict[str, int]:
        """How many messages are ready in each of the worker's own queues (named without the prefix)."""
        return {
            name: int(self.channel.queue_declare(f"{self.prefix}.{name}", passive=True).method.message_count)
            for name in queues
        }

    def close(self) -> None:
        """Close the connection, if there still is one."""
        try:
            self.connection.close()
        except AMQPError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
