"""Runs the worker's command line in a forked process, which may send itself a signal at one point of its code.

A point is `NAME.before[:PART]=SIGNAL` or `NAME.after…`, e.g. `apply.before: accepted=SIGKILL`. With PART only those
calls count whose subject contains it: an order's number, an event's cause, a queue, a routing key.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from worker.broker.letterbox import Letterbox
from worker.broker.message import Outgoing
from worker.broker.publisher import Publisher
from worker.broker.subscription import Subscription
from worker.cli import main
from worker.core.order import Order
from worker.gateways import http
from worker.gateways.gateway import Gateway
from worker.ledger.cards import CardBook
from worker.ledger.ledger import Ledger

Subject = Callable[..., str]
Method = Callable[..., Awaitable[Any]]


def _order(_self: object, order: Order, *_: object, **__: object) -> str:
    return order.order_no


def _fact(_self: object, order: Order, fact: Any) -> str:
    made = fact(order) if callable(fact) else fact
    return f"{order.order_no} {made.event}" if made is not None else order.order_no


def _keys(_self: object, messages: Sequence[Outgoing]) -> str:
    return " ".join(message.routing_key for message in messages)


def _acks(self: Subscription, **_: object) -> str:
    return f"acks of {self._queue}" if self._frontier.waiting else ""  # only where there is something to acknowledge


def _call(*_: object, **__: object) -> str:
    return "a call"


POINTS: dict[str, tuple[type, str, Subject]] = {
    "admit": (Ledger, "admit", _order),
    "apply": (Ledger, "apply", _fact),
    "forget": (Ledger, "forget_events", _call),
    "synchronize": (Ledger, "synchronize", _call),
    "submit": (Gateway, "submit", _order),
    "keep_card": (CardBook, "keep", _call),
    "connected": (http._Request, "write_bytes", _call),
    "publish": (Publisher, "publish_many", _keys),
    "letters": (Letterbox, "forget", _call),
    "ack": (Subscription, "_send_acks", _acks),
}
"""Where the worker can be ended: which method, and what its calls are told apart by."""


def arm(text: str) -> None:
    """Let this process send itself the signal at the point that `text` names, once."""
    place, _, number = text.partition("=")
    place, _, part = place.partition(":")
    name, _, when = place.partition(".")
    owner, method, subject = POINTS[name]
    original: Method = getattr(owner, method)
    struck = False

    def strike(*values: Any, **named: Any) -> None:
        nonlocal struck
        if not struck and (about := subject(*values, **named)) and part in about:
            struck = True
            os.kill(os.getpid(), signal.Signals[number])

    async def wrapped(*values: Any, **named: Any) -> Any:
        if when == "before":
            strike(*values, **named)
        result = await original(*values, **named)
        if when == "after":
            strike(*values, **named)
        return result

    setattr(owner, method, wrapped)


def run(arguments: list[str], log: str, ends_at: str | None) -> None:
    """Be the worker's command, in the process that was forked for it."""
    sink = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for standard in (1, 2):
        os.dup2(sink, standard)
    for name in [name for name in os.environ if name.startswith("WORKER_")]:
        del os.environ[name]
    if ends_at is not None:
        arm(ends_at)
    sys.argv = ["worker", *arguments]
    main()
