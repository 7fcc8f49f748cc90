"""The order's state machine as one table: (state, event) -> rule.

A pair that is missing changes nothing. The diagram in `worker/README.md` and the database's table of
allowed transitions are generated from it; `machine.py` reads it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.core.order import Event, Fact, Order, ReviewKind, State
from worker.core.policy import Policy

S, E = State, Event

Choice = Callable[[Order, Fact, datetime, Policy], State]


@dataclass(frozen=True, slots=True)
class Rule:
    """Where an event may lead: `choose` picks one of `to`.

    Staying in the same state is journalled where `note` is set, once for each code where `once` is.
    `reason` is the code of the review that this rule opens.
    """

    to: tuple[State, ...]
    choose: Choice
    note: bool = False
    once: bool = True
    reason: str | None = None


# --- choices -----------------------------------------------------------------------------------


def next_gateway(order: Order) -> str | None:
    """Return the gateway after the current one in the order's route; None: no other may have it."""
    if order.cancelling:
        return None
    following = order.route[order.route.index(order.gateway) + 1 :] if order.gateway in order.route else ()
    return following[0] if following else None


def _fail_over(order: Order, _fact: Fact, _now: datetime, _policy: Policy) -> State:
    return S.QUEUED if next_gateway(order) else S.FAILED


def _take(order: Order, _fact: Fact, now: datetime, _policy: Policy) -> State:
    return S.CANCELLED if order.expires_at is not None and now >= order.expires_at else S.SUBMITTING


def of_older_call(order: Order, fact: Fact) -> bool:
    """Return whether a later call has begun since the one that `fact` is about."""
    return fact.sending is not None and fact.sending != order.sending


def never_left(order: Order) -> bool:
    """Return whether each call before the latest is known to have come to nothing (or may be repeated)."""
    return order.unsent == order.sending - 1


def _not_sent(order: Order, _fact: Fact, _now: datetime, _policy: Policy) -> State:
    # the hint must be about an earlier call, which was held to be absent: ask once more before it is sent again
    return S.UNKNOWN if order.hinted and not never_left(order) else S.QUEUED


def _lost(order: Order, fact: Fact, _now: datetime, policy: Policy) -> State:
    if order.state is S.SUBMITTING and of_older_call(order, fact):
        return S.SUBMITTING  # the call in flight is still awaited
    return S.QUEUED if policy.repeat_safe else S.UNKNOWN


def _overdue(order: Order, now: datetime, policy: Policy) -> bool:
    since = order.payment_expires_at or order.sent_at  # until a charge expires the payer is waited for, not the gateway
    return since is not None and now - since >= timedelta(seconds=policy.query_deadline)


def _lost_in_flight(order: Order, fact: Fact, now: datetime, policy: Policy) -> State:
    # repeated where that costs nothing, but not for ever
    state = _lost(order, fact, now, policy)
    return S.REVIEW if state is S.QUEUED and _overdue(order, now, policy) else state


def _wait(order: Order, _fact: Fact, now: datetime, policy: Policy) -> State:
    return S.REVIEW if _overdue(order, now, policy) else order.state


def _charging(order: Order, _fact: Fact, now: datetime, policy: Policy) -> State:
    return S.REVIEW if _overdue(order, now, policy) else S.PENDING


def _absent(order: Order, fact: Fact, now: datetime, policy: Policy) -> State:
    if order.upstream_no is not None:
        # it had the order, under a number of its own: it is never sent again, just as after `accepted`
        return _wait(order, fact, now, policy)
    # from the first answer to the last question: an answer that somebody held back proves nothing about the time since
    asked_at = fact.asked_at or now
    held = asked_at - (order.absent_since or asked_at)
    settled = order.absent_count + 1 >= policy.settle_queries and held >= timedelta(seconds=policy.settle_seconds)
    if settled and order.doubt:
        return S.FAILED
    if settled and not _overdue(order, now, policy):
        return S.QUEUED
    return _wait(order, fact, now, policy)


