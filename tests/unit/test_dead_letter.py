"""A dead letter is the message as it was, and can always be sent."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from pamqp import encode

from worker.broker.dead import AT, DETAIL, EXPIRATION, LEFT_OUT, QUEUE, REASON, USER, dead_letter
from worker.broker.message import Delivery, Outgoing, Properties

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=timezone(timedelta(hours=8)))


def letter(detail: str = "field `amount_fen`: not an integer", **properties: Any) -> Outgoing:
    delivery = Delivery("orders.submit.oil", "orders", "submit.oil", b"\xff{", Properties(**properties))
    return dead_letter("orders.dead", delivery, "invalid_message", detail, NOW)


def test_says_why_and_keeps_the_rest() -> None:
    stamp = datetime(2026, 1, 1, tzinfo=UTC)
    got = letter(
        content_type="application/json",
        content_encoding="utf-8",
        type="order.submit",
        message_id="m1",
        correlation_id="c1",
        reply_to="answers",
        headers={"tenant": "a"},
        priority=3,
        timestamp=stamp,
        app_id="shop",
    )
    assert got == Outgoing(
        "orders.dead",
        "submit.oil",
        b"\xff{",
        message_id="m1",
        type="order.submit",
        correlation_id="c1",
        headers={
            "tenant": "a",
            REASON: "invalid_message",
            DETAIL: "field `amount_fen`: not an integer",
            QUEUE: "orders.submit.oil",
            AT: "2026-11-21T12:00:00Z",
        },
        reply_to="answers",
        content_type="application/json",
        content_encoding="utf-8",
        priority=3,
        timestamp=stamp,
        app_id="shop",
    )


def test_absent_properties_stay_absent() -> None:
    got = letter()
    assert (got.content_type, got.message_id, got.type) == (None, None, None)


def test_what_would_undo_the_letter_is_moved_to_headers() -> None:
    got = letter(expiration="1000", user_id="producer")
    assert (got.headers[EXPIRATION], got.headers[USER]) == ("1000", "producer")


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("two\nlines\tand\x00more", "two lines and more"),
        ("x" * 500, "x" * 200),
        ("\ud800 half", "half"),
        ("余额不足", "余额不足"),
    ],
)
def test_detail_is_one_printable_line(detail: str, shown: str) -> None:
    assert letter(detail).headers[DETAIL] == shown


@pytest.mark.parametrize(
    "value",
    [
        b"\xff",
        1e300,
        2**70,
        Decimal("1e300"),
        Decimal("NaN"),
        {"deep": [b"\xfe"]},
        "\ud800",
        object(),
        None,
        float("inf"),
    ],
)
def test_any_header_can_be_sent(value: object) -> None:
    headers = dict(letter(headers={"odd": value, "fine": "yes"}).headers)
    encode.field_table(headers)
    assert headers["fine"] == "yes"


def test_bytes_stay_bytes() -> None:
    assert letter(headers={"odd": b"\xff"}).headers["odd"] == bytearray(b"\xff")


def test_headers_that_fill_a_frame_are_left_out() -> None:
    headers = dict(letter(headers={f"h{n}": "x" * 10_000 for n in range(13)}).headers)
    assert len(encode.field_table(headers)) < 70_000
    assert headers[LEFT_OUT] == 7
    assert headers[REASON] == "invalid_message"
