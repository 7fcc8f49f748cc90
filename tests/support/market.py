"""The sandbox's gateways in a thread of the test's process, with their ledger as the judge."""

import asyncio
import json
import threading
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from support.waiting import until

from worker.sandbox import Sandbox, SandboxSettings


class Market:
    """A running sandbox: `with Market(settings) as market: market.url …`."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="sandbox")
        self.url = ""

    @property
    def gateway(self) -> str:
        """The `base_url` of its wikeyun."""
        return self.base("wikeyun")

    def base(self, gateway: str) -> str:
        """The `base_url` of a gateway."""
        return f"{self.url}/{gateway}"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with Sandbox(self._settings) as sandbox:
                self.url = sandbox.url
                self._started.set()
                await self._stop.wait()
        finally:
            self._started.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        assert self.url, "the sandbox did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    # --- the judge ---------------------------------------------------------------------------------

    def entries(self, order_no: str | None = None) -> list[dict[str, Any]]:
        """The ledger's entries: of one order number, or all."""
        query = f"?order_no={order_no}" if order_no else ""
        found: list[dict[str, Any]] = self._ask("GET", f"/ledger{query}")["orders"]
        return found

    def entry(self, order_no: str) -> dict[str, Any]:
        """The one entry of an order number."""
        (found,) = self.entries(order_no)
        return found

    def charges(self, order_no: str) -> int:
        """How often money moved for an order number."""
        return sum(int(entry["charges"]) for entry in self.entries(order_no))

    def pushes(self, order_no: str) -> int:
        """How often an order number was pushed."""
        return sum(int(entry["pushes"]) for entry in self.entries(order_no))

    def crashes(self) -> list[str]:
        """How often a simulator itself failed, and with what: nothing that it answered then counts."""
        found: list[str] = self._ask("GET", "/ledger/totals")["crashes"]
        return found

    def cards(self, number: str | None = None) -> list[dict[str, Any]]:
        """The cards that were added at gateways; `calls["add"]` counts also the refused repeats."""
        found: list[dict[str, Any]] = self._ask("GET", f"/ledger/cards{f'?number={number}' if number else ''}")["cards"]
        return found

    def paid(self, user_id: str) -> dict[str, int]:
        """How often a campus user was charged, and paid, at the simulated zjzdy."""
        found: dict[str, int] = self._ask("GET", "/zjzdy/payer")["users"][user_id]
        return found

    # --- the puppeteer -----------------------------------------------------------------------------

    def force(self, order_no: str, fault: str, call: str = "push", times: int = 1, gateway: str = "*") -> None:
        """Let the next calls about an order number, or an account, get this fault."""
        wanted = {"order_no": order_no, "fault": fault, "call": call, "times": times, "gateway": gateway}
        self._ask("POST", "/faults", wanted)

    def clear(self) -> None:
        """Let no more calls get a fault that was forced."""
        self._ask("DELETE", "/faults")

    def top_up(self, gateway: str, fen: int) -> int:
        """Prepay more at a gateway, or less than 0 to take out; return what is there then."""
        return int(self._ask("POST", "/ledger/topup", {"gateway": gateway, "fen": fen})["balance_fen"])

    def rotate(self, gateway: str) -> dict[str, Any]:
        """Let a gateway sign with another key from now on; return what it tells its merchants of it."""
        told: dict[str, Any] = self._ask("POST", "/control/rotate", {"gateway": gateway})
        return told

    def pay(self, record_ids: str, *, anyway: bool = False) -> bool:
        """Pay a charge of the simulated zjzdy, as its payer; whether it could be paid."""
        return bool(self._ask("POST", "/zjzdy/payer", {"record_ids": record_ids, "anyway": anyway})["paid"])

    def waiting(self) -> list[dict[str, Any]]:
        """The calls that are being held."""
        found: list[dict[str, Any]] = self._ask("GET", "/faults/waiting")["waiting"]
        return found

    def held(self, order_no: str) -> bool:
        """Whether a call about an order number is being held."""
        return any(call["order_no"] == order_no for call in self.waiting())

    def await_held(self, order_no: str, seconds: float = 20) -> None:
        """Wait until a call about an order number is being held."""
        until(lambda: self.held(order_no), seconds, lambda: f"{order_no} did not come")

    def release(self, order_no: str, then: str = "answer") -> None:
        """Let the held calls about an order number go on."""
        assert self._ask("POST", "/faults/release", {"order_no": order_no, "then": then})["released"]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            read = answer.read()
            assert answer.status == 200, read
            return json.loads(read)
        finally:
            connection.close()
