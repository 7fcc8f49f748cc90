"""The machine: an order is asked about, hinted at, or waits to be paid, and not for ever."""

from datetime import timedelta

import pytest
from support.machine import NOW, POLICY, E, S, a_fact, ago, an_order, ignored, step

from worker.core.order import Event, Reason, ReviewKind, State
from worker.core.rules import MESSAGES

# --- waiting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.UNKNOWN, S.PENDING, S.AWAITING_PAYMENT])
@pytest.mark.parametrize("event", [E.CHARGING, E.SILENT, E.UNCLEAR, E.ABSENT])
def test_without_a_conclusive_answer_by_the_deadline_a_person_must_look(state: State, event: Event) -> None:
    late = an_order(state, sent_at=ago(POLICY.query_deadline))
    decision = step(late, a_fact(event))
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.OVERDUE)
    assert (decision.order.reason, decision.tell, decision.due_in) == (
        Reason("no_answer", MESSAGES["no_answer"]),
        "review",
        None,
    )
    just_in_time = an_order(state, sent_at=ago(POLICY.query_deadline - 1))
    assert step(just_in_time, a_fact(event)).order.state is not S.REVIEW


def test_queries_become_rarer() -> None:
    order, delays = an_order(S.PENDING), []
    for _ in range(7):
        decision = step(order, a_fact(E.CHARGING))
        delays.append(decision.due_in)
        order = decision.order
    assert delays == [10, 20, 40, 60, 60, 60, 60]


@pytest.mark.parametrize("state", [S.UNKNOWN, S.PENDING, S.AWAITING_PAYMENT])
def test_a_hint_makes_us_ask_at_once_and_nothing_of_it_is_taken_over(state: State) -> None:
    decision = step(an_order(state), a_fact(E.CLAIMED, upstream_no="FORGED", cost_fen=1, code="2"))
    assert (decision.due_in, decision.order.upstream_no, decision.order.queries) == (0.0, None, 0)
    assert ignored(decision.order, a_fact(E.CLAIMED, code="2")), "the same hint again, before anything was heard"
    asked = step(decision.order, a_fact(E.CHARGING)).order
    assert step(asked, a_fact(E.CLAIMED, code="2")).due_in == 0.0 or state is not S.PENDING


def test_a_hint_about_an_order_that_was_sent_and_held_absent_is_asked_about_before_it_is_sent_again() -> None:
    hint = a_fact(E.CLAIMED, code="2")
    decision = step(an_order(S.QUEUED, unsent=0), hint)
    assert (decision.order.state, decision.due_in) == (S.UNKNOWN, 0.0)
    resend_not_sent = an_order(S.QUEUED, sending=2, unsent=1)
    assert step(resend_not_sent, hint).order.state is S.UNKNOWN, (
        "that the second call never left says nothing of the first"
    )
    for proven_unsent in (an_order(S.QUEUED, unsent=1, sent_at=None), an_order(S.QUEUED, unsent=0, sent_at=None)):
        assert step(proven_unsent, hint).order.state is S.QUEUED


def test_a_hint_that_came_before_the_answer_outweighs_a_refusal_and_is_asked_about_at_once() -> None:
    """Else double payment would be seen or not, by which of the two was faster."""
    hinted = step(an_order(S.SUBMITTING, route=("a", "b")), a_fact(E.CLAIMED, code="2")).order
    refused = step(hinted, a_fact(E.REJECTED, sending=1, code="1003", message="no"))
    assert (refused.order.state, refused.order.attempt, refused.due_in) == (S.UNKNOWN, 1, 0.0)
    assert refused.order.doubt == Reason("1003", "no")
    accepted = step(hinted, a_fact(E.ACCEPTED, sending=1))
    assert (accepted.order.state, accepted.due_in) == (S.PENDING, 0.0)


def test_an_unlisted_status_is_journalled_once_for_each_code() -> None:
    order = step(an_order(S.PENDING), a_fact(E.UNCLEAR, code="42")).order
    again = step(order, a_fact(E.UNCLEAR, code="42"))
    assert not again.journal
    assert step(again.order, a_fact(E.UNCLEAR, code="43")).journal


def test_what_a_mismatch_says_is_not_taken_over() -> None:
    decision = step(an_order(S.UNKNOWN), a_fact(E.MISMATCH, upstream_no="THEIRS", cost_fen=1, message="amount"))
    order = decision.order
    assert (order.upstream_no, order.cost_fen, order.reason) == (None, None, Reason("mismatch", "amount"))


# --- payment -----------------------------------------------------------------------------------


def test_a_charge_is_told_and_looked_at_when_it_expires() -> None:
    due = a_fact(E.PAYMENT_DUE, sending=1, payment={"id": "ch"}, payment_expires_at=NOW + timedelta(seconds=3))
    decision = step(an_order(S.SUBMITTING), due)
    assert (decision.order.payment, decision.due_in, decision.tell) == ({"id": "ch"}, 3, "awaiting_payment")


def test_a_charge_that_nobody_paid_in_time_is_cancelled() -> None:
    order = an_order(S.AWAITING_PAYMENT, payment_expires_at=NOW)
    decision = step(order, a_fact(E.PAYMENT_DUE, asked_at=NOW))
    assert (decision.order.state, decision.order.reason) == (
        S.CANCELLED,
        Reason("payment_expired", MESSAGES["payment_expired"]),
    )


def test_a_charge_may_have_been_paid_between_the_last_question_and_its_expiry() -> None:
    order = an_order(S.AWAITING_PAYMENT, payment_expires_at=NOW)
    assert step(order, a_fact(E.PAYMENT_DUE, asked_at=ago(0.1))).order.state is S.AWAITING_PAYMENT


def test_a_silent_gateway_is_not_asked_every_second_after_the_expiry() -> None:
    order = an_order(S.AWAITING_PAYMENT, payment_expires_at=ago(1))
    assert step(order, a_fact(E.SILENT)).due_in == 10


def test_an_expiry_that_only_the_query_tells_counts() -> None:
    decision = step(an_order(S.UNKNOWN), a_fact(E.PAYMENT_DUE, payment_expires_at=NOW + timedelta(seconds=2)))
    assert decision.due_in == 2
