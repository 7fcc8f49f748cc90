"""The wikeyun simulator: honest in its ledger, its callbacks and its pages, and after a restart."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.merchant import CANCEL, QUERY, Merchant, becomes, hears, sandbox

from worker.sandbox import Sandbox, SandboxSettings


async def test_an_order_is_charged_once_and_called_back_as_success(merchant: Merchant) -> None:
    answer = await merchant.push()
    assert (answer["code"], answer["msg"]) == ("0000", "推送成功")
    number = answer["data"]["order_number"]
    assert await merchant.status() == "1"
    await becomes(merchant, "2")
    await hears(merchant, "2")
    assert merchant.callbacks == [{"order_no": "T1", "order_number": number, "status": "2"}]
    shown = (await merchant.call(QUERY, {"order_number": number, "store_id": "1001"}))["data"]
    assert shown == {
        "order_number": number,
        "status": "2",
        "mobile": "13800138000",
        "amount": "100",
        "order_no": "T1",
        "arrived_amount": "100",
        "cost_price": "100",
        "reason": "",
    }
    row = await merchant.row()
    assert row["calls"].pop("query") >= 2
    assert row == {
        "gateway": "wikeyun",
        "order_no": "T1",
        "order_number": number,
        "product": "mobile",
        "account": "13800138000",
        "amount_fen": 10_000,
        "status": "succeeded",
        "charges": 1,
        "pushes": 1,
        "charged_fen": 10_000,
        "refunded_fen": 0,
        "arrived_fen": 10_000,
        "calls": {"push": 1, "callback": 1, "callback_acknowledged": 1},
        "fault": None,
        "details": {"store_id": "1001", "recharge_type": "1"},
    }


async def test_a_repeated_number_is_refused_and_counted(merchant: Merchant) -> None:
    await merchant.push()
    assert (await merchant.push())["code"] == "2001"
    row = await merchant.row()
    assert (row["pushes"], row["charges"]) == (2, 1)
    totals = await merchant.page("/ledger/totals")
    assert totals["pushed_more_than_once"] == ["T1"]
    assert totals["charged_more_than_once"] == []
    assert totals["refused_calls"] == {"wikeyun": {"2001": 1}}


async def test_with_accept_duplicates_a_repeated_number_is_charged_again() -> None:
    async with sandbox(accept_duplicates=True) as merchant:
        first = await merchant.push()
        assert (await merchant.push())["data"] == first["data"]
        row = await merchant.row()
        assert (row["pushes"], row["charges"], row["charged_fen"]) == (2, 2, 20_000)
        assert (await merchant.page("/ledger/totals"))["charged_more_than_once"] == ["T1"]


async def test_the_balance_goes_down_and_then_refuses() -> None:
    async with sandbox(balance_fen=25_050) as merchant:
        assert (await merchant.call("/rest/User/query", {}))["data"]["money"] == "250.50"
        await merchant.push("T1")
        await merchant.push("T2")
        assert (await merchant.call("/rest/User/query", {}))["data"]["money"] == "50.50"
        assert (await merchant.push("T3"))["code"] == "2004"
        assert (await merchant.row("T3"))["charges"] == 0


async def test_cancel_gives_the_money_back_while_it_is_charging_only(merchant: Merchant) -> None:
    numbers = [(await merchant.push(order_no))["data"]["order_number"] for order_no in ("T1", "T2")]
    assert (await merchant.call(CANCEL, {"order_number": ",".join([*numbers, "no-such"])}))["code"] == "2002"
    assert (await merchant.call(CANCEL, {"order_number": ",".join(numbers)}))["code"] == "0000"
    await becomes(merchant, "9")
    await hears(merchant, "9", "9")
    row = await merchant.row("T2")
    assert (row["status"], row["charged_fen"], row["refunded_fen"]) == ("cancelled", 10_000, 10_000)
    assert (await merchant.call(CANCEL, {"order_number": numbers[0]}))["code"] == "2006"


async def test_an_unacknowledged_callback_comes_five_more_times(merchant: Merchant) -> None:
    merchant.acknowledgement = "success\n"  # not the bare word
    await merchant.push()
    await hears(merchant, *["2"] * 6)
    await asyncio.sleep(0.15)
    assert len(merchant.callbacks) == 6
    assert (await merchant.row())["calls"] == {"push": 1, "callback": 6}


async def test_the_ledger_survives_a_restart_and_life_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    async with sandbox(ledger_file=file, settle_after=30.0) as merchant:
        await merchant.push("T1")
        await merchant.push("T2", ending="14")
        await merchant.query("T1")
        before = (await merchant.page("/ledger"))["orders"]
    with file.open("ab") as torn:
        torn.write(b'{"gateway":"wike')
    async with sandbox(ledger_file=file) as merchant:
        assert (await merchant.page("/ledger"))["orders"][1] == before[1]
        assert (await merchant.row("T1"))["order_number"] == before[0]["order_number"]
        await becomes(merchant, "2", "T1")
        assert (await merchant.push("T1"))["code"] == "2001"
        assert (await merchant.push("T3"))["data"]["order_number"] != before[0]["order_number"]
    async with sandbox(ledger_file=file) as merchant:
        totals = await merchant.page("/ledger/totals")
        assert (totals["orders"], totals["charges"], totals["net_fen"]) == (3, 2, 20_000)
        await merchant.page("/ledger/reset", "POST")
        assert (await merchant.page("/ledger"))["orders"] == []
    assert file.read_bytes() == b""


def test_settings_say_what_is_wrong() -> None:
    wrongs: list[dict[str, Any]] = [
        {"fault_rate": 1.5},
        {"settle_after": -1.0},
        {"late_seconds": float("nan")},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SandboxSettings(**wrong)
    with pytest.raises(ValueError, match=r"wikeyun\.app_secret"):
        Sandbox(SandboxSettings(simulators={"wikeyun": {"app_secret": ""}}))
