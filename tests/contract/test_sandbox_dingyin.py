"""The dingyin simulator: strict about what it is sent, honest in what it answers. Signed and read here by hand."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import aiohttp
import pytest
from aiohttp import web
from support.dingyin import upper_md5
from support.merchant import QUICK, eventually

from worker.sandbox import Sandbox, SandboxSettings

KEY = "sandbox-key"
PAY = ("userid", "productid", "num", "areaid", "serverid", "account", "spordertime", "sporderid")
ACCOUNT = '{"product_type":"3","userid":"%s","username":"%s","type":"1","area":"江苏","city":"南京"}'


class Shop:
    """A merchant that signs, calls, and takes callbacks."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self.base, self.http = sandbox.url, http
        self.notify_url = ""
        self.callbacks: list[dict[str, str]] = []

    async def receive(self, request: web.Request) -> web.Response:
        """Take a callback."""
        read = parse_qs((await request.read()).decode(), strict_parsing=True, encoding="gbk", errors="strict")
        self.callbacks.append({name: value for name, (value,) in read.items()})
        return web.Response(text="OK")

    async def call(self, path: str, fields: dict[str, str], signed: tuple[str, ...], **changes: Any) -> dict[str, str]:
        """Make a signed call and return its record."""
        text = "&".join(f"{name}={fields.get(name, '')}" for name in signed) + f"&key={KEY}"
        form = fields | {"sign": upper_md5(text.encode("gbk"))} | changes
        return await self.send(path, urlencode(form, encoding="gbk").encode())

    async def send(self, path: str, body: bytes, method: str = "POST") -> dict[str, str]:
        """Send a form as it is."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with self.http.request(method, f"{self.base}/dingyin/{path}", data=body, headers=headers) as answer:
            assert answer.status == 200
            text = (await answer.read()).decode("gbk")
        assert text.startswith('<?xml version="1.0" encoding="GB2312" ?><')
        return {name: value.replace("&quot;", '"') for name, value in re.findall(r"<(\w+)>([^<]*)</\1>", text)}

    def order(self, order_no: str = "T1", **other: str) -> dict[str, str]:
        """Return the form of a game's order."""
        china = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y%m%d%H%M%S")
        return {
            "userid": "10086", "productid": "3312", "num": "1", "account": "13590101500", "spordertime": china,
            "sporderid": order_no, "back_url": self.notify_url,
        } | other  # fmt: skip

    async def pay(self, order_no: str = "T1", sign: str | None = None, **other: str) -> dict[str, str]:
        """Place an order."""
        changes = {} if sign is None else {"sign": sign}
        return await self.call("gameonlinepay.do", self.order(order_no, **other), PAY, **changes)

    async def search(self, order_no: str = "T1") -> dict[str, str]:
        """Ask about an order."""
        fields = {"userid": "10086", "sporderid": order_no}
        return await self.call("searchpay.do", fields, ("userid", "sporderid"))

    async def balance(self) -> str:
        """Return what is left."""
        return (await self.call("searchbalance.do", {"userid": "10086"}, ("userid",)))["balance"]

    async def row(self, order_no: str = "T1") -> dict[str, Any]:
        """Return the order's entry in the ledger."""
        async with self.http.get(f"{self.base}/ledger", params={"order_no": order_no}) as answer:
            (row,) = (await answer.json())["orders"]
        assert isinstance(row, dict)
        return row


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """A merchant with money for two pieces and 50 yuan."""
    settings: dict[str, Any] = QUICK | {"balance_fen": 2 * 9_850 + 5_000}
    async with Sandbox(SandboxSettings(**settings)) as sandbox, aiohttp.ClientSession() as http:
        made = Shop(sandbox, http)
        relay = web.Application()
        relay.router.add_post("/callbacks/dingyin", made.receive)
        runner = web.AppRunner(relay, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.notify_url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/dingyin"
        yield made
        await runner.cleanup()


async def test_a_game_is_charged_once_and_told(shop: Shop) -> None:
    taken = await shop.pay()
    assert (taken["resultno"], taken["num"], taken["ordercash"], taken["sporderid"]) == ("0", "1", "98.5", "T1")
    assert "喆" in taken["productname"]

    async def told() -> bool:
        return bool(shop.callbacks)

    await eventually(told)
    (callback,) = shop.callbacks
    shown = await shop.search()
    assert (shown["resultno"], shown["orderid"], shown["fundbalance"]) == ("1", taken["orderid"], "148.5")
    assert (callback["resultno"], callback["orderid"], callback["parvalue"]) == ("1", taken["orderid"], "98.5")
    signed = ("userid", "orderid", "sporderid", "merchantsubmittime", "resultno")
    text = "&".join(f"{name}={callback[name]}" for name in signed) + f"&key={KEY}"
    assert callback["sign"] == upper_md5(text.encode())
    row = await shop.row()
    assert (row["status"], row["charges"], row["charged_fen"], row["product"]) == ("succeeded", 1, 9_850, "game")
    assert await shop.balance() == "148.5"


async def test_electricity_with_its_account(shop: Shop) -> None:
    account = ACCOUNT % ("3201234567800", "")
    taken = await shop.pay(productid="", num="50", account=account, areaid="13800138000")
    assert (taken["resultno"], taken["num"], taken["account"], taken["ordercash"]) == ("0", "50", account, "50")
    row = await shop.row()
    assert (row["product"], row["account"], row["amount_fen"]) == ("power", "3201234567800", 5_000)


async def test_electricity_of_the_southern_grid(shop: Shop) -> None:
    account = ACCOUNT % ("3201234567800", "01123X")
    taken = await shop.pay(productid="", num="1", account=account, userip="44010619900101123X")
    assert taken["resultno"] == "0"


@pytest.mark.parametrize(
    "wrong",
    [{"account": "3201"}, {"account": ACCOUNT % ("", "")}, {"account": (ACCOUNT % ("1", "")).replace("江苏", "江苏省")},
     {"account": ACCOUNT % ("1", ""), "userip": "440106199001011234"}, {"account": ACCOUNT % ("1", "12345")},
     {"account": ACCOUNT % ("1", "011234"), "areaid": "13800138000"},
     {"account": (ACCOUNT % ("1", "")).replace('"type":"1"', '"type":"5"')}],
)  # fmt: skip
async def test_electricity_that_cannot_be(shop: Shop, wrong: dict[str, str]) -> None:
    assert (await shop.pay(**({"productid": "", "num": "1"} | wrong)))["resultno"] == "5012"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"userid": "10087"}, "5001"), ({"sign": "0" * 32}, "5005"), ({"sign": ""}, "5005"), ({"productid": "1"}, "5003"),
     ({"num": "0"}, "5004"), ({"num": "1.5"}, "5004"), ({"account": ""}, "5012"), ({"sporderid": "T 1"}, "5012"),
     ({"spordertime": "20200101000000"}, "5012"), ({"spordertime": "20209901000000"}, "5012"), ({"speed": "1"}, "5011"),
     ({"back_url": "relay"}, "5012")],
)  # fmt: skip
async def test_an_order_that_cannot_be(shop: Shop, wrong: dict[str, str], code: str) -> None:
    order_no = wrong.pop("sporderid", "T1")
    answer = await shop.pay(order_no, **wrong)
    assert (answer["resultno"], answer["orderid"]) == (code, "")


