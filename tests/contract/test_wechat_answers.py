"""wechat_ebike: what every code and state of a signed answer means."""

from dataclasses import replace
from typing import Any

import pytest
from support.wechat import NOW, NUMBER, adapter, answered, order, plain, reply

from worker.core.order import Event
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways.base import UnreadableReplyError
from worker.gateways.wechat_ebike import WechatEbike

# --- answers to a deduction ----------------------------------------------------------------------


def submitted(body: object, status: int = 200) -> Submitted:
    outcome: Submitted = answered(adapter().submit(order(), NOW), body, status)
    return outcome


def refused(code: str, status: int = 400) -> Submitted:
    return submitted({"code": code, "message": "参数 13800138000 错误"}, status)


def test_accepted() -> None:
    body = {"accept_state": "ACCEPTED", "create_time": "2026-11-21T20:00:00+08:00"}
    assert submitted(body) == Submitted(Outcome.ACCEPTED)
    assert submitted(body, 202) == Submitted(Outcome.ACCEPTED)


@pytest.mark.parametrize("state", ["REJECTED", "accepted", "WAITING"])
def test_another_state_is_no_acceptance_and_no_refusal(state: str) -> None:
    assert submitted({"accept_state": state}) == Submitted(Outcome.UNKNOWN, state)


