"""A submit message is an order, or an error that names the field and never the value."""

import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas import documents
from schemas.dead import DeadReason
from schemas.decode import InvalidMessageError, decode_submit
from schemas.examples import EXAMPLES
from schemas.orders import SubmitOrder

VALIDATOR = Draft202012Validator(documents.json_schema("order.submit"))
BY_PRODUCT = {example["product"]: example for example in reversed(EXAMPLES["order.submit"])}
ABSENT = object()
HUGE = 10**13


def _changed(product: str, path: str, value: Any) -> dict[str, Any]:
    message: dict[str, Any] = {**BY_PRODUCT[product], "target": dict(BY_PRODUCT[product]["target"])}
    *outer, last = path.split(".")
    part = message["target"] if outer else message
    if value is ABSENT:
        del part[last]
    else:
        part[last] = value
    return message


BAD = [
    ("mobile", "order_no", ""),
    ("mobile", "order_no", "T" * 29),
    ("mobile", "order_no", "T 1"),
    ("mobile", "order_no", "订单"),
    ("mobile", "order_no", 20261121),
    ("mobile", "order_no", ABSENT),
    ("mobile", "order_no", None),
    ("mobile", "order_no", "T1\u0000"),
    ("mobile", "source", "Shop"),
    ("mobile", "source", ""),
    ("mobile", "source", None),
    ("mobile", "source", "shop.one"),
    ("mobile", "amount_fen", 0),
    ("mobile", "amount_fen", -100),
    ("mobile", "amount_fen", "10000"),
    ("mobile", "amount_fen", True),
    ("mobile", "amount_fen", 10000.5),
    ("mobile", "amount_fen", None),
    ("mobile", "amount_fen", HUGE + 1),
    ("mobile", "amount_fen", ABSENT),
    ("mobile", "gateway", "Wikeyun"),
    ("mobile", "gateway", ""),
    ("mobile", "gateway", 1),
    ("mobile", "expires_at", "2026-11-21"),
    ("mobile", "expires_at", "2026-11-21T12:00:00"),
    ("mobile", "expires_at", "2026-11-21 12:00:00Z"),
    ("mobile", "expires_at", "1795262400"),
    ("mobile", "expires_at", 1795262400),
    ("mobile", "expires_at", ""),
    ("mobile", "amount", 10000),
    ("mobile", "target", None),
    ("mobile", "target", ABSENT),
    ("mobile", "target", ["13800138000"]),
    ("mobile", "target.mobile", "1380013800"),
    ("mobile", "target.mobile", "23800138000"),
    ("mobile", "target.mobile", "１３８００１３８０００"),  # noqa: RUF001 full-width digits are the point
    ("mobile", "target.mobile", 13800138000),
    ("mobile", "target.speed", "Fast"),
    ("mobile", "target.speed", None),
    ("mobile", "target.change_channel", "true"),
    ("mobile", "target.change_channel", 1),
    ("mobile", "target.channel", "7"),
    ("mobile", "target.channel", -1),
    ("mobile", "target.phone", "13800138000"),
    ("power", "target.account_no", ""),
    ("power", "target.account_no", "3201 0012"),
    ("power", "target.province", " 江苏省"),
    ("power", "target.city", "南京\n市"),
    ("power", "target.grid", "southern"),
    ("power", "target.grid", "south"),
    ("power", "target.phone", "call me"),
    ("power", "target.holder_id", "12345"),
    ("power", "target.account_type", "house"),
    ("power", "target.remark", "a\u0000b"),
    ("oil", "target.company", "shell"),
    ("oil", "target.name", ABSENT),
    ("oil", "target.id_number", "11010519491231002-X"),
    ("game", "target.quantity", 0),
    ("game", "target.quantity", "1"),
    ("game", "target.buyer_ip", "256.0.0.1"),
    ("douyin", "target.product_id", ABSENT),
    ("douyin", "target.area_id", "1"),
    ("campus", "target.item_ids", []),
    ("campus", "target.item_ids", "10000002"),
    ("campus", "target.kind", "rent"),
    ("ebike", "target.started_at", "2026-13-21T10:00:00Z"),
    ("ebike", "target.ended_at", "2026-11-21T01:00:00Z"),
    ("ebike", "target.capacity", 1.5),
    ("ebike", "target.device_ip", "localhost"),
    ("ebike", "target.park_fee_fen", -1),
]
NAMED_OTHERWISE = {("power", "target.grid", "southern"): "target.holder_id"}
BEYOND_JSON_SCHEMA = {("target.ended_at", "2026-11-21T01:00:00Z"), ("target.started_at", "2026-13-21T10:00:00Z")}


