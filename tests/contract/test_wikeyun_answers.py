"""wikeyun: what every status and code of an answer means."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.wikeyun import NOW, NUMBER, PHONE, adapter, answered, order

from worker.core.order import Event
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways.base import Reply, UnreadableReplyError
from worker.gateways.wikeyun import Wikeyun

# --- answers to a push ---------------------------------------------------------------------------


def pushed(body: object, status: int = 200, **settings: Any) -> Submitted:
    outcome: Submitted = answered(adapter(**settings).submit(order(), NOW), body, status)
    return outcome


@pytest.mark.parametrize("code", ["0000", 0])
@pytest.mark.parametrize(("number", "read"), [("WK1", "WK1"), (20261121000001, "20261121000001")])
def test_accepted(code: object, number: object, read: str) -> None:
    outcome = pushed({"code": code, "msg": "推送成功", "data": {"order_number": number}})
    assert outcome == Submitted(Outcome.ACCEPTED, upstream_no=read)


@pytest.mark.parametrize(
    "data", [None, {}, [], {"order_number": ""}, {"order_number": None}, {"order_number": {}}, {"order_number": True},
             {"order_number": 1.5}, {"order_number": "x" * 65}],
)  # fmt: skip
def test_success_without_a_readable_number_is_unreadable(data: object) -> None:
    call = adapter().submit(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(200, {}, json.dumps({"code": "0000", "data": data}).encode()))


@pytest.mark.parametrize("code", ["1003", 1003])
def test_a_listed_refusal_is_definite(code: object) -> None:
    outcome = pushed({"code": code, "msg": "app_key不能为空", "time": "1624868000", "data": None})
    assert outcome == Submitted(Outcome.REJECTED, "1003", "app_key不能为空")


def test_a_refusal_that_names_an_order_is_not_definite() -> None:
    outcome = pushed({"code": "1003", "msg": "?", "data": {"order_number": "WK1"}})
    assert (outcome.outcome, outcome.doubt) == (Outcome.UNKNOWN, False)


def test_an_unlisted_code_is_unknown_with_doubt() -> None:
    outcome = pushed({"code": "1999", "msg": f"号码 {PHONE} 维护"})
    assert outcome == Submitted(Outcome.UNKNOWN, "1999", "号码 138****8000 维护", doubt=True)
    assert pushed({"code": "1003"}, refusal_codes=[]).doubt


def test_a_deposit_that_is_used_up_is_not_the_orders_fault() -> None:
    answer = {"code": "2004", "msg": "余额不足"}
    assert pushed(answer, unfunded_codes=["2004"]) == Submitted(Outcome.UNFUNDED, "2004", "余额不足")
    named = pushed(answer | {"data": {"order_number": "WK1"}}, unfunded_codes=["2004"])
    assert named.outcome is Outcome.UNKNOWN


def test_a_duplicate_was_taken_earlier() -> None:
    outcome = pushed({"code": "2001", "msg": "订单已存在"}, duplicate_codes=["2001"])
    assert (outcome.outcome, outcome.upstream_no) == (Outcome.ACCEPTED, None)


@pytest.mark.parametrize("status", [201, 400, 404, 500, 502])
def test_another_http_status_is_unknown_without_doubt(status: int) -> None:
    outcome = pushed({"code": "1003", "msg": "no"}, status)
    assert outcome == Submitted(Outcome.UNKNOWN, f"http_{status}")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b"{}", b'{"code":null}', b'{"code":true}', b'"0000"'])
def test_an_unreadable_answer(body: bytes) -> None:
    for call in (adapter().submit(order(), NOW), adapter().query(order(), NOW)):
        next(call)
        with pytest.raises(UnreadableReplyError):
            call.send(Reply(200, {}, body))


# --- answers to a query --------------------------------------------------------------------------


def queried(data: Mapping[str, object], **settings: Any) -> Report:
    report: Report = answered(adapter(**settings).query(order(), NOW), {"code": "0000", "msg": "ok", "data": data})
    return report


STATUSES = {
    0: Status.CHARGING, 1: Status.CHARGING, 2: Status.SUCCEEDED, 3: Status.FAILED, 4: Status.REFUNDED,
    5: Status.DISPUTED, 6: Status.CHARGING, 7: Status.CHARGING, 8: Status.CHARGING, 9: Status.CANCELLED,
    10: Status.REFUNDED, 12: Status.CHARGING,
}  # fmt: skip


@pytest.mark.parametrize(("number", "status"), STATUSES.items())
@pytest.mark.parametrize("kind", [int, str])
def test_every_status(number: int, status: Status, kind: type) -> None:
    report = queried({"status": kind(number), "order_number": "WK1"})
    assert report == Report(status, str(number), upstream_no="WK1")


def test_the_table_lists_nothing_else() -> None:
    assert set(Wikeyun.statuses) == {str(number) for number in (*STATUSES, 11)}


@pytest.mark.parametrize("status", [13, "99", "success", None, "", "02"])
def test_an_unlisted_status_leaves_the_order_as_it_is(status: object) -> None:
    assert queried({"status": status}).status is Status.UNCLEAR


def test_partial_with_what_arrived() -> None:
    told = {"status": "11", "order_no": NUMBER, "arrived_amount": "30.00", "cost_price": "29.4", "reason": "部分到账"}
    assert queried(told) == Report(Status.PARTIAL, "11", "部分到账", arrived_fen=3_000, cost_fen=2_940)


@pytest.mark.parametrize("arrived", [None, "", "0", "0.00"])
def test_partial_without_what_arrived_is_unclear(arrived: object) -> None:
    assert queried({"status": 11, "order_no": NUMBER, "arrived_amount": arrived}).status is Status.UNCLEAR


def test_an_answer_with_another_number_of_theirs_is_about_another_order() -> None:
    """It was asked for by their number, so that is what the answer has to name, also where it does not name ours."""
    ours = order(upstream_no="WK1")
    for status in ("1", "2", "3", "11"):
        data = {"status": status, "order_number": "WK2", "mobile": PHONE, "amount": "100", "arrived_amount": "50"}
        report = answered(adapter().query(ours, NOW), {"code": "0000", "data": data})
        assert report.fact(ours, 1).event is Event.MISMATCH
        same = answered(adapter().query(ours, NOW), {"code": "0000", "data": data | {"order_number": "WK1"}})
        assert same.fact(ours, 1).event is not Event.MISMATCH


@pytest.mark.parametrize("status", ["2", "3", "4", "9", "10", "11"])
def test_an_end_that_names_no_order_is_nobody_s(status: str) -> None:
    call = adapter().query(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError, match="order_no"):
        call.send(Reply(200, {}, json.dumps({"code": "0000", "data": {"status": status, "amount": "100"}}).encode()))


def test_the_documented_answer_is_compared_with_the_order() -> None:
    data = {"order_number": "WK1", "status": "2", "mobile": PHONE, "amount": "100", "order_no": NUMBER}
    ours = order()
    assert queried(data).fact(ours, 1).event is Event.ARRIVED
    wrongs: tuple[dict[str, object], ...] = (
        {"amount": "50"},
        {"amount": 99.99},
        {"mobile": "13900139000"},
        {"order_no": "T9"},
    )
    for wrong in wrongs:
        fact = queried({**data, **wrong}).fact(ours, 1)
        assert (fact.event, fact.code) == (Event.MISMATCH, "mismatch")
        assert PHONE not in str(fact.message)
        assert "13900139000" not in str(fact.message)


def test_an_amount_that_cannot_be_read_proves_nothing() -> None:
    call = adapter().query(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(200, {}, b'{"code":"0000","data":{"status":"2","amount":"lots"}}'))


def test_a_cost_that_cannot_be_read_is_unknown() -> None:
    assert queried({"status": "2", "order_no": NUMBER, "cost_price": "98.5051"}).cost_fen is None


def test_no_such_order_only_by_a_listed_code() -> None:
    answer = {"code": "1404", "msg": "订单不存在", "data": None}
    listed = answered(adapter(no_such_order_codes=["1404"]).query(order(), NOW), answer)
    assert listed == Report(Status.ABSENT, "1404", "订单不存在")
    unlisted = answered(adapter().query(order(), NOW), answer)
    assert unlisted == Report(Status.UNCLEAR, "1404", "订单不存在")


def test_a_query_with_another_http_status_is_silent() -> None:
    assert answered(adapter().query(order(), NOW), b"", 503) == Report(Status.SILENT, "http_503")


@pytest.mark.parametrize("data", [None, [], "x"])
def test_a_query_without_data(data: object) -> None:
    call = adapter().query(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(200, {}, json.dumps({"code": "0000", "data": data}).encode()))


# --- answers about the balance -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("money", "fen"), [("100", 10_000), ("100.50", 10_050), (98.5, 9_850), (7, 700), ("-0.50", -50)]
)
def test_balance_in_yuan(money: object, fen: int) -> None:
    assert answered(adapter().balance(NOW), {"code": "0000", "data": {"money": money, "id": 1}}) == fen


@pytest.mark.parametrize(
    ("body", "status"),
    [({"code": "0000", "data": {}}, 200), ({"code": "0000", "data": {"money": "--1"}}, 200),
     ({"code": "1003", "msg": "no"}, 200), (b"<html>", 200), ({"code": "0000", "data": {"money": "1"}}, 500)],
)  # fmt: skip
def test_balance_that_cannot_be_read(body: object, status: int) -> None:
    call = adapter().balance(NOW)
    next(call)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(status, {}, raw))