def _refused(order: Order, fact: Fact, now: datetime, policy: Policy) -> State:
    # a callback about a call that was refused contradicts the refusal: the gateway is asked before it is believed
    return S.UNKNOWN if order.hinted else _fail_over(order, fact, now, policy)


def _unfunded(order: Order, _fact: Fact, _now: datetime, _policy: Policy) -> State:
    # the next gateway's attempt is queued, or else this one again; contradicted by a callback, the gateway is asked
    return S.UNKNOWN if order.hinted else S.QUEUED


def _refused_in_flight(order: Order, _fact: Fact, _now: datetime, _policy: Policy) -> State:
    # our call must be over before another gateway gets the order; its end makes us ask at once
    return order.state if next_gateway(order) else S.FAILED


def _hinted(order: Order, _fact: Fact, _now: datetime, _policy: Policy) -> State:
    # it was sent and then held to be absent: ask once more before it is sent again
    return S.UNKNOWN if order.sent_at is not None else S.QUEUED


def _payment_due(order: Order, fact: Fact, now: datetime, policy: Policy) -> State:
    # the late answer to a call, or a callback, does not tell that it was still unpaid when it expired
    if order.payment_expires_at is not None and fact.asked_at is not None and fact.asked_at >= order.payment_expires_at:
        return S.CANCELLED
    return _wait(order, fact, now, policy)


def _if_sent(state: State) -> Choice:
    """A report about a call that was never begun is a contradiction."""
    return lambda order, _fact, _now, _policy: S.REVIEW if order.sent_at is None else state


def _if_sent_fail_over(order: Order, fact: Fact, now: datetime, policy: Policy) -> State:
    return order.state if order.sent_at is None else _fail_over(order, fact, now, policy)


def _if_overdue(state: State) -> Choice:
    """A review that was opened only because nobody answered ends with a proven answer."""
    return lambda order, _fact, _now, _policy: state if order.review_kind is ReviewKind.OVERDUE else S.REVIEW


def _unless_repeatable(order: Order, _fact: Fact, _now: datetime, policy: Policy) -> State:
    return order.state if policy.repeat_safe else S.REVIEW


def _unless_delivered(order: Order, _fact: Fact, _now: datetime, _policy: Policy) -> State:
    return order.state if order.delivered else S.REVIEW


def _unless_known(order: Order, fact: Fact, _now: datetime, _policy: Policy) -> State:
    """A late acceptance is no news about an order whose end the gateway itself has reported."""
    known = order.upstream_no is not None and fact.upstream_no in (None, order.upstream_no)
    return order.state if known else S.REVIEW


def _to(state: State, *, reason: str | None = None) -> Rule:
    return Rule((state,), lambda _order, _fact, _now, _policy: state, reason=reason)


def _stay(order: Order, _fact: Fact, _now: datetime, _policy: Policy) -> State:
    return order.state


def _note(state: State, *, reason: str | None = None) -> Rule:
    return Rule((state,), _stay, note=True, reason=reason)


def _review(reason: str) -> Rule:
    return _to(S.REVIEW, reason=reason)


# --- the table ---------------------------------------------------------------------------------


def _open_rules(state: State) -> dict[Event, Rule]:
    """The rules that every state with a call behind it shares (submitting, unknown, pending, awaiting payment)."""
    return {
        E.ACCEPTED: _to(S.PENDING),
        E.REJECTED: Rule((S.QUEUED, S.FAILED), _fail_over),
        E.CHARGING: Rule((S.PENDING, S.REVIEW), _charging, reason="no_answer"),
        E.PAYMENT_DUE: _to(S.AWAITING_PAYMENT),
        E.ARRIVED: _to(S.SUCCEEDED),
        E.ARRIVED_IN_PART: _to(S.PARTIAL),
        E.REFUSED: Rule((S.QUEUED, S.FAILED), _fail_over),
        E.RETURNED: _to(S.REFUNDED),
        E.CALLED_OFF: _to(S.CANCELLED),
        E.DISPUTED: _review("disputed"),
        E.MISMATCH: _review("mismatch"),
        E.ABSENT: Rule((state, S.REVIEW), _wait, note=True, reason="no_answer"),
        E.UNCLEAR: Rule((state, S.REVIEW), _wait, note=True, reason="no_answer"),
        E.SILENT: Rule((state, S.REVIEW), _wait, reason="no_answer"),
        E.CLAIMED: _note(state),
        E.GHOST: _review("earlier_attempt_lives"),
        E.OLD_NEWS: _note(state),
    }