async def test_a_form_that_cannot_be(shop: Shop) -> None:
    for body in (b"userid", b"userid=10086&userid=10086", b"userid=%", b"userid=%FF", "userid=镕".encode("gbk")):
        assert (await shop.send("searchbalance.do", body))["resultno"] == "5011"
    for path, method in (("searchbalance.do", "PUT"), ("nothing.do", "POST"), ("searchbalance.do?a=1", "POST")):
        assert (await shop.send(path, b"userid=10086", method))["resultno"] == "5010"


async def test_time_is_chinas_and_text_is_gbk(shop: Shop) -> None:
    utc = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    assert (await shop.pay(spordertime=utc))["resultno"] == "5012"
    assert (await shop.pay(account="朱镕基"))["account"] == "朱镕基"


async def test_a_repeated_number_is_refused_and_an_unknown_one_is_not_there(shop: Shop) -> None:
    assert (await shop.pay())["resultno"] == "0"
    assert (await shop.pay())["resultno"] == "5006"
    assert (await shop.row())["charges"] == 1
    assert (await shop.search("T9"))["resultno"] == "5007"


async def test_the_balance_runs_out_and_is_topped_up(shop: Shop) -> None:
    assert [(await shop.pay(f"T{number}"))["resultno"] for number in range(3)] == ["0", "0", "5002"]
    assert (await shop.search("T2"))["resultno"] == "5007"
    async with shop.http.post(f"{shop.base}/ledger/topup", json={"gateway": "dingyin", "fen": 10_000}) as answer:
        assert answer.status == 200
    assert (await shop.pay("T2"))["resultno"] == "0", "the number was not used up"


@pytest.mark.parametrize(
    ("ending", "pushed", "shown"),
    [("06", "9527", "5007"), ("07", "9527", "1"), ("08", "0", "77"), ("13", "0", "5007"), ("14", "5003", "5007"),
     ("15", "0", "9"), ("19", "0", "9"), ("20", "0", "9999"), ("24", "5002", "5007"), ("31", "5006", "1")],
)  # fmt: skip
async def test_faults_in_its_own_codes(shop: Shop, ending: str, pushed: str, shown: str) -> None:
    assert (await shop.pay(account=f"135901015{ending}"))["resultno"] == pushed

    async def as_shown() -> bool:
        return (await shop.search())["resultno"] == shown

    await eventually(as_shown)


async def test_lies_about_the_amount_the_account_and_the_signature(shop: Shop) -> None:
    await shop.pay("T1", account="13590101521")
    await shop.pay("T2", account="13590101525")
    assert (await shop.search("T1"))["num"] == "2"
    assert (await shop.search("T2"))["account"] == "13590101521"


async def test_a_forged_callback_comes_before_the_true_one(shop: Shop) -> None:
    await shop.pay(account="13590101526")

    async def both() -> bool:
        return len(shop.callbacks) >= 2

    await eventually(both)
    forged, true = shop.callbacks[:2]
    assert (forged["resultno"], forged["sign"], true["resultno"]) == ("9", "0" * 32, "1")
