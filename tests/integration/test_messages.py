"""Messages that cannot be processed: each kind, published by an independent client, becomes a dead letter.

The letter's reason is the contract's, its detail names the field and leaks no value, body and properties are as they
were; and the worker goes on.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from support import wire
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

SECRET = "13912345678"  # a phone number that no detail and no log may show
PROPERTIES: Mapping[str, Any] = {
    "app_id": "checkout",
    "priority": 3,
    "timestamp": 1_790_000_000,
    "headers": {"trace": "t-1", "tries": 2, "nested": {"flag": True}},
}
"""What a producer may have set, and wants to find again on the dead letter."""


def number(case: str) -> str:
    return f"B-{case}"[:28]


def text(case: str, **changes: Any) -> str:
    return json.dumps(wire.order(number(case), mobile=SECRET, **changes), ensure_ascii=False)


@dataclass(frozen=True)
class Case:
    """One bad message: what it is, why it is refused, and what the detail must hold."""

    name: str
    body: bytes
    reason: str
    says: str
    key: str = "submit.mobile"
    properties: Mapping[str, Any] = field(default_factory=dict)


def raw(name: str, body: str | bytes, says: str, reason: str = "invalid_message", /, **properties: Any) -> Case:
    encoded = body if isinstance(body, bytes) else body.encode()
    return Case(name, encoded, reason, says, properties=properties)


def changed(name: str, says: str, reason: str = "invalid_message", /, **changes: Any) -> Case:
    return raw(name, text(name, **changes), says, reason)


def without(name: str, *fields: str) -> Case:
    order = json.loads(text(name))
    for each in fields:
        order.pop(each)
    return raw(name, json.dumps(order), fields[-1])


def amount(name: str, literal: str) -> Case:
    return raw(name, text(name).replace("10000", literal, 1), "amount_fen:")


def target(name: str, says: str, value: Any) -> Case:
    return changed(name, says, target=value)


def oversized() -> str:
    plain = text("oversized")
    return plain + " " * (64 * 1024 + 1 - len(plain))


MANGLED = (
    raw("empty", b"", "body:"),
    raw("not-json", '{"order_no": "B-1", ' + SECRET, "body:"),
    raw("cut", text("cut")[:-1], "body:"),
    raw("two-values", text("two-values") * 2, "body:"),
    raw("an-array", f"[{text('an-array')}]", "body: expected an object"),
    raw("a-number", SECRET, "body: expected an object"),
    raw("null", "null", "body: expected an object"),
    raw("nan", text("nan").replace("10000", "NaN", 1), "amount_fen:"),
    raw("not-utf-8", text("not-utf-8").replace("shop", "商店").encode("gb18030"), "body: expected UTF-8"),
    raw("utf-16", text("utf-16").encode("utf-16"), "body: expected UTF-8"),
    raw("byte-order-mark", text("byte-order-mark").encode("utf-8-sig"), "body: expected no byte order mark"),
    raw("lone-surrogate", text("lone-surrogate", source="\\ud800").replace("\\\\", "\\"), "source:"),
    raw("oversized", oversized(), "body: expected at most 65536 bytes"),
    raw("deep", text("deep").replace('"fast"', "[" * 5000 + "]" * 5000), "body: expected at most"),
    raw("twice", text("twice").replace("{", '{"amount_fen": 1, ', 1), "amount_fen: given twice"),
    raw("twice-inside", text("twice-inside").replace('"speed"', '"mobile"'), "target.mobile: given twice"),
)
ENVELOPE = (
    raw("wrong-type", text("wrong-type"), "type: expected order.submit", type="order.create"),
    raw("content-type", text("content-type"), "content_type:", content_type="text/plain"),
    raw("charset", text("charset"), "content_type:", content_type="application/json; charset=gbk"),
    raw("gzip", text("gzip"), "content_encoding:", content_encoding="gzip"),
)
FIELDS = (
    without("no-order-no", "order_no"),
    without("no-product", "product"),
    without("no-amount", "amount_fen"),
    without("no-target", "target"),
    changed("extra", "amount: unknown field", amount=SECRET),
    changed("misspelt", "expire_at: unknown field", expire_at=None),
    changed("bad-order-no", "order_no:", order_no=f"订单 {SECRET}"),
    changed("long-order-no", "order_no:", order_no="N" * 29),
    changed("empty-order-no", "order_no:", order_no=""),
    changed("number-order-no", "order_no:", order_no=13912345678),
    changed("nul-order-no", "order_no:", order_no=f"{SECRET}\x00"),
    changed("bad-source", "source:", source="Shop One"),
    changed("null-source", "source:", source=None),
    amount("float", "10000.0"),
    amount("exponent", "1e4"),
    amount("text", '"10000"'),
    amount("true", "true"),
    amount("null-amount", "null"),
    amount("zero", "0"),
    amount("negative", "-10000"),
    amount("huge", "9007199254740993"),
    amount("beyond-64-bits", "1" + "0" * 30),
    changed("expires-naive", "expires_at:", expires_at="2099-01-01T00:00:00"),
    changed("expires-number", "expires_at:", expires_at=1_790_000_000),
    target("target-text", "target:", SECRET),
    target("target-extra", "target.sped: unknown field", {"mobile": SECRET, "sped": "slow"}),
    target("target-empty", "target.mobile: required", {}),
    target("short-mobile", "target.mobile:", {"mobile": SECRET[:-1]}),
    target("mobile-number", "target.mobile:", {"mobile": int(SECRET)}),
    target("mobile-nul", "target.mobile:", {"mobile": f"{SECRET}\x00"}),
    target("bad-speed", "target.speed:", {"mobile": SECRET, "speed": SECRET}),
    target("channel-true", "target.channel:", {"mobile": SECRET, "channel": True}),
)
ROUTING = (
    changed("unknown-gateway", "gateway:", "unknown_gateway", gateway="nobody"),
    changed("bad-gateway", "gateway:", gateway="No Such!"),
    changed("other-product", "product:", product="power"),
    changed("nobodys-product", "product:", "unknown_product", product="gift"),
    Case(
        "does-not-sell",
        json.dumps(
            {
                "order_no": number("does-not-sell"),
                "product": "game",
                "amount_fen": 10000,
                "gateway": "wikeyun",
                "target": {"account": SECRET, "product_id": "9"},
            }
        ).encode(),
        "invalid_message",
        "gateway:",
        key="submit.game",
    ),
    Case(
        "nobody-sells",
        json.dumps(
            {
                "order_no": number("nobody-sells"),
                "product": "douyin",
                "amount_fen": 10000,
                "target": {"account": SECRET, "product_id": "9"},
            }
        ).encode(),
        "unknown_gateway",
        "product:",
        key="submit.douyin",
    ),
    changed("expired", "expires_at:", "expired", expires_at="2020-01-01T00:00:00+08:00"),
)


def post(name: str, body: bytes, says: str, reason: str = "invalid_message", /, **changes: Any) -> Case:
    message = wire.callback("wikeyun", body, **changes)
    key = f"callback.{message['gateway']}"
    return Case(name, json.dumps(message).encode(), reason, says, key, {"type": "gateway.callback"})


FORM = f"order_no={SECRET}&order_number=77&status=2".encode()
CALLBACKS = (
    Case("callback-not-json", b"order_no=1", "invalid_message", "body:", "callback.wikeyun"),
    post("bad-base64", FORM, "body: expected base64", body="b3JkZXI$" + SECRET),
    post("base64-number", FORM, "body: expected base64", body=int(SECRET)),
    post("no-such-gateway", FORM, "gateway:", "unknown_gateway", gateway="nobody"),
    Case(
        "other-gateways-key",
        json.dumps(wire.callback("wikeyun", FORM)).encode(),
        "invalid_message",
        "gateway:",
        "callback.other",
    ),
    post("unknown-order", FORM, "body:", "unknown_order"),
    post("unknown-later-attempt", b"order_no=B-nothingR2&order_number=77&status=2", "B-n****ngR2", "unknown_order"),
    post("unreadable", b"\xff\xfe" + FORM, "body:"),
    post("empty-callback", b"", "order_no"),
    post("no-order-number", b"status=2", "order_no"),
    post("given-twice", FORM + b"&order_no=2", "body:"),
    post("bad-method", FORM, "method:", method="post"),
    post("bad-path", FORM, "path:", path="callbacks"),
    post("upper-case-header", FORM, "headers", headers={"Content-Type": "text/plain"}),
    post("naive-time", FORM, "received_at:", received_at="2026-11-21T12:00:00"),
    post("extra-field", FORM, "body_text: unknown field", body_text=SECRET),
    post("too-large", b"x" * (192 * 1024), "body: expected at most 262144 bytes"),
    Case(
        "callback-type",
        json.dumps(wire.callback("wikeyun", FORM)).encode(),
        "invalid_message",
        "type: expected gateway.callback",
        "callback.wikeyun",
        {"type": "order.submit"},
    ),
)
CASES = (*MANGLED, *ENVELOPE, *FIELDS, *ROUTING, *CALLBACKS)


@pytest.fixture(scope="module")
def here(amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One worker that gets every bad message, and must still stand at the end."""
    directory = tmp_path_factory.mktemp("messages")
    with (
        Market(SandboxSettings(port=0, settle_after=0.2)) as market,
        stage(amqp_url, database_server, directory, "http://127.0.0.1:1") as made,
    ):
        made.gateway("wikeyun", market.gateway)
        worker = made.worker(spawn=True).await_ready()
        yield made
        assert worker.running, worker.tail()
        made.producer.submit(wire.order("after-all"))
        made.producer.await_event("after-all", "succeeded")
        assert made.facts.rows("SELECT order_no FROM orders WHERE order_no LIKE 'B-%'") == []
        assert not [entry for entry in market.entries() if entry["account"] == SECRET], "a bad message was sent"
        assert SECRET not in made.log()
        assert worker.terminate() == 0


