"""dingyin: which callbacks are proof, of what, and how they are acknowledged."""

from urllib.parse import quote_from_bytes

import pytest
from support.dingyin import KEY, NUMBER, adapter, callback, order, upper_md5

from worker.core.order import Event
from worker.core.outcome import Status
from worker.gateways.base import CallbackRefusal, CallbackReport

TIME = "20261121200000"


UNSIGNED = b"&parvalue=100&remark1=%CD%EA&payno=P1&fundbalance=5.5"


def body(
    resultno: str = "1", *, sign: str | None = None, sporderid: str = NUMBER, userid: str = "10086",
    orderid: str = "XS1", more: bytes = UNSIGNED,
) -> bytes:  # fmt: skip
    """A callback's form, signed by hand."""
    signed = (
        f"userid={userid}&orderid={orderid}&sporderid={sporderid}&merchantsubmittime={TIME}&resultno={resultno}"
    ).encode("gbk")
    form = b"&".join(
        name + b"=" + quote_from_bytes(value).encode()
        for name, value in (pair.split(b"=", 1) for pair in signed.split(b"&"))
    )
    correct = upper_md5(signed + b"&key=" + KEY.encode())
    return form + more + b"&sign=" + (correct if sign is None else sign).encode()


def read(raw: bytes) -> CallbackReport:
    parsed = adapter().parse_callback(callback(raw))
    assert isinstance(parsed, CallbackReport), parsed
    return parsed


@pytest.mark.parametrize(
    ("code", "event"),
    [("1", Event.ARRIVED), ("9", Event.REFUSED), ("0", Event.CHARGING), ("2", Event.CHARGING), ("5007", Event.UNCLEAR),
     ("9999", Event.UNCLEAR), ("7", Event.UNCLEAR), ("5002", Event.UNCLEAR)],
)  # fmt: skip
def test_a_signed_callback_proves_what_it_signs(code: str, event: Event) -> None:
    parsed = read(body(code))
    assert (parsed.reference, parsed.upstream_no) == (NUMBER, "XS1")
    assert parsed.report.proven
    fact = parsed.report.fact(order(), 1)
    assert (fact.event, fact.code, fact.upstream_no) == (event, code, "XS1")


def test_what_it_does_not_sign_is_kept_as_unproven_and_compared_with_nothing() -> None:
    lies = b"&parvalue=1&account=13900139000&num=7&remark1=" + b"%D5%C5%E9F%209876543210987" + b"&fundbalance=0"
    report = read(body(more=lies)).report
    assert report.fact(order("power"), 1).event is Event.ARRIVED
    assert (report.amount_fen, report.account, report.cost_fen, report.arrived_fen) == (None, None, None, None)
    assert report.evidence == {
        "operation": "callback",
        "signed": {
            "userid": "10086", "orderid": "XS1", "sporderid": NUMBER, "resultno": "1",
            "merchantsubmittime": "202****0000",
        },
        "unproven": {"parvalue": "1", "remark1": "张镕 987****0987", "fundbalance": "0"},
    }  # fmt: skip


@pytest.mark.parametrize("sign", ["", "X", "0" * 32, upper_md5(b"userid=10086")])
def test_a_forged_one_is_refused(sign: str) -> None:
    parsed = adapter().parse_callback(callback(body(sign=sign)))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "bad_signature"
    assert KEY not in parsed.detail


@pytest.mark.parametrize("name", ["userid=10086", "orderid=XS1", f"sporderid={NUMBER}", f"time={TIME}", "resultno=1"])
def test_whatever_is_changed_after_signing_is_refused(name: str) -> None:
    parsed = adapter().parse_callback(callback(body().replace(name.encode(), name.encode() + b"0", 1)))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "bad_signature"


def test_one_without_a_signature_is_refused() -> None:
    parsed = adapter().parse_callback(callback(body().rpartition(b"&sign=")[0]))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "bad_signature"


def test_another_key_is_not_ours() -> None:
    parsed = adapter(key="other").parse_callback(callback(body()))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "bad_signature"


def test_one_for_another_merchant_is_a_mismatch() -> None:
    fact = read(body(userid="10087")).report.fact(order(), 1)
    assert (fact.event, fact.code) == (Event.MISMATCH, "mismatch")


def test_it_may_leave_their_number_out() -> None:
    parsed = read(body(orderid=""))
    assert (parsed.upstream_no, parsed.report.status) == (None, Status.SUCCEEDED)


@pytest.mark.parametrize(
    "raw",
    [body(sporderid=""), body(resultno=""), body(userid=""), body(sporderid="x" * 65), body(orderid="x" * 65),
     body(sporderid="a\nb")],
)  # fmt: skip
def test_an_unreadable_one_is_refused(raw: bytes) -> None:
    parsed = adapter().parse_callback(callback(raw))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "invalid_message"


@pytest.mark.parametrize("raw", [body() + b"&resultno=9", b"&".join([b"a=1"] * 200), b"resultno=1&resultno=1"])
def test_one_that_is_no_form_is_not_signed(raw: bytes) -> None:
    """Or the relay would thank a stranger for it, and keep as many as he sends."""
    parsed = adapter().parse_callback(callback(raw))
    assert isinstance(parsed, CallbackRefusal)
    assert parsed.reason == "bad_signature"


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"{}", b"<order/>", b"sporderid=T1&resultno=1"])
def test_noise_is_refused(raw: bytes) -> None:
    assert isinstance(adapter().parse_callback(callback(raw)), CallbackRefusal)


def test_acknowledgements() -> None:
    ok, failed = adapter().acknowledge(ok=True), adapter().acknowledge(ok=False)
    assert (ok.status, ok.body) == (200, b"OK")
    assert failed.status >= 400
    assert failed.body != b"OK"
    assert adapter(ack_body="success").acknowledge(ok=True).body == b"success"
