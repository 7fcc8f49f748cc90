"""zjzdy: what is asked, in exact bytes."""

import json
from decimal import Decimal
from typing import Any

import pytest
from support.wikeyun import answered
from support.zjzdy import NOW, TOKEN, adapter, order

from worker.core.outcome import Report, Status
from worker.gateways.base import Request, UnreadableReplyError


def fields(request: Request) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(request.body)
    return sent


def test_pay_byte_for_byte() -> None:
    request = next(adapter().submit(order(15_800), NOW))
    assert request == Request(
        operation="pay",
        method="POST",
        url="https://campus.example.com/api/Pay/PayMoney",
        body='{"channel":"alipay_wap","subject":"短信支付","body":"一年的短信费用","amount":15800,"userID":"10129580",'
        '"empName":"陈雅诺","itemIDs":"10000002","type":0}'.encode(),
        content_type="application/json",
        moves_money=True,
        headers={},
    )


@pytest.mark.parametrize(("kind", "number"), [("buy", 0), ("upgrade", 1), ("renew", 2)])
def test_every_kind(kind: str, number: int) -> None:
    assert fields(next(adapter().submit(order(kind=kind), NOW)))["type"] == number


def test_several_packages_are_joined_by_commas() -> None:
    request = next(adapter().submit(order(item_ids=["10000001", "10000002"]), NOW))
    assert fields(request)["itemIDs"] == "10000001,10000002"


@pytest.mark.parametrize(("fen", "yuan"), [(1, "0.01"), (10, "0.10"), (15_800, "158.00"), (10**13, "100000000000.00")])
def test_yuan_where_a_deployment_wants_them_are_exact(fen: int, yuan: str) -> None:
    request = next(adapter(amount_unit="yuan").submit(order(fen), NOW))
    assert f'"amount":{yuan},'.encode() in request.body
    assert json.loads(request.body, parse_float=Decimal)["amount"] * 100 == fen


def test_our_number_is_in_no_request() -> None:
    for request in (
        next(adapter().submit(order(), NOW)),
        next(adapter().query(order(upstream_no="10000001"), NOW)),
    ):
        assert b"T20261121" not in request.body


def test_the_fixed_headers_go_with_every_request() -> None:
    speaking = adapter(headers={"X-Token": TOKEN}, base_url="https://campus.example.com/web/")
    requests = [
        next(speaking.submit(order(), NOW)),
        next(speaking.query(order(upstream_no="1"), NOW)),
        next(speaking.packages("10129580", "card", "buy", NOW)),
    ]
    assert [request.headers for request in requests] == [{"X-Token": TOKEN}] * 3
    paths = [request.url.removeprefix("https://campus.example.com/web/api/Pay/") for request in requests]
    assert paths == ["PayMoney", "SearchSuccessData", "SearchPayPackages"]


def test_the_payment_is_asked_for_by_record_ids_as_the_table_says_not_the_example() -> None:
    request = next(adapter().query(order(upstream_no="10000001,10000002"), NOW))
    assert request == Request(
        operation="paid",
        method="POST",
        url="https://campus.example.com/api/Pay/SearchSuccessData",
        body=b'{"ids":"10000001,10000002"}',
        content_type="application/json",
        moves_money=False,
        headers={},
    )


def test_without_record_ids_there_is_nothing_to_ask() -> None:
    with pytest.raises(StopIteration) as done:
        next(adapter().query(order(), NOW))
    report: Report = done.value.value
    assert (report.status, report.code) == (Status.SILENT, "no_record_ids")


@pytest.mark.parametrize(("kind", "number"), [("card", 0), ("sms", 1)])
@pytest.mark.parametrize(("pay_kind", "pay_number"), [("buy", 0), ("upgrade", 1)])
def test_packages(kind: str, number: int, pay_kind: str, pay_number: int) -> None:
    call = adapter().packages("10129580", kind, pay_kind, NOW)
    request = next(call)
    assert fields(request) == {"userID": "10129580", "type": number, "payType": pay_number}
    assert not request.moves_money


def test_what_it_cannot_do_is_not_asked() -> None:
    it = adapter()
    assert (it.balance(NOW), it.cancel(order(), NOW), it.acknowledge(ok=True)) == (None, None, None)


def test_packages_are_handed_on_as_they_are() -> None:
    data = {
        "empName": "陈雅诺",
        "selectType": 0,
        "items": [{"id": "10000001", "itemPrice": "¥158元/年", "itemValue": 158.5}],
    }
    assert answered(adapter().packages("1", "card", "buy", NOW), {"error": 0, "data": data}) == data


@pytest.mark.parametrize("body", [{"error": 7}, {"error": 0}, {"error": 0, "data": []}, b"<html>", {"data": {}}])
def test_packages_that_cannot_be_read(body: object) -> None:
    with pytest.raises(UnreadableReplyError):
        answered(adapter().packages("1", "card", "buy", NOW), body)
