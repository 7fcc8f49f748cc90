"""The wikeyun simulator: strict at the door, honest in its ledger, and as nasty as its table of faults says."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import uvloop
from aiohttp import web
from yarl import URL

from worker.sandbox import Sandbox, SandboxSettings, wikeyun_wire
from worker.sandbox.faults import FAULTS, Faults

PUSH = "/rest/Recharge/pushOrder"
QUERY = "/rest/Recharge/query"
CANCEL = "/rest/Recharge/cancel"
QUICK = {
    "port": 0,
    "settle_after": 0.05,
    "late_seconds": 0.4,
    "slow_seconds": 0.1,
    "absent_seconds": 0.3,
    "unlisted_seconds": 0.3,
    "callback_repeat_after": 0.05,
    "callback_timeout": 1.0,
}
Check = Callable[["Merchant"], Awaitable[None]]


def signed(parameters: dict[str, str]) -> str:
    text = "sandbox-secret"
    for name in sorted(parameters):
        text += name + parameters[name]
    return hashlib.md5((text + "sandbox-secret").encode()).hexdigest().upper()  # noqa: S324 - the gateway's rule


class Merchant:
    """A caller of the simulator that also takes its callbacks."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self.base = sandbox.url
        self.http = http
        self.notify_url = ""
        self.callbacks: list[dict[str, str]] = []
        self.acknowledgement = "success"

    async def receive(self, request: web.Request) -> web.Response:
        """Take a callback."""
        assert request.method == "POST"
        assert request.content_type == "application/x-www-form-urlencoded"
        self.callbacks.append({name: str(value) for name, value in (await request.post()).items()})
        return web.Response(text=self.acknowledgement)

    async def call(
        self, path: str, business: dict[str, str], *, system: dict[str, str | None] | None = None, **request: Any
    ) -> dict[str, Any]:
        """Make a signed call; `system` replaces system parameters, None leaves one out."""
        known: dict[str, str | None] = {
            "app_key": "2002",
            "timestamp": str(int(time.time())),
            "client": "127.0.0.1",
            "format": "json",
            "v": "1.0",
        }
        sent = {name: value for name, value in (known | (system or {})).items() if value is not None}
        sent.setdefault("sign", signed(business | {name: value for name, value in sent.items() if name != "sign"}))
        async with self.http.request(
            request.pop("method", "POST"), f"{self.base}/wikeyun{path}", params=sent, data=business, **request
        ) as answer:
            assert answer.status == 200
            assert answer.content_type == "application/json"
            body: dict[str, Any] = await answer.json()
        assert set(body) == {"code", "msg", "time", "data"}
        return body

    def order(self, order_no: str = "T1", ending: str = "00", **other: str) -> dict[str, str]:
        """Return the form of a push."""
        order = {
            "store_id": "1001",
            "mobile": f"138001380{ending}",
            "order_no": order_no,
            "money": "100",
            "recharge_type": "1",
            "notify_url": self.notify_url,
        }
        return order | other

    async def push(self, order_no: str = "T1", ending: str = "00", **other: str) -> dict[str, Any]:
        """Push an order for a mobile number that ends so."""
        return await self.call(PUSH, self.order(order_no, ending, **other))

    async def query(self, order_no: str = "T1") -> dict[str, Any]:
        """Ask about an order."""
        return await self.call(QUERY, {"order_no": order_no})

    async def status(self, order_no: str = "T1") -> str:
        """Return what a query shows: the status, or the code that refuses."""
        answer = await self.query(order_no)
        return str(answer["data"]["status"]) if answer["code"] == "0000" else str(answer["code"])

    async def page(self, path: str, method: str = "GET", expect: int = 200, **request: Any) -> dict[str, Any]:
        """Use a page beside the simulators."""
        async with self.http.request(method, self.base + path, **request) as answer:
            assert answer.status == expect
            body: dict[str, Any] = await answer.json()
            return body

    async def row(self, order_no: str = "T1") -> dict[str, Any]:
        """Return the order's row in the ledger."""
        (row,) = (await self.page("/ledger", params={"order_no": order_no}))["orders"]
        assert isinstance(row, dict)
        return row

    async def force(self, fault: str, order_no: str = "T1", **other: Any) -> None:
        """Ask for a fault by name."""
        await self.page("/faults", "POST", json={"order_no": order_no, "fault": fault, **other})


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 3) -> None:
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.01)