@pytest.mark.parametrize(
    "code",
    [
        "PARAM_ERROR",
        "NO_AUTH",
        "SIGN_ERROR",
        "INVALID_REQUEST",
        "RULE_LIMIT",
        "APPID_MCHID_NOT_MATCH",
        "MCH_NOT_EXISTS",
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_definite_refusal(code: str, status: int) -> None:
    assert refused(code, status) == Submitted(Outcome.REJECTED, code, "参数 138****8000 错误")


@pytest.mark.parametrize("code", ["OUT_TRADE_NO_USED", "ORDER_EXISTS"])
def test_a_known_number_was_taken_earlier(code: str) -> None:
    assert refused(code, 403).outcome is Outcome.ACCEPTED


def test_too_many_requests_were_not_taken() -> None:
    outcome = refused("FREQUENCY_LIMITED", 429)
    assert (outcome.outcome, outcome.code) == (Outcome.NOT_SENT, "FREQUENCY_LIMITED")


@pytest.mark.parametrize("code", ["SYSTEM_ERROR", "BANK_ERROR"])
@pytest.mark.parametrize("status", [400, 500, 502])
def test_an_error_of_theirs_is_unknown_without_doubt(code: str, status: int) -> None:
    outcome = refused(code, status)
    assert (outcome.outcome, outcome.doubt) == (Outcome.UNKNOWN, False)


@pytest.mark.parametrize("code", [*WechatEbike.codes, "SOMETHING_NEW"])
@pytest.mark.parametrize("status", [500, 503, 599])
def test_no_code_makes_a_5xx_definite(code: str, status: int) -> None:
    outcome = refused(code, status)
    assert (outcome.outcome, outcome.doubt) == (Outcome.UNKNOWN, False)


def test_an_unlisted_code_is_unknown_with_doubt() -> None:
    assert refused("SOMETHING_NEW") == Submitted(Outcome.UNKNOWN, "SOMETHING_NEW", "参数 138****8000 错误", doubt=True)


def test_an_unlisted_code_of_too_many_requests_is_no_judgement() -> None:
    outcome = refused("RATELIMIT_EXCEEDED", 429)
    assert (outcome.outcome, outcome.doubt) == (Outcome.UNKNOWN, False)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 200), (b"", 204), (b"<html>", 200), (b"[]", 200), ({}, 200), ({"accept_state": ""}, 200),
     ({"accept_state": 1}, 200), ({"accept_state": "x" * 129}, 200), ({"code": "PARAM_ERROR"}, 200),
     ({}, 400), ({"code": None}, 400), ({"code": 400}, 400), (b"<html>", 404), (b"", 500)],
)  # fmt: skip
def test_a_signed_answer_that_cannot_be_read(body: object, status: int) -> None:
    call = adapter().submit(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(reply(body, status))


# --- answers to a query --------------------------------------------------------------------------


def queried(body: object, status: int = 200, **settings: Any) -> Report:
    report: Report = answered(adapter(**settings).query(order(), NOW), body, status)
    return report


STATES = {
    "SUCCESS": Status.SUCCEEDED, "ACCEPT": Status.CHARGING, "ACCEPTED": Status.CHARGING, "NOTPAY": Status.CHARGING,
    "USERPAYING": Status.CHARGING, "PAY_FAIL": Status.FAILED, "PAYERROR": Status.FAILED, "FAIL": Status.FAILED,
    "CLOSED": Status.FAILED, "REVOKED": Status.FAILED, "REFUND": Status.REFUNDED,
}  # fmt: skip


@pytest.mark.parametrize(("state", "status"), STATES.items())
def test_every_state(state: str, status: Status) -> None:
    report = queried(plain(trade_state=state))
    assert report == Report(status, state, "支付成功", "4208450740201411110007820472", amount_fen=888)
    assert report.fact(order(), 1).event is not Event.MISMATCH


def test_the_table_lists_nothing_else() -> None:
    assert set(WechatEbike.states) == set(STATES)


@pytest.mark.parametrize("state", ["success", "PART_PAID", None, ""])
def test_an_unlisted_state_leaves_the_order_as_it_is(state: object) -> None:
    assert queried(plain(trade_state=state)).status is Status.UNCLEAR


def test_no_such_order() -> None:
    report = queried({"code": "ORDER_NOT_EXIST", "message": "订单不存在"}, 404)
    assert report == Report(Status.ABSENT, "ORDER_NOT_EXIST", "订单不存在")


@pytest.mark.parametrize(
    ("status", "code", "meant"),
    [(404, "RESOURCE_NOT_EXISTS", Status.UNCLEAR), (400, "ORDER_NOT_EXIST", Status.UNCLEAR),
     (401, "SIGN_ERROR", Status.UNCLEAR), (403, "NO_AUTH", Status.UNCLEAR), (429, "FREQUENCY_LIMITED", Status.SILENT),
     (500, "SYSTEM_ERROR", Status.SILENT), (500, "ORDER_NOT_EXIST", Status.SILENT)],
)  # fmt: skip
def test_another_error_of_a_query_denies_nothing(status: int, code: str, meant: Status) -> None:
    assert queried({"code": code, "message": "?"}, status).status is meant


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"out_trade_no": "T20261121-000002"}, "out_trade_no"), ({"mchid": "1900000002"}, "mchid"),
     ({"appid": "wx0"}, "appid"), ({"sub_mchid": "1900000109"}, "sub_mchid"),
     ({"amount": {"total": 887}}, "amount: ours 888 fen, theirs 887 fen"),
     ({"amount": {"total": 888, "currency": "USD"}}, "currency: ours CNY, theirs USD")],
)  # fmt: skip
def test_another_order_than_ours_is_a_mismatch(changes: dict[str, Any], said: str) -> None:
    fact = queried(plain(**changes)).fact(order(), 1)
    assert fact.event is Event.MISMATCH
    assert said in str(fact.message)
    assert "1900000002" not in str(fact.message)


def test_what_is_left_out_is_no_mismatch() -> None:
    report = queried({"out_trade_no": NUMBER, "trade_state": "SUCCESS"})
    assert report.fact(order(), 1).event is Event.ARRIVED
    ours = queried(plain(sub_mchid="1900000109"), sub_mchid="1900000109")
    assert ours.fact(order(), 1).event is Event.ARRIVED


@pytest.mark.parametrize(
    "changes",
    [{"out_trade_no": None}, {"amount": 888}, {"amount": {"total": "888"}}, {"amount": {"total": 888.0}},
     {"amount": {"total": True}}, {"transaction_id": 42}, {"mchid": 1900000001}, {"trade_state": ["SUCCESS"]}],
)  # fmt: skip
def test_a_report_that_cannot_be_read(changes: dict[str, Any]) -> None:
    call = adapter().query(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(reply(plain(**changes)))


def test_the_number_that_was_asked_about_is_the_attempts() -> None:
    report = answered(adapter().query(replace(order(), attempt=2), NOW), plain())
    assert report.foreign is not None
