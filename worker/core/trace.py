"""Trace context as W3C writes it: taken from a message, kept with its order, handed on with what follows from it.

A context is one text: the `traceparent`, and after a space the `tracestate` where there is one. Nothing here records
a span; who does, derives from `Tracing`.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from enum import Enum, auto
from typing import Any

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""The names of the headers, in AMQP as in HTTP."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_TRACESTATE = re.compile(r"[a-z0-9][a-z0-9_\-*/@]*=[\x20-\x7e]+")
_LONGEST_STATE = 512
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_KNOWN_FLAGS = 0b11  # sampled, random trace id; what else is set there is not ours to hand on
_SPAN_AT, _SPAN_END, _STATE_AT = 36, 52, 55 + 1  # in a context

Bits = Callable[[int], int]
"""Returns an integer of so many random bits."""


def read(headers: Mapping[str, Any]) -> str | None:
    """Return the context that headers carry; None: none, or not one as W3C writes it."""
    given = headers.get(TRACEPARENT)
    if not isinstance(given, str) or (found := _TRACEPARENT.fullmatch(given)) is None:
        return None
    version, trace, span, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or trace == _NO_TRACE or span == _NO_SPAN:
        return None
    context = f"00-{trace}-{span}-{int(flags, 16) & _KNOWN_FLAGS:02x}"
    state = headers.get(TRACESTATE)
    if isinstance(state, str) and len(state) <= _LONGEST_STATE and _TRACESTATE.fullmatch(state):
        return f"{context} {state}"
    return context


def child(context: str, bits: Bits) -> str:
    """Return the context of a new span below `context`."""
    return f"{context[:_SPAN_AT]}{bits(64) or 1:016x}{context[_SPAN_END:]}"


def headers(context: str | None) -> dict[str, str]:
    """Return the headers that carry `context`."""
    if context is None:
        return {}
    state = context[_STATE_AT:]
    carried = {TRACEPARENT: context[: _STATE_AT - 1]}
    return {**carried, TRACESTATE: state} if state else carried


def trace_id(context: str) -> str:
    """Return the 32 hexadecimal digits that name the whole trace."""
    return context[3:35]


COMMAND: ContextVar[str | None] = ContextVar("trace_of_command", default=None)
"""The context of the command that the present task carries out: its calls are the command's, whatever order they
are about."""


class Kind(Enum):
    """What a span is about."""

    CONSUMER = auto()  # a message that is taken in; where it has no context, a trace begins here
    INTERNAL = auto()  # work of ours, of which the outside sees nothing
    CLIENT = auto()  # a call to a gateway
    PRODUCER = auto()  # a message that is sent


class Span:
    """A piece of work. `context` is what goes out with it, None where there is no trace. This one is not recorded."""

    __slots__ = ("context",)

    def __init__(self, context: str | None) -> None:
        self.context = context

    def end(self, outcome: str, *, failed: bool = False, **about: str | int | None) -> None:
        """Note that the work is over, and what came of it; `about` must hold nothing about a person."""


_UNTRACED = Span(None)


class Tracing:
    """Hands contexts on, each outgoing call and message as a span of its own, and records none.

    Args:
        bits: where span ids come from.
    """

    def __init__(self, bits: Bits) -> None:
        self._bits = bits

    def span(self, name: str, kind: Kind, parent: str | None) -> Span:  # noqa: ARG002 - for whoever records it
        """Begin a piece of work that follows from `parent`; it must be ended."""
        if parent is None:
            return _UNTRACED
        # a span that nobody records has no name outside but the one that leaves with a call or a message
        outgoing = kind is Kind.CLIENT or kind is Kind.PRODUCER
        return Span(child(parent, self._bits) if outgoing else parent)

    def stop(self) -> None:
        """Send off what is recorded; may take seconds, so not on the loop."""
