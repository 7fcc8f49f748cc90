"""wechat_ebike: what is not signed by WeChat Pay, now, with a key that we know, proves nothing."""

import subprocess
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.wechat import (
    NOW,
    NUMBER,
    OLD_SERIAL,
    SERIAL,
    adapter,
    encoded,
    order,
    plain,
    private_pem,
    public_pem,
    raw,
    sent,
    signed,
)

from worker.core.outcome import Outcome, Status
from worker.gateways.base import CallbackRefusal, CallbackReport, Reply, UnreadableReplyError
from worker.gateways.wechat_ebike import WechatEbike

Headers = dict[str, str]
Spoil = Callable[[Headers], Headers]

SPOILT: dict[str, Spoil] = {
    "no timestamp": lambda headers: {k: v for k, v in headers.items() if k != "wechatpay-timestamp"},
    "no nonce": lambda headers: {k: v for k, v in headers.items() if k != "wechatpay-nonce"},
    "no signature": lambda headers: {k: v for k, v in headers.items() if k != "wechatpay-signature"},
    "no serial": lambda headers: {k: v for k, v in headers.items() if k != "wechatpay-serial"},
    "nothing": lambda _headers: {},
    "another timestamp": lambda headers: headers | {"wechatpay-timestamp": str(int(NOW.timestamp()) + 1)},
    "no number": lambda headers: headers | {"wechatpay-timestamp": "now"},
    "half a number": lambda headers: headers | {"wechatpay-timestamp": headers["wechatpay-timestamp"] + ".0"},
    "a number without end": lambda headers: headers | {"wechatpay-timestamp": "1" * 5000},
    "another nonce": lambda headers: headers | {"wechatpay-nonce": "x"},
    "no ASCII": lambda headers: headers | {"wechatpay-nonce": "\udcff"},
    "an unknown serial": lambda headers: headers | {"wechatpay-serial": OLD_SERIAL},
    "no base64": lambda headers: headers | {"wechatpay-signature": "!" + headers["wechatpay-signature"]},
    "too short": lambda headers: headers | {"wechatpay-signature": b64encode(b"x" * 20).decode()},
    "zeros": lambda headers: headers | {"wechatpay-signature": b64encode(bytes(256)).decode()},
    "a probe": lambda headers: (
        headers | {"wechatpay-signature": "WECHATPAY/SIGNTEST/" + headers["wechatpay-signature"]}
    ),
}
ANSWERS = {
    "yes": (200, {"accept_state": "ACCEPTED"}),
    "no": (400, {"code": "PARAM_ERROR", "message": "no"}),
    "later": (429, {"code": "FREQUENCY_LIMITED", "message": "later"}),
    "again": (403, {"code": "OUT_TRADE_NO_USED", "message": "again"}),
    "absent": (404, {"code": "ORDER_NOT_EXIST", "message": "absent"}),
    "paid": (200, plain()),
    "broken": (500, {"code": "SYSTEM_ERROR", "message": "broken"}),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("spoilt", SPOILT)
def test_an_answer_without_a_good_signature_proves_nothing(spoilt: str, answer: str) -> None:
    status, said = ANSWERS[answer]
    body = encoded(said)
    headers = SPOILT[spoilt](signed(body))
    for call in (adapter().submit(order(), NOW), adapter().query(order(), NOW)):
        next(call)
        with pytest.raises(UnreadableReplyError, match=rf"^HTTP {status}, wechatpay-"):
            call.send(Reply(status, headers, body))


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_callback_without_a_good_signature_is_refused(spoilt: str) -> None:
    good = raw({"id": "EV-1"})
    parsed = adapter().parse_callback(good._replace(headers=SPOILT[spoilt](dict(good.headers))))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "bad_signature"


def test_a_probe_is_called_one() -> None:
    good = raw({"id": "EV-1"})
    parsed = adapter().parse_callback(good._replace(headers=SPOILT["a probe"](dict(good.headers))))
    assert isinstance(parsed, CallbackRefusal)
    assert "probe" in parsed.detail


def test_another_body_is_not_what_was_signed() -> None:
    headers = signed(b'{"accept_state":"ACCEPTED"}')
    call = adapter().submit(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(200, headers, b'{"accept_state":"ACCEPTED"} '))


@pytest.mark.parametrize(("seconds", "good"), [(0, True), (-299, True), (299, True), (-302, False), (302, False)])
def test_five_minutes(seconds: int, good: bool) -> None:  # noqa: FBT001 - a case
    body = encoded({"accept_state": "ACCEPTED"})
    headers = signed(body, at=NOW + timedelta(seconds=seconds))
    call = adapter().submit(order(), NOW)
    if good:
        assert sent(call, Reply(200, headers, body)).outcome is Outcome.ACCEPTED
    else:
        next(call)
        with pytest.raises(UnreadableReplyError, match="five minutes"):
            call.send(Reply(200, headers, body))
    parsed = adapter().parse_callback(raw(body, headers))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == ("invalid_message" if good else "bad_signature")


def test_a_callback_is_as_old_as_when_the_relay_received_it() -> None:
    """It may have waited in the queue for hours since."""
    body = encoded({})
    headers = signed(body, at=NOW - timedelta(hours=9))
    parsed = adapter().parse_callback(raw(body, headers, received_at=NOW - timedelta(hours=9)))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "invalid_message", "its signature was good"


# --- rotation ------------------------------------------------------------------------------------


def certificate(directory: Path) -> str:
    """A certificate of the old key, by openssl."""
    (directory / "key.pem").write_text(private_pem("old"))
    command = ["openssl", "req", "-x509", "-new", "-key", directory / "key.pem", "-subj", "/CN=Tenpay", "-days", "3650"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def rotating(directory: Path) -> WechatEbike:
    keys = {SERIAL: public_pem("platform"), OLD_SERIAL.lower(): certificate(directory)}
    return adapter(platform_keys=keys)


@pytest.mark.parametrize(("by", "serial"), [("platform", SERIAL), ("old", OLD_SERIAL)])
def test_while_keys_rotate_either_is_good(by: str, serial: str, tmp_path: Path) -> None:
    body = encoded(plain())
    headers = signed(body, by=by, serial=serial)
    report = sent(rotating(tmp_path).query(order(), NOW), Reply(200, headers, body))
    assert report.status is Status.SUCCEEDED


def test_the_serial_says_which_key(tmp_path: Path) -> None:
    body = encoded(plain())
    call = rotating(tmp_path).query(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError, match="signature"):
        call.send(Reply(200, signed(body, by="old", serial=SERIAL), body))


def test_an_unknown_serial_is_named_so_that_an_operator_can_add_it() -> None:
    body = encoded(plain())
    call = adapter().query(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError, match=f"platform_keys holds no key {OLD_SERIAL}"):
        call.send(Reply(200, signed(body, by="old", serial=OLD_SERIAL), body))


def test_openssl_signs_what_we_verify(tmp_path: Path) -> None:
    body = encoded({"out_trade_no": NUMBER, "trade_state": "SUCCESS"})
    timestamp = str(int(NOW.timestamp()))
    (tmp_path / "key.pem").write_text(private_pem("platform"))
    command = ["openssl", "dgst", "-sha256", "-sign", tmp_path / "key.pem"]
    message = timestamp.encode() + b"\nn0nce\n" + body + b"\n"
    signature = subprocess.run(command, input=message, capture_output=True, check=True).stdout
    headers = {
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": "n0nce",
        "wechatpay-signature": b64encode(signature).decode(),
        "wechatpay-serial": SERIAL,
    }
    assert sent(adapter().query(order(), NOW), Reply(200, headers, body)).status is Status.SUCCEEDED
    assert not isinstance(adapter().parse_callback(raw(body, headers)), CallbackReport), "an answer is no callback"