async def becomes(merchant: Merchant, status: str, order_no: str = "T1") -> None:
    async def reached() -> bool:
        return await merchant.status(order_no) == status

    await eventually(reached)


async def hears(merchant: Merchant, *statuses: str) -> None:
    async def heard() -> bool:
        return len(merchant.callbacks) >= len(statuses)

    await eventually(heard)
    assert [callback["status"] for callback in merchant.callbacks] == list(statuses)


@asynccontextmanager
async def sandbox(**settings: Any) -> AsyncIterator[Merchant]:
    async with (
        Sandbox(SandboxSettings(**(QUICK | settings))) as running,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
    ):
        merchant = Merchant(running, http)
        relay = web.Application()
        relay.router.add_route("*", "/callbacks/wikeyun", merchant.receive)
        runner = web.AppRunner(relay, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        merchant.notify_url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/wikeyun"
        try:
            yield merchant
        finally:
            await runner.cleanup()


@pytest.fixture
async def merchant() -> AsyncIterator[Merchant]:
    async with sandbox() as caller:
        yield caller


# --- the good life


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


# --- strict at the door

VECTOR = (
    "sandbox-secretapp_key2002changeclient127.0.0.1formatjsonmobile13800138000money100"
    "notify_urlhttp://127.0.0.1:9/回?a=1&b=2order_noT-1recharge_type1store_id1001timestamp1795000000v1.0sandbox-secret"
)
VECTOR_SIGN = "652B92C7CB2558D4CFAEF060C6E5C6E9"  # by md5sum over the line above


async def test_a_vector_signed_by_hand_is_taken(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wikeyun_wire, "time", SimpleNamespace(time=lambda: 1_795_000_599.0))
    assert hashlib.md5(VECTOR.encode()).hexdigest().upper() == VECTOR_SIGN  # noqa: S324 - the gateway's rule
    url = URL(
        f"{merchant.base}/wikeyun{PUSH}?v=1.0&format=json&app_key=2002&timestamp=1795000000"
        f"&client=127.0.0.1&sign={VECTOR_SIGN}",
        encoded=True,
    )
    notify = quote("http://127.0.0.1:9/回?a=1&b=2", safe="")
    form = f"order_no=T-1&mobile=13800138000&change=&money=100&recharge_type=1&store_id=1001&notify_url={notify}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}

    async def code(body: str, query: URL = url) -> str:
        async with merchant.http.post(query, data=body.encode(), headers=kind) as answer:
            return str((await answer.json(content_type=None))["code"])

    assert await code(form.replace("money=100", "money=200")) == "1004"  # a value that was not signed
    assert await code(form.replace("change=&", "")) == "1004"  # signed as a bare key, then not sent
    assert await code(form.replace("T-1", "T%2D1&money=100")) == "1010"  # given twice
    assert await code(form.replace("T-1", "T%2")) == "1010"
    assert await code(form.replace("T-1", "%FF")) == "1010"
    assert await code(form.replace("T-1", "回")) == "1010"  # raw bytes
    assert await code(form, URL(str(url).replace(VECTOR_SIGN, VECTOR_SIGN.lower()), encoded=True)) == "1004"
    assert (await merchant.page("/ledger"))["orders"] == []
    assert await code(form.replace("T-1", "%54%2D1")) == "0000"  # the decoded value is what is signed


@pytest.mark.parametrize(
    ("system", "code"),
    [
        ({"app_key": None}, "1003"),
        ({"app_key": ""}, "1003"),
        ({"app_key": "2003"}, "1006"),
        ({"timestamp": None}, "1005"),
        ({"client": None}, "1005"),
        ({"client": "localhost"}, "1005"),
        ({"format": "xml"}, "1005"),
        ({"v": "2.0"}, "1005"),
        ({"v": None}, "1005"),
        ({"timestamp": "now"}, "1005"),
        ({"timestamp": str(int(time.time()) - 700)}, "1007"),
        ({"timestamp": str(int(time.time()) + 700)}, "1007"),
        ({"sign": ""}, "1005"),
        ({"sign": "0" * 32}, "1004"),
        ({"order_no": "T1"}, "1008"),
    ],
)
async def test_a_wrong_system_parameter_is_refused(merchant: Merchant, system: dict[str, Any], code: str) -> None:
    assert (await merchant.call(PUSH, merchant.order(), system=system))["code"] == code
    assert (await merchant.page("/ledger"))["orders"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"money": "30"}, "2003"),
        ({"money": "100.0"}, "2003"),
        ({"money": "-50"}, "2003"),
        ({"money": "1e2"}, "2003"),
        ({"mobile": "12345678901"}, "2005"),
        ({"mobile": "1380013800"}, "2005"),
        ({"mobile": "１3800138000"}, "2005"),  # noqa: RUF001 - a full-width digit is the point
        ({"mobile": ""}, "1009"),
        ({"order_no": "T 1"}, "2000"),
        ({"order_no": "T" * 33}, "2000"),
        ({"recharge_type": "2"}, "2000"),
        ({"notify_url": "ftp://x/"}, "2000"),
        ({"change": "yes"}, "2000"),
        ({"store_id": "1002"}, "2000"),
        ({"amount": "100"}, "1008"),
        ({"client": "127.0.0.1"}, "1008"),  # a system parameter's place is the query string
    ],
)
async def test_a_wrong_business_parameter_is_refused(merchant: Merchant, change: dict[str, str], code: str) -> None:
    assert (await merchant.call(PUSH, merchant.order(**change)))["code"] == code
    assert (await merchant.page("/ledger"))["orders"] == []


