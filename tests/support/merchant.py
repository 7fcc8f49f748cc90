"""A merchant of the simulated wikeyun: signs, calls, hears callbacks, and reads the simulator's own pages."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from worker.sandbox import Sandbox, SandboxSettings

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
        if request.content_type == "application/json":
            self.callbacks.append(await request.json())
        else:
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

    def meter(self, number: str = "3201000000100", **other: str) -> dict[str, str]:
        """Return the form that adds a State Grid meter."""
        card = {"store_id": "1001", "card_num": number, "province": "江苏省", "city": "南京市", "type": "0"}
        return card | other

    def fuel_card(self, number: str = "1000111100000000100", **other: str) -> dict[str, str]:
        """Return the form that adds a fuel card."""
        card = {"store_id": "1001", "card_num": number, "name": "张三", "phone": "13800138000"}
        return card | {"user_num": "11010519491231002X", "card_type": "0"} | other

    async def push_card(self, kind: str, card_id: int, order_no: str = "T1", **other: str) -> dict[str, Any]:
        """Push an order (`Power` or `Oil`) for a card."""
        order = {
            "store_id": "1001",
            "cardId": str(card_id),
            "order_no": order_no,
            "amount": "500",
            "recharge_type": "0",
            "notify_url": self.notify_url,
        }
        return await self.call(f"/rest/{kind}/pushOrder", order | other)

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


async def no_answer(merchant: Merchant, ending: str) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        await merchant.push(ending=ending)
