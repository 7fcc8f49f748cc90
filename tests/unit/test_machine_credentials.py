"""The machine: one credential of an order reaches its payer, and the number asked about is that credential's."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.machine import NOW, POLICY, TRANSITIONS, E, S, a_fact, ago, an_order, ignored, step

from worker.core.order import Event, Fact, Order, Reason, ReviewKind, State
from worker.core.rules import MESSAGES

REPEATABLE = replace(POLICY, repeat_safe=True)
FIRST = {"id": "ch_1"}
SECOND = {"id": "ch_2"}


def credential(charge: dict[str, Any], number: str, sending: int, **given: Any) -> Fact:
    expires = NOW + timedelta(hours=2)
    return a_fact(
        E.PAYMENT_DUE, sending=sending, upstream_no=number, payment=charge, payment_expires_at=expires, **given
    )


def awaiting(**given: Any) -> Order:
    values = {"upstream_no": "R1", "payment": FIRST, "payment_expires_at": NOW + timedelta(hours=1), "sending": 2}
    return an_order(S.AWAITING_PAYMENT, **(values | given))


@pytest.mark.parametrize("state", [S.QUEUED, S.SUBMITTING])
def test_a_first_credential_that_comes_late_is_told_and_a_second_one_reaches_nobody(state: State) -> None:
    """Call 1 was stopped, its lease ended, call 2 is queued or in flight when call 1 wakes with its answer."""
    told = step(an_order(state, sending=2, unsent=1), credential(FIRST, "R1", 1), policy=REPEATABLE)
    assert (told.order.state, told.tell) == (S.AWAITING_PAYMENT, "awaiting_payment")
    assert (told.order.payment, told.order.upstream_no) == (FIRST, "R1")
    second = step(told.order, credential(SECOND, "R2", 2), policy=REPEATABLE)
    assert (second.event, second.journal, second.tell, second.due_in) == (E.OLD_NEWS, True, None, None)
    assert (second.order.payment, second.order.upstream_no) == (FIRST, "R1")
    assert second.order.payment_expires_at == told.order.payment_expires_at
    assert second.order.queries == told.order.queries, "it answers no question"


def test_a_second_credential_does_not_replace_that_of_a_charge_which_is_being_paid() -> None:
    paid = step(awaiting(), a_fact(E.CHARGING, asked_at=NOW)).order
    assert paid.state is S.PENDING
    second = step(paid, credential(SECOND, "R2", 2), policy=REPEATABLE)
    assert (second.order.state, second.order.payment, second.order.upstream_no) == (S.PENDING, FIRST, "R1")


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.CANCELLED, S.REVIEW])
def test_a_second_credential_does_not_disturb_an_order_that_has_ended(state: State) -> None:
    ended = an_order(state, upstream_no="R1", payment=FIRST, sending=2)
    decision = step(ended, credential(SECOND, "R2", 2), policy=REPEATABLE)
    assert (decision.order.state, decision.order.payment, decision.tell) == (state, FIRST, None)


def test_the_credential_of_an_attempt_that_was_given_up_is_no_living_attempt() -> None:
    failed_over = an_order(S.SUBMITTING, attempt=2)
    decision = step(failed_over, credential(FIRST, "R1", 1, attempt=1), policy=REPEATABLE)
    assert (decision.event, decision.order.state) == (E.OLD_NEWS, S.SUBMITTING)
    assert (decision.order.payment, decision.order.upstream_no) == (None, None)


def test_a_repetition_that_is_refused_says_nothing_about_the_charge_that_is_due() -> None:
    refused = a_fact(E.REJECTED, sending=2, code="1")
    assert step(awaiting(), refused, policy=REPEATABLE).order.state is S.AWAITING_PAYMENT
    assert step(awaiting(), refused).order.state is S.REVIEW, "one call, accepted and refused"


@pytest.mark.parametrize("event", [E.UNANSWERED, E.LEASE_ENDED, E.NOT_SENT])
def test_a_repetition_that_is_lost_says_nothing_either(event: Event) -> None:
    assert ignored(awaiting(), a_fact(event, sending=2), REPEATABLE)


def test_the_late_answer_to_a_call_does_not_cancel_a_charge_that_has_expired() -> None:
    over = awaiting(payment_expires_at=ago(5))
    assert step(over, credential(SECOND, "R2", 2), policy=REPEATABLE).order.state is S.AWAITING_PAYMENT
    assert step(over, a_fact(E.PAYMENT_DUE, asked_at=ago(6))).order.state is S.AWAITING_PAYMENT
    assert step(over, a_fact(E.PAYMENT_DUE, asked_at=ago(5))).order.state is S.CANCELLED


def test_a_charge_may_be_paid_longer_than_the_gateway_may_be_silent() -> None:
    long = awaiting(sent_at=ago(2 * POLICY.query_deadline))
    for event in (E.PAYMENT_DUE, E.SILENT, E.UNCLEAR):
        assert step(long, a_fact(event, asked_at=NOW)).order.state is S.AWAITING_PAYMENT
    over = awaiting(sent_at=ago(2 * POLICY.query_deadline), payment_expires_at=ago(POLICY.query_deadline))
    assert step(over, a_fact(E.SILENT, asked_at=NOW)).order.review_kind is ReviewKind.OVERDUE


def test_a_payment_at_the_very_edge_counts() -> None:
    edge = awaiting(payment_expires_at=NOW)
    assert step(edge, a_fact(E.ARRIVED, asked_at=NOW)).order.state is S.SUCCEEDED


def test_a_payment_after_the_cancellation_is_a_contradiction_that_is_told() -> None:
    cancelled = step(awaiting(payment_expires_at=NOW), a_fact(E.PAYMENT_DUE, asked_at=NOW)).order
    late = step(cancelled, a_fact(E.ARRIVED, sending=2, asked_at=NOW))
    assert (late.order.state, late.tell) == (S.REVIEW, "review")
    assert late.order.reason == Reason("success_after_failure", MESSAGES["success_after_failure"])


def test_a_call_that_may_be_repeated_is_not_repeated_for_ever() -> None:
    young = an_order(S.SUBMITTING, sent_at=ago(POLICY.query_deadline - 1))
    assert step(young, a_fact(E.UNANSWERED, sending=1), policy=REPEATABLE).order.state is S.QUEUED
    old = an_order(S.SUBMITTING, sent_at=ago(POLICY.query_deadline))
    decision = step(old, a_fact(E.UNANSWERED, sending=1), policy=REPEATABLE)
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.OVERDUE)
    assert (decision.order.reason or Reason("", "")).code == "no_answer"
    assert (S.SUBMITTING, S.REVIEW, E.UNANSWERED) in TRANSITIONS
    once_only = step(old, a_fact(E.UNANSWERED, sending=1))
    assert once_only.order.state is S.UNKNOWN, "where it may not be repeated it is asked about first"