def bury(here: Stage, key: str, body: bytes, **properties: Any) -> wire.Message:
    """Publish a message and return its dead letter."""
    before = len(here.producer.dead)
    here.producer.publish(key, body, **properties)
    until(lambda: len(here.producer.letters()) > before, 10, lambda: "no dead letter")
    (letter,) = here.producer.dead[before:]
    return letter


def letter_headers(letter: wire.Message) -> dict[str, Any]:
    """The headers of a letter, without the one that its queue adds for whoever reads it."""
    return {name: value for name, value in (letter.properties.headers or {}).items() if name != "x-delivery-count"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_message_is_kept_with_its_reason(here: Stage, case: Case) -> None:
    """Reason and detail are right, nothing leaks, nothing is lost of the message, and its producer is answered."""
    reply_to = here.producer.channel.queue_declare("", exclusive=True).method.queue
    given = {"message_id": f"m-{case.name}", "correlation_id": f"c-{case.name}", "reply_to": reply_to, **PROPERTIES}
    letter = bury(here, case.key, case.body, **(given | dict(case.properties)))
    headers = letter_headers(letter)

    queue = case.key if case.key.startswith("submit.") else "callbacks"
    assert (headers.pop("x-dead-reason"), headers.pop("x-dead-queue")) == (case.reason, f"{here.prefix}.{queue}")
    detail = headers.pop("x-dead-detail")
    assert case.says in detail
    assert "\n" not in detail
    assert SECRET not in detail
    assert headers.pop("x-dead-at").endswith("Z")
    assert headers == PROPERTIES["headers"]
    assert (letter.key, letter.raw) == (case.key, case.body)
    kept = letter.properties
    for name in ("app_id", "priority", "timestamp", "message_id", "correlation_id", "reply_to"):
        assert getattr(kept, name) == given[name]
    for name in ("type", "content_type", "content_encoding"):
        assert getattr(kept, name) == case.properties.get(name)
    assert kept.delivery_mode == 2

    answers = here.producer.take(reply_to)
    if case.key.startswith("submit."):
        (answer,) = answers
        assert answer.body == {"ok": False, "error": {"code": case.reason, "message": detail}}
        assert answer.properties.correlation_id == f"c-{case.name}"
    else:
        assert answers == []


def test_a_conflict_is_kept_answered_and_told_apart_from_the_first_order(here: Stage) -> None:
    """The second order under a number is refused with `order_conflict`; the first is untouched."""
    here.producer.submit(wire.order("C-1"))
    here.producer.await_event("C-1", "succeeded")
    reply_to = here.producer.channel.queue_declare("", exclusive=True).method.queue
    body = json.dumps(wire.order("C-1", amount_fen=20000)).encode()
    letter = bury(here, "submit.mobile", body, reply_to=reply_to, message_id="m-2")
    headers = letter.properties.headers or {}
    assert (headers["x-dead-reason"], letter.raw) == ("order_conflict", body)
    assert headers["x-dead-detail"].startswith("order_no:")
    (answer,) = here.producer.take(reply_to)
    assert answer.body["error"]["code"] == "order_conflict"
    assert answer.properties.correlation_id == "m-2"
    found = here.facts.order("C-1")
    assert found is not None
    assert (found["amount_fen"], found["state"]) == (10000, "succeeded")


def test_a_key_that_no_queue_takes_is_kept(here: Stage) -> None:
    """An unknown product's key goes through the alternate exchange: untouched, under its own key, without a reason."""
    body = text("no-queue").encode()
    letter = bury(here, "submit.gift", body, message_id="m-3", headers={"trace": "t"})
    assert (letter.key, letter.raw, letter.properties.message_id) == ("submit.gift", body, "m-3")
    assert letter_headers(letter) == {"trace": "t"}


def test_a_letter_with_an_expiration_does_not_vanish(here: Stage) -> None:
    """A dead letter stays until somebody decides; the time that its producer had set is kept as a header."""
    letter = bury(here, "submit.mobile", b"?", expiration="60000")
    assert letter.properties.expiration is None
    assert (letter.properties.headers or {})["x-dead-expiration"] == "60000"


def test_an_answer_that_nobody_waits_for_holds_nothing_up(here: Stage) -> None:
    """A `reply_to` that does not exist any more is no reason to keep the message or to fail."""
    letter = bury(here, "submit.mobile", b"?", reply_to="gone")
    assert letter.properties.reply_to == "gone"


def test_good_messages_among_bad_ones_are_worked_on(here: Stage) -> None:
    """A flood of bad messages costs the good ones between them nothing."""
    before = len(here.producer.dead)
    for each in range(30):
        here.producer.publish("submit.mobile", b"{" + str(each).encode())
        here.producer.submit(wire.order(f"G-{each}"))
        here.producer.publish("callback.wikeyun", b"?")
    for each in range(30):
        here.producer.await_event(f"G-{each}", "succeeded")
    until(lambda: len(here.producer.letters()) == before + 60, 10)


def test_a_callback_in_unpadded_base64_is_refused_and_one_in_json_is_read(here: Stage) -> None:
    """Base64 is exact; the raw body inside may be what the gateway likes: a form, or JSON."""
    here.producer.submit(wire.order("J-1"))
    here.producer.await_event("J-1", "succeeded")
    inner = json.dumps({"order_no": "J-1", "order_number": 57, "status": 2}).encode()
    padded = base64.b64encode(inner).decode()
    assert padded.endswith("=")
    unpadded = json.dumps(wire.callback("wikeyun", b"", body=padded.rstrip("="))).encode()
    letter = bury(here, "callback.wikeyun", unpadded)
    assert "body: expected base64" in (letter.properties.headers or {})["x-dead-detail"]
    here.producer.call_back(wire.callback("wikeyun", inner))
    until(lambda: "claimed" in here.facts.causes("J-1"), 10)


@pytest.mark.parametrize("given", ["\0", "\0" * 255])
def test_events_carry_a_correlation_id_that_the_database_cannot_hold(here: Stage, given: str) -> None:
    """Every event has the same one, cut to what AMQP can hold; none waits in the outbox for ever."""
    order_no = f"N-{len(given)}"
    here.producer.submit(wire.order(order_no), correlation_id=given)
    ends = [here.producer.await_event(order_no, what) for what in ("accepted", "succeeded")]
    assert {event.properties.correlation_id for event in ends} == {"\ufffd" * min(len(given), 85)}
    until(lambda: here.facts.rows("SELECT id FROM outbox") == [], 10)