@pytest.mark.parametrize("name", ["store_id", "mobile", "order_no", "money", "recharge_type", "notify_url"])
async def test_a_missing_parameter_is_refused(merchant: Merchant, name: str) -> None:
    order = merchant.order()
    del order[name]
    assert (await merchant.call(PUSH, order))["code"] == "1009"


async def test_path_method_content_type_and_signing_with_another_secret(merchant: Merchant) -> None:
    order = merchant.order()
    assert (await merchant.call("/rest/recharge/pushOrder", order))["code"] == "1001"
    assert (await merchant.call(PUSH + "/", order))["code"] == "1001"
    assert (await merchant.call(PUSH, order, method="PUT"))["code"] == "1002"
    assert (await merchant.call(PUSH, order, headers={"Content-Type": "application/json"}))["code"] == "1002"
    gbk = {"Content-Type": "application/x-www-form-urlencoded; charset=gbk"}
    assert (await merchant.call(PUSH, order, headers=gbk))["code"] == "1002"
    async with sandbox(app_secret="another") as other:
        assert (await other.push())["code"] == "1004"
    async with sandbox(amounts=()) as any_amount:
        assert (await any_amount.push(money="7"))["code"] == "0000"


async def test_queries_name_one_order(merchant: Merchant) -> None:
    number = (await merchant.push())["data"]["order_number"]
    await merchant.push("T2")
    assert (await merchant.call(QUERY, {}))["code"] == "2000"
    assert (await merchant.call(QUERY, {"order_no": "T9"}))["code"] == "2002"
    assert (await merchant.call(QUERY, {"order_number": "T1"}))["code"] == "2002"
    assert (await merchant.call(QUERY, {"order_number": number, "order_no": "T1"}))["code"] == "0000"
    assert (await merchant.call(QUERY, {"order_number": number, "order_no": "T2"}))["code"] == "2002"


