"""The wikeyun simulator's electricity and fuel cards: added once, and orders only for cards of the store."""

from pathlib import Path
from typing import Any

import pytest
from support.merchant import Merchant, becomes, hears, sandbox

KINDS = ("Power", "Oil")


def card_of(merchant: Merchant, kind: str, **other: str) -> dict[str, str]:
    return merchant.meter(**other) if kind == "Power" else merchant.fuel_card(**other)


async def add(merchant: Merchant, kind: str, **other: str) -> int:
    answer = await merchant.call(f"/rest/{kind}/addCard", card_of(merchant, kind, **other))
    assert answer["code"] == "0000", answer
    assert isinstance(answer["data"]["id"], int)
    return answer["data"]["id"]


async def cards(merchant: Merchant) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await merchant.page("/ledger/cards"))["cards"]
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_an_order_for_a_card_is_charged_called_back_and_shown(merchant: Merchant, kind: str) -> None:
    card_id = await add(merchant, kind)
    answer = await merchant.push_card(kind, card_id)
    assert (answer["code"], answer["msg"]) == ("0000", "推送成功")
    await hears(merchant, "2")
    number = card_of(merchant, kind)["card_num"]
    row = await merchant.row()
    assert (row["product"], row["account"], row["amount_fen"], row["charges"]) == (kind.lower(), number, 50_000, 1)
    assert row["details"] == {"store_id": "1001", "cardId": str(card_id), "recharge_type": "0"}
    shown = (await merchant.call(f"/rest/{kind}/query", {"order_no": "T1"}))["data"]
    assert (shown["status"], shown["amount"], shown["mobile"]) == ("2", "500", number)


async def test_a_product_knows_only_its_own_orders_and_cards(merchant: Merchant) -> None:
    meter = await add(merchant, "Power")
    number = (await merchant.push_card("Power", meter))["data"]["order_number"]
    assert (await merchant.push_card("Oil", meter, "T2"))["code"] == "2008"
    for kind in ("Recharge", "Oil"):
        assert (await merchant.call(f"/rest/{kind}/query", {"order_no": "T1"}))["code"] == "2002"
        assert (await merchant.call(f"/rest/{kind}/cancel", {"order_number": number}))["code"] == "2002"
    assert (await merchant.call("/rest/Oil/cardInfo", {"card_id": str(meter)}))["code"] == "2008"
    assert (await merchant.call("/rest/Power/cancel", {"order_number": number}))["code"] == "0000"
    await hears(merchant, "9")
    assert (await merchant.row())["refunded_fen"] == 50_000


async def test_a_card_is_added_once_and_each_further_time_is_counted(merchant: Merchant) -> None:
    card_id = await add(merchant, "Power")
    again = await merchant.call("/rest/Power/addCard", merchant.meter())
    assert (again["code"], again["data"]) == ("2007", {"id": card_id})
    (card,) = await cards(merchant)
    assert (card["number"], card["card_id"], card["calls"]) == ("3201000000100", card_id, {"add": 2})
    assert (await merchant.page("/ledger/totals"))["refused_calls"] == {"wikeyun": {"2007": 1}}
    async with sandbox(simulators={"wikeyun": {"tells_known_card": False}}) as other:
        await add(other, "Power")
        assert (await other.call("/rest/Power/addCard", other.meter()))["data"] is None


async def test_a_card_belongs_to_one_store(merchant: Merchant) -> None:
    ours, theirs = await add(merchant, "Oil"), await add(merchant, "Oil", store_id="1002")
    assert ours != theirs
    assert (await merchant.push_card("Oil", theirs))["code"] == "2008"
    assert (await merchant.push_card("Oil", theirs, store_id="1002"))["code"] == "0000"
    assert (await merchant.call("/rest/Oil/query", {"order_no": "T1", "store_id": "1001"}))["code"] == "2002"
    assert (await merchant.call("/rest/Oil/delCard", {"card_id": str(theirs), "store_id": "1001"}))["code"] == "2008"


