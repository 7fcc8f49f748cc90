"""wikeyun power and oil: the card first, then the push onto it; in exact bytes, and without any I/O."""

import hashlib
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from support.wikeyun import NOW, NUMBER, OIL, POWER, adapter, card_order, no, ok, played

from worker.core.card import Hold
from worker.core.outcome import Outcome
from worker.gateways.base import Reply, Request, UnreadableReplyError
from worker.gateways.cards import HoldCard, KeepCard

NEW = Hold(7, None, current=False)
SOUTHERN = {"grid": "southern", "province": "广东省", "city": "广州市", "holder_id": "440106199001011234"}


def url(path: str, signed: str) -> str:
    """The address of a call, with the signature of the parameters that are written out in `signed`."""
    sign = hashlib.md5(f"canary-secret{signed}canary-secret".encode(), usedforsecurity=False).hexdigest().upper()
    system = "app_key=key-77&timestamp=1795262400&client=10.0.0.1&format=json&v=1.0"
    return f"https://router.wikeyun.cn{path}?{system}&sign={sign}"


def post(operation: str, path: str, signed: str, body: bytes, *, moves_money: bool = False) -> Request:
    """The request as it must be, to the byte."""
    form = "application/x-www-form-urlencoded"
    return Request(operation, "POST", url(path, signed), body, form, moves_money)


def fields(request: Request) -> dict[str, str]:
    """The parameters of a request's body."""
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))


def held(product: str = "power", card_id: str | None = "42", *, current: bool = True, **target: Any) -> tuple[Any, Any]:
    """What a submit of a card's order asks for when its card is held so, and what the call came to."""
    amount = 20_000 if product == "power" else 50_000
    answers = [Hold(7, card_id, current=current), *target.pop("answers")]
    return played(adapter(**target.pop("settings", {})).submit(card_order(product, amount, **target), NOW), *answers)


# --- requests ------------------------------------------------------------------------------------


def test_power_from_a_new_card_to_the_push() -> None:
    steps, outcome = held(card_id=None, current=False, answers=[ok(id=42), None, ok(order_number="WK1")])
    hold, add, keep, push = steps
    assert isinstance(hold, HoldCard)
    assert add == post(
        "add_card",
        "/rest/Power/addCard",
        "app_keykey-77card_num3201234567890city南京市client10.0.0.1formatjsonprovince江苏省store_id1001"
        "timestamp1795262400type0v1.0",
        b"store_id=1001&card_num=3201234567890&province=%E6%B1%9F%E8%8B%8F%E7%9C%81&city=%E5%8D%97%E4%BA%AC%E5%B8%82&type=0",
    )
    assert keep == KeepCard("42", hold.card.digest)
    assert push == post(
        "push",
        "/rest/Power/pushOrder",
        "amount200app_keykey-77cardId42client10.0.0.1formatjson"
        "notify_urlhttps://relay.example.com/callbacks/wikeyunorder_noT20261121-000001recharge_type0store_id1001"
        "timestamp1795262400v1.0",
        b"store_id=1001&cardId=42&order_no=T20261121-000001&amount=200&recharge_type=0"
        b"&notify_url=https%3A%2F%2Frelay.example.com%2Fcallbacks%2Fwikeyun",
        moves_money=True,
    )
    assert (outcome.outcome, outcome.upstream_no) == (Outcome.ACCEPTED, "WK1")


def test_oil_from_a_new_card_to_the_push() -> None:
    steps, outcome = held("oil", None, current=False, answers=[ok(id="43"), None, ok(order_number="WK2")])
    _hold, add, keep, push = steps
    assert add == post(
        "add_card",
        "/rest/Oil/addCard",
        "app_keykey-77card_num1000111100012345678card_type0client10.0.0.1formatjsonname王小明phone13800138000"
        "store_id1001timestamp1795262400user_num320106199001011234v1.0",
        b"store_id=1001&card_num=1000111100012345678&name=%E7%8E%8B%E5%B0%8F%E6%98%8E&phone=13800138000"
        b"&user_num=320106199001011234&card_type=0",
    )
    assert keep.card_id == "43"
    assert push == post(
        "push",
        "/rest/Oil/pushOrder",
        "amount500app_keykey-77cardId43client10.0.0.1formatjson"
        "notify_urlhttps://relay.example.com/callbacks/wikeyunorder_noT20261121-000001recharge_type0store_id1001"
        "timestamp1795262400v1.0",
        b"store_id=1001&cardId=43&order_no=T20261121-000001&amount=500&recharge_type=0"
        b"&notify_url=https%3A%2F%2Frelay.example.com%2Fcallbacks%2Fwikeyun",
        moves_money=True,
    )
    assert outcome.upstream_no == "WK2"


