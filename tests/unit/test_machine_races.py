"""The machine: what is heard late, early, or by way of another call, and what must not come of it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.machine import NOW, POLICY, E, S, a_fact, ago, an_order, ignored, step

from worker.core.machine import Ignored, Moment, decide
from worker.core.order import Event, Order, Reason, ReviewKind, State
from worker.core.outcome import Outcome, Report, Status, Submitted

REPEATABLE = replace(POLICY, repeat_safe=True)
ROUTE = ("a", "b")


def given_up(order: Order) -> Order:
    """The order after its gateway said that it failed."""
    return step(order, a_fact(E.REFUSED, attempt=order.attempt)).order


# --- an attempt that was given up since ----------------------------------------------------------


@pytest.mark.parametrize("status", [Status.CHARGING, Status.PAYMENT_DUE])
def test_that_an_attempt_was_on_its_way_before_it_failed_is_no_contradiction(status: Status) -> None:
    """Asked, held back; a hint, asked again, failed; the next gateway has it; the first answer comes."""
    asked = an_order(S.PENDING, route=ROUTE)
    now, report = given_up(asked), Report(status)
    for order in (now, step(now, a_fact(E.TAKEN)).order):
        decision = decide(order, report.answer(order, asked, ago(1)), Moment(NOW, POLICY))
        assert isinstance(decision, Ignored)
        assert report.outdated(order, asked.attempt), "so it is asked anew"
    assert not report.outdated(asked, asked.attempt)


def test_a_proven_callback_of_unknown_age_about_an_attempt_that_was_given_up_is_a_hint() -> None:
    order = given_up(an_order(S.PENDING, route=ROUTE))
    assert Report(Status.CHARGING).fact(order, 1).event is E.CLAIMED
    assert Report(Status.CHARGING).fact(order, 2).event is E.CHARGING
    assert Report(Status.CHARGING).fact(order, 1, fresh=True).event is E.CHARGING


@pytest.mark.parametrize("status", [Status.CHARGING, Status.PAYMENT_DUE])
def test_an_attempt_that_is_on_its_way_after_it_was_given_up_is_a_contradiction(status: Status) -> None:
    order = given_up(an_order(S.PENDING, route=ROUTE))
    decision = step(order, Report(status).answer(order, order, NOW, 1))
    assert (decision.order.state, decision.event) == (S.REVIEW, E.GHOST)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.DISPUTED])
def test_money_that_moved_for_an_attempt_that_was_given_up_is_one_whenever_it_was_asked(status: Status) -> None:
    asked = an_order(S.PENDING, route=ROUTE)
    order = given_up(asked)
    assert step(order, Report(status).answer(order, asked, ago(1))).order.state is S.REVIEW


# --- a callback before the answer ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "then"),
    [(E.ACCEPTED, S.PENDING), (E.UNANSWERED, S.UNKNOWN), (E.LEASE_ENDED, S.UNKNOWN), (E.REJECTED, S.UNKNOWN)],
)
def test_no_other_gateway_gets_an_order_while_our_call_is_in_flight(event: Event, then: State) -> None:
    """Else the callback `failed` overtakes the answer `accepted`, which then looks like an attempt that lives."""
    waiting = step(an_order(S.SUBMITTING, route=ROUTE), a_fact(E.REFUSED, code="3"))
    assert (waiting.order.state, waiting.order.attempt, waiting.journal) == (S.SUBMITTING, 1, True)
    over = step(waiting.order, a_fact(event, sending=1, code="1003"))
    assert (over.order.state, over.order.attempt, over.due_in) == (then, 1, 0.0), "it is asked about at once"
    assert given_up(over.order).gateway == "b"


def test_a_refusal_that_came_before_the_answer_ends_an_order_without_another_gateway() -> None:
    failed = step(an_order(S.SUBMITTING), a_fact(E.REFUSED, upstream_no="U1")).order
    assert failed.state is S.FAILED
    assert step(failed, a_fact(E.ACCEPTED, sending=1, upstream_no="U1")).order.state is S.FAILED


@pytest.mark.parametrize("event", [E.CLAIMED, E.REFUSED])
def test_what_is_heard_of_an_earlier_call_stops_a_resend_also_while_a_later_one_is_in_flight(event: Event) -> None:
    """Call 1 lost and held to be absent; a callback about it; call 2 not sent."""
    heard = step(an_order(S.SUBMITTING, route=ROUTE, sending=2), a_fact(event)).order
    decision = step(heard, a_fact(E.NOT_SENT, sending=2))
    assert (decision.order.state, decision.due_in, decision.order.sent_at) == (S.UNKNOWN, 0.0, ago(60))


def test_a_hint_about_the_only_call_does_not_outweigh_the_proof_that_it_never_left() -> None:
    heard = step(an_order(S.SUBMITTING), a_fact(E.CLAIMED)).order
    decision = step(heard, a_fact(E.NOT_SENT, sending=1))
    assert (decision.order.state, decision.order.sent_at) == (S.QUEUED, None)


@pytest.mark.parametrize("event", [E.NOT_SENT, E.REJECTED])
def test_a_hint_outweighs_the_late_outcome_of_a_call_whose_lease_ended(event: Event) -> None:
    hinted = step(an_order(S.UNKNOWN, route=ROUTE, sending=2), a_fact(E.CLAIMED, code="2")).order
    decision = step(hinted, a_fact(event, sending=2, code="1003", message="no"))
    assert (decision.order.state, decision.order.attempt, decision.due_in) == (S.UNKNOWN, 1, None)
    assert decision.order.doubt == (Reason("1003", "no") if event is E.REJECTED else None)


def test_a_call_that_was_said_not_to_have_left_and_then_to_be_lost_is_asked_about() -> None:
    queued = step(an_order(S.SUBMITTING), a_fact(E.NOT_SENT, sending=1)).order
    decision = step(queued, a_fact(E.UNANSWERED, sending=1))
    assert (decision.order.state, decision.order.sent_at) == (S.UNKNOWN, NOW)


# --- absence -------------------------------------------------------------------------------------


@pytest.mark.parametrize("doubt", [None, Reason("77", "?")])
def test_what_the_gateway_had_under_a_number_of_its_own_is_never_sent_again(doubt: Reason | None) -> None:
    """It gave a status that no table lists, and its number; then "no such order", however often."""
    order = step(an_order(S.UNKNOWN, doubt=doubt), a_fact(E.UNCLEAR, code="42", upstream_no="U1")).order
    for seconds in range(0, 600, 60):
        at = NOW + timedelta(seconds=seconds)
        order = step(order, a_fact(E.ABSENT, asked_at=at), at).order
        assert order.state is S.UNKNOWN
    late = NOW + timedelta(seconds=POLICY.query_deadline)
    assert step(order, a_fact(E.ABSENT, asked_at=late), late).order.review_kind is ReviewKind.OVERDUE


# --- a second number of theirs -------------------------------------------------------------------


@pytest.mark.parametrize("event", [E.ACCEPTED, E.CHARGING, E.ARRIVED, E.REFUSED, E.RETURNED])
@pytest.mark.parametrize("state", [S.PENDING, S.UNKNOWN, S.SUCCEEDED])
def test_another_number_of_theirs_for_the_same_attempt_is_a_contradiction(state: State, event: Event) -> None:
    """Two orders of theirs under one number of ours: money may have moved twice."""
    order = an_order(state, upstream_no="987654321001")
    decision = step(order, a_fact(event, upstream_no="987654321002"))
    assert (decision.order.state, decision.event) == (S.REVIEW, E.MISMATCH)
    assert decision.order.upstream_no == "987654321001"
    told = f"their number: 987****1001 until now, then 987****1002 ({event})"
    assert decision.order.reason == Reason("mismatch", told)
    assert decision.fact.code == "mismatch"
    assert decision.fact.evidence["their_numbers"] == ["987654321001", "987654321002"], "the journal has both, whole"


@pytest.mark.parametrize("state", [S.PENDING, S.UNKNOWN, S.SUCCEEDED])
def test_a_callback_that_has_another_number_of_theirs_is_only_a_reason_to_ask(state: State) -> None:
    """The question's answer has the number that counts; the same one again settles nothing."""
    order, report = an_order(state, upstream_no="U-1"), Report(Status.FAILED, upstream_no="U-2")
    assert report.fact(order, 1).event is E.CLAIMED
    assert report.hints(order, 1)
    answer = step(order, report.answer(order, order, NOW))
    assert (answer.order.state, answer.event) == (S.REVIEW, E.MISMATCH)
    assert not Report(Status.FAILED, upstream_no="U-1").hints(order, 1)
    assert Report(Status.FAILED, upstream_no="U-2", amount_fen=1).fact(order, 1).event is E.MISMATCH


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.PARTIAL])
@pytest.mark.parametrize("state", [S.PENDING, S.UNKNOWN, S.SUCCEEDED])
def test_a_proven_callback_that_money_moved_under_another_number_is_a_contradiction(
    state: State, status: Status
) -> None:
    """The answer about the known number would not tell of it: both may have been charged."""
    order, report = an_order(state, upstream_no="U-1"), Report(status, upstream_no="U-2", arrived_fen=1)
    decision = step(order, report.fact(order, 1))
    assert (decision.order.state, decision.event) == (S.REVIEW, E.MISMATCH)
    assert not report.hints(order, 1)
    unproven = report._replace(proven=False)
    assert unproven.fact(order, 1).event is E.CLAIMED
    assert unproven.hints(order, 1)


