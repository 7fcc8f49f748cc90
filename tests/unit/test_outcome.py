"""What adapters say, as facts: which event, about which call, and compared with what we asked for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.core.machine import Ignored, Moment, decide
from worker.core.order import Event, Order, State, candidates, reference
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.core.policy import Policy

E = Event
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def an_order(**given: Any) -> Order:
    values = {"target": {"mobile": "13800138000"}, "attempt": 2, "sending": 3} | given
    return Order("T1", "shop", "mobile", 5000, route=("a",), gateway="a", **values)


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        (Outcome.ACCEPTED, E.ACCEPTED),
        (Outcome.SUCCEEDED, E.ARRIVED),
        (Outcome.REJECTED, E.REJECTED),
        (Outcome.UNFUNDED, E.UNFUNDED),
        (Outcome.NOT_SENT, E.NOT_SENT),
        (Outcome.UNKNOWN, E.UNANSWERED),
    ],
)
def test_an_outcome_is_a_fact_about_one_call(outcome: Outcome, event: Event) -> None:
    fact = Submitted(outcome, "7", "why", "U1", 4900, doubt=True, evidence={"reply": 1}).fact(an_order())
    assert (fact.event, fact.attempt, fact.sending, fact.asked_at) == (event, 2, 3, None)
    assert (fact.code, fact.message, fact.upstream_no, fact.cost_fen) == ("7", "why", "U1", 4900)
    assert (fact.doubt, fact.evidence) == (True, {"reply": 1})


def test_an_acceptance_with_a_credential_waits_for_the_payer() -> None:
    fact = Submitted(Outcome.ACCEPTED, payment={"id": "ch"}, payment_expires_at=NOW).fact(an_order())
    assert (fact.event, fact.payment, fact.payment_expires_at) == (E.PAYMENT_DUE, {"id": "ch"}, NOW)


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (Status.CHARGING, E.CHARGING),
        (Status.PAYMENT_DUE, E.PAYMENT_DUE),
        (Status.SUCCEEDED, E.ARRIVED),
        (Status.PARTIAL, E.ARRIVED_IN_PART),
        (Status.FAILED, E.REFUSED),
        (Status.REFUNDED, E.RETURNED),
        (Status.CANCELLED, E.CALLED_OFF),
        (Status.DISPUTED, E.DISPUTED),
        (Status.ABSENT, E.ABSENT),
        (Status.UNCLEAR, E.UNCLEAR),
        (Status.SILENT, E.SILENT),
    ],
)
def test_what_each_status_means_proven_and_unproven(status: Status, event: Event) -> None:
    report = Report(status, "7", arrived_fen=1)
    assert (report.fact(an_order(), 2).event, report.fact(an_order(), 2).attempt) == (event, 2)
    assert Report(status, "7", arrived_fen=1, proven=False).fact(an_order(), 2).event is E.CLAIMED


def test_every_outcome_and_status_has_its_event() -> None:
    for outcome in Outcome:
        assert Submitted(outcome).fact(an_order()).event in Event
    for status in Status:
        assert Report(status).fact(an_order(), 1).event in Event


def test_a_partial_arrival_that_does_not_say_how_much_is_unclear() -> None:
    assert Report(Status.PARTIAL).fact(an_order(), 2).event is E.UNCLEAR
    assert Report(Status.PARTIAL, arrived_fen=0).fact(an_order(), 2).event is E.UNCLEAR


@pytest.mark.parametrize("arrived", [5_000, 5_001, 500_000])
def test_a_part_that_is_no_part_is_for_a_person(arrived: int) -> None:
    fact = Report(Status.PARTIAL, arrived_fen=arrived).fact(an_order(), 2)
    assert (fact.event, fact.message) == (E.MISMATCH, f"arrived: {arrived} fen of 5000, and yet in part")
    assert Report(Status.PARTIAL, arrived_fen=4_999).fact(an_order(), 2).event is E.ARRIVED_IN_PART


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"amount_fen": 5001}, "amount: ours 5000 fen, theirs 5001 fen"),
        ({"account": "13900139000"}, "account: ours 138****8000, theirs 139****9000"),
        ({"foreign": "order_no: ours T1, theirs T2"}, "order_no: ours T1, theirs T2"),
    ],
)
def test_what_is_not_ours_outweighs_any_status_once_it_is_proven(given: dict[str, Any], message: str) -> None:
    fact = Report(Status.SUCCEEDED, "2", **given).fact(an_order(), 2)
    assert (fact.event, fact.code, fact.message) == (E.MISMATCH, "mismatch", message)
    assert Report(Status.SUCCEEDED, "2", proven=False, **given).fact(an_order(), 2).event is E.CLAIMED


def test_the_same_amount_and_account_are_no_mismatch() -> None:
    assert Report(Status.SUCCEEDED, amount_fen=5000, account="13800138000").fact(an_order(), 2).event is E.ARRIVED


def test_an_answer_is_about_the_order_as_it_was_asked_about() -> None:
    fact = Report(Status.FAILED).answer(an_order(sending=5), an_order(attempt=1, sending=2), NOW)
    assert (fact.event, fact.attempt, fact.sending, fact.asked_at) == (E.REFUSED, 1, 2, NOW)


@pytest.mark.parametrize("status", [Status.FAILED, Status.ABSENT])
def test_a_question_from_before_the_latest_call_cannot_tell_that_it_failed(status: Status) -> None:
    """Else: asked, stopped; held absent, sent again; the old answer wakes and the next gateway gets it too."""
    sent = NOW - timedelta(seconds=60)
    asked, now = (an_order(state=State.UNKNOWN, sending=sending, sent_at=sent) for sending in (2, 3))
    decision = decide(now, Report(status).answer(now, asked, NOW), Moment(NOW, Policy()))
    assert isinstance(decision, Ignored)


def test_references_are_read_back_literally_first() -> None:
    assert [reference("T1", attempt) for attempt in (1, 2, 10)] == ["T1", "T1R2", "T1R10"]
    assert candidates("T1") == [("T1", 1)]
    assert candidates("T1R2") == [("T1R2", 1), ("T1", 2)]
    assert candidates("AR2R13") == [("AR2R13", 1), ("AR2", 13)]
    for text in ("T1R1", "T1R0", "T1R02", "R2", "T1R", "T1r2"):
        assert candidates(text) == [(text, 1)]


def test_an_order_knows_its_number_its_account_and_its_end() -> None:
    order = an_order()
    assert (order.reference, order.account, order.final) == ("T1R2", "13800138000", False)
    assert an_order(state=State.REFUNDED).final
    assert an_order(target={}).account == ""
