"""zjzdy: what the answers to PayMoney and SearchSuccessData mean."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.wikeyun import answered
from support.zjzdy import CHARGE, EXPIRES, NOW, PAID, adapter, order, pay_answer

from worker.core.order import Event, State
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways.base import RefusedError, UnreadableReplyError
from worker.gateways.zjzdy import Zjzdy

# --- PayMoney ------------------------------------------------------------------------------------


def submitted(body: object, status: int = 200, now: datetime = NOW, **settings: Any) -> Submitted:
    outcome: Submitted = answered(adapter(**settings).submit(order(), now), body, status)
    return outcome


def test_the_document_s_answer_makes_the_payer_act() -> None:
    outcome = submitted(pay_answer())
    assert (outcome.outcome, outcome.upstream_no) == (Outcome.ACCEPTED, "10000001")
    assert outcome.payment == CHARGE, "the whole charge"
    assert outcome.payment_expires_at == EXPIRES + timedelta(seconds=5), "and a moment for the payment to show"
    assert outcome.fact(order()).event is Event.PAYMENT_DUE


def test_a_charge_data_that_is_a_string_as_the_table_says() -> None:
    answer = pay_answer()
    answer["data"]["chargeData"] = json.dumps(answer["data"]["chargeData"])
    assert submitted(answer).payment == CHARGE


@pytest.mark.parametrize(
    ("given", "kept"),
    [("10000001,10000002", "10000001,10000002"), ("10000001, 10000002", "10000001,10000002"), (10000001, "10000001"),
     (["10000001", 10000002], "10000001,10000002"), (",".join(["9" * 64] * 50), ",".join(["9" * 64] * 50))],
)  # fmt: skip
def test_record_ids(given: Any, kept: str) -> None:
    assert submitted(pay_answer(given)).upstream_no == kept


@pytest.mark.parametrize(
    "given", [None, "", " ", "1,,2", [], [None], [["1"]], True, 1.5, {}, "x" * 65, ",".join(["1"] * 51), "1 2", "号"]
)
def test_a_charge_without_readable_record_ids_is_unreadable(given: Any) -> None:
    with pytest.raises(UnreadableReplyError):
        submitted(pay_answer(given))


@pytest.mark.parametrize(
    "expire", [None, "", "soon", 0, -1, True, 1471062721000, 10**30, 1.5, [], int(NOW.timestamp()), 4102444800]
)
def test_an_expiry_that_is_absent_or_absurd_is_ours(expire: Any) -> None:
    assert submitted(pay_answer(time_expire=expire)).payment_expires_at == NOW + timedelta(seconds=86_400 + 5)
    settings = {"payment_seconds": 600, "payment_grace_seconds": 0}
    assert submitted(pay_answer(time_expire=expire), **settings).payment_expires_at == NOW + timedelta(seconds=600)


@pytest.mark.parametrize("ahead", [1, 60, 86_400 * 31])
@pytest.mark.parametrize("kind", [int, str])
def test_an_expiry_that_can_be(ahead: int, kind: type) -> None:
    moment = int(NOW.timestamp()) + ahead
    outcome = submitted(pay_answer(time_expire=kind(moment)), payment_grace_seconds=0)
    assert outcome.payment_expires_at == datetime.fromtimestamp(moment, UTC)


@pytest.mark.parametrize("error", [1, "1"])
def test_a_documented_failure_is_definite(error: Any) -> None:
    assert submitted({"error": error, "message": "套餐已下架"}) == Submitted(Outcome.REJECTED, "1", "套餐已下架")
    inside = pay_answer()
    inside["data"]["chargeData"] = {"error": error, "message": "渠道未开通"}
    assert submitted(inside) == Submitted(Outcome.REJECTED, "1", "渠道未开通")


def test_a_charge_that_ping_could_not_make_is_definite() -> None:
    outcome = submitted(pay_answer(failure_code="channel_request_error", failure_msg="13800138000 不可用"))
    assert outcome == Submitted(Outcome.REJECTED, "channel_request_error", "138****8000 不可用")


def test_an_unlisted_error_is_in_doubt() -> None:
    assert submitted({"error": 2, "message": "?"}) == Submitted(Outcome.UNKNOWN, "2", "?", doubt=True)
    assert set(Zjzdy.outcomes) == {"0", "1"}


@pytest.mark.parametrize("status", [201, 400, 401, 404, 500, 502])
def test_another_http_status_is_unknown(status: int) -> None:
    assert submitted({"error": 1, "message": "no"}, status) == Submitted(Outcome.UNKNOWN, f"http_{status}")


@pytest.mark.parametrize("amount", [1, "1", 1.0, "1.00", None])
def test_the_same_amount(amount: Any) -> None:
    assert submitted(pay_answer(amount=amount, currency=None)).fact(order()).event is Event.PAYMENT_DUE


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"amount": 100}, "amount: ours 1 fen, theirs 100 fen"), ({"amount": "0"}, "amount: ours 1 fen, theirs 0 fen"),
     ({"amount": 1.5}, "amount: ours 1 fen, theirs cannot be read"), ({"amount": True}, "theirs cannot be read"),
     ({"amount": "0.01"}, "theirs cannot be read"), ({"amount": [1]}, "theirs cannot be read"),
     ({"currency": "usd"}, "currency: ours cny, theirs usd")],
)  # fmt: skip
def test_another_amount_is_for_a_person_and_its_credential_for_nobody(changed: dict[str, Any], message: str) -> None:
    fact = submitted(pay_answer(**changed)).fact(order())
    assert (fact.event, fact.code, fact.payment) == (Event.MISMATCH, "mismatch", None)
    assert message in str(fact.message)


def test_the_charge_is_in_fen_whatever_the_amount_was_sent_in() -> None:
    outcome = answered(adapter(amount_unit="yuan").submit(order(15_800), NOW), pay_answer(amount=15_800))
    assert outcome.fact(order(15_800)).event is Event.PAYMENT_DUE


def test_a_charge_that_is_paid_already_asks_nobody_to_pay() -> None:
    outcome = submitted(pay_answer(paid=True))
    assert (outcome.payment, outcome.fact(order()).event) == (None, Event.ACCEPTED)
    assert outcome.upstream_no == "10000001"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("extra", [nested(300), "x" * 70_000])
def test_a_charge_that_no_event_could_carry_is_unreadable(extra: Any) -> None:
    with pytest.raises(UnreadableReplyError):
        submitted(pay_answer(extra=extra))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"\xff", b"{}", {"error": None}, {"error": True}, {"error": 0.0}, {"error": 0},
     {"error": 0, "data": None}, {"error": 0, "data": {"recordIDs": "1"}},
     {"error": 0, "data": {"recordIDs": "1", "chargeData": {}}},
     {"error": 0, "data": {"recordIDs": "1", "chargeData": {"error": 0, "charge": None}}},
     {"error": 0, "data": {"recordIDs": "1", "chargeData": "<html>"}}],
)  # fmt: skip
def test_an_unreadable_answer(body: object) -> None:
    with pytest.raises(UnreadableReplyError):
        submitted(body)


# --- SearchSuccessData -----------------------------------------------------------------------------


def queried(body: object, status: int = 200, ids: str = "10000001", state: State = State.AWAITING_PAYMENT) -> Report:
    report: Report = answered(adapter().query(order(upstream_no=ids, state=state), NOW), body, status)
    return report


def test_paid_with_the_dates_in_the_evidence() -> None:
    report = queried({"error": 0, "data": PAID})
    assert (report.status, report.fact(order(), 1).event) == (Status.SUCCEEDED, Event.ARRIVED)
    (package,) = report.evidence["packages"]
    assert (package["payStartDate"], package["payEndDate"]) == ("2016-09-01", "2017-08-31")
    assert package["itemName"] == "B套餐-含定位"


@pytest.mark.parametrize(
    ("given", "shown"),
    [("2016-09-01T00:00:00", "2016-09-01T00:00:00"), ("20160901", "2016-09-01"), ("2016/9/1", "2016/9/1"),
     (20160901, "2016-09-01"), ("20160901235959", "2016-09-01-235959")],
)  # fmt: skip
def test_dates_however_they_are_written(given: Any, shown: str) -> None:
    (package,) = queried({"error": 0, "data": PAID | {"payStartDate": given}}).evidence["packages"]
    assert package["payStartDate"] == shown


EMPTY = dict.fromkeys(PAID)
NOT_YET = [
    {"error": 1, "message": "未查询到付款成功信息"}, {"error": "1"}, {"error": 0}, {"error": 0, "data": None},
    {"error": 0, "data": {}}, {"error": 0, "data": []}, {"error": 0, "data": ""}, {"error": 0, "data": EMPTY},
    {"error": 0, "data": [EMPTY, dict.fromkeys(PAID, "")]},
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_YET)
def test_an_error_and_no_data_both_mean_not_yet(body: object) -> None:
    assert queried(body).fact(order(), 1).event is Event.PAYMENT_DUE
    assert queried(body, state=State.PENDING).status is Status.CHARGING, "paid, and not opened yet"


def test_of_several_packages_all_must_be_opened() -> None:
    both = "10000001,10000002"
    assert queried({"error": 0, "data": [PAID, PAID]}, ids=both).status is Status.SUCCEEDED
    assert queried({"error": 0, "data": PAID}, ids=both).status is Status.SUCCEEDED, "the documented form"
    as_text = {"error": 0, "data": json.dumps(PAID)}
    assert queried(as_text, ids=both).status is Status.SUCCEEDED, "the same, as text"
    some = queried({"error": 0, "data": [PAID, EMPTY]}, ids=both)
    assert (some.status, some.fact(order(), 1).event) == (Status.CHARGING, Event.CHARGING)


@pytest.mark.parametrize("missing", [None, ""])
def test_packages_without_dates_prove_nothing(missing: Any) -> None:
    undated = PAID | {"payStartDate": missing, "payEndDate": missing}
    assert queried({"error": 0, "data": undated}).status is Status.UNCLEAR
    assert queried({"error": 0, "data": [PAID, undated]}).status is Status.UNCLEAR
    assert queried({"error": 0, "data": PAID | {"payStartDate": missing}}).status is Status.SUCCEEDED


def test_an_unlisted_error_leaves_the_order_as_it_is() -> None:
    assert queried({"error": 2, "message": "?", "data": PAID}) == Report(Status.UNCLEAR, "2", "?")


@pytest.mark.parametrize("status", [201, 404, 500, 503])
def test_a_question_with_another_http_status_is_silent(status: int) -> None:
    assert queried({"error": 0, "data": PAID}, status) == Report(Status.SILENT, f"http_{status}")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", {"error": None, "data": PAID}, {"error": 0, "data": "paid"},
     {"error": 0, "data": [1]}, {"error": 0, "data": True}, {"error": 0, "data": PAID | {"payStartDate": {}}}],
)  # fmt: skip
def test_an_unreadable_answer_about_a_payment(body: object) -> None:
    with pytest.raises(UnreadableReplyError):
        queried(body)


# --- SearchPayPackages -----------------------------------------------------------------------------


def test_a_refused_list_of_packages() -> None:
    with pytest.raises(RefusedError) as refused:
        answered(adapter().packages("1", "card", "buy", NOW), {"error": 1, "message": "用户不存在"})
    assert (refused.value.code, refused.value.message) == ("1", "用户不存在")
