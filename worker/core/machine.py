"""The one function that moves an order: the table in `rules.py`, applied to a fact.

Pure: the order as it is and what happened go in, what is to be written comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from worker.core.masking import mask
from worker.core.order import FINAL, NOTHING, Event, Fact, Order, Reason, ReviewKind, State
from worker.core.policy import Policy
from worker.core.rules import ENDINGS, MESSAGES, TABLE, Rule, never_left, next_gateway, of_older_call

S, E = State, Event


class Moment(NamedTuple):
    """The circumstances of a decision: the database's time, the gateway's policy, and chance in [0, 1) for jitter."""

    now: datetime
    policy: Policy
    chance: float = 0.5


class Decision(NamedTuple):
    """What is to be written: the order as it will be, and what goes with it in the same transaction."""

    order: Order
    before: State | None  # None: the order is new
    at: datetime  # when it was decided, on the database's clock
    fact: Fact
    event: Event  # the journal's cause; differs from `fact.event` where the fact is about another attempt or call
    journal: bool  # False: only counters and the alarm move
    due_in: float | None  # seconds until the alarm; None leaves it where it is (a state without a task has none)
    tell: str | None  # the event to publish: `order.<tell>`
    changes: Mapping[str, Any] = NOTHING  # the fields of `order` that differ from before
    new_attempt: bool = False  # the order has a new number at a gateway


@dataclass(frozen=True, slots=True)
class Ignored:
    """The fact changes nothing: it is old, repeated, or has no meaning in this state."""

    order: Order
    event: Event | None


_TOLD = {
    S.AWAITING_PAYMENT: "awaiting_payment",
    S.SUCCEEDED: "succeeded",
    S.PARTIAL: "partial",
    S.FAILED: "failed",
    S.REFUNDED: "refunded",
    S.CANCELLED: "cancelled",
    S.REVIEW: "review",
    S.PENDING: "pending",
    S.UNKNOWN: "unknown",
}
"""The event that is published when a state is entered; settings decide which of them leave."""

_WITH_REASON = frozenset({S.PARTIAL, S.FAILED, S.REFUNDED, S.CANCELLED, S.REVIEW})
_LIVING = frozenset({E.ACCEPTED, E.CHARGING, E.PAYMENT_DUE, E.ARRIVED, E.ARRIVED_IN_PART, E.DISPUTED, E.MISMATCH})
_ENDED = frozenset({E.REJECTED, E.UNFUNDED, E.REFUSED, E.RETURNED, E.CALLED_OFF})
_NUMBERED = (_LIVING | _ENDED) - {E.MISMATCH}
"""Events that say what became of the order which their number at the gateway names."""
_ANSWERS = frozenset({E.CHARGING, E.PAYMENT_DUE, E.ABSENT, E.UNCLEAR, E.SILENT, E.UNANSWERED})
"""Events that answer (or fail to answer) a question: where the order stays, the next query is set."""
_PLAIN = frozenset({E.CHARGING, E.PAYMENT_DUE, E.SILENT})
"""Answers without news: the next hint is worth a question again."""
_ASKED = frozenset({S.UNKNOWN, S.PENDING, S.AWAITING_PAYMENT})
_ABOUT_ANOTHER = frozenset({E.GHOST, E.OLD_NEWS, E.MISMATCH, E.CLAIMED})
"""Events whose details are another order's, or nobody's word: nothing of them is taken over."""
_OURS = frozenset({E.TAKEN, E.EXPIRED, E.CANCEL_REQUESTED, E.RESOLVED_SUCCEEDED, E.RESOLVED_FAILED, E.RESUBMITTED})
"""Events that are about the order as such, not about a certain attempt."""


def admit(order: Order, moment: Moment, *, sending: bool) -> Decision:
    """Return how a new order is written: `submitting` where its call follows at once, else `queued`."""
    fact = Fact(E.ADMITTED)
    state = S.SUBMITTING if sending else S.QUEUED
    changes: dict[str, Any] = {"state": state, "version": 1, "revision": 1}
    if sending:
        changes |= {"sending": 1, "sent_at": moment.now}
    admitted = order.changed(changes)
    return Decision(
        admitted,
        None,
        moment.now,
        fact,
        E.ADMITTED,
        journal=True,
        due_in=moment.policy.lease if sending else 0.0,
        tell="accepted",
    )


def decide(order: Order, fact: Fact, moment: Moment) -> Decision | Ignored:
    """Return what `fact` makes of `order`, the row as it is, without touching anything."""
    fact = _believable(order, fact)
    event = _about(order, fact)
    rule = TABLE.get((order.state, event)) if event is not None else None
    if event is None or rule is None:
        return Ignored(order, event)
    state = rule.choose(order, fact, moment.now, moment.policy)
    if state is order.state and not _anew(order, fact, event, rule):
        return _remain(order, fact, event, rule, moment)
    over = event in _ENDED and next_gateway(order) is not None
    failover = state is S.QUEUED and (over or event is E.RESUBMITTED)
    changes = _entering(order, fact, event, rule, state) | _calling(order, fact, event, state, moment)
    if failover:
        changes |= _next_attempt(order, event)
    entered = order.changed(changes)
    due_in = _due_in(entered, event, moment)
    if order.state is S.SUBMITTING and order.hinted and state in _ASKED:
        due_in = 0.0  # the hint came before the answer to the call
    tell = _TOLD.get(state)
    return Decision(
        entered,
        order.state,
        moment.now,
        fact,
        event,
        journal=True,
        due_in=due_in,
        tell=tell,
        changes=changes,
        new_attempt=failover,
    )


def _believable(order: Order, fact: Fact) -> Fact:
    """Return `fact`, as a mismatch where it names another number of theirs than this attempt has: one of two lives."""
    told, known = fact.upstream_no, order.upstream_no
    if told is None or known is None or told == known or fact.attempt != order.attempt:
        return fact
    if fact.payment is not None or fact.event not in _NUMBERED:
        return fact  # a second charge of the payer's is told to nobody
    message = f"their number: {mask(known)} until now, then {mask(told)} ({fact.event})"
    # whole, for whoever asks them about both: such a number says nothing about a person, and events tell it, too
    evidence = {**fact.evidence, "their_numbers": [known, told]}
    return fact._replace(event=E.MISMATCH, code="mismatch", message=message, evidence=evidence)


def _about(order: Order, fact: Fact) -> Event | None:
    """Return the event that the fact means for the current attempt and call; None: nothing."""
    event = fact.event
    if event in _OURS:
        return event
    if fact.payment is not None and (fact.attempt != order.attempt or order.payment is not None):
        # only one credential of an order is ever told, so that only one charge can be paid: this one reaches nobody
        return E.OLD_NEWS
    if fact.attempt != order.attempt:
        return E.GHOST if event in _LIVING else E.OLD_NEWS if event in _ENDED else None
    if of_older_call(order, fact):
        # the same number at the gateway: that it lives, or may live, is news; that it failed is not
        return event if event in _LIVING or event is E.UNANSWERED else None
    return event


def _anew(order: Order, fact: Fact, event: Event, rule: Rule) -> bool:
    """Return whether an order that stays in its state nevertheless makes a step."""
    match order.state:
        case S.QUEUED:  # a failover: the next attempt
            return event in _ENDED and order.sent_at is not None
        case S.SUBMITTING | S.UNKNOWN:  # no failure that a call until now reports is believed any more
            return event is E.UNANSWERED and of_older_call(order, fact)
        case S.REVIEW:  # it was only overdue, and is a contradiction now
            return order.review_kind is ReviewKind.OVERDUE and rule.reason is not None
    return False


def _remain(order: Order, fact: Fact, event: Event, rule: Rule, moment: Moment) -> Decision | Ignored:
    noted = f"{event}:{fact.message if event is E.MISMATCH else fact.code}"  # each contradiction is news of its own
    journal = rule.note and not (rule.once and noted == order.noted)
    answer = event in _ANSWERS and order.state in _ASKED
    hint = event is E.CLAIMED and order.state in _ASKED
    if not journal and not answer:
        return Ignored(order, event)
    changes: dict[str, Any] = {"revision": order.revision + 1}
    if event is E.CANCEL_REQUESTED:
        changes["cancelling"] = True
    if event in _PLAIN:
        changes["noted"] = None
    if event not in _ABOUT_ANOTHER:
        changes["upstream_no"] = order.upstream_no or fact.upstream_no
    if journal:
        changes["noted"] = noted
    if answer or hint:
        changes |= _absence(order, event, moment.now) | {"queries": order.queries + answer}
    if (event is E.UNANSWERED and fact.doubt) or (event is E.REJECTED and order.state is S.UNKNOWN):
        changes["doubt"] = _doubt(fact)
    remaining = order.changed(changes)
    due_in = _due_in(remaining, event, moment) if answer or hint else None
    return Decision(
        remaining, order.state, moment.now, fact, event, journal=journal, due_in=due_in, tell=None, changes=changes
    )


def _absence(order: Order, event: Event, now: datetime) -> dict[str, Any]:
    """Count the answers "no such order" while they come in a row; silence neither counts nor breaks it, a hint does."""
    if event is E.ABSENT:
        return {"absent_count": order.absent_count + 1, "absent_since": order.absent_since or now}
    if event is E.SILENT:
        return {}
    return {"absent_count": 0, "absent_since": None}


def _doubt(fact: Fact) -> Reason:
    return Reason(fact.code or "unlisted", fact.message or "")


def _entering(order: Order, fact: Fact, event: Event, rule: Rule, state: State) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "state": state,
        "version": order.version + 1,
        "revision": order.revision + 1,
        "queries": 0,
        "noted": None,
        "absent_count": 0,
        "absent_since": None,
        "review_kind": _review_kind(event, rule, state),
        "reason": _reason(order, fact, event, rule, state) if state in _WITH_REASON else None,
    }
    if event not in _ABOUT_ANOTHER:
        changes["upstream_no"] = order.upstream_no or fact.upstream_no
        if fact.cost_fen is not None:
            changes["cost_fen"] = fact.cost_fen
        if fact.payment is not None:
            changes["payment"] = fact.payment
        if fact.payment is not None or fact.payment_expires_at is not None:
            changes["payment_expires_at"] = fact.payment_expires_at
    if state in (S.SUCCEEDED, S.PARTIAL):
        changes |= {"delivered": True, "arrived_fen": fact.arrived_fen}
    return changes


def _calling(order: Order, fact: Fact, event: Event, state: State, moment: Moment) -> dict[str, Any]:
    """What a step changes about our calls."""
    changes: dict[str, Any] = {}
    if state is S.QUEUED and event in (E.NOT_SENT, E.UNFUNDED, E.UNANSWERED, E.LEASE_ENDED):
        changes["unsent"] = order.unsent + 1
    elif state is not S.SUBMITTING:
        changes["unsent"] = 0
    nothing = event is E.NOT_SENT or (event is E.UNFUNDED and state is S.QUEUED)
    if nothing and never_left(order) and not moment.policy.repeat_safe:
        changes["sent_at"] = None  # no call is anywhere; where calls may be repeated, lost ones count in `unsent` too
    if event is E.UNANSWERED and order.sent_at is None:
        changes["sent_at"] = moment.now  # of two reports that contradict each other the one that may cost money counts
    if event is E.TAKEN and state is S.SUBMITTING:
        changes |= {"sending": order.sending + 1, "sent_at": order.sent_at or moment.now, "doubt": None}
    if (event is E.UNANSWERED and fact.doubt) or (event is E.REJECTED and state is S.UNKNOWN):
        changes["doubt"] = _doubt(fact)
    if event is E.UNANSWERED and of_older_call(order, fact):
        # that the latest call failed would not end this one: from now on only "no such order" ends both
        changes["sending"] = order.sending + 1
    return changes


def _next_attempt(order: Order, event: Event) -> dict[str, Any]:
    """A new number at the next gateway; nothing of the old attempt is carried over."""
    gateway = order.gateway if event is E.RESUBMITTED else next_gateway(order)
    return {
        "attempt": order.attempt + 1,
        "gateway": gateway or order.gateway,
        "upstream_no": None,
        "arrived_fen": None,
        "cost_fen": None,
        "delivered": False,
        "cancelling": False,
        "payment": None,
        "payment_expires_at": None,
        "sent_at": None,
        "unsent": 0,
        "doubt": None,
    }


def _review_kind(event: Event, rule: Rule, state: State) -> ReviewKind | None:
    if state is not S.REVIEW:
        return None
    overdue = rule.reason == "no_answer" and event in _ANSWERS
    return ReviewKind.OVERDUE if overdue else ReviewKind.CONTRADICTION


def _reason(order: Order, fact: Fact, event: Event, rule: Rule, state: State) -> Reason:
    if state is S.FAILED and event is E.ABSENT and order.doubt is not None:
        return order.doubt
    code = rule.reason if state is S.REVIEW else ENDINGS.get(event)
    if code is None:
        return Reason(fact.code or event.value, fact.message or "the gateway said so")
    detail = fact.message if event in (E.MISMATCH, E.DISPUTED, E.RESOLVED_FAILED, E.CANCEL_REQUESTED) else None
    return Reason(code, detail or MESSAGES[code])


def _due_in(order: Order, event: Event, moment: Moment) -> float | None:
    """Return the seconds until the alarm of `order` as it will be; None where it has none."""
    if order.state in FINAL or order.state is S.REVIEW:
        return None
    if order.state is S.QUEUED:
        return moment.policy.retry_delay(order.unsent, moment.chance) if order.unsent else 0.0
    if order.state is S.SUBMITTING:
        return moment.policy.lease
    if event is E.CLAIMED:
        return 0.0  # a hint: ask at once
    delay = moment.policy.query_delay(order.queries, moment.chance)
    if order.state is S.AWAITING_PAYMENT and order.payment_expires_at is not None:
        left = (order.payment_expires_at - moment.now).total_seconds()
        return min(delay, left) if left > 0 else delay
    return delay
