"""The machine: what a gateway that says "no such order" has to say before an order is sent again."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.machine import NOW, POLICY, E, S, a_fact, ago, an_order, step

from worker.core.machine import Decision
from worker.core.order import Event, Order, Reason, ReviewKind, State
from worker.core.policy import Policy


def absent(order: Order, seconds: float, asked: float | None = None, policy: Policy = POLICY) -> Decision:
    asked_at = NOW + timedelta(seconds=seconds if asked is None else asked)
    fact = a_fact(E.ABSENT, attempt=order.attempt, sending=order.sending, asked_at=asked_at, code="none")
    return step(order, fact, NOW + timedelta(seconds=seconds), policy)


def test_absence_settles_when_it_was_said_often_enough_for_long_enough() -> None:
    order = an_order(S.UNKNOWN)
    for seconds in (0, 60, 119.9):
        decision = absent(order, seconds)
        order = decision.order
        assert order.state is S.UNKNOWN
        assert decision.journal, "each of them is evidence"
    decision = absent(order, 120)
    assert (decision.order.state, decision.due_in, decision.tell) == (S.QUEUED, 0.0, None)
    assert (decision.order.attempt, decision.new_attempt) == (1, False)


def test_absence_needs_its_number_of_answers_however_long_it_takes() -> None:
    order = absent(absent(an_order(S.UNKNOWN), 0).order, 500).order
    assert (order.state, order.absent_count) == (S.UNKNOWN, 2)
    assert absent(order, 501).order.state is S.QUEUED


def test_an_answer_that_was_held_back_proves_nothing_about_the_time_since_it_was_asked() -> None:
    """A worker stopped with an answer in its hand."""
    order = absent(absent(an_order(S.UNKNOWN), 0).order, 60).order
    assert absent(order, 130, asked=61).order.state is S.UNKNOWN
    assert absent(order, 130, asked=120).order.state is S.QUEUED


@pytest.mark.parametrize("event", [E.UNCLEAR, E.UNANSWERED, E.CLAIMED])
def test_whatever_else_is_heard_breaks_the_row_of_absences(event: Event) -> None:
    order = absent(absent(an_order(S.UNKNOWN), 0).order, 60).order
    order = step(order, a_fact(event)).order
    assert (order.absent_count, order.absent_since) == (0, None)


def test_silence_neither_counts_nor_breaks_the_row() -> None:
    order = absent(absent(an_order(S.UNKNOWN), 0).order, 60).order
    order = step(order, a_fact(E.SILENT)).order
    assert order.absent_count == 2
    assert absent(order, 120).order.state is S.QUEUED


def test_absence_is_counted_anew_after_each_sending() -> None:
    order = step(an_order(S.SUBMITTING, absent_count=2, absent_since=ago(500)), a_fact(E.UNANSWERED)).order
    assert (order.absent_count, order.absent_since) == (0, None)


def test_an_unlisted_refusal_is_believed_only_with_a_settled_absence() -> None:
    order = step(an_order(S.SUBMITTING), a_fact(E.UNANSWERED, doubt=True, code="77", message="no")).order
    assert (order.state, order.doubt) == (S.UNKNOWN, Reason("77", "no"))
    order = absent(absent(order, 0).order, 60).order
    decision = absent(order, 120)
    assert (decision.order.state, decision.order.reason, decision.tell) == (S.FAILED, Reason("77", "no"), "failed")


def test_a_new_call_forgets_what_the_old_one_was_told() -> None:
    assert step(an_order(S.QUEUED, doubt=Reason("77", "no")), a_fact(E.TAKEN)).order.doubt is None


@pytest.mark.parametrize("state", [S.PENDING, S.AWAITING_PAYMENT])
def test_an_order_that_the_gateway_took_is_never_sent_again_however_absent(state: State) -> None:
    order = an_order(state)
    for seconds in range(0, 600, 10):
        order = absent(order, seconds, policy=replace(POLICY, settle_seconds=1)).order if seconds % 20 == 0 else order
    assert order.state is state


def test_after_the_deadline_a_person_decides_instead_of_another_sending() -> None:
    order = an_order(S.UNKNOWN, sent_at=ago(POLICY.query_deadline), absent_count=2, absent_since=ago(200))
    decision = absent(order, 0)
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.OVERDUE)