# --- faults, by the ending of the account


async def no_answer(merchant: Merchant, ending: str) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        await merchant.push(ending=ending)


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
        hold,
        hold_uncharged,
    )
}


@pytest.mark.parametrize("name", list(FAULTS))
async def test_a_fault_does_what_its_row_says(merchant: Merchant, name: str) -> None:
    await FAULT_CHECKS[name](merchant)
    row = await merchant.row()
    assert row["fault"] == name
    if FAULTS[name].taken:
        assert row["charges"] >= 1
        assert (await merchant.push(ending="00"))["code"] == "2001"


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


# --- faults by force and by chance; callbacks; the pages


async def test_a_forced_fault_strikes_its_calls_and_no_more(merchant: Merchant) -> None:
    await merchant.force("garbage", call="query", times=2)
    await merchant.push()
    for _ in range(2):
        with pytest.raises(AssertionError):
            await merchant.query()
    assert (await merchant.query())["code"] == "0000"
    await merchant.force("refused", "*", times=0)
    for order_no in ("T2", "T3"):
        assert (await merchant.push(order_no))["code"] == "2006"
    await merchant.page("/faults", "DELETE")
    assert (await merchant.push("T4"))["code"] == "0000"


async def test_a_push_can_be_dropped_unread(merchant: Merchant) -> None:
    await merchant.force("drop_before_read", "*")
    await no_answer(merchant, "00")
    ledger = await merchant.page("/ledger")
    assert ledger["orders"] == []
    assert ledger["totals"]["refused_calls"] == {"wikeyun": {"unread": 1}}
    assert (await merchant.push())["code"] == "0000"


@pytest.mark.parametrize(
    "wanted",
    [
        {"order_no": "T1", "fault": "no_such"},
        {"order_no": "T1", "fault": "no_callback", "call": "query"},
        {"order_no": "T1", "fault": "hold", "call": "pull"},
        {"order_no": "T1", "fault": "hold", "times": -1},
        {"order_no": "T1", "fault": "hold", "times": True},
        {"order_no": "T1", "fault": "hold", "extra": 1},
        {"fault": "hold"},
        ["hold"],
    ],
)
async def test_a_fault_that_cannot_be_is_not_accepted(merchant: Merchant, wanted: Any) -> None:
    assert "error" in await merchant.page("/faults", "POST", expect=400, json=wanted)
    assert (await merchant.page("/faults"))["forced"] == []


def test_chance_draws_the_same_faults_for_the_same_seed_and_only_those_that_queries_settle() -> None:
    def draw(seed: int, rate: float) -> list[str]:
        faults = Faults(SandboxSettings(fault_rate=rate, seed=seed))
        return [faults.for_push(f"T{number}", "13800138000", first=True).name for number in range(400)]

    drawn = draw(1, 0.25)
    assert drawn == draw(1, 0.25)
    assert drawn != draw(2, 0.25)
    assert 60 < sum(1 for name in drawn if name) < 140
    assert set(draw(1, 1.0)) == {fault.name for fault in FAULTS.values() if fault.drawn}
    assert "success_after_failure" not in draw(1, 1.0)


async def test_an_unacknowledged_callback_comes_five_more_times(merchant: Merchant) -> None:
    merchant.acknowledgement = "success\n"  # not the bare word
    await merchant.push()
    await hears(merchant, *["2"] * 6)
    await asyncio.sleep(0.15)
    assert len(merchant.callbacks) == 6
    assert (await merchant.row())["calls"] == {"push": 1, "callback": 6}


async def test_endings_can_be_switched_off() -> None:
    async with sandbox(by_ending=False) as merchant:
        assert (await merchant.push(ending="14"))["code"] == "0000"


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
        {"app_secret": ""},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SandboxSettings(**wrong)
