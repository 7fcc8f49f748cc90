"""The wikeyun simulator is as nasty as its table of faults says: each by the ending of the account."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import uvloop
from support.merchant import PUSH, Merchant, becomes, eventually, hears, no_answer, sandbox, signed
from yarl import URL

from worker.sandbox.faults import FAULTS
from worker.sandbox.simulators.wikeyun import Wikeyun

Check = Callable[[Merchant], Awaitable[None]]


async def raw_push(merchant: Merchant, ending: str) -> None:
    form = "&".join(f"{name}={quote(value, safe='')}" for name, value in merchant.order(ending=ending).items())
    system = {"app_key": "2002", "timestamp": str(int(time.time())), "client": "::1", "format": "json", "v": "1.0"}
    system["sign"] = signed(system | merchant.order(ending=ending))
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in system.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(merchant.base).port)
    writer.write(
        f"POST /wikeyun{PUSH}?{query} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(form)}\r\n\r\n{form}".encode()
    )
    try:
        await reader.read()
    finally:
        writer.close()


async def late_answer(merchant: Merchant) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await merchant.push(ending="01")
    await becomes(merchant, "2")


async def drop_after_read(merchant: Merchant) -> None:
    await no_answer(merchant, "02")
    await becomes(merchant, "2")


async def drop_before_read(merchant: Merchant) -> None:
    with pytest.raises(ConnectionResetError):
        await raw_push(merchant, "03")
    assert await merchant.status() == "2002"
    assert (await merchant.row())["charges"] == 0
    assert (await merchant.push(ending="03"))["code"] == "0000"


async def error_500_charged(merchant: Merchant) -> None:
    async with merchant.http.get(merchant.base) as page:
        assert "error_500_charged" in await page.text()
    with pytest.raises(AssertionError):
        await merchant.push(ending="04")
    await becomes(merchant, "2")


async def garbage(merchant: Merchant) -> None:
    with pytest.raises(AssertionError):
        await merchant.push(ending="05")
    await becomes(merchant, "2")


async def unknown_code(merchant: Merchant) -> None:
    for _ in range(2):
        assert (await merchant.push(ending="06"))["code"] == "9527"
    assert await merchant.status() == "2002"
    row = await merchant.row()
    assert (row["status"], row["pushes"], row["charges"]) == ("not_taken", 2, 0)


async def unknown_code_charged(merchant: Merchant) -> None:
    assert (await merchant.push(ending="07"))["code"] == "9527"
    assert await merchant.status() == "1"


async def unknown_status(merchant: Merchant) -> None:
    await merchant.push(ending="08")
    assert await merchant.status() == "77"
    await becomes(merchant, "2")


async def no_callback(merchant: Merchant) -> None:
    await merchant.push(ending="09")
    await becomes(merchant, "2")
    await asyncio.sleep(0.05)
    assert merchant.callbacks == []


async def five_callbacks(merchant: Merchant) -> None:
    await merchant.push(ending="10")
    await hears(merchant, "2", "2", "2", "2", "2")
    await asyncio.sleep(0.05)
    assert len(merchant.callbacks) == 5


async def early_callback(merchant: Merchant) -> None:
    answer = await merchant.push(ending="11")
    assert [callback["order_number"] for callback in merchant.callbacks] == [answer["data"]["order_number"]]
    assert await merchant.status() == "2"


async def success_after_failure(merchant: Merchant) -> None:
    await merchant.push(ending="12")
    await becomes(merchant, "3")
    assert (await merchant.row())["refunded_fen"] == 10_000
    await becomes(merchant, "2")
    await hears(merchant, "3", "2")
    row = await merchant.row()
    assert (row["charges"], row["charged_fen"], row["refunded_fen"]) == (2, 20_000, 10_000)


async def absent_for_a_while(merchant: Merchant) -> None:
    await merchant.push(ending="13")
    await hears(merchant, "2")
    assert await merchant.status() == "2002"
    assert (await merchant.row())["charges"] == 1
    await becomes(merchant, "2")


async def refused(merchant: Merchant) -> None:
    assert (await merchant.push(ending="14"))["code"] == "2006"
    assert (await merchant.row())["charges"] == 0


async def fails(merchant: Merchant) -> None:
    await merchant.push(ending="15")
    await becomes(merchant, "3")
    await becomes(merchant, "4")
    await hears(merchant, "3", "4")
    row = await merchant.row()
    assert (row["charged_fen"], row["refunded_fen"]) == (10_000, 10_000)


async def slow(merchant: Merchant) -> None:
    began = time.monotonic()
    assert (await merchant.push(ending="16"))["code"] == "0000"
    assert time.monotonic() - began > 0.09


async def not_received(merchant: Merchant) -> None:
    for _ in range(2):
        await no_answer(merchant, "17")
    assert await merchant.status() == "2002"
    assert (await merchant.row())["charges"] == 0


async def partly_arrived(merchant: Merchant) -> None:
    await merchant.push(ending="18")
    await becomes(merchant, "11")
    assert (await merchant.query())["data"]["arrived_amount"] == "50"
    assert (await merchant.row())["refunded_fen"] == 5_000


async def reversed_later(merchant: Merchant) -> None:
    await merchant.push(ending="19")
    await becomes(merchant, "10")
    await hears(merchant, "2", "10")
    assert (await merchant.row())["refunded_fen"] == 10_000


async def timed_out(merchant: Merchant) -> None:
    await merchant.push(ending="20")
    await becomes(merchant, "5")


async def other_amount(merchant: Merchant) -> None:
    await merchant.push(ending="21")
    assert (await merchant.query())["data"]["amount"] == "200"


async def false_callback(merchant: Merchant) -> None:
    await merchant.push(ending="22")
    await hears(merchant, "3")
    assert await merchant.status() == "2"


async def cut_answer(merchant: Merchant) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await merchant.push(ending="23")
    await becomes(merchant, "2")


async def balance_too_low(merchant: Merchant) -> None:
    for _ in range(2):
        assert (await merchant.push(ending="24"))["code"] == "2004"
    assert (await merchant.row())["charges"] == 0


async def other_account(merchant: Merchant) -> None:
    await merchant.push(ending="25")
    assert (await merchant.query())["data"]["mobile"] == "13800138021"


async def stale_callback(merchant: Merchant) -> None:
    await merchant.push(ending="29")
    await hears(merchant, "2", "1")
    assert await merchant.status() == "2"


async def already_submitted(merchant: Merchant) -> None:
    assert (await merchant.push(ending="31"))["code"] == "2001"
    await becomes(merchant, "2")


async def false_success(merchant: Merchant) -> None:
    await merchant.push(ending="34")
    await hears(merchant, "2")
    await becomes(merchant, "4")


async def hold(merchant: Merchant) -> None:
    await merchant.force("hold")
    pushing = asyncio.create_task(merchant.push())
    waiting = await held(merchant)
    assert (waiting["order_no"], waiting["call"], waiting["charged"]) == ("T1", "push", True)
    await becomes(merchant, "2")
    assert await merchant.page("/faults/release", "POST") == {"released": 1}
    assert (await pushing)["code"] == "0000"


async def hold_uncharged(merchant: Merchant) -> None:
    await merchant.force("hold_uncharged", times=2)
    for then, charges in (("drop", 0), ("answer", 1)):
        pushing = asyncio.create_task(merchant.push())
        assert (await held(merchant))["charged"] is False
        assert (await merchant.row())["charges"] == 0
        pushing.cancel()  # its caller died
        await asyncio.gather(pushing, return_exceptions=True)

        async def gone() -> bool:
            return bool((await held(merchant))["caller_gone"])

        await eventually(gone)
        assert await merchant.page("/faults/release", "POST", json={"order_no": "T1", "then": then}) == {"released": 1}

        async def settled(charges: int = charges) -> bool:
            return bool((await merchant.row())["charges"] == charges)

        await eventually(settled)


async def held(merchant: Merchant) -> dict[str, Any]:
    async def waits() -> bool:
        return bool((await merchant.page("/faults/waiting"))["waiting"])

    await eventually(waits)
    (waiting,) = (await merchant.page("/faults/waiting"))["waiting"]
    assert isinstance(waiting, dict)
    return waiting


FAULT_CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        late_answer,
        drop_after_read,
        drop_before_read,
        error_500_charged,
        garbage,
        unknown_code,
        unknown_code_charged,
        unknown_status,
        no_callback,
        five_callbacks,
        early_callback,
        success_after_failure,
        absent_for_a_while,
        refused,
        fails,
        slow,
        not_received,
        partly_arrived,
        reversed_later,
        timed_out,
        other_amount,
        false_callback,
        cut_answer,
        balance_too_low,
        other_account,
        stale_callback,
        already_submitted,
        false_success,
        hold,
        hold_uncharged,
    )
}


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in Wikeyun.lacks])
async def test_a_fault_does_what_its_row_says(merchant: Merchant, name: str) -> None:
    await FAULT_CHECKS[name](merchant)
    row = await merchant.row()
    assert row["fault"] == name
    if FAULTS[name].taken:
        assert row["charges"] >= 1
        assert (await merchant.push(ending="00"))["code"] == "2001"


@pytest.mark.parametrize("name", sorted(Wikeyun.lacks))
async def test_a_fault_that_makes_no_sense_here_can_neither_be_forced_nor_struck(merchant: Merchant, name: str) -> None:
    wanted = {"order_no": "T1", "fault": name, "gateway": "wikeyun"}
    assert "wikeyun cannot have" in (await merchant.page("/faults", "POST", expect=400, json=wanted))["error"]
    assert (await merchant.push(ending=FAULTS[name].ending))["code"] == "0000"
    await hears(merchant, "2")
    row = await merchant.row()
    assert (row["fault"], row["charges"]) == (None, 1)


def test_connections_end_the_same_way_under_uvloop() -> None:
    async def end_them() -> None:
        for check in (drop_after_read, drop_before_read, cut_answer):
            async with sandbox() as merchant:
                await check(merchant)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(end_them())


async def test_it_stops_at_once_whatever_is_held_or_late() -> None:
    async with sandbox(late_seconds=30.0) as merchant:
        await merchant.force("hold")
        calls = [asyncio.create_task(merchant.push()), asyncio.create_task(merchant.push("T2", ending="01"))]
        await held(merchant)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, aiohttp.ClientConnectionError)