@pytest.mark.parametrize(("product", "path", "value"), BAD)
def test_a_bad_order_names_its_field_and_not_its_value(product: str, path: str, value: Any) -> None:
    message = _changed(product, path, value)
    with pytest.raises(InvalidMessageError) as caught:
        decode_submit(orjson.dumps(message), product)
    named = path if isinstance(value, list) else NAMED_OTHERWISE.get((product, path, value), path)
    assert caught.value.field == named
    assert caught.value.reason is DeadReason.INVALID_MESSAGE
    assert str(caught.value) == f"{named}: {caught.value.problem}"
    assert "\n" not in str(caught.value)
    if isinstance(value, str) and re.search(r"[0-9]{5}", value):
        assert value not in str(caught.value)
    if (path, str(value)) not in BEYOND_JSON_SCHEMA:
        assert not VALIDATOR.is_valid(message)


@pytest.mark.parametrize(
    ("found", "written", "field"),
    [
        (b"10000,", b"10000.0,", "amount_fen"),  # an integer to JSON Schema, not to us
        (b"10000,", b"1e4,", "amount_fen"),
        (b"10000,", b"NaN,", "amount_fen"),
        (b"10000,", b"Infinity,", "amount_fen"),
        (b"10000,", b"1e400,", "amount_fen"),
        (b"10000,", b"99999999999999999999,", "amount_fen"),
        (b"10000,", b"9" * 5000 + b",", "amount_fen"),
        (b"10000,", b"010000,", "body"),
        (b"10000,", b"10000,,", "body"),
        (b'"fast"', b'"fast","speed":"slow"', "target.speed"),
        (b'"fast"', b'"fast","sp\\u0065ed":"fast"', "target.speed"),
        (b'"fast"', b'"\\ud800"', "target.speed"),
        (b'"shop"', b'"shop\\n"', "source"),
        (b'"shop"', b'"\xed\xa0\x80"', "body"),
        (b'"shop"', b'"\xff"', "body"),
        (b'"shop"', b'"a\x00b"', "body"),
        (b'"source"', b'"13800138000"', "?"),  # a name that may be data is not shown
        (b'"source"', b'"Mr. \\u0000"', "?"),
        (b'"product":"mobile"', b'"product":null', "product"),
        (b'"product":"mobile",', b"", "product"),
        (b'"product":"mobile"', b'"product":"power"', "product"),
    ],
)
def test_bytes_that_no_encoder_writes_are_refused(found: bytes, written: bytes, field: str) -> None:
    body = orjson.dumps(BY_PRODUCT["mobile"])
    assert found in body
    with pytest.raises(InvalidMessageError) as caught:
        decode_submit(body.replace(found, written), "mobile")
    assert caught.value.field == field


def test_a_product_that_nobody_knows_has_its_own_reason() -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_submit(orjson.dumps({**BY_PRODUCT["mobile"], "product": "gas"}), "mobile")
    assert (caught.value.field, caught.value.reason) == ("product", DeadReason.UNKNOWN_PRODUCT)


def _digest(message: dict[str, Any]) -> bytes:
    return decode_submit(orjson.dumps(message)).content_digest()


