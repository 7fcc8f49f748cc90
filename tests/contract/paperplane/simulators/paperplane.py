"""The simulator of paperplane under `/paperplane`: JSON, signed with HMAC-SHA256."""

import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from aiohttp import web

from worker.sandbox.answers import Reply
from worker.sandbox.book import Entry, Standing, Wanted
from worker.sandbox.callbacks import Callback, says
from worker.sandbox.faults import Reason
from worker.sandbox.simulator import Refused, Simulator, Work

_CLOCK_TOLERANCE = 300

_Step = Callable[[web.Request, Mapping[str, Any]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperplaneSettings:
    """The simulated merchant's account."""

    merchant: str = "7001"
    key: str = field(default="sandbox-key", repr=False)

    def __post_init__(self) -> None:
        for name in ("merchant", "key"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected a text that is not empty")


class Paperplane(Simulator):
    """One merchant's account at paperplane."""

    name = "paperplane"
    settings_type = PaperplaneSettings
    refusals: ClassVar[Mapping[Reason, tuple[str, str]]] = {
        Reason.NO_SUCH_ORDER: ("NO_ORDER", "no such order"),
        Reason.DUPLICATE: ("DUPLICATE", "pushed before"),
        Reason.BALANCE_TOO_LOW: ("NO_FUNDS", "no funds"),
        Reason.NOT_POSSIBLE: ("REFUSED", "refused"),
        Reason.UNLISTED: ("STORM", "?"),
    }
    lacks = frozenset({"false_callback", "false_success", "forged_answer", "pays_late", "never_pays"})
    calls = frozenset({"push", "query", "balance"})
    statuses: ClassVar[Mapping[Standing, str]] = {
        Standing.CHARGING: "FLYING",
        Standing.SUCCEEDED: "LANDED",
        Standing.PARTIAL: "HALF",
        Standing.FAILED: "CRASHED",
        Standing.REFUNDED: "RETURNED",
        Standing.REVERSED: "RETURNED",
        Standing.TIMED_OUT: "LOST",
        Standing.UNLISTED: "SAILING",
    }

    settings: PaperplaneSettings

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        self.route(app, "/orders", self._step(self._push, {"order", "mobile", "amount", "notify"}), push=True)
        self.route(app, "/orders/query", self._step(self._query, {"order"}))
        self.route(app, "/balance", self._step(self._balance, set()))
        self.route(app, "/{path:.*}", self._wrong_path)

    def refusal(self, refused: Refused) -> Reply:
        """Write a code that is not `OK`."""
        return Reply(json.dumps({"code": refused.code, "message": refused.message}).encode())

    def pushed(self, entry: Entry) -> Reply:
        """Write the gateway's number."""
        return Reply(json.dumps({"code": "OK", "plane": entry.order_number}).encode())

    def shown(self, entry: Entry) -> Reply:
        """Write an order."""
        return Reply(json.dumps({"code": "OK", **self._told(entry)}).encode())

    def callback(self, entry: Entry) -> Callback:
        """Write an order, signed."""
        body = json.dumps(self._told(entry)).encode()
        headers = {"Content-Type": "application/json", "X-Signature": self._sign(body)}
        return Callback(entry.notify_url, body, headers, says(b"caught"))

    def forged(self, callback: Callback) -> Callback:
        """Return the same callback, signed by nobody."""
        return replace(callback, headers={**callback.headers, "X-Signature": "0" * 64})

    def _told(self, entry: Entry) -> dict[str, Any]:
        return {
            "order": entry.order_no,
            "plane": entry.order_number,
            "mobile": entry.account,
            "amount": entry.amount_fen,
            "arrived": entry.arrived_fen,
            "status": self.statuses[entry.status],
        }

    def _sign(self, data: bytes) -> str:
        return hmac.new(self.settings.key.encode(), data, hashlib.sha256).hexdigest()

    def _step(self, step: _Step, names: set[str]) -> Work:
        async def work(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            moment = request.headers.get("X-Time", "")
            if request.method != "POST" or request.content_type != "application/json":
                raise Refused("BAD_REQUEST", "expected POST of JSON")
            if request.headers.get("X-Merchant") != self.settings.merchant:
                raise Refused("BAD_REQUEST", "merchant")
            if not moment.isdigit() or abs(time.time() - int(moment)) > _CLOCK_TOLERANCE:
                raise Refused("BAD_REQUEST", "time")
            signed = f"{moment}\n{request.raw_path}\n".encode() + body
            if request.headers.get("X-Signature") != self._sign(signed):
                raise Refused("BAD_REQUEST", "signature")
            try:
                given = json.loads(body)
            except ValueError:
                raise Refused("BAD_REQUEST", "JSON") from None
            if not isinstance(given, dict) or set(given) != names:
                raise Refused("BAD_REQUEST", "fields")
            return await step(request, given)

        return work

    async def _wrong_path(self, _request: web.Request) -> web.StreamResponse:
        raise Refused("BAD_REQUEST", "no such path")

    async def _push(self, request: web.Request, given: Mapping[str, Any]) -> web.StreamResponse:
        if type(given["amount"]) is not int or given["amount"] <= 0:
            raise Refused("BAD_REQUEST", "amount")
        wanted = Wanted(
            order_no=given["order"],
            account=given["mobile"],
            amount_fen=given["amount"],
            notify_url=given["notify"],
            product="mobile",
        )
        return await self.push(request, wanted)

    async def _query(self, request: web.Request, given: Mapping[str, Any]) -> web.StreamResponse:
        return await self.query(request, self.find(given["order"]), given["order"])

    async def _balance(self, request: web.Request, _given: Mapping[str, Any]) -> web.StreamResponse:
        return await self.answer(
            request, "balance", lambda: Reply(json.dumps({"fen": self.book.balance_fen(self.name)}).encode())
        )