def test_in_a_review_each_thing_that_is_told_of_a_second_number_is_noted_once() -> None:
    """That it has failed, and then that its money has arrived after all, are two pieces of news for who decides."""
    order = an_order(S.REVIEW, upstream_no="U-1")
    order = step(order, a_fact(E.REFUSED, upstream_no="U-2")).order
    assert ignored(order, a_fact(E.REFUSED, upstream_no="U-2"))
    decision = step(order, a_fact(E.ARRIVED, upstream_no="U-2"))
    assert (decision.journal, decision.event) == (True, E.MISMATCH)
    assert decision.fact.message is not None
    assert decision.fact.message.endswith("(arrived)")


def test_another_number_of_an_attempt_that_was_given_up_is_no_news_about_this_one() -> None:
    order = replace(given_up(an_order(S.PENDING, route=ROUTE)), upstream_no="B-1")
    decision = step(order, a_fact(E.REFUSED, attempt=1, upstream_no="A-1"))
    assert (decision.order.state, decision.event) == (order.state, E.OLD_NEWS)


# --- payment -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sending", [1, 2, None])
def test_only_a_question_put_after_the_expiry_tells_that_nobody_paid(sending: int | None) -> None:
    """Else: paid at the last moment; a worker wakes with the answer to its call, and nobody ever asks again."""
    order = an_order(S.AWAITING_PAYMENT, sending=2, payment_expires_at=ago(1))
    late = a_fact(E.PAYMENT_DUE, sending=sending, payment={"id": "ch"}, payment_expires_at=ago(1))
    decision = step(order, late)
    assert (decision.order.state, decision.order.payment) == (S.AWAITING_PAYMENT, None)
    assert decision.due_in is not None