def test_a_card_that_is_there_as_it_should_be_needs_no_call() -> None:
    for speed in ("fast", "slow"):
        (_hold, push), outcome = held(speed=speed, answers=[ok(order_number="WK1")])
        assert (fields(push)["cardId"], fields(push)["recharge_type"]) == ("42", "0")
        assert outcome.outcome is Outcome.ACCEPTED


def test_a_card_whose_fields_have_changed_is_edited_first() -> None:
    steps, _ = held(current=False, remark="三楼", answers=[ok(), None, ok(order_number="WK1")])
    hold, edit, keep, push = steps
    assert edit == post(
        "edit_card",
        "/rest/Power/editCard",
        "app_keykey-77card_id42card_num3201234567890city南京市client10.0.0.1formatjsonprovince江苏省remark三楼"
        "store_id1001timestamp1795262400type0v1.0",
        b"card_id=42&store_id=1001&card_num=3201234567890&province=%E6%B1%9F%E8%8B%8F%E7%9C%81"
        b"&city=%E5%8D%97%E4%BA%AC%E5%B8%82&remark=%E4%B8%89%E6%A5%BC&type=0",
    )
    assert (keep, fields(push)["cardId"]) == (KeepCard("42", hold.card.digest), "42")
    (_, edit, *_), _ = held("oil", current=False, company="petrochina", answers=[ok(), None, ok(order_number="W")])
    assert edit.url.partition("?")[0] == "https://router.wikeyun.cn/rest/Oil/editCard"
    assert fields(edit)["card_type"] == "1"


@pytest.mark.parametrize(("holder_id", "sent"), [("440106199001011234", "011234"), ("01123X", "01123X")])
def test_the_southern_grid_gets_the_last_six_and_nobody_else_does(holder_id: str, sent: str) -> None:
    answers = [ok(id=1), None, ok(order_number="WK1")]
    (_, add, *_), _ = held(card_id=None, current=False, answers=answers, **(SOUTHERN | {"holder_id": holder_id}))
    assert (fields(add)["type"], fields(add)["user_ext"]) == ("1", sent)
    (_, add, *_), _ = held(card_id=None, current=False, answers=answers, holder_id=holder_id)
    assert "user_ext" not in fields(add)


def test_an_empty_remark_is_signed_as_its_bare_key() -> None:
    (_, add, *_), _ = held(card_id=None, current=False, remark="", answers=[ok(id=1), None, ok(order_number="WK1")])
    assert add.url == url(
        "/rest/Power/addCard",
        "app_keykey-77card_num3201234567890city南京市client10.0.0.1formatjsonprovince江苏省remarkstore_id1001"
        "timestamp1795262400type0v1.0",
    )
    assert b"&remark=&" in add.body


def card_of(product: str, settings: dict[str, Any] | None = None, **target: Any) -> Any:
    """The card that an order asks for."""
    return next(adapter(**(settings or {})).submit(card_order(product, 50_000, **target), NOW)).card


def test_what_makes_a_card_another_or_a_changed_one() -> None:
    power, oil = card_of("power"), card_of("oil")
    for same in ({"phone": "13900139000"}, {"speed": "slow"}, {"account_type": "shop"}, {"holder_id": "123456"}):
        assert card_of("power", **same) == power, "what is not sent with the card changes nothing"
    for changed in ({"city": "苏州市"}, {"province": "山东省"}, {"remark": "x"}, SOUTHERN):
        card = card_of("power", **changed)
        assert (card.key, card.digest == power.digest) == (power.key, False)
    for changed in ({"name": "李四"}, {"phone": "13900139000"}, {"id_number": "1" * 18}, {"company": "petrochina"}):
        card = card_of("oil", **changed)
        assert (card.key, card.digest == oil.digest) == (oil.key, False)
    assert card_of("power", account_no="3201234567891").key != power.key
    assert card_of("power", account_no=OIL["card_no"]).key != oil.key
    assert card_of("power", {"store_id": "9"}).owner != power.owner


def test_nothing_of_a_person_is_in_what_the_ledger_is_given() -> None:
    card = card_of("oil")
    assert card.shown == "100****5678"
    for private in (OIL["card_no"], OIL["name"], OIL["phone"], OIL["id_number"]):
        assert private not in repr(card)


# --- what becomes of a card's call ---------------------------------------------------------------


@pytest.mark.parametrize("product", ["power", "oil"])
@pytest.mark.parametrize("card_id", [None, "42"])
def test_a_listed_refusal_of_the_card_refuses_the_order(product: str, card_id: str | None) -> None:
    steps, outcome = held(product, card_id, current=False, answers=[no("1003", "app_key不能为空")])
    assert (outcome.outcome, outcome.code, outcome.message) == (Outcome.REJECTED, "1003", "app_key不能为空")
    assert len(steps) == 2, "nothing was pushed"


