"""The AsyncAPI 3.0 document: who sends which message where, on RabbitMQ.

Payloads are references to the JSON Schema files beside it. AMQP properties have no place of their own in
AsyncAPI, so that they are listed among the headers, under the names that RabbitMQ gives them.
"""

from typing import Any

from schemas.commands import COMMANDS
from schemas.events import EVENT_STATES
from schemas.examples import EXAMPLES
from schemas.orders import PRODUCTS

_Part = dict[str, Any]
_BINDING_VERSION = "0.3.0"
_SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
_ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "orders.dead",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
_PROPERTIES = {
    "correlation_id": "AMQP property: returned on answers, and on the events of an order",
    "message_id": "AMQP property: of an event order_no:version, the same whenever it comes again",
    "reply_to": "AMQP property: queue for the answer",
    "type": "AMQP property: the message's name, or absent",
    "traceparent": "AMQP header: W3C trace context, handed on to what follows from the message",
    "tracestate": "AMQP header: goes with traceparent",
}
_OF_ANSWERS = ("correlation_id", "traceparent", "tracestate")


def document() -> _Part:
    """Return the whole document; exchanges and queues are named for the default prefix, `orders`."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Order worker",
            "version": "1.0.0",
            "description": "Takes orders from RabbitMQ to payment gateways, and tells what became of them. "
            "Delivery is at least once in both directions; an order is never sent to a gateway twice.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "rabbitmq": {
                "host": "127.0.0.1:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ 3.10 or later",
            }
        },
        "channels": {**_exchange_channels(), **_queue_channels()},
        "operations": _operations(),
        "components": {"messages": _messages(), "correlationIds": {"property": _correlation()}},
    }


def _correlation() -> _Part:
    return {"description": "The AMQP property correlation_id", "location": "$message.header#/correlation_id"}


def _messages() -> _Part:
    names = ["order.submit", "order.submit.answer", "gateway.callback", *COMMANDS]
    names += [f"{name}.answer" for name in COMMANDS]
    messages = {name: _message(name, name, EXAMPLES[name]) for name in names}
    for name in EVENT_STATES:
        examples = tuple(example for example in EXAMPLES["order.event"] if example["event"] == name)
        messages[name] = _message(name, "order.event", examples)
    messages["dead.letter"] = {
        "name": "dead.letter",
        "title": "A message that could not be processed",
        "summary": "Body and properties are the original's; the headers say why it is here.",
        "headers": _schema("dead.headers"),
        "examples": [{"name": "dead.headers", "headers": EXAMPLES["dead.headers"][0]}],
    }
    return messages


def _message(name: str, schema: str, examples: tuple[_Part, ...]) -> _Part:
    answer = name.endswith(".answer")
    listed = _OF_ANSWERS if answer else tuple(_PROPERTIES)
    message: _Part = {
        "name": name,
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {each: {"type": "string", "description": _PROPERTIES[each]} for each in listed},
        },
        "correlationId": {"$ref": "#/components/correlationIds/property"},
        "payload": _schema(schema),
        "bindings": {
            "amqp": {
                "contentEncoding": "utf-8",
                **({} if answer else {"messageType": name}),
                "bindingVersion": _BINDING_VERSION,
            }
        },
    }
    if examples:
        message["examples"] = [
            {"name": f"{name}-{number}", "payload": example} for number, example in enumerate(examples, 1)
        ]
    return message


def _schema(name: str) -> _Part:
    return {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"json/{name}.json"}}


def _exchange(name: str) -> _Part:
    exchange = {"name": name, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    return {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": _BINDING_VERSION}}


def _queue(name: str) -> _Part:
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"}
    return {"amqp": {"is": "queue", "queue": queue, "bindingVersion": _BINDING_VERSION}}


def _channel(address: str | None, description: str, messages: list[str], **others: Any) -> _Part:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        **others,
    }


def _answer_names() -> list[str]:
    return [f"{name}.answer" for name in ("order.submit", *COMMANDS)]


def _exchange_channels() -> _Part:
    product: _Part = {"product": {"description": "What is bought", "enum": list(PRODUCTS)}}
    what = {"description": "What happened", "enum": [name.removeprefix("order.") for name in EVENT_STATES]}
    orders, events, dead = (_exchange(name) for name in ("orders", "orders.events", "orders.dead"))
    return {
        "submit": _channel(
            "submit.{product}", "Orders from producers", ["order.submit"], parameters=product, bindings=orders
        ),
        "callback": _channel(
            "callback.{gateway}",
            "Upstream callbacks from relays",
            ["gateway.callback"],
            parameters={"gateway": {"description": "A configured gateway"}},
            bindings=orders,
        ),
        "command": _channel(
            "command.{name}",
            "Commands",
            list(COMMANDS),
            parameters={"name": {"description": "The command", "enum": list(COMMANDS)}},
            bindings=orders,
        ),
        "answer": _channel(None, "The queue that a message names in reply_to", _answer_names()),
        "event": _channel(
            "order.{what}.{source}",
            "What became of orders; each producer binds a queue of its own",
            list(EVENT_STATES),
            parameters={"what": what, "source": {"description": "Who asked for the order"}},
            bindings=events,
        ),
        "dead": _channel(
            "{key}",
            "What could not be processed, and (through the alternate exchange) what no queue takes",
            ["dead.letter"],
            parameters={"key": {"description": "The original routing key"}},
            bindings=dead,
        ),
    }


def _queue_channels() -> _Part:
    quorum = {"x-queue-type": "quorum"}
    rows: tuple[tuple[str, str, str, str, list[str], _Part], ...] = (
        *(
            (f"queue.submit.{each}", f"orders.submit.{each}", "orders", f"submit.{each}", ["order.submit"], _ARGUMENTS)
            for each in PRODUCTS
        ),
        ("queue.callbacks", "orders.callbacks", "orders", "callback.#", ["gateway.callback"], _ARGUMENTS),
        ("queue.commands", "orders.commands", "orders", "command.#", list(COMMANDS), _ARGUMENTS),
        ("queue.dead", "orders.dead", "orders.dead", "#", ["dead.letter"], quorum),
    )
    return {
        channel: _channel(
            queue,
            f"Quorum queue, bound to {exchange} by {key}",
            messages,
            bindings=_queue(queue),
            **{"x-arguments": arguments},
        )
        for channel, queue, exchange, key, messages, arguments in rows
    }


def _operation(action: str, channel: str, summary: str, *, answers: list[str] | None = None) -> _Part:
    operation: _Part = {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}
    if action == "send":
        operation["bindings"] = {"amqp": {"deliveryMode": 2, "bindingVersion": _BINDING_VERSION}}
    if answers is not None:
        operation["reply"] = {
            "address": {"location": "$message.header#/reply_to"},
            "channel": {"$ref": "#/channels/answer"},
            "messages": [{"$ref": f"#/channels/answer/messages/{name}"} for name in answers],
        }
    return operation


def _operations() -> _Part:
    commands = [f"{name}.answer" for name in COMMANDS]
    return {
        "receiveSubmit": _operation("receive", "submit", "Take in an order", answers=["order.submit.answer"]),
        "receiveCallback": _operation("receive", "callback", "Verify and apply an upstream callback"),
        "receiveCommand": _operation("receive", "command", "Carry out a command and answer it", answers=commands),
        "sendEvent": _operation("send", "event", "Tell what became of an order"),
        "sendDead": _operation("send", "dead", "Keep what cannot be processed, with the reason"),
    }