def _final_rules(state: State) -> dict[Event, Rule]:
    """The rules that every final state starts from: noted, or a contradiction."""
    return {
        E.MISMATCH: _review("mismatch"),
        E.GHOST: _review("earlier_attempt_lives"),
        E.OLD_NEWS: _note(state),
        E.ABSENT: _note(state),
        E.UNCLEAR: _note(state),
        E.DISPUTED: _note(state),
        E.CLAIMED: _note(state),
    }


def _late_success(state: State) -> dict[Event, Rule]:
    return {
        E.ARRIVED: _review("success_after_failure"),
        E.ARRIVED_IN_PART: _review("success_after_failure"),
        E.ACCEPTED: Rule((state, S.REVIEW), _unless_known, note=True, reason="acceptance_after_failure"),
        # reports come late and again: on their own these say nothing
        E.CHARGING: _note(state),
        E.PAYMENT_DUE: _note(state),
    }


def _late_failure() -> dict[Event, Rule]:
    reason = "failure_after_success"
    return {event: _review(reason) for event in (E.REJECTED, E.UNFUNDED, E.REFUSED, E.CALLED_OFF)}


# where calls may be repeated each makes a charge of its own: another one was refused than the one that is due
_CHARGE_REFUSED = Rule((S.AWAITING_PAYMENT, S.REVIEW), _unless_repeatable, note=True, reason="refusal_after_acceptance")


