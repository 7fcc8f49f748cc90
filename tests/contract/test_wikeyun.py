"""wikeyun: exact bytes, every status and code, callbacks, and nothing shown that must not be."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydantic import ValidationError

from worker.core.order import Event, Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.core.policy import Policy
from worker.gateways.base import (
    Call,
    CallbackRefusal,
    CallbackReport,
    RawCallback,
    Reply,
    Request,
    UnreadableReplyError,
)
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway
from worker.gateways.lease import Lease
from worker.gateways.wikeyun import Wikeyun, WikeyunSettings

NOW = datetime(2026, 11, 21, 12, 0, 0, 654321, tzinfo=UTC)
STAMP = 1795262400
SECRET = "canary-secret"
PHONE = "13800138000"
NUMBER = "T20261121-000001"


def adapter(**settings: Any) -> Wikeyun:
    values: dict[str, Any] = {
        "adapter": "wikeyun",
        "base_url": "https://router.wikeyun.cn",
        "notify_url": "https://relay.example.com/callbacks/wikeyun",
        "store_id": "1001",
        "app_key": "key-77",
        "app_secret": SECRET,
        "client_ip": "10.0.0.1",
    }
    return Wikeyun("wikeyun", WikeyunSettings.model_validate(values | settings))


def order(amount_fen: int = 10_000, upstream_no: str | None = None, attempt: int = 1, **target: Any) -> Order:
    return Order(
        order_no=NUMBER,
        source="shop",
        product="mobile",
        amount_fen=amount_fen,
        target={"mobile": PHONE, "speed": "fast", "change_channel": None, "channel": None} | target,
        route=("wikeyun",),
        gateway="wikeyun",
        upstream_no=upstream_no,
        attempt=attempt,
    )


def answered(call: Call[Any], body: object, status: int = 200) -> Any:
    """Answer the call's one request and return what the adapter makes of it."""
    next(call)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(StopIteration) as done:
        call.send(Reply(status, {}, raw))
    return done.value.value


def unasked(call: Call[Any]) -> Any:
    with pytest.raises(StopIteration) as done:
        next(call)
    return done.value.value


def upper_md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()


def fields(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=bool(request.body)))


# --- requests ------------------------------------------------------------------------------------


def test_push_byte_for_byte() -> None:
    request = next(adapter().submit(order(), NOW))
    sign = upper_md5(
        "canary-secret"
        "app_keykey-77client10.0.0.1formatjsonmobile13800138000money100"
        "notify_urlhttps://relay.example.com/callbacks/wikeyunorder_noT20261121-000001"
        "recharge_type1store_id1001timestamp1795262400v1.0"
        "canary-secret"
    )
    assert request == Request(
        operation="push",
        method="POST",
        url="https://router.wikeyun.cn/rest/Recharge/pushOrder?app_key=key-77&timestamp=1795262400"
        f"&client=10.0.0.1&format=json&v=1.0&sign={sign}",
        body=b"store_id=1001&mobile=13800138000&order_no=T20261121-000001&money=100&recharge_type=1"
        b"&notify_url=https%3A%2F%2Frelay.example.com%2Fcallbacks%2Fwikeyun",
        content_type="application/x-www-form-urlencoded",
        moves_money=True,
    )


def test_push_with_everything() -> None:
    request = next(adapter().submit(order(5_000, attempt=2, speed="slow", change_channel=False, channel=7), NOW))
    sent = fields(request)
    assert sent["order_no"] == f"{NUMBER}R2"
    assert (sent["money"], sent["recharge_type"], sent["change"], sent["source"]) == ("50", "0", "0", "7")
    sign = upper_md5(
        "canary-secretapp_keykey-77change0client10.0.0.1formatjsonmobile13800138000money50"
        "notify_urlhttps://relay.example.com/callbacks/wikeyunorder_noT20261121-000001R2"
        "recharge_type0source7store_id1001timestamp1795262400v1.0canary-secret"
    )
    assert dict(parse_qsl(urlsplit(request.url).query))["sign"] == sign


def test_change_is_one_where_another_channel_may_be_tried() -> None:
    assert fields(next(adapter().submit(order(change_channel=True), NOW)))["change"] == "1"


