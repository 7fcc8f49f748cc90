"""dingyin: what is asked, in exact bytes, and what is not even asked."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from support.dingyin import HOLDER, KEY, NOW, NUMBER, adapter, order, sent, unasked, upper_md5

from worker.core.outcome import Outcome, Submitted
from worker.gateways.base import Request

FORM = "application/x-www-form-urlencoded"
STATE = '{"product_type":"3","userid":"3201234567890","username":"","type":"1","area":"江苏","city":"南京"}'
SOUTHERN = '{"product_type":"3","userid":"3201234567890","username":"011234","type":"1","area":"广东","city":"深圳"}'
GUANGDONG: dict[str, Any] = {"grid": "southern", "province": "广东省", "city": "深圳市"}


def test_a_game_byte_for_byte() -> None:
    request = next(adapter().submit(order("game", area_id="17", server_id="4", buyer_ip="10.0.0.7"), NOW))
    sign = upper_md5(
        b"userid=10086&productid=3312&num=1&areaid=17&serverid=4&account=13590101510"
        b"&spordertime=20261121200000&sporderid=T20261121-000001&key=canary-key"
    )
    assert request == Request(
        operation="push",
        method="POST",
        url="http://pay.example.com:9086/gameonlinepay.do",
        body=b"userid=10086&productid=3312&num=1&areaid=17&serverid=4&account=13590101510&userip=10.0.0.7"
        b"&spordertime=20261121200000&sporderid=T20261121-000001"
        b"&back_url=https%3A%2F%2Frelay.example.com%2Fcallbacks%2Fdingyin&sign=" + sign.encode(),
        content_type=FORM,
        moves_money=True,
    )


def test_electricity_of_the_state_grid() -> None:
    """The JSON that is signed and the JSON that is sent are one and the same string, in GBK."""
    request = next(adapter().submit(order("power"), NOW))
    fields = sent(request)
    account = STATE.encode("gbk")
    assert fields["account"] == account
    assert b"%BD%AD%CB%D5" in request.body, "江苏 in GBK, percent-encoded"
    assert fields["sign"].decode() == upper_md5(
        b"userid=10086&productid=&num=100&areaid=13800138000&serverid=&account=" + account
        + b"&spordertime=20261121200000&sporderid=T20261121-000001&key=canary-key"
    )  # fmt: skip
    assert (fields["userip"], fields["areaid"], fields["num"]) == (b"", b"13800138000", b"100")


def test_electricity_as_in_the_document() -> None:
    """Note 1's account, note 2's string, and the times and numbers of the document's examples."""
    ours = replace(order("power", 10_000, account_no="123123123", phone=None), order_no="2009042800001")
    at = NOW.replace(year=2021, month=2, day=24, hour=5, minute=45, second=52)
    request = next(adapter(userid="u1", key="k1", electricity={"productid": "3312"}).submit(ours, at))
    account = '{"product_type":"3","userid":"123123123","username":"","type":"1","area":"江苏","city":"南京"}'
    signed = f"userid=u1&productid=3312&num=100&areaid=&serverid=&account={account}&spordertime=20210224134552"
    assert sent(request)["account"].decode("gbk") == account
    assert sent(request)["sign"].decode() == upper_md5(f"{signed}&sporderid=2009042800001&key=k1".encode("gbk"))


@pytest.mark.parametrize(
    ("holder", "username", "userip"), [(HOLDER, "011234", HOLDER), ("011234", "011234", ""), ("44030X", "44030X", "")]
)
def test_electricity_of_the_southern_grid(holder: str, username: str, userip: str) -> None:
    """The last six of the holder's number in the account, the whole of it, if we have it, beside it, unsigned."""
    request = next(adapter().submit(order("power", holder_id=holder, **GUANGDONG), NOW))
    fields = sent(request)
    assert fields["account"].decode("gbk") == SOUTHERN.replace("011234", username)
    assert (fields["userip"].decode(), fields["areaid"]) == (userip, b"")
    assert fields["sign"].decode() == upper_md5(
        b"userid=10086&productid=&num=100&areaid=&serverid=&account=" + fields["account"]
        + b"&spordertime=20261121200000&sporderid=T20261121-000001&key=canary-key"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "number"),
    [("home", "1"), ("shop", "2"), ("company", "3"), ("id_card", "4"), ("licence", "6"), ("bank_card", "7")],
)
def test_every_kind_of_account(name: str, number: str) -> None:
    fields = sent(next(adapter().submit(order("power", account_type=name), NOW)))
    assert f'"type":"{number}"' in fields["account"].decode("gbk")


