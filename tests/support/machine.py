"""Orders and facts for the machine, and what it makes of them at one fixed moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

from worker.core.machine import Decision, Ignored, Moment, decide
from worker.core.order import Event, Fact, Order, ReviewKind, State
from worker.core.policy import Policy
from worker.core.rules import transitions

S, E = State, Event
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
POLICY = Policy()
TRANSITIONS = frozenset(transitions())


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def an_order(state: State, **given: Any) -> Order:
    """An order of one gateway whose only call began a minute ago."""
    values: dict[str, Any] = {
        "state": state,
        "version": 5,
        "revision": 9,
        "sending": 1,
        "sent_at": ago(60),
        "unsent": 1 if state is S.QUEUED else 0,
        "review_kind": ReviewKind.CONTRADICTION if state is S.REVIEW else None,
        "delivered": state in (S.SUCCEEDED, S.PARTIAL, S.REFUNDED),
        "arrived_fen": 3000 if state is S.PARTIAL else None,
    }
    values |= {"route": ("a",)} | given
    return Order("T1", "shop", "mobile", 5000, {"mobile": "13800138000"}, gateway="a", **values)


def a_fact(event: Event, **given: Any) -> Fact:
    arrived = 3000 if event is E.ARRIVED_IN_PART else None
    return Fact(event, **{"arrived_fen": arrived, "evidence": {"reply": "…"}} | given)


def step(order: Order, fact: Fact, now: datetime = NOW, policy: Policy = POLICY) -> Decision:
    """What the machine decides, which has to be something."""
    decision = decide(order, fact, Moment(now, policy))
    assert isinstance(decision, Decision)
    return decision


def ignored(order: Order, fact: Fact, policy: Policy = POLICY) -> bool:
    return isinstance(decide(order, fact, Moment(NOW, policy)), Ignored)