_ROWS: dict[State, dict[Event, Rule]] = {
    S.QUEUED: {
        E.TAKEN: Rule((S.SUBMITTING, S.CANCELLED), _take),
        E.EXPIRED: _to(S.CANCELLED),
        E.CANCEL_REQUESTED: _to(S.CANCELLED),
        # an earlier sending under this same number turns out to live after all
        E.UNANSWERED: Rule((S.UNKNOWN, S.QUEUED), _lost, note=True),
        E.ACCEPTED: Rule((S.PENDING, S.REVIEW), _if_sent(S.PENDING), reason="never_sent"),
        E.REJECTED: Rule((S.QUEUED, S.FAILED), _if_sent_fail_over, note=True),
        E.UNFUNDED: _note(S.QUEUED),
        E.CHARGING: Rule((S.PENDING, S.REVIEW), _if_sent(S.PENDING), reason="never_sent"),
        E.PAYMENT_DUE: Rule((S.AWAITING_PAYMENT, S.REVIEW), _if_sent(S.AWAITING_PAYMENT), reason="never_sent"),
        E.ARRIVED: Rule((S.SUCCEEDED, S.REVIEW), _if_sent(S.SUCCEEDED), reason="never_sent"),
        E.ARRIVED_IN_PART: Rule((S.PARTIAL, S.REVIEW), _if_sent(S.PARTIAL), reason="never_sent"),
        E.REFUSED: Rule((S.QUEUED, S.FAILED), _if_sent_fail_over, note=True),
        E.RETURNED: Rule((S.REFUNDED, S.REVIEW), _if_sent(S.REFUNDED), reason="never_sent"),
        E.CALLED_OFF: Rule((S.CANCELLED, S.REVIEW), _if_sent(S.CANCELLED), reason="never_sent"),
        E.DISPUTED: _review("disputed"),
        E.MISMATCH: _review("mismatch"),
        E.UNCLEAR: _note(S.QUEUED),
        E.CLAIMED: Rule((S.QUEUED, S.UNKNOWN), _hinted, note=True),
        E.GHOST: _review("earlier_attempt_lives"),
        E.OLD_NEWS: _note(S.QUEUED),
    },
    S.SUBMITTING: _open_rules(S.SUBMITTING)
    | {
        E.REJECTED: Rule((S.QUEUED, S.FAILED, S.UNKNOWN), _refused),
        E.UNFUNDED: Rule((S.QUEUED, S.UNKNOWN), _unfunded),
        E.REFUSED: Rule((S.SUBMITTING, S.FAILED), _refused_in_flight, note=True),
        E.CHARGING: _to(S.PENDING),
        E.ABSENT: _note(S.SUBMITTING),
        E.UNCLEAR: _note(S.SUBMITTING),
        E.SILENT: _note(S.SUBMITTING),
        E.NOT_SENT: Rule((S.QUEUED, S.UNKNOWN), _not_sent),
        E.UNANSWERED: Rule(
            (S.UNKNOWN, S.QUEUED, S.SUBMITTING, S.REVIEW), _lost_in_flight, note=True, reason="no_answer"
        ),
        E.LEASE_ENDED: Rule((S.UNKNOWN, S.QUEUED), _lost),
    },
    S.UNKNOWN: _open_rules(S.UNKNOWN)
    | {
        E.REJECTED: Rule((S.QUEUED, S.FAILED, S.UNKNOWN), _refused, note=True),
        E.UNFUNDED: Rule((S.QUEUED, S.UNKNOWN), _unfunded, note=True),
        E.NOT_SENT: Rule((S.QUEUED, S.UNKNOWN), _not_sent, note=True),
        E.UNANSWERED: _note(S.UNKNOWN),
        E.ABSENT: Rule((S.UNKNOWN, S.QUEUED, S.FAILED, S.REVIEW), _absent, note=True, once=False, reason="no_answer"),
    },
    S.PENDING: _open_rules(S.PENDING)
    | {
        E.REJECTED: _review("refusal_after_acceptance"),
        E.UNFUNDED: _review("refusal_after_acceptance"),
        E.ACCEPTED: _note(S.PENDING),
        E.CANCEL_REQUESTED: _note(S.PENDING),
    },
    S.AWAITING_PAYMENT: _open_rules(S.AWAITING_PAYMENT)
    | {
        # where calls may be repeated each makes a charge of its own: another one was refused than the one that is due
        E.REJECTED: _CHARGE_REFUSED,
        E.UNFUNDED: _CHARGE_REFUSED,
        E.ACCEPTED: _note(S.AWAITING_PAYMENT),
        E.CANCEL_REQUESTED: _note(S.AWAITING_PAYMENT),
        E.PAYMENT_DUE: Rule((S.AWAITING_PAYMENT, S.CANCELLED, S.REVIEW), _payment_due, reason="no_answer"),
    },
    S.REVIEW: {
        E.ARRIVED: Rule((S.SUCCEEDED, S.REVIEW), _if_overdue(S.SUCCEEDED), note=True),
        E.ARRIVED_IN_PART: Rule((S.PARTIAL, S.REVIEW), _if_overdue(S.PARTIAL), note=True),
        E.REFUSED: Rule((S.FAILED, S.REVIEW), _if_overdue(S.FAILED), note=True),
        E.RETURNED: Rule((S.REFUNDED, S.REVIEW), _if_overdue(S.REFUNDED), note=True),
        E.CALLED_OFF: Rule((S.CANCELLED, S.REVIEW), _if_overdue(S.CANCELLED), note=True),
        E.RESOLVED_SUCCEEDED: _to(S.SUCCEEDED),
        E.RESOLVED_FAILED: _to(S.FAILED),
        E.RESUBMITTED: _to(S.QUEUED),
        # the reason makes a contradiction of a review that was only overdue
        E.DISPUTED: _note(S.REVIEW, reason="disputed"),
        E.MISMATCH: _note(S.REVIEW, reason="mismatch"),
        E.GHOST: _note(S.REVIEW, reason="earlier_attempt_lives"),
        **{
            event: _note(S.REVIEW)
            for event in (
                E.ACCEPTED,
                E.REJECTED,
                E.UNFUNDED,
                E.NOT_SENT,
                E.UNANSWERED,
                E.CHARGING,
                E.PAYMENT_DUE,
                E.ABSENT,
                E.UNCLEAR,
                E.CLAIMED,
                E.OLD_NEWS,
            )
        },
    },
    S.SUCCEEDED: _final_rules(S.SUCCEEDED)
    | _late_failure()
    | {E.RETURNED: _to(S.REFUNDED), E.ARRIVED_IN_PART: _review("partial_after_success")},
    S.PARTIAL: _final_rules(S.PARTIAL)
    | _late_failure()
    | {E.RETURNED: _to(S.REFUNDED), E.ARRIVED: _review("success_after_partial")},
    S.FAILED: _final_rules(S.FAILED) | _late_success(S.FAILED) | {E.RETURNED: _to(S.REFUNDED)},
    S.CANCELLED: _final_rules(S.CANCELLED) | _late_success(S.CANCELLED) | {E.RETURNED: _note(S.CANCELLED)},
    S.REFUNDED: _final_rules(S.REFUNDED)
    | {
        E.ARRIVED: Rule((S.REFUNDED, S.REVIEW), _unless_delivered, note=True, reason="success_after_refund"),
        E.ARRIVED_IN_PART: Rule((S.REFUNDED, S.REVIEW), _unless_delivered, note=True, reason="success_after_refund"),
    },
}