@pytest.mark.parametrize("event", [E.PAYMENT_DUE, E.SILENT])
def test_the_payer_has_until_the_charge_expires_however_long_that_is(event: Event) -> None:
    order = an_order(S.AWAITING_PAYMENT, sent_at=ago(3 * 86_400), payment_expires_at=NOW + timedelta(seconds=1))
    assert step(order, a_fact(event, asked_at=NOW)).order.state is S.AWAITING_PAYMENT
    expired = NOW + timedelta(seconds=2)
    assert step(order, a_fact(E.PAYMENT_DUE, asked_at=expired), expired).order.state is S.CANCELLED
    silent = NOW + timedelta(seconds=2 + POLICY.query_deadline)
    assert step(order, a_fact(E.SILENT, asked_at=silent), silent).order.review_kind is ReviewKind.OVERDUE


# --- calls that may be repeated ------------------------------------------------------------------


def test_a_lost_call_that_may_be_repeated_may_still_have_arrived_when_the_next_one_was_not_sent() -> None:
    """Call 1 is stopped with its credential, call 2 does not leave, call 1 wakes: it is the charge to be paid."""
    lost = step(an_order(S.SUBMITTING), a_fact(E.LEASE_ENDED, sending=1), policy=REPEATABLE).order
    taken = step(lost, a_fact(E.TAKEN), policy=REPEATABLE).order
    queued = step(taken, a_fact(E.NOT_SENT, sending=2), policy=REPEATABLE).order
    assert (queued.state, queued.sent_at) == (S.QUEUED, ago(60))
    charge = Submitted(Outcome.ACCEPTED, payment={"id": "ch1"}, payment_expires_at=NOW + timedelta(hours=1))
    due = step(queued, charge.fact(an_order(S.SUBMITTING)), policy=REPEATABLE).order
    assert (due.state, due.payment) == (S.AWAITING_PAYMENT, {"id": "ch1"})


def test_the_refusal_of_a_repeated_call_says_nothing_of_the_charge_that_another_one_made() -> None:
    due = an_order(S.AWAITING_PAYMENT, sending=2)
    assert step(due, a_fact(E.REJECTED, sending=2), policy=REPEATABLE).order.state is S.AWAITING_PAYMENT
    assert step(due, a_fact(E.REJECTED, sending=2)).order.state is S.REVIEW


def test_one_credential_is_told_however_many_calls_made_one() -> None:
    due = an_order(S.AWAITING_PAYMENT, sending=2, payment={"id": "ch1"}, payment_expires_at=NOW + timedelta(hours=1))
    second = a_fact(E.PAYMENT_DUE, sending=2, payment={"id": "ch2"}, upstream_no="ch2")
    decision = step(replace(due, upstream_no="ch1"), second, policy=REPEATABLE)
    assert (decision.order.payment, decision.order.upstream_no, decision.tell) == ({"id": "ch1"}, "ch1", None)
    for event in (E.UNANSWERED, E.NOT_SENT, E.LEASE_ENDED):
        assert ignored(due, a_fact(event, sending=2), REPEATABLE)
