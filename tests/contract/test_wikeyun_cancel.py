"""wikeyun: cancelling an order of each product, and queries about cards' orders."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.wikeyun import NOW, NUMBER, OIL, POWER, adapter, card_order, no, ok, order, played

from worker.core.order import Event, Order
from worker.core.outcome import Report, Status
from worker.gateways.base import Reply, UnreadableReplyError

AREAS = {"mobile": "Recharge", "power": "Power", "oil": "Oil"}


def pending(product: str, upstream_no: str | None = "WK1") -> Order:
    """An order that the gateway has."""
    return order(upstream_no=upstream_no) if product == "mobile" else card_order(product, 50_000, upstream_no)


def asked(steps: list[Any]) -> list[tuple[str, str, bool]]:
    """The path, the body and whether money moves, of each request."""
    return [(urlsplit(step.url).path, step.body.decode(), step.moves_money) for step in steps]


# --- cancel --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("product", "area"), AREAS.items())
def test_cancel_by_their_number_then_look(product: str, area: str) -> None:
    answers = (no("0000"), ok(order_number="WK1", status="9"))
    steps, report = played(adapter().cancel(pending(product), NOW), *answers)
    assert asked(steps) == [
        (f"/rest/{area}/cancel", "order_number=WK1", False),
        (f"/rest/{area}/query", "order_number=WK1&store_id=1001", False),
    ]
    assert report == Report(Status.CANCELLED, "9", upstream_no="WK1")


def test_cancel_is_signed() -> None:
    (request, *_), _ = played(adapter().cancel(pending("oil"), NOW), no("1999"))
    signed = "canary-secretapp_keykey-77client10.0.0.1formatjsonorder_numberWK1timestamp1795262400v1.0canary-secret"
    sign = hashlib.md5(signed.encode(), usedforsecurity=False).hexdigest().upper()
    assert request.url.endswith(f"?app_key=key-77&timestamp=1795262400&client=10.0.0.1&format=json&v=1.0&sign={sign}")
    assert request.operation == "cancel"


def test_their_number_is_asked_for_where_it_is_unknown() -> None:
    answers = (ok(order_number="WK7", status="1"), no("0000"), ok(order_number="WK7", status="12"))
    steps, report = played(adapter().cancel(pending("power", None), NOW), *answers)
    assert asked(steps) == [
        ("/rest/Power/query", f"order_no={NUMBER}&store_id=1001", False),
        ("/rest/Power/cancel", "order_number=WK7", False),
        ("/rest/Power/query", "order_number=WK7&store_id=1001", False),
    ]
    assert report == Report(Status.CHARGING, "12", upstream_no="WK7")


@pytest.mark.parametrize(
    ("reply", "status"),
    [(no("2002"), Status.ABSENT), (no("9527"), Status.UNCLEAR), (Reply(502, {}, b""), Status.SILENT)],
)
def test_nothing_is_cancelled_where_their_number_cannot_be_had(reply: Reply, status: Status) -> None:
    steps, report = played(adapter(no_such_order_codes=["2002"]).cancel(pending("oil", None), NOW), reply)
    assert (len(steps), report.status) == (1, status)


@pytest.mark.parametrize(
    ("data", "event"),
    [
        ({"status": "1", "order_no": "T9"}, Event.MISMATCH),
        ({"status": "2"}, Event.ARRIVED),
        ({"status": "3"}, Event.REFUSED),
    ],
)
def test_only_an_order_of_ours_that_is_charging_is_cancelled(data: dict[str, str], event: Event) -> None:
    asked = pending("power", None)
    steps, report = played(adapter().cancel(asked, NOW), ok(order_number="WK7", **data))
    assert (len(steps), report.fact(asked, 1).event) == (1, event)


def test_a_cancel_that_is_refused_leaves_the_order_as_it_is() -> None:
    steps, report = played(adapter().cancel(pending("mobile"), NOW), no("2006", "无法取消"))
    assert (len(steps), report) == (1, Report(Status.UNCLEAR, "2006", "无法取消"))
    assert report.fact(pending("mobile"), 1).event is Event.UNCLEAR


def test_the_order_may_have_succeeded_before_its_cancellation() -> None:
    _, report = played(adapter().cancel(pending("mobile"), NOW), no("0000"), ok(order_number="WK1", status=2))
    assert report.status is Status.SUCCEEDED


def test_a_cancel_without_a_readable_answer_proves_nothing() -> None:
    _, report = played(adapter().cancel(pending("mobile"), NOW), Reply(500, {}, b""))
    assert report == Report(Status.SILENT, "http_500")
    call = adapter().cancel(pending("mobile"), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(200, {}, b"<html>"))


# --- queries about orders that were paid onto cards ------------------------------------------------


@pytest.mark.parametrize("product", ["power", "oil"])
@pytest.mark.parametrize(("upstream_no", "body"), [("WK1", "order_number=WK1"), (None, f"order_no={NUMBER}")])
def test_query_of_each_product(product: str, upstream_no: str | None, body: str) -> None:
    (request,), report = played(
        adapter().query(pending(product, upstream_no), NOW), ok(order_number="WK1", status="2", amount="500")
    )
    assert asked([request]) == [(f"/rest/{AREAS[product]}/query", f"{body}&store_id=1001", False)]
    assert report == Report(Status.SUCCEEDED, "2", upstream_no="WK1", amount_fen=50_000)


def judged(asked: Order, **data: Any) -> Event:
    """What the answer to a query makes of an order."""
    _, report = played(adapter().query(asked, NOW), ok(**{"status": "2", "order_no": asked.reference} | data))
    event: Event = report.fact(asked, 1).event
    return event


@pytest.mark.parametrize(
    ("target", "mobile", "event"),
    [
        ({}, POWER["account_no"], Event.ARRIVED),
        ({"phone": "13786517891"}, "13786517891", Event.ARRIVED),
        ({"phone": "13786517891"}, POWER["account_no"], Event.ARRIVED),
        ({"phone": "13786517891"}, "13900139000", Event.MISMATCH),
        ({}, "3201234567891", Event.MISMATCH),
        ({}, None, Event.ARRIVED),
    ],
)
def test_mobile_in_an_answer_about_power_is_the_account_or_its_holders_phone(
    target: dict[str, Any], mobile: str | None, event: Event
) -> None:
    """The document shows a phone number there, and no field for the account."""
    assert judged(card_order("power", 20_000, **target), mobile=mobile) is event


def test_an_answer_about_oil_is_compared_with_the_card() -> None:
    asked = card_order("oil", 50_000)
    assert judged(asked, mobile=OIL["card_no"]) is Event.ARRIVED
    assert judged(asked, mobile=OIL["phone"]) is Event.ARRIVED
    assert judged(asked, mobile="1000111100012345679") is Event.MISMATCH
    assert judged(asked, mobile=OIL["card_no"], amount="100") is Event.MISMATCH
    assert judged(asked, mobile=OIL["card_no"], order_no="T9") is Event.MISMATCH


def test_a_mobile_order_is_for_its_number_alone() -> None:
    assert judged(order(), mobile="13900139000") is Event.MISMATCH
