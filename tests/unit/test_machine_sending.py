"""The machine: orders are admitted and sent, and calls are lost, late, or never left."""

from dataclasses import replace

import pytest
from support.machine import NOW, POLICY, TRANSITIONS, E, S, a_fact, ago, an_order, ignored, step

from worker.core.machine import Moment, admit
from worker.core.order import Event, Order, Reason, State
from worker.core.rules import MESSAGES

# --- admission ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("sending", "state", "due_in"), [(True, S.SUBMITTING, 60), (False, S.QUEUED, 0)])
def test_admission(sending: bool, state: State, due_in: float) -> None:  # noqa: FBT001 - a parameter of the test
    new = Order("T1", "shop", "mobile", 5000, {}, ("a",), "a")
    decision = admit(new, Moment(NOW, POLICY), sending=sending)
    order = decision.order
    assert (order.state, order.version, order.revision, order.sending) == (state, 1, 1, int(sending))
    assert order.sent_at == (NOW if sending else None)
    assert (decision.due_in, decision.tell, decision.before) == (due_in, "accepted", None)
    assert (None, state, E.ADMITTED) in TRANSITIONS


# --- sending -----------------------------------------------------------------------------------


def test_taking_an_order_begins_a_call_under_a_lease() -> None:
    order = an_order(S.QUEUED, sending=0, sent_at=None, unsent=0)
    decision = step(order, a_fact(E.TAKEN))
    assert (decision.order.sending, decision.order.sent_at, decision.due_in) == (1, NOW, POLICY.lease)


@pytest.mark.parametrize("seconds", [0, 1])
def test_an_expired_order_is_not_sent(seconds: float) -> None:
    decision = step(an_order(S.QUEUED, expires_at=ago(seconds)), a_fact(E.TAKEN))
    assert (decision.order.state, decision.order.reason, decision.tell) == (
        S.CANCELLED,
        Reason("expired", MESSAGES["expired"]),
        "cancelled",
    )
    assert decision.order.sending == 1


def test_the_deadline_counts_from_the_first_sending_that_may_have_arrived() -> None:
    after_absence = step(an_order(S.QUEUED, unsent=0), a_fact(E.TAKEN)).order
    never_left = step(an_order(S.SUBMITTING, sending=1), a_fact(E.NOT_SENT, sending=1)).order
    assert never_left.sent_at is None
    assert (after_absence.sent_at, step(never_left, a_fact(E.TAKEN)).order.sent_at) == (ago(60), NOW)
    resent = step(an_order(S.SUBMITTING, sending=2), a_fact(E.NOT_SENT, sending=2)).order
    assert resent.sent_at == ago(60), "the call before this one may have arrived after all"


def test_calls_that_were_not_sent_are_tried_again_later_and_later() -> None:
    order, delays = an_order(S.SUBMITTING), []
    for _ in range(8):
        decision = step(order, a_fact(E.NOT_SENT, sending=order.sending))
        delays.append(decision.due_in)
        order = step(decision.order, a_fact(E.TAKEN)).order
    assert delays == [1, 2, 5, 10, 30, 60, 60, 60]
    assert step(order, a_fact(E.ACCEPTED, sending=order.sending)).order.unsent == 0


def test_a_lost_call_that_may_be_repeated_is_repeated_later_and_later() -> None:
    policy = replace(POLICY, repeat_safe=True)
    order, delays = an_order(S.SUBMITTING), []
    for event in (E.UNANSWERED, E.LEASE_ENDED, E.UNANSWERED):
        decision = step(order, a_fact(event, sending=order.sending), policy=policy)
        assert decision.order.state is S.QUEUED
        delays.append(decision.due_in)
        order = step(decision.order, a_fact(E.TAKEN), policy=policy).order
    assert delays == [1, 2, 5]


def test_a_repeatable_call_that_is_lost_after_its_lease_is_not_asked_about() -> None:
    decision = step(an_order(S.QUEUED), a_fact(E.UNANSWERED, sending=1), policy=replace(POLICY, repeat_safe=True))
    assert decision.order.state is S.QUEUED


@pytest.mark.parametrize("event", [E.UNANSWERED, E.LEASE_ENDED])
def test_a_lost_call_is_asked_about(event: Event) -> None:
    decision = step(an_order(S.SUBMITTING), a_fact(event, sending=1))
    assert (decision.order.state, decision.due_in, decision.tell) == (S.UNKNOWN, 5, "unknown")


@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED])
@pytest.mark.parametrize(
    "event", [E.REJECTED, E.NOT_SENT, E.REFUSED, E.RETURNED, E.CALLED_OFF, E.ABSENT, E.LEASE_ENDED]
)
def test_no_failure_of_an_older_call_is_believed(state: State, event: Event) -> None:
    assert ignored(an_order(state, sending=2), a_fact(event, sending=1))


@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED])
@pytest.mark.parametrize(("event", "then"), [(E.ACCEPTED, S.PENDING), (E.ARRIVED, S.SUCCEEDED)])
def test_that_an_older_call_lives_is_believed(state: State, event: Event, then: State) -> None:
    assert step(an_order(state, sending=2), a_fact(event, sending=1)).order.state is then


@pytest.mark.parametrize("event", [E.NOT_SENT, E.REJECTED])
@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED])
def test_once_an_older_call_turns_out_lost_the_latest_ones_failure_is_not_enough(state: State, event: Event) -> None:
    """Else: call 1 stopped, held absent, call 2 begun, call 1 wakes and is lost, call 2 not sent: a third call."""
    decision = step(an_order(state, sending=2), a_fact(E.UNANSWERED, sending=1))
    assert decision.order.state is (S.UNKNOWN if state is S.QUEUED else state)
    assert decision.order.version == 6
    assert ignored(decision.order, a_fact(event, sending=2))


def test_the_lease_of_the_latest_call_still_ends_after_an_older_one_turned_out_lost() -> None:
    order = step(an_order(S.SUBMITTING, sending=2), a_fact(E.UNANSWERED, sending=1)).order
    assert step(order, a_fact(E.LEASE_ENDED, sending=order.sending)).order.state is S.UNKNOWN