TABLE: dict[tuple[State, Event], Rule] = {
    (state, event): rule for state, rules in _ROWS.items() for event, rule in rules.items()
}

ENDINGS: dict[Event, str] = {
    E.TAKEN: "expired",
    E.EXPIRED: "expired",
    E.CANCEL_REQUESTED: "cancelled_by_request",
    E.CALLED_OFF: "cancelled_by_gateway",
    E.PAYMENT_DUE: "payment_expired",
    E.RESOLVED_FAILED: "resolved_by_operator",
}
"""The reason code of an end that such an event brings; any other end is told in the gateway's own code."""

MESSAGES: dict[str, str] = {
    "expired": "it was not sent before expires_at",
    "cancelled_by_request": "cancelled by its producer while it waited to be sent",
    "cancelled_by_gateway": "the gateway cancelled it",
    "payment_expired": "nobody paid before the charge expired",
    "disputed": "the gateway cannot say what became of it",
    "mismatch": "the gateway's answer is not about our order as it is",
    "no_answer": "no conclusive answer within the query deadline",
    "never_sent": "the gateway reports an order that was never sent",
    "earlier_attempt_lives": "an attempt that was given up lives: money may have moved twice",
    "refusal_after_acceptance": "the submit was refused, yet the gateway has the order",
    "success_after_failure": "success was reported after the order had failed or been cancelled",
    "acceptance_after_failure": "the gateway took the order, which had failed or been cancelled",
    "failure_after_success": "failure was reported after money had arrived",
    "partial_after_success": "a partial arrival was reported after full success",
    "success_after_partial": "full success was reported after a partial arrival",
    "success_after_refund": "success was reported after a refund",
    "resolved_by_operator": "an operator decided",
}
"""What each reason code of ours means, for events and `worker orders show`."""


def transitions() -> Iterator[tuple[State | None, State, Event]]:
    """Yield every (from, to, cause) that may stand in the journal."""
    yield None, S.QUEUED, E.ADMITTED
    yield None, S.SUBMITTING, E.ADMITTED
    for (state, event), rule in TABLE.items():
        for to in rule.to:
            # a failover out of `queued` stays in that state, yet is a transition: the attempt grows
            if to is not state or rule.note or to is S.QUEUED:
                yield state, to, event
