"""Evidence: what is shown, what is masked, and how much."""

import json
from datetime import UTC, datetime

from worker.core.order import Order
from worker.core.outcome import Report, Status
from worker.gateways.base import RawCallback, Reply, Request
from worker.gateways.evidence import LIMIT, Transcript, personal

TRANSCRIPT = Transcript({"sign", "app_key"}, ["TOPSECRET"])
PERSON = ("13800138000", "王小明", "ab")


def request(body: bytes = b"", url: str = "https://g.example/push?sign=ABC&app_key=K") -> Request:
    return Request("push", "POST", url, body, None, moves_money=True)


def test_an_exchange() -> None:
    body = b"mobile=13800138000&money=100&name=%E7%8E%8B%E5%B0%8F%E6%98%8E&sign=X&notify_url=https%3A%2F%2Fus"
    reply = Reply(200, {}, '{"code":"0000","data":{"who":"王小明","sign":"X","n":13800138000}}'.encode())
    assert TRANSCRIPT.exchange(request(body), reply, PERSON) == {
        "operation": "push",
        "request": {"mobile": "138****8000", "money": "100", "name": "****"},
        "http_status": 200,
        "reply": {"code": "0000", "data": {"who": "****", "n": "138****8000"}},
    }


def test_no_reply_and_no_body() -> None:
    shown = TRANSCRIPT.exchange(request(url="https://g.example/q?sign=A&id=7"), None)
    assert shown == {"operation": "push", "request": {"id": "7"}}


def test_a_question_that_is_nothing_but_its_path() -> None:
    shown = TRANSCRIPT.exchange(
        request(url="https://g.example/q/by-ref/T1R2/13800138000/%E7%8E%8B%E5%B0%8F%E6%98%8E"), None, PERSON
    )
    assert shown == {"operation": "push", "request": "/q/by-ref/T1R2/138****8000/****"}


def test_json_requests() -> None:
    shown = TRANSCRIPT.exchange(request(b'{"sign":"S","list":[1,null,true,2.5,"13800138000"]}'), None)
    assert shown["request"] == {"list": [1, None, True, 2.5, "138****8000"]}


def test_text_that_is_no_json_is_masked_and_cut() -> None:
    body = b"<x>TOPSECRET 13800138000 <sign>ABC</sign> sign=DEF \\u0031\\u0033\\u0038001380001 " + b"y" * 9000
    text = TRANSCRIPT.exchange(request(), Reply(500, {}, body), PERSON)["reply"]
    for hidden in ("TOPSECRET", "13800138000", "ABC", "DEF", "138001380001"):
        assert hidden not in text
    assert len(text) <= LIMIT


def test_a_number_that_the_cut_would_halve_is_masked_first() -> None:
    body = b"x" * (LIMIT - 8) + b" 13800138000"
    text = TRANSCRIPT.exchange(request(), Reply(200, {}, body + b" " + b"z" * 99))["reply"]
    assert "13800" not in text


def test_deep_json_ends() -> None:
    shown = TRANSCRIPT.exchange(request(), Reply(200, {}, b"[" * 1000 + b"]" * 1000))
    assert len(json.dumps(shown["reply"])) < 100


def test_another_charset() -> None:
    shown = Transcript(charset="gb18030").exchange(request(b"name=%C8%DB"), Reply(200, {}, "<n>镕</n>".encode("gbk")))
    assert shown["request"] == {"name": "熔"}
    assert shown["reply"] == "<n>镕</n>"


def test_callbacks() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    raw = RawCallback(moment, "POST", "/", "", {}, b"order_no=T1&mobile=13800138000&sign=S")
    assert TRANSCRIPT.callback(raw) == {"operation": "callback", "body": {"order_no": "T1", "mobile": "138****8000"}}


def test_what_an_order_says_about_a_person() -> None:
    target = {"card_no": "C1", "name": "王小明", "phone": None, "speed": "fast", "quantity": 2}
    order = Order("T1", "shop", "oil", 1, target, ("g",), "g")
    assert personal(order) == ("C1", "王小明")
    assert TRANSCRIPT.text("C1", personal(order)) == "****"
    assert TRANSCRIPT.text("SC1000", personal(order)) == "SC1000", "too short to be hidden inside a longer text"


def test_a_name_of_two_characters_is_hidden_wherever_it_stands() -> None:
    assert Transcript().text("收款人张三已欠费", ("张三",)) == "收款人****已欠费"
    assert Transcript().text("张三", ("张三",)) == "****"
    assert Transcript().text("欠费", ("张三", "12")) == "欠费"
    assert Transcript().text("in 12 hours", ("12",)) == "in 12 hours"


def test_a_callback_is_masked_again_once_its_person_is_known() -> None:
    report = Report(Status.FAILED, "7", "王小明 has no 12345", evidence={"body": {"reason": "王小明", "status": "3"}})
    shown = Transcript().concealed(report, ("王小明", "12345"))
    assert (shown.code, shown.message) == ("7", "**** has no ****")
    assert shown.evidence == {"body": {"reason": "****", "status": "3"}}
    assert Transcript().concealed(report, ("somebody",)) is report
