"""wikeyun: what is asked, in exact bytes, and what is not even asked."""

import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from support.wikeyun import NOW, NUMBER, adapter, order

from worker.core.outcome import Outcome
from worker.gateways.base import Call, Request


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


# --- amounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount_fen", [10_001, 9_900, 30_000, 1])
def test_an_amount_that_it_does_not_sell_is_refused_without_a_request(amount_fen: int) -> None:
    outcome = unasked(adapter().submit(order(amount_fen), NOW))
    assert (outcome.outcome, outcome.code) == (Outcome.REJECTED, "amount_not_supported")


def test_amounts_are_configurable() -> None:
    assert fields(next(adapter(mobile_amounts=[30]).submit(order(3_000), NOW)))["money"] == "30"
    assert fields(next(adapter(mobile_amounts=[]).submit(order(9_900), NOW)))["money"] == "99"
    assert unasked(adapter(mobile_amounts=[]).submit(order(9_950), NOW)).code == "amount_not_supported"
