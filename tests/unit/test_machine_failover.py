"""The machine: the next gateway gets an attempt of its own, and news of the one that was given up."""

import pytest
from support.machine import NOW, E, S, a_fact, an_order, ignored, step

from worker.core.order import Event, Reason, ReviewKind, State
from worker.core.rules import MESSAGES


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (S.SUBMITTING, E.REJECTED),
        (S.UNKNOWN, E.REJECTED),
        (S.UNKNOWN, E.REFUSED),
        (S.QUEUED, E.REJECTED),
        (S.QUEUED, E.REFUSED),
        (S.PENDING, E.REFUSED),
    ],
)
def test_a_definite_failure_gives_the_next_gateway_a_number_of_its_own(state: State, event: Event) -> None:
    old = an_order(
        state, route=("a", "b"), upstream_no="U1", cost_fen=1, payment={}, payment_expires_at=NOW, unsent=0,
        arrived_fen=7, delivered=True, doubt=Reason("1", "?"),
    )  # fmt: skip
    decision = step(old, a_fact(event, sending=1))
    order = decision.order
    assert (order.state, order.gateway, order.attempt, order.reference) == (S.QUEUED, "b", 2, "T1R2")
    assert (decision.new_attempt, decision.due_in, decision.tell, order.version) == (True, 0.0, None, 6)
    assert (order.upstream_no, order.cost_fen, order.payment, order.payment_expires_at) == (None, None, None, None)
    assert (order.arrived_fen, order.delivered, order.doubt, order.sent_at) == (None, False, None, None)


def test_without_another_gateway_it_has_failed_in_the_gateways_words() -> None:
    decision = step(an_order(S.PENDING, route=("b", "a")), a_fact(E.REFUSED, code="3", message="empty number"))
    assert (decision.order.state, decision.order.reason) == (S.FAILED, Reason("3", "empty number"))


@pytest.mark.parametrize("state", [S.PENDING, S.AWAITING_PAYMENT])
def test_what_its_producer_asked_to_cancel_goes_to_no_other_gateway(state: State) -> None:
    asked = step(an_order(state, route=("a", "b")), a_fact(E.CANCEL_REQUESTED)).order
    assert (asked.state, asked.cancelling, asked.version) == (state, True, 5)
    decision = step(asked, a_fact(E.REFUSED, code="3", message="empty number"))
    assert (decision.order.state, decision.order.reason) == (S.FAILED, Reason("3", "empty number"))
    assert not decision.new_attempt


@pytest.mark.parametrize("route", [("a",), ("a", "b")])
@pytest.mark.parametrize("event", [E.REJECTED, E.REFUSED])
def test_a_failure_of_an_attempt_that_was_never_sent_is_only_noted(route: tuple[str, ...], event: Event) -> None:
    order = an_order(S.QUEUED, route=route, sent_at=None, unsent=0)
    decision = step(order, a_fact(event))
    assert (decision.order.state, decision.order.attempt, decision.new_attempt) == (S.QUEUED, 1, False)


@pytest.mark.parametrize(
    "event", [E.ACCEPTED, E.CHARGING, E.PAYMENT_DUE, E.ARRIVED, E.ARRIVED_IN_PART, E.RETURNED, E.CALLED_OFF]
)
def test_news_of_an_attempt_that_was_never_sent_is_a_contradiction(event: Event) -> None:
    decision = step(an_order(S.QUEUED, sent_at=None, unsent=0), a_fact(event))
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.CONTRADICTION)
    assert decision.order.reason == Reason("never_sent", MESSAGES["never_sent"])


@pytest.mark.parametrize("state", [state for state in State if state is not S.REVIEW])
@pytest.mark.parametrize("event", [E.ACCEPTED, E.CHARGING, E.ARRIVED, E.ARRIVED_IN_PART, E.DISPUTED, E.MISMATCH])
def test_an_attempt_that_was_given_up_and_lives_is_a_contradiction(state: State, event: Event) -> None:
    decision = step(an_order(state, attempt=2, sending=2), a_fact(event, attempt=1, sending=1, upstream_no="OLD"))
    assert (decision.order.state, decision.event, decision.order.upstream_no) == (S.REVIEW, E.GHOST, None)
    assert decision.order.review_kind is ReviewKind.CONTRADICTION


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", [E.REJECTED, E.REFUSED, E.RETURNED, E.CALLED_OFF])
def test_the_end_of_an_attempt_that_was_given_up_is_only_noted(state: State, event: Event) -> None:
    decision = step(an_order(state, attempt=2), a_fact(event, attempt=1))
    assert (decision.order.state, decision.event, decision.order.version) == (state, E.OLD_NEWS, 5)


@pytest.mark.parametrize("event", [E.NOT_SENT, E.UNANSWERED, E.LEASE_ENDED, E.ABSENT, E.SILENT, E.UNCLEAR, E.CLAIMED])
def test_what_proves_nothing_about_an_attempt_that_was_given_up_changes_nothing(event: Event) -> None:
    for state in State:
        assert ignored(an_order(state, attempt=2), a_fact(event, attempt=1))
