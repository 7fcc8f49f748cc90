"""Runs the worker's command line, but sends itself a signal at one point of its code.

`python launcher.py POINT[:PART]=SIGNAL …`, e.g. `apply.before:accepted=SIGKILL`; the rest are the worker's own
arguments. With PART only those calls count whose subject contains it: an order's number, an event's cause, a queue.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from worker.broker.publisher import Publisher
from worker.broker.subscription import Subscription
from worker.cli import main
from worker.gateways import http
from worker.gateways.gateway import Gateway
from worker.ledger.ledger import Ledger

Subject = Callable[..., str]
Method = Callable[..., Awaitable[Any]]


def _order(_self: Any, order: Any, *_: Any, **__: Any) -> str:
    return str(order.order_no)


def _fact(_self: Any, order: Any, fact: Any) -> str:
    made = fact(order) if callable(fact) else fact
    return f"{order.order_no} {made.event}" if made is not None else order.order_no


def _keys(_self: Any, messages: Any) -> str:
    return " ".join(f"{message.exchange}/{message.routing_key}" for message in messages)


def _acks(self: Any, **_: Any) -> str:
    return f"acks of {self._queue}" if self._frontier.waiting else ""  # only where there is something to acknowledge


def _nothing(*_: Any, **__: Any) -> str:
    return "call"


POINTS: dict[str, tuple[type, str, Subject]] = {
    "admit": (Ledger, "admit", _order),
    "apply": (Ledger, "apply", _fact),
    "forget": (Ledger, "forget_events", _nothing),
    "submit": (Gateway, "submit", _order),
    "connected": (http._Request, "write_bytes", _nothing),
    "publish": (Publisher, "publish_many", _keys),
    "ack": (Subscription, "_send_acks", _acks),
}
"""Where the worker can be ended: which method, and what its calls are told apart by."""


def arm(text: str) -> None:
    """Let the process send itself the signal at the point that `text` names."""
    place, _, number = text.partition("=")
    place, _, part = place.partition(":")
    name, _, when = place.partition(".")
    owner, method, subject = POINTS[name]
    original: Method = getattr(owner, method)
    done = False

    def strike(*values: Any, **named: Any) -> None:
        nonlocal done
        if not done and (about := subject(*values, **named)) and part in about:
            done = True
            os.kill(os.getpid(), signal.Signals[number])

    async def wrapped(*values: Any, **named: Any) -> Any:
        if when == "before":
            strike(*values, **named)
        result = await original(*values, **named)
        if when == "after":
            strike(*values, **named)
        return result

    setattr(owner, method, wrapped)


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    main()