@pytest.mark.parametrize("card_id", [None, "42"])
def test_any_other_code_leaves_the_order_unsent(card_id: str | None) -> None:
    steps, outcome = held(card_id=card_id, current=False, answers=[no("9527", "号码 13800138000 繁忙")])
    assert (outcome.outcome, outcome.code, outcome.message) == (Outcome.NOT_SENT, "9527", "号码 138****8000 繁忙")
    assert not any(step.moves_money for step in steps if isinstance(step, Request))


@pytest.mark.parametrize(
    "reply",
    [ok(), ok(id=None), ok(id=""), ok(id="x7"), ok(id=1.5), ok(id=True), ok(id=-3), no("0000"), Reply(500, {}, b""),
     Reply(200, {}, b"<html>"), Reply(200, {}, b"{}"), Reply(404, {}, b'{"code":"1003"}')],
)  # fmt: skip
def test_an_answer_without_a_readable_id_is_no_card(reply: Reply) -> None:
    call = adapter().submit(card_order("power", 20_000), NOW)
    next(call)
    call.send(NEW)
    with pytest.raises(UnreadableReplyError):
        call.send(reply)


def test_an_id_in_a_refusal_is_believed_when_the_card_shows_our_number() -> None:
    """The first addCard's answer was lost; the gateway will not add it twice, and says which card it has."""
    found = no("2007", "充值卡已存在", {"id": 42})
    mine = ok(card_num=POWER["account_no"], province="旧")
    steps, outcome = held(card_id=None, current=False, answers=[found, mine, ok(), None, ok(order_number="WK1")])
    _hold, _add, show, edit, keep, push = steps
    assert show == post(
        "show_card",
        "/rest/Power/cardInfo",
        "app_keykey-77card_id42client10.0.0.1formatjsontimestamp1795262400v1.0",
        b"card_id=42",
    )
    assert (fields(edit)["card_id"], fields(edit)["province"]) == ("42", "江苏省")
    assert (keep.card_id, fields(push)["cardId"], outcome.outcome) == ("42", "42", Outcome.ACCEPTED)


@pytest.mark.parametrize(
    "shown", [ok(card_num="3209999999999"), ok(card_num="320****7890"), ok(), no("2008"), no("0000", data=[])]
)
def test_an_id_in_a_refusal_that_may_be_another_cards_is_not(shown: Reply) -> None:
    found = no("2007", "充值卡已存在", {"id": 42})
    steps, outcome = held(card_id=None, current=False, answers=[found, shown])
    assert (outcome.outcome, outcome.code, len(steps)) == (Outcome.NOT_SENT, "2007", 3)


def test_a_card_that_is_gone_there_is_added_again_where_settings_know_the_code() -> None:
    gone = [no("2008", "充值卡不存在"), ok(id=44), None, ok(order_number="WK1")]
    steps, _ = held(current=False, answers=gone, settings={"no_such_card_codes": ["2008"]})
    assert [getattr(step, "operation", "") for step in steps] == ["", "edit_card", "add_card", "", "push"]
    assert fields(steps[-1])["cardId"] == "44"
    _, outcome = held(current=False, answers=[no("2008")])
    assert outcome.outcome is Outcome.NOT_SENT


# --- amounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "amount_fen"),
    [("power", 10_050), ("power", 15_000), ("power", 5_000), ("oil", 50_001), ("oil", 10_000), ("oil", 100_000)],
)
def test_an_amount_that_it_does_not_sell_is_refused_before_anything(product: str, amount_fen: int) -> None:
    steps, outcome = played(adapter().submit(card_order(product, amount_fen), NOW))
    assert (steps, outcome.outcome, outcome.code) == ([], Outcome.REJECTED, "amount_not_supported")


@pytest.mark.parametrize(
    ("product", "amount_fen", "settings"),
    [("power", 10_000, {}), ("power", 130_000, {}), ("power", 5_000, {"power_multiple": 50}), ("oil", 50_000, {}),
     ("oil", 100_000, {"oil_amounts": [500, 1000]}), ("oil", 7_700, {"oil_amounts": []})],
)  # fmt: skip
def test_an_amount_that_it_sells_is_pushed_in_whole_yuan(
    product: str, amount_fen: int, settings: dict[str, Any]
) -> None:
    order = card_order(product, amount_fen)
    answers = (Hold(7, "42", current=True), ok(order_number="WK1"))
    (_hold, push), _ = played(adapter(**settings).submit(order, NOW), *answers)
    assert fields(push)["amount"] == str(amount_fen // 100)


def test_a_later_attempt_is_pushed_under_its_own_number() -> None:
    order = replace(card_order("oil", 50_000), attempt=3)
    answers = (Hold(7, "42", current=True), ok(order_number="WK1"))
    (_hold, push), _ = played(adapter().submit(order, NOW), *answers)
    assert fields(push)["order_no"] == f"{NUMBER}R3"