def test_text_outside_ascii_is_signed_raw_and_sent_encoded() -> None:
    request = next(adapter(store_id="店 1&=%+", base_url="https://router.wikeyun.cn/").submit(order(), NOW))
    assert request.body.startswith(b"store_id=%E5%BA%97+1%26%3D%25%2B&mobile=")
    assert request.url.startswith("https://router.wikeyun.cn/rest/Recharge/pushOrder?")
    sign = upper_md5(
        "canary-secretapp_keykey-77client10.0.0.1formatjsonmobile13800138000money100"
        "notify_urlhttps://relay.example.com/callbacks/wikeyunorder_noT20261121-000001"
        "recharge_type1store_id店 1&=%+timestamp1795262400v1.0canary-secret"
    )
    assert request.url.endswith(f"&sign={sign}")


@pytest.mark.parametrize(
    ("upstream_no", "asked"),
    [(None, "order_no=T20261121-000001&store_id=1001"), ("WK 9", "order_number=WK+9&store_id=1001")],
)
def test_query_asks_by_their_number_or_else_by_ours(upstream_no: str | None, asked: str) -> None:
    request = next(adapter().query(order(upstream_no=upstream_no), NOW))
    assert urlsplit(request.url).path == "/rest/Recharge/query"
    assert (request.body.decode(), request.moves_money) == (asked, False)


def test_query_signature() -> None:
    request = next(adapter().query(order(), NOW))
    sign = upper_md5(
        "canary-secretapp_keykey-77client10.0.0.1formatjsonorder_noT20261121-000001store_id1001"
        "timestamp1795262400v1.0canary-secret"
    )
    assert request.url.endswith(f"&sign={sign}")


def test_balance() -> None:
    call = adapter().balance(NOW)
    request = next(call)
    sign = upper_md5("canary-secretapp_keykey-77client10.0.0.1formatjsontimestamp1795262400v1.0canary-secret")
    assert request.url == (
        "https://router.wikeyun.cn/rest/User/query?app_key=key-77&timestamp=1795262400"
        f"&client=10.0.0.1&format=json&v=1.0&sign={sign}"
    )
    assert (request.method, request.body, request.moves_money) == ("POST", b"", False)


@pytest.mark.parametrize(("money", "fen"), [("100", 10_000), ("100.50", 10_050), (98.5, 9_850), (7, 700)])
def test_balance_in_yuan(money: object, fen: int) -> None:
    assert answered(adapter().balance(NOW), {"code": "0000", "data": {"money": money, "id": 1}}) == fen


@pytest.mark.parametrize(
    ("body", "status"),
    [({"code": "0000", "data": {}}, 200), ({"code": "0000", "data": {"money": "much"}}, 200),
     ({"code": "1003", "msg": "no"}, 200), (b"<html>", 200), ({"code": "0000", "data": {"money": "1"}}, 500)],
)  # fmt: skip
def test_balance_that_cannot_be_read(body: object, status: int) -> None:
    call = adapter().balance(NOW)
    next(call)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(status, {}, raw))


# --- amounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount_fen", [10_001, 9_900, 30_000, 1])
def test_an_amount_that_it_does_not_sell_is_refused_without_a_request(amount_fen: int) -> None:
    outcome = unasked(adapter().submit(order(amount_fen), NOW))
    assert (outcome.outcome, outcome.code) == (Outcome.REJECTED, "amount_not_supported")


def test_amounts_are_configurable() -> None:
    assert fields(next(adapter(mobile_amounts=[30]).submit(order(3_000), NOW)))["money"] == "30"
    assert fields(next(adapter(mobile_amounts=[]).submit(order(9_900), NOW)))["money"] == "99"
    assert unasked(adapter(mobile_amounts=[]).submit(order(9_950), NOW)).code == "amount_not_supported"


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
    report = queried({"status": "11", "arrived_amount": "30.00", "cost_price": "29.4", "reason": "部分到账"})
    assert report == Report(Status.PARTIAL, "11", "部分到账", arrived_fen=3_000, cost_fen=2_940)


@pytest.mark.parametrize("arrived", [None, "", "0", "0.00"])
def test_partial_without_what_arrived_is_unclear(arrived: object) -> None:
    assert queried({"status": 11, "arrived_amount": arrived}).status is Status.UNCLEAR


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
    assert queried({"status": "2", "cost_price": "98.5051"}).cost_fen is None


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


# --- callbacks -----------------------------------------------------------------------------------


