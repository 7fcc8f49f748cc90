"""The machine: contradictions, reviews, and how orders end."""

import pytest
from support.machine import E, S, a_fact, an_order, step

from worker.core.order import Event, Fact, Reason, ReviewKind, State
from worker.core.rules import MESSAGES


@pytest.mark.parametrize(
    ("state", "event", "reason"),
    [
        (S.PENDING, E.REJECTED, "refusal_after_acceptance"),
        (S.AWAITING_PAYMENT, E.REJECTED, "refusal_after_acceptance"),
        (S.FAILED, E.ARRIVED, "success_after_failure"),
        (S.CANCELLED, E.ARRIVED, "success_after_failure"),
        (S.FAILED, E.ARRIVED_IN_PART, "success_after_failure"),
        (S.SUCCEEDED, E.REFUSED, "failure_after_success"),
        (S.SUCCEEDED, E.REJECTED, "failure_after_success"),
        (S.PARTIAL, E.CALLED_OFF, "failure_after_success"),
        (S.SUCCEEDED, E.ARRIVED_IN_PART, "partial_after_success"),
        (S.PARTIAL, E.ARRIVED, "success_after_partial"),
        (S.UNKNOWN, E.DISPUTED, "disputed"),
        (S.SUCCEEDED, E.MISMATCH, "mismatch"),
        (S.FAILED, E.ACCEPTED, "acceptance_after_failure"),
        (S.CANCELLED, E.ACCEPTED, "acceptance_after_failure"),
    ],
)
def test_a_contradiction_goes_to_a_person(state: State, event: Event, reason: str) -> None:
    decision = step(an_order(state), a_fact(event))
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.CONTRADICTION)
    assert decision.order.reason == Reason(reason, MESSAGES[reason])
    assert (decision.tell, decision.due_in) == ("review", None)


@pytest.mark.parametrize("state", [S.FAILED, S.CANCELLED])
@pytest.mark.parametrize("number", [None, "U1"])
def test_a_late_acceptance_is_no_news_where_the_gateway_itself_has_reported_the_end(
    state: State, number: str | None
) -> None:
    """A stopped worker wakes with the answer `accepted`; the query has long said `failed` about that very order."""
    order = an_order(state, upstream_no="U1")
    assert step(order, a_fact(E.ACCEPTED, sending=1, upstream_no=number)).order.state is state
    assert step(order, a_fact(E.ACCEPTED, sending=1, upstream_no="U2")).order.state is S.REVIEW


@pytest.mark.parametrize(("delivered", "state"), [(True, S.REFUNDED), (False, S.REVIEW)])
def test_success_after_a_refund_is_old_only_where_it_was_known(delivered: bool, state: State) -> None:  # noqa: FBT001 - a parameter of the test
    assert step(an_order(S.REFUNDED, delivered=delivered), a_fact(E.ARRIVED)).order.state is state


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (E.ARRIVED, S.SUCCEEDED, None),
        (E.ARRIVED_IN_PART, S.PARTIAL, "7"),
        (E.REFUSED, S.FAILED, "7"),
        (E.RETURNED, S.REFUNDED, "7"),
        (E.CALLED_OFF, S.CANCELLED, "cancelled_by_gateway"),
    ],
)
def test_a_proven_answer_ends_a_review_that_was_only_overdue(event: Event, state: State, reason: str | None) -> None:
    overdue = an_order(S.REVIEW, review_kind=ReviewKind.OVERDUE)
    decision = step(overdue, a_fact(event, code="7"))
    assert (decision.order.state, decision.order.review_kind) == (state, None)
    assert (decision.order.reason.code if decision.order.reason else None) == reason
    assert step(an_order(S.REVIEW), a_fact(event, code="7")).order.state is S.REVIEW


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (a_fact(E.MISMATCH), "mismatch"),
        (a_fact(E.DISPUTED), "disputed"),
        (a_fact(E.ARRIVED, attempt=1), "earlier_attempt_lives"),
    ],
)
def test_a_contradiction_during_an_overdue_review_leaves_it_to_a_person(fact: Fact, reason: str) -> None:
    """Else: overdue, then the given-up attempt lives, then this one succeeds, and nobody looks at the double charge."""
    attempt = 2 if fact.event is E.ARRIVED else 1
    overdue = an_order(S.REVIEW, review_kind=ReviewKind.OVERDUE, attempt=attempt, reason=Reason("no_answer", ""))
    decision = step(overdue, fact)
    order = decision.order
    assert (order.state, order.review_kind, order.version) == (S.REVIEW, ReviewKind.CONTRADICTION, 6)
    assert (order.reason, decision.tell) == (Reason(reason, MESSAGES[reason]), "review")
    assert step(order, a_fact(E.ARRIVED, attempt=attempt)).order.state is S.REVIEW


@pytest.mark.parametrize(
    ("state", "event", "then", "code"),
    [
        (S.QUEUED, E.ARRIVED_IN_PART, S.PARTIAL, "11"),
        (S.QUEUED, E.RETURNED, S.REFUNDED, "11"),
        (S.QUEUED, E.CALLED_OFF, S.CANCELLED, "cancelled_by_gateway"),
        (S.QUEUED, E.EXPIRED, S.CANCELLED, "expired"),
        (S.QUEUED, E.CANCEL_REQUESTED, S.CANCELLED, "cancelled_by_request"),
        (S.PENDING, E.CALLED_OFF, S.CANCELLED, "cancelled_by_gateway"),
        (S.PENDING, E.RETURNED, S.REFUNDED, "11"),
        (S.SUCCEEDED, E.RETURNED, S.REFUNDED, "11"),
        (S.REVIEW, E.RESOLVED_FAILED, S.FAILED, "resolved_by_operator"),
    ],
)
def test_the_reason_of_an_end_is_true(state: State, event: Event, then: State, code: str) -> None:
    decision = step(an_order(state), a_fact(event, code="11"))
    assert (decision.order.state, decision.tell) == (then, then.value)
    assert decision.order.reason is not None
    assert decision.order.reason.code == code


def test_an_operators_note_is_the_message() -> None:
    decision = step(an_order(S.REVIEW), a_fact(E.RESOLVED_FAILED, message="called them"))
    assert decision.order.reason == Reason("resolved_by_operator", "called them")


def test_full_success_carries_no_partial_amount() -> None:
    order = step(an_order(S.PARTIAL), a_fact(E.ARRIVED)).order
    assert step(order, a_fact(E.RESOLVED_SUCCEEDED)).order.arrived_fen is None


def test_an_operator_may_send_again_under_a_new_number_at_the_same_gateway() -> None:
    decision = step(an_order(S.REVIEW, route=("a", "b"), delivered=True, arrived_fen=3), a_fact(E.RESUBMITTED))
    order = decision.order
    assert (order.state, order.attempt, order.gateway, decision.new_attempt) == (S.QUEUED, 2, "a", True)
    assert (order.delivered, order.arrived_fen, order.sent_at, decision.due_in) == (False, None, None, 0.0)
