"""The simulator of zjzdy: campus packages that a payer pays for, under `/zjzdy`.

Nothing here has a number of the merchant's: each PayMoney makes a charge of its own, with record ids of its own, and
money moves when the payer pays it. By himself he pays what the merchant asks about: who kept the record ids has told
him; of a charge that a merchant forgot when it died, nobody has. `POST /zjzdy/payer` makes him pay any, and
`GET /zjzdy/payer` shows how often each user has paid.

The document knows two values of `error`, and no messages: the messages are the simulator's own. `error` 9 is what the
faults show as one that no document lists. What cannot be asked for is refused with HTTP 200 and `error` 1, a wrong
path, method or media type with HTTP 404, 405 and 415.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import orjson
from aiohttp import web

from worker.sandbox.answers import Reply
from worker.sandbox.book import Entry, Standing, Wanted
from worker.sandbox.faults import Reason
from worker.sandbox.simulator import House, Refused, Simulator, Work
from worker.sandbox.simulators.zjzdy_wire import Bill, ZjzdySettings, charge, items, packages, read, read_bill, read_ids

_NO = "1"
_STATUSES: Mapping[str, int] = {"wrong_path": 404, "wrong_method": 405, "wrong_type": 415}
_ITEM_DIGITS = 2
_OTHER_AMOUNT = "other_amount"  # the fault; here it is the charge that is for another amount

_Step = Callable[[web.Request, Mapping[str, Any]], Awaitable[web.StreamResponse]]


class Zjzdy(Simulator):
    """One school's deployment."""

    name = "zjzdy"
    settings_type = ZjzdySettings
    refusals: ClassVar[Mapping[Reason, tuple[str, str]]] = {
        Reason.NO_SUCH_ORDER: (_NO, "付款记录不存在"),
        Reason.DUPLICATE: (_NO, "请勿重复提交"),
        Reason.BALANCE_TOO_LOW: (_NO, "收款账户不可用"),
        Reason.NOT_POSSIBLE: (_NO, "套餐已下架"),
        Reason.UNLISTED: ("9", "系统繁忙"),
    }
    lacks = frozenset(
        {
            # it calls nobody back, and signs nothing
            *("no_callback", "five_callbacks", "early_callback", "false_callback", "forged_callback", "stale_callback"),
            *("false_success", "forged_success"),
            *("other_amount_callback", "other_account_callback", "forged_answer"),
            # nothing is charged before the payer pays, and nothing is given back
            *("success_after_failure", "fails", "partly_arrived", "reversed_later", "timed_out"),
            "other_account",  # no answer names the user
            "already_submitted",  # there is no number that could have been
            "balance_too_low",
        }
    )
    calls = frozenset({"push", "query", "packages"})
    begins = Standing.AWAITING_PAYMENT
    prepaid = False

    settings: ZjzdySettings

    def __init__(self, house: House, settings: ZjzdySettings) -> None:
        super().__init__(house, settings)
        self._paid_at: dict[str, float] = {}
        self._told: set[str] = set()
        self._latest = {entry.details["wish"]: entry.order_no for entry in self.book.entries(gateway=self.name)}

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        self.route(app, "/api/Pay/PayMoney", self._step(self._pay), push=True)
        self.route(app, "/api/Pay/SearchSuccessData", self._step(self._paid))
        self.route(app, "/api/Pay/SearchPayPackages", self._step(self._packages))
        app.router.add_get(f"/{self.name}/payer", self._show_payers)
        app.router.add_post(f"/{self.name}/payer", self._let_pay)
        self.route(app, "/{path:.*}", self._wrong_path)

    def refusal(self, refused: Refused) -> Reply:
        """Write an `error`; what is no call of this interface gets an HTTP status instead."""
        if refused.code in _STATUSES:
            return Reply(refused.message.encode(), "text/plain; charset=utf-8", _STATUSES[refused.code])
        return _answer({"error": int(refused.code), "message": refused.message})

    def pushed(self, entry: Entry) -> Reply:
        """Write the record ids and the charge."""
        doubled = entry.fault == _OTHER_AMOUNT
        made = charge(entry.order_number, entry.order_no, entry.amount_fen * (1 + doubled), entry.details)
        data = {"recordIDs": ",".join(_record_ids(entry)), "chargeData": {"error": 0, "charge": made}}
        return _answer({"error": 0, "data": data})

    def shown(self, entry: Entry) -> Reply:
        """Write what was paid for. Of an unpaid charge it is sometimes an error and sometimes nothing."""
        if entry.status is Standing.UNLISTED:
            return self.refusal(self.no(Reason.UNLISTED))
        shows = time.time() >= self._paid_at.get(entry.order_no, 0.0) + self.settings.shows_after
        if entry.status is Standing.SUCCEEDED and shows:
            opened = items(entry.details)
            return _answer({"error": 0, "data": opened if len(opened) > 1 else opened[0]})
        if entry.calls.get("query", 0) % 2:
            return _answer({"error": 1, "message": "未查询到付款成功信息"})
        return _answer({"error": 0})

    def pays(self, entry: Entry) -> bool:
        """Return whether he pays by himself: he has the credential, for what he expects, and time."""
        by_himself = self.settings.payer == "himself" and entry.order_no in self._told
        return by_himself and entry.fault != _OTHER_AMOUNT and not _over(entry)

    # --- the interface -----------------------------------------------------------------------------

    def _step(self, step: _Step) -> Work:
        async def work(request: web.Request) -> web.StreamResponse:
            return await step(request, await read(request, self.settings))

        return work

    async def _wrong_path(self, _request: web.Request) -> web.StreamResponse:
        raise Refused("wrong_path", "no such path")

    async def _pay(self, request: web.Request, given: Mapping[str, Any]) -> web.StreamResponse:
        bill: Bill = read_bill(given, self.settings)
        before = self.find(self._latest.get(bill.wish, ""))
        self._latest[bill.wish] = order_no = str(time.time_ns())
        wanted = Wanted(
            order_no=order_no,
            account=bill.user_id,
            amount_fen=bill.amount_fen,
            product="campus",
            details=bill.details | {"wish": bill.wish, "expires": str(int(time.time()) + self.settings.pay_seconds)},
            again=before is not None,
        )
        return await self.push(request, wanted)

    async def _paid(self, request: web.Request, given: Mapping[str, Any]) -> web.StreamResponse:
        entry = self._entry(read_ids(given))
        if entry is not None and entry.order_no not in self._told:
            self._told.add(entry.order_no)
            self.house.life.begin(entry)
        return await self.query(request, entry)

    async def _packages(self, request: web.Request, given: Mapping[str, Any]) -> web.StreamResponse:
        return await self.answer(
            request, "packages", lambda: _answer(packages(given)), account=str(given.get("userID", ""))
        )

    # --- the payer ---------------------------------------------------------------------------------

    async def _let_pay(self, request: web.Request) -> web.StreamResponse:
        """Pay a charge: `{"record_ids": "…"}`; `"anyway": true` also one whose time is over, as a slow bank would."""
        asked = await request.json()
        entry = self._entry(str(asked.get("record_ids", "")).split(","))
        if entry is None:
            return web.json_response({"paid": False, "why": "no such charge"})
        if entry.status is not Standing.AWAITING_PAYMENT:
            return web.json_response({"paid": False, "why": f"it is {entry.status}"})
        if _over(entry) and asked.get("anyway") is not True:
            return web.json_response({"paid": False, "why": "its time is over"})
        self._paid_at[entry.order_no] = time.time()
        self.book.charge(entry)
        self.book.move(entry, Standing.SUCCEEDED, entry.amount_fen)
        return web.json_response({"paid": True, "why": ""})

    async def _show_payers(self, _request: web.Request) -> web.StreamResponse:
        """Show each user's charges made, and how many of them he paid."""
        users: dict[str, dict[str, int]] = {}
        for entry in self.book.entries(gateway=self.name):
            user = users.setdefault(entry.account, {"charges_made": 0, "paid": 0, "paid_fen": 0})
            user["charges_made"] += entry.taken
            user["paid"] += entry.charges
            user["paid_fen"] += entry.charged_fen
        return web.json_response({"users": users})

    def _entry(self, ids: list[str]) -> Entry | None:
        """Return the charge that these are the record ids of, all of them and no other."""
        entry = self.find_number(ids[0][:-_ITEM_DIGITS])
        return entry if entry is not None and sorted(ids) == sorted(_record_ids(entry)) else None


def _answer(body: Mapping[str, Any]) -> Reply:
    return Reply(orjson.dumps(body))


def _record_ids(entry: Entry) -> list[str]:
    count = len(entry.details["items"].split(","))
    return [f"{entry.order_number}{number:0{_ITEM_DIGITS}d}" for number in range(count)]


def _over(entry: Entry) -> bool:
    return time.time() >= int(entry.details["expires"])