def raw(body: bytes, content_type: str = "application/x-www-form-urlencoded") -> RawCallback:
    return RawCallback(NOW, "POST", "/callbacks/wikeyun", "", {"content-type": content_type}, body)


@pytest.mark.parametrize(
    "body",
    [b"order_no=T20261121-000001&order_number=WK1&status=2&amount=7&sign=X&mobile=1",
     b'{"order_no":"T20261121-000001","order_number":"WK1","status":2,"amount":7,"sign":"X"}'],
)  # fmt: skip
def test_a_callback_is_a_hint(body: bytes) -> None:
    parsed = adapter().parse_callback(raw(body))
    assert isinstance(parsed, CallbackReport)
    assert (parsed.reference, parsed.upstream_no) == (NUMBER, "WK1")
    fact = parsed.report.fact(order(), 1)
    assert fact.event is Event.CLAIMED, "whatever it claims about the amount"
    assert parsed.report.code == "2"


def test_a_trusted_callback_settles_and_is_compared() -> None:
    trusting = adapter(trust_callbacks=True)
    good = trusting.parse_callback(raw(b"order_no=T20261121-000001&status=2&amount=100&mobile=13800138000"))
    bare = trusting.parse_callback(raw(b"order_number=WK1&status=3"))
    wrong = trusting.parse_callback(raw(b"order_no=T20261121-000001&status=2&amount=50"))
    events = [
        parsed.report.fact(order(), 1).event for parsed in (good, bare, wrong) if isinstance(parsed, CallbackReport)
    ]
    assert events == [Event.ARRIVED, Event.REFUSED, Event.MISMATCH]


@pytest.mark.parametrize(
    "body",
    [b"", b"status=2", b"order_no=&order_number=&status=2", b"order_no=T1&order_no=T2", b"order_no=%ff&status=2",
     b"\xff\xfe", b"{", b"[1]", b'{"order_no":{}}', b'{"status":"2"}', b"&".join([b"a=1"] * 200),
     b"order_no=" + b"x" * 65],
)  # fmt: skip
def test_an_unreadable_callback_is_refused(body: bytes) -> None:
    parsed = adapter().parse_callback(raw(body))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "invalid_message"


def test_acknowledgements() -> None:
    ok, failed = adapter().acknowledge(ok=True), adapter().acknowledge(ok=False)
    assert (ok.status, ok.body) == (200, b"success")
    assert failed.status >= 400
    assert failed.body != b"success"


# --- settings and secrets ------------------------------------------------------------------------


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="store_id"):
        adapter(store_id="")
    with pytest.raises(ValidationError, match="unknown_setting"):
        adapter(unknown_setting=1)
    assert SECRET not in repr(adapter().settings)


@pytest.mark.parametrize(
    "body",
    [{"code": "0000", "data": {"order_number": "WK1", "mobile": PHONE, "echo": SECRET}},
     {"code": "1999", "msg": f"{PHONE} {SECRET}", "mobile": int(PHONE), "sign": "S1GN"},
     f"<html>{PHONE} sign=S1GN&app_secret={SECRET}".encode(),
     f'{{"\\u0031\\u0033800138000": broken {SECRET} "sign": "S1GN" {PHONE}'.encode(),
     f'["{"x" * 3000}", "{PHONE}", "{SECRET}"]'.encode()],
)  # fmt: skip
async def test_what_must_not_be_shown_is_not(body: object) -> None:
    class Echo:
        async def send(self, request: Request, lease: Lease | None = None) -> Reply:  # noqa: ARG002 - a fake
            return Reply(200, {}, body if isinstance(body, bytes) else json.dumps(body).encode())

        async def close(self) -> None:
            pass

    gateway = Gateway(adapter(), Echo(), Gate(4), Policy())
    secretive = order()
    outcome = await gateway.submit(secretive, NOW, None)
    report = await gateway.query(replace(secretive, upstream_no="WK1"), NOW)
    fact = report.fact(secretive, 1)  # the report itself holds the account, to be compared
    for shown in (repr(outcome), repr(fact)):
        assert PHONE not in shown
        assert SECRET not in shown
        assert "S1GN" not in shown
        assert "key-77" not in shown
    assert outcome.evidence["request"]["order_no"] == NUMBER
    assert outcome.evidence["request"]["mobile"] == "138****8000"
    assert outcome.evidence["http_status"] == 200
    assert len(json.dumps(dict(outcome.evidence))) < 4096