def test_the_digest_never_changes() -> None:
    """Digests are stored: a change here would turn every repeated order into a conflict."""
    assert [_digest(example).hex() for example in EXAMPLES["order.submit"]] == PINNED


PINNED = [
    "f5ce7719732abac83d8585638dd0060d",
    "60d417e6349889efd7faf8febe36e983",
    "b18f0d15e0533b5efd3184b66dafe566",
    "1adc5dc517ff239c9f8842686726b9ed",
    "cfd1dd4106eed4fd29d8392a3d97a5a9",
    "ed3e5043e4931dacb5baf79449ca4d35",
    "e57da1f6a586a9f0f180a6d5141ea216",
    "a76aad99eb9084524d7bd9da0d47794a",
]


def test_a_default_written_out_changes_nothing() -> None:
    target = {"mobile": "13800138000"}
    bare = {"order_no": "T1", "product": "mobile", "amount_fen": 100, "target": target}
    full = {
        **bare,
        "source": "default",
        "gateway": None,
        "expires_at": "2026-11-21T12:00:00Z",
        "target": {"channel": None, "change_channel": None, "speed": "fast", **target},
    }
    assert _digest(bare) == _digest(full)
    assert decode_submit(orjson.dumps(full)).expires_at == datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_the_same_moment_in_another_zone_is_the_same_content() -> None:
    other = _changed("ebike", "target.started_at", "2026-11-21T02:00:00.000Z")
    assert _digest(other) == _digest(BY_PRODUCT["ebike"])
    order = decode_submit(orjson.dumps(other))
    assert order.target_fields()["started_at"] == "2026-11-21T02:00:00Z"


LINE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
ORDERS_OF_MOBILE = st.fixed_dictionaries(
    {
        "order_no": st.from_regex(r"[A-Za-z0-9_-]{1,28}", fullmatch=True),
        "product": st.just("mobile"),
        "amount_fen": st.integers(1, HUGE),
        "target": st.fixed_dictionaries(
            {"mobile": st.from_regex(r"1[0-9]{10}", fullmatch=True)},
            optional={"speed": st.sampled_from(["fast", "slow"]), "channel": st.none() | st.integers(0, 99)},
        ),
    },
    optional={"source": st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True), "gateway": st.sampled_from([None, "a_1"])},
)
ORDERS_OF_GAME = st.fixed_dictionaries(
    {
        "order_no": st.from_regex(r"[A-Za-z0-9_-]{1,28}", fullmatch=True),
        "product": st.just("game"),
        "amount_fen": st.integers(1, HUGE),
        "target": st.fixed_dictionaries(
            {"account": LINE, "product_id": st.from_regex(r"[!-~]{1,64}", fullmatch=True)},
            optional={"quantity": st.integers(1, 99), "area_id": st.sampled_from([None, "", "3"])},
        ),
    },
    optional={
        "expires_at": st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 hypothesis wants naive bounds
            datetime.isoformat
        )
    },
)


@given(ORDERS_OF_MOBILE | ORDERS_OF_GAME)
def test_any_order_survives_the_round_trip(message: dict[str, Any]) -> None:
    order = decode_submit(orjson.dumps(message))
    again = decode_submit(order.model_dump_json().encode())
    assert again == order
    assert again.content_digest() == order.content_digest()
    assert VALIDATOR.is_valid(message)


def _content(order: SubmitOrder) -> dict[str, Any]:
    return order.model_copy(update={"expires_at": None}).model_dump()


@given(ORDERS_OF_MOBILE | ORDERS_OF_GAME, ORDERS_OF_MOBILE | ORDERS_OF_GAME)
def test_digests_are_equal_exactly_where_the_contents_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    other = {**other, "order_no": one["order_no"], "amount_fen": one["amount_fen"]}
    first, second = decode_submit(orjson.dumps(one)), decode_submit(orjson.dumps(other))
    assert (first.content_digest() == second.content_digest()) == (_content(first) == _content(second))