@pytest.mark.parametrize(
    ("province", "city", "area"),
    [("北京市", "北京市", '"北京","city":"北京"'), ("海南", "三亚", '"海南","city":"三亚"')],
)
def test_places_without_their_suffix(province: str, city: str, area: str) -> None:
    fields = sent(next(adapter().submit(order("power", province=province, city=city), NOW)))
    assert f'"area":{area}' in fields["account"].decode("gbk")


def test_douyin() -> None:
    fields = sent(next(adapter().submit(order("douyin", attempt=2), NOW)))
    assert fields["sporderid"].decode() == f"{NUMBER}R2"
    assert (fields["productid"], fields["num"], fields["areaid"], fields["serverid"]) == (b"880", b"2", b"", b"")
    assert (fields["account"], fields["userip"]) == (b"dy-7", b"10.0.0.7")
    assert fields["sign"].decode() == upper_md5(
        b"userid=10086&productid=880&num=2&areaid=&serverid=&account=dy-7"
        b"&spordertime=20261121200000&sporderid=T20261121-000001R2&key=canary-key"
    )


@pytest.mark.parametrize("account", ["张镕喆堃 1", "a&key=x%+", "·—…"])
def test_any_text_of_gbk_is_signed_raw_and_sent_encoded(account: str) -> None:
    fields = sent(next(adapter().submit(order("game", account=account), NOW)))
    assert fields["account"] == account.encode("gbk")
    assert fields["sign"].decode() == upper_md5(
        b"userid=10086&productid=3312&num=1&areaid=&serverid=&account=" + account.encode("gbk")
        + b"&spordertime=20261121200000&sporderid=T20261121-000001&key=canary-key"
    )  # fmt: skip


def test_the_query() -> None:
    request = next(adapter().query(order(upstream_no="XS1"), NOW))
    sign = upper_md5(b"userid=10086&sporderid=T20261121-000001&key=canary-key")
    assert request == Request(
        "query", "POST", "http://pay.example.com:9086/searchpay.do",
        b"userid=10086&sporderid=T20261121-000001&sign=" + sign.encode(), FORM, moves_money=False,
    )  # fmt: skip


def test_the_balance() -> None:
    request = next(adapter(base_url="http://pay.example.com:9086/").balance(NOW))
    sign = upper_md5(b"userid=10086&key=canary-key")
    assert request == Request(
        "balance", "POST", "http://pay.example.com:9086/searchbalance.do",
        b"userid=10086&sign=" + sign.encode(), FORM, moves_money=False,
    )  # fmt: skip


# --- what is not sent ----------------------------------------------------------------------------


@pytest.mark.parametrize(("amount_fen", "unit_fen"), [(10_001, 100), (99, 100), (10_000, 3_000)])
def test_electricity_that_does_not_divide_is_refused_without_a_request(amount_fen: int, unit_fen: int) -> None:
    outcome = unasked(adapter(electricity={"unit_fen": unit_fen}).submit(order("power", amount_fen), NOW))
    assert outcome == Submitted(
        Outcome.REJECTED, "amount_not_supported", f"{amount_fen} fen is not a whole number of {unit_fen} fen"
    )


def test_electricity_in_other_units() -> None:
    settings = {"productid": "77", "unit_fen": 1}
    fields = sent(next(adapter(electricity=settings).submit(order("power", 10_001), NOW)))
    assert (fields["num"], fields["productid"]) == (b"10001", b"77")


def test_the_amount_of_a_game_is_its_pieces() -> None:
    assert sent(next(adapter().submit(order("game", 9_999, quantity=30), NOW)))["num"] == b"30"


@pytest.mark.parametrize("text", ["€uro", "𠮷野家", "한국", "emoji 😀"])
def test_text_that_gbk_cannot_hold_is_refused_without_a_request(text: str) -> None:
    for ours in (order("game", account=text), order("power", city=text)):
        outcome = unasked(adapter().submit(ours, NOW))
        assert (outcome.outcome, outcome.code) == (Outcome.REJECTED, "not_encodable")
        assert str(outcome.message).startswith("account: "), "the field, not the text"
        assert text not in str(outcome.message)


# --- settings ------------------------------------------------------------------------------------


def test_settings_name_what_is_wrong() -> None:
    for wrong in (
        {"userid": ""}, {"userid": "€"}, {"ack_body": ""}, {"notify_url": "relay"}, {"electricity": {"unit_fen": 0}},
        {"electricity": {"productid": "€"}}, {"electricity": {"unit": 1}}, {"unfunded_pause_seconds": 0},
    ):  # fmt: skip
        (name,) = wrong
        with pytest.raises(ValidationError, match=name):
            adapter(**wrong)
    with pytest.raises(ValidationError) as caught:
        adapter(key="€")
    (problem,) = caught.value.errors(include_input=False)
    assert (problem["loc"], problem["msg"]) == (("key",), "Value error, expected text that GBK can hold")
    assert KEY not in repr(adapter().settings)
