"""wechat_ebike: what a callback says once it is verified and decrypted, and how it is acknowledged."""

import json
from typing import Any

import pytest
from support.wechat import NUMBER, adapter, envelope, order, plain, raw, resource

from worker.core.order import Event
from worker.gateways.base import CallbackRefusal, CallbackReport


def parsed(body: object) -> CallbackReport:
    report = adapter().parse_callback(raw(body))
    assert isinstance(report, CallbackReport)
    return report


@pytest.mark.parametrize(
    ("event_type", "state", "event"),
    [("TRANSACTION.SUCCESS", "SUCCESS", Event.ARRIVED), ("TRANSACTION.FAIL", "PAY_FAIL", Event.REFUSED),
     ("TRANSACTION.FAIL", "CLOSED", Event.REFUSED), ("TRANSACTION.PAY_BACK", "SUCCESS", Event.ARRIVED),
     ("TRANSACTION.PAY_BACK", "REFUND", Event.RETURNED), ("TRANSACTION.SUCCESS", "REFUND", Event.RETURNED),
     ("TRANSACTION.SUCCESS", "ACCEPTED", Event.CHARGING), ("TRANSACTION.SUCCESS", "SOMETHING", Event.UNCLEAR)],
)  # fmt: skip
def test_a_callback_proves_what_it_says(event_type: str, state: str, event: Event) -> None:
    callback = parsed(envelope(plain(trade_state=state), event_type))
    assert (callback.reference, callback.upstream_no) == (NUMBER, "4208450740201411110007820472")
    fact = callback.report.fact(order(), 1)
    assert (fact.event, fact.code) == (event, state)


@pytest.mark.parametrize(
    ("event_type", "state"),
    [
        ("TRANSACTION.SUCCESS", "PAY_FAIL"),
        ("TRANSACTION.FAIL", "SUCCESS"),
        ("REFUND.SUCCESS", "SUCCESS"),
        (None, "FAIL"),
    ],
)
def test_one_that_denies_itself_or_is_of_another_kind_is_a_hint(event_type: Any, state: str) -> None:
    fact = parsed(envelope(plain(trade_state=state), event_type)).report.fact(order(), 1)
    assert fact.event is Event.CLAIMED


@pytest.mark.parametrize(
    "changes",
    [{"amount": {"total": 889}}, {"mchid": "1900000002"}, {"appid": "wx0"}, {"sub_mchid": "1900000109"},
     {"amount": {"total": 888, "currency": "HKD"}}],
)  # fmt: skip
def test_another_amount_or_merchant_is_a_mismatch(changes: dict[str, Any]) -> None:
    assert parsed(envelope(plain(**changes))).report.fact(order(), 1).event is Event.MISMATCH


def test_what_the_journal_keeps() -> None:
    report = parsed(envelope(plain())).report
    assert report.evidence == {
        "operation": "callback",
        "id": "EV-201****0873",
        "create_time": "2026-11-21T20:00:00+08:00",
        "event_type": "TRANSACTION.SUCCESS",
        "out_trade_no": NUMBER,
        "transaction_id": "420****0472",
        "trade_state": "SUCCESS",
        "success_time": "2026-11-21T20:00:00+08:00",
        "amount_fen": 888,
    }


def test_associated_data_may_be_empty() -> None:
    sealed = resource(plain(), associated="")
    assert parsed(envelope(None, resource=sealed)).reference == NUMBER
    del sealed["associated_data"]
    assert parsed(envelope(None, resource=sealed)).reference == NUMBER


def damaged(**changes: Any) -> dict[str, Any]:
    return envelope(None, resource=resource(plain()) | changes)


@pytest.mark.parametrize(
    "body",
    [b"", b"<xml/>", b"[]", {}, {"resource": None}, {"resource": "x"}, damaged(algorithm="AEAD_AES_128_GCM"),
     damaged(ciphertext="!"), damaged(ciphertext=""), damaged(ciphertext="QUJD"), damaged(ciphertext=None),
     damaged(nonce="fdasflkja485"), damaged(nonce=""), damaged(nonce=None), damaged(associated_data="other"),
     damaged(associated_data=1), envelope(None, resource=resource(plain(), apiv3_key="x" * 32)), envelope(b"no JSON"),
     envelope([]), envelope(plain(out_trade_no=None)), envelope(plain(out_trade_no=1)),
     envelope(plain(amount={"total": "888"})), envelope(plain(), event_type=7)],
)  # fmt: skip
def test_a_signed_callback_that_cannot_be_read(body: object) -> None:
    refusal = adapter().parse_callback(raw(body))
    assert isinstance(refusal, CallbackRefusal)
    assert refusal.reason == "invalid_message"
    assert "oUpF8uMuAJO" not in refusal.detail


def test_acknowledgements() -> None:
    ok, failed = adapter().acknowledge(ok=True), adapter().acknowledge(ok=False)
    assert (ok.status, ok.body) == (204, b"")
    assert 400 <= failed.status < 600
    assert json.loads(failed.body)["code"] == "FAIL"
    assert failed.content_type == "application/json"
