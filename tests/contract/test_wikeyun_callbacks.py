"""wikeyun: what a callback says, what it proves, and how it is acknowledged."""

from unittest.mock import AsyncMock

import pytest
from support.wikeyun import NOW, NUMBER, SECRET, adapter, card_order, order

from worker.core.order import Event
from worker.core.policy import Policy
from worker.gateways.base import CallbackRefusal, CallbackReport, RawCallback
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway


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


@pytest.mark.parametrize(("mobile", "event"), [("13786517891", Event.ARRIVED), ("13900139000", Event.MISMATCH)])
def test_a_trusted_callback_about_power_may_name_the_holders_phone(mobile: str, event: Event) -> None:
    """As a query's answer does: the power document has a phone number there."""
    parsed = adapter(trust_callbacks=True).parse_callback(raw(f"order_no=T1&status=2&mobile={mobile}".encode()))
    assert isinstance(parsed, CallbackReport)
    assert parsed.report.fact(card_order("power", 20_000, phone="13786517891"), 1).event is event


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


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"order_no": {}, "status": 2}', "order_no: expected a number or a short text"),
        (b'{"order_no": "T1", "order_number": [1]}', "order_number: expected a number or a short text"),
        (b'{"order_no": "T1", "status": 2.5}', "status: expected a number or a short text"),
        (b"{", "the body is not JSON"),
    ],
)
def test_the_refusal_names_the_field(body: bytes, detail: str) -> None:
    assert adapter().parse_callback(RawCallback(NOW, "POST", "/", "", {}, body)) == CallbackRefusal(
        "invalid_message", detail
    )


def test_acknowledgements() -> None:
    ok, failed = adapter().acknowledge(ok=True), adapter().acknowledge(ok=False)
    assert (ok.status, ok.body) == (200, b"success")
    assert failed.status >= 400
    assert failed.body != b"success"


def test_a_callbacks_words_show_no_secret_of_ours() -> None:
    """They end up in the journal, and in the reason that an event tells."""
    gateway = Gateway(adapter(), AsyncMock(), Gate(1, 0), Policy())
    parsed = gateway.parse_callback(raw(f"order_no=T1&status=x{SECRET}&reason=bad+{SECRET}".encode()))
    assert isinstance(parsed, CallbackReport)
    assert (parsed.report.code, parsed.report.message) == ("x****", "bad ****")