async def test_a_card_is_shown_edited_and_deleted(merchant: Merchant) -> None:
    card_id = await add(merchant, "Power")
    other = await add(merchant, "Power", card_num="3201000000200")
    named = {"card_id": str(card_id)}
    edited = {**merchant.meter(), "type": "1", "user_ext": "12002X", **named}
    del edited["store_id"]  # the documents list none here
    assert (await merchant.call("/rest/Power/editCard", edited))["data"] == {"id": card_id}
    shown = (await merchant.call("/rest/Power/cardInfo", named))["data"]
    assert shown == {"id": card_id, **merchant.meter(), "type": "1", "user_ext": "12002X"}
    assert (await merchant.call("/rest/Power/editCard", {**edited, "card_num": "3201000000200"}))["code"] == "2007"
    assert (await merchant.call("/rest/Power/delCard", named))["code"] == "0000"
    for operation, given in (("cardInfo", named), ("delCard", named), ("editCard", edited)):
        assert (await merchant.call(f"/rest/Power/{operation}", given))["code"] == "2008"
    assert (await merchant.push_card("Power", card_id))["code"] == "2008"
    assert await add(merchant, "Power") not in (card_id, other)


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        ("Power", {"province": "江苏"}, "2000"),
        ("Power", {"city": "南京"}, "2000"),
        ("Power", {"type": "2"}, "2000"),
        ("Power", {"type": "1"}, "2000"),  # Southern Grid wants user_ext
        ("Power", {"type": "1", "user_ext": "12345"}, "2000"),
        ("Power", {"card_num": "meter"}, "2000"),
        ("Power", {"city": ""}, "1009"),
        ("Power", {"card_id": "1"}, "1008"),
        ("Power", {"store_id": "1003"}, "2000"),
        ("Oil", {"phone": "1380013800"}, "2000"),
        ("Oil", {"user_num": "12002X"}, "2000"),
        ("Oil", {"card_type": "2"}, "2000"),
        ("Oil", {"name": ""}, "1009"),
    ],
)
async def test_a_wrong_card_is_refused(merchant: Merchant, kind: str, change: dict[str, str], code: str) -> None:
    answer = await merchant.call(f"/rest/{kind}/addCard", card_of(merchant, kind) | change)
    assert answer["code"] == code
    assert await cards(merchant) == []


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        ("Power", {"amount": "150"}, "2003"),
        ("Power", {"amount": "100.00"}, "2003"),
        ("Power", {"amount": "0"}, "2003"),
        ("Power", {"amount": "300"}, "0000"),
        ("Oil", {"amount": "100"}, "2003"),
        ("Oil", {"amount": "500"}, "0000"),
        ("Power", {"recharge_type": "1"}, "2000"),
        ("Oil", {"cardId": "one"}, "2000"),
        ("Oil", {"cardId": "01"}, "2000"),
        ("Oil", {"cardId": "99"}, "2008"),
        ("Oil", {"mobile": "13800138000"}, "1008"),
        ("Power", {"change": "1"}, "1008"),
    ],
)
async def test_only_a_right_order_is_taken(merchant: Merchant, kind: str, change: dict[str, str], code: str) -> None:
    card_id = await add(merchant, kind)
    assert (await merchant.push_card(kind, card_id, **change))["code"] == code
    assert len((await merchant.page("/ledger"))["orders"]) == (code == "0000")


async def test_a_card_s_number_asks_for_the_fault_of_its_orders(merchant: Merchant) -> None:
    card_id = await add(merchant, "Power", card_num="3201000000114")
    assert (await merchant.push_card("Power", card_id))["code"] == "2006"
    assert (await merchant.row())["fault"] == "refused"


async def test_card_calls_can_be_made_to_fail_before_or_after_they_work(merchant: Merchant) -> None:
    number = merchant.meter()["card_num"]
    await merchant.force("refused", number, call="add_card")
    assert (await merchant.call("/rest/Power/addCard", merchant.meter()))["code"] == "2006"
    assert await cards(merchant) == []
    await merchant.force("error_500_charged", number, call="add_card")
    with pytest.raises(AssertionError):
        await add(merchant, "Power")
    ((card),) = await cards(merchant)
    assert card["calls"] == {"add": 1}


async def test_cards_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    async with sandbox(ledger_file=file) as merchant:
        card_id = await add(merchant, "Oil")
        before = await cards(merchant)
    async with sandbox(ledger_file=file) as merchant:
        assert await cards(merchant) == before
        assert (await merchant.push_card("Oil", card_id))["code"] == "0000"
        await merchant.page("/ledger/reset", "POST")
        assert await cards(merchant) == []


async def test_callbacks_can_be_json(merchant: Merchant) -> None:
    async with sandbox(simulators={"wikeyun": {"json_callbacks": True}}) as newer:
        number = (await newer.push())["data"]["order_number"]
        await becomes(newer, "2")
        await hears(newer, "2")
        (told,) = newer.callbacks
        assert {**told, "sign": ""} == {
            "order_no": "T1", "order_number": number, "status": "2", "amount": "100", "sign": ""
        }  # fmt: skip
