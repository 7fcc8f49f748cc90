"""The simulator of wikeyun: mobile top-up, balance and cancel, under `/wikeyun`.

Besides the codes of `wikeyun_wire` it refuses with these, all its own:

| code | refused because |
|------|-----------------|
| 2000 | a business parameter has a value that cannot be |
| 2001 | the order number was pushed before |
| 2002 | no such order |
| 2003 | the amount is not a whole yuan of the list |
| 2004 | the merchant's balance is too low |
| 2005 | not a mobile number |
| 2006 | not possible: the fault `refused`, or an order that can no longer be cancelled |

`9527` and status `77` are what the faults show as things that no document lists. A refusal is HTTP 200, as the
document's answers are.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from worker.sandbox.answers import Answerer, Call, drop, reset
from worker.sandbox.book import Book, Entry, Standing
from worker.sandbox.callbacks import Callback
from worker.sandbox.faults import FAULTS, Answer, Callbacks, Fault, Faults, View
from worker.sandbox.life import Life
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.wikeyun_wire import FORM, NO_SUCH_PATH, WRONG_METHOD, Refused, Shape, read

GATEWAY = "wikeyun"

OK = "0000"
BAD_VALUE = "2000"
DUPLICATE = "2001"
NO_SUCH_ORDER = "2002"
BAD_AMOUNT = "2003"
BALANCE_TOO_LOW = "2004"
BAD_MOBILE = "2005"
NOT_POSSIBLE = "2006"
UNLISTED_CODE = "9527"
UNLISTED_STATUS = "77"

_FEN_PER_YUAN = 100
_ACKNOWLEDGEMENT = b"success"
_STATUSES: Mapping[Standing, str] = {
    Standing.CHARGING: "1",
    Standing.SUCCEEDED: "2",
    Standing.FAILED: "3",
    Standing.REFUNDED: "4",
    Standing.TIMED_OUT: "5",
    Standing.CANCELLED: "9",
    Standing.REVERSED: "10",
    Standing.PARTIAL: "11",
    Standing.CANCELLING: "12",
}
_REASONS: Mapping[Standing, str] = {Standing.FAILED: "运营商充值失败", Standing.REFUNDED: "运营商充值失败"}
_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_ORDER_NO = re.compile(r"[A-Za-z0-9_-]{1,32}")
_WHOLE_YUAN = re.compile(r"[1-9][0-9]{0,8}")
_URL = re.compile(r"https?://[^\s/]+\S*")

_PUSH = Shape(
    frozenset({"store_id", "mobile", "order_no", "money", "recharge_type", "notify_url"}),
    frozenset({"change", "source"}),
)
_QUERY = Shape(optional=frozenset({"order_number", "order_no", "store_id"}))
_CANCEL = Shape(frozenset({"order_number"}), frozenset({"store_id"}))
_BALANCE = Shape(optional=frozenset({"store_id"}))
_PUSH_VALUES = (
    ("order_no", _ORDER_NO),
    ("recharge_type", re.compile("[01]")),
    ("notify_url", _URL),
    ("change", re.compile("[01]")),
    ("source", re.compile("[0-9]{1,9}")),
)

_Parameters = Mapping[str, str]
_Work = Callable[[web.Request, _Parameters], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Wikeyun:
    """One merchant's account at wikeyun."""

    settings: SandboxSettings
    book: Book
    faults: Faults
    answerer: Answerer
    life: Life

    def mount(self, app: web.Application) -> None:
        """Add the routes, and say how callbacks look."""
        self.life.introduce(GATEWAY, _callback)
        for path, shape, work in (
            ("/rest/Recharge/pushOrder", _PUSH, self._push),
            ("/rest/Recharge/query", _QUERY, self._query),
            ("/rest/Recharge/cancel", _CANCEL, self._cancel),
            ("/rest/User/query", _BALANCE, self._balance),
        ):
            app.router.add_route("*", f"/{GATEWAY}{path}", self._handler(shape, work))
        app.router.add_route("*", f"/{GATEWAY}/{{path:.*}}", self._wrong_path)

    def _handler(self, shape: Shape, work: _Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if shape is _PUSH and self.faults.strikes_unread():
                self.book.note_refusal(GATEWAY, "unread")
                return reset(request)
            try:
                return await work(request, await self._read(request, shape))
            except Refused as refused:
                return self._refuse(refused)

        return handle

    async def _read(self, request: web.Request, shape: Shape) -> _Parameters:
        if request.method != "POST":
            raise Refused(WRONG_METHOD, "expected POST")
        body = await request.read()
        if body and (request.content_type != FORM or (request.charset or "utf-8").lower() != "utf-8"):
            raise Refused(WRONG_METHOD, f"expected {FORM} in UTF-8")
        return read(request.raw_path.partition("?")[2], body, shape, self.settings)

    async def _wrong_path(self, _request: web.Request) -> web.StreamResponse:
        return self._refuse(Refused(NO_SUCH_PATH, "接口不存在"))

    def _refuse(self, refused: Refused) -> web.StreamResponse:
        self.book.note_refusal(GATEWAY, refused.code)
        return web.Response(body=_answer(refused.code, refused.message), content_type="application/json")

    async def _push(self, request: web.Request, given: _Parameters) -> web.StreamResponse:
        amount_fen = self._check_push(given)
        order_no, mobile = given["order_no"], given["mobile"]
        known = self.book.find(GATEWAY, order_no)
        if known is not None and known.taken:
            return await self._push_again(request, known)
        entry = self.book.open(GATEWAY, order_no, mobile, amount_fen, given["notify_url"])
        self.book.note(entry, "push")
        fault = self.faults.for_push(order_no, mobile, first=known is None)
        entry.fault = fault.name or entry.fault
        self.book.keep(entry)
        call = Call(request, GATEWAY, "push", order_no)
        if not await self.answerer.may_begin(call, fault):
            return drop(request)
        if not fault.taken:
            return await self.answerer.give(call, fault, _untaken(fault))
        if entry.taken:  # another push of the number came by while this one was held
            return await self._push_again(request, entry, counted=True)
        if amount_fen > self.book.balance_fen(GATEWAY):
            raise Refused(BALANCE_TOO_LOW, "余额不足")
        self.book.take(entry)
        if fault.callbacks is Callbacks.EARLY:
            await self.life.step_before_answer(entry)
        self.life.begin(entry)
        return await self.answerer.give(call, fault, _pushed(entry, fault))

    async def _push_again(self, request: web.Request, entry: Entry, *, counted: bool = False) -> web.StreamResponse:
        if not counted:
            self.book.note(entry, "push")
            self.book.keep(entry)
        if not self.settings.accept_duplicates:
            raise Refused(DUPLICATE, "订单号已存在")
        self.book.charge(entry)
        self.life.begin_again(entry)
        fault = self.faults.for_call("push", entry.order_no)
        return await self.answerer.give(Call(request, GATEWAY, "push", entry.order_no), fault, _pushed(entry, fault))

    def _check_push(self, given: _Parameters) -> int:
        self._check_store(given)
        for name, pattern in _PUSH_VALUES:
            if name in given and not pattern.fullmatch(given[name]):
                raise Refused(BAD_VALUE, f"{name}格式错误")
        if not _MOBILE.fullmatch(given["mobile"]):
            raise Refused(BAD_MOBILE, "手机号格式错误")
        money = given["money"]
        if not _WHOLE_YUAN.fullmatch(money) or (self.settings.amounts and int(money) not in self.settings.amounts):
            raise Refused(BAD_AMOUNT, "充值金额错误")
        return int(money) * _FEN_PER_YUAN

    def _check_store(self, given: _Parameters) -> None:
        if given.get("store_id", self.settings.store_id) != self.settings.store_id:
            raise Refused(BAD_VALUE, "店铺不存在")

    async def _query(self, request: web.Request, given: _Parameters) -> web.StreamResponse:
        self._check_store(given)
        entry = self._named(given)
        if entry is None:
            raise Refused(NO_SUCH_ORDER, "订单不存在")
        self.book.note(entry, "query")
        asked = self.faults.for_call("query", entry.order_no)
        call = Call(request, GATEWAY, "query", entry.order_no)
        if not await self.answerer.may_begin(call, asked):
            return drop(request)
        view = FAULTS[entry.fault].view if entry.fault is not None else View.TRUE
        age = time.time() - entry.taken_at
        if not entry.taken or (view is View.ABSENT and age < self.settings.absent_seconds):
            body = _answer(NO_SUCH_ORDER, "订单不存在")
        else:
            unlisted = view is View.UNLISTED_STATUS and age < self.settings.unlisted_seconds
            body = _answer(OK, "获取成功", _shown(entry, view, unlisted=unlisted))
        return await self._give(call, asked, body)

    def _named(self, given: _Parameters) -> Entry | None:
        names = [name for name in ("order_number", "order_no") if name in given]
        if not names:
            raise Refused(BAD_VALUE, "order_number不能为空")
        found = [
            (self.book.find_number if name == "order_number" else self.book.find)(GATEWAY, given[name])
            for name in names
        ]
        return found[0] if all(entry is found[0] for entry in found) else None

    async def _cancel(self, request: web.Request, given: _Parameters) -> web.StreamResponse:
        self._check_store(given)
        entries: list[Entry] = []
        for number in given["order_number"].split(","):
            entry = self.book.find_number(GATEWAY, number)
            if entry is None:
                raise Refused(NO_SUCH_ORDER, "订单不存在")
            self.book.note(entry, "cancel")
            entries.append(entry)
        call = Call(request, GATEWAY, "cancel", entries[0].order_no)
        asked = self.faults.for_call("cancel", call.order_no)
        if not await self.answerer.may_begin(call, asked):
            return drop(request)
        if any(entry.status is not Standing.CHARGING for entry in entries):
            raise Refused(NOT_POSSIBLE, "订单不可取消")
        for entry in entries:
            self.book.move(entry, Standing.CANCELLING)
        return await self._give(call, asked, _answer(OK, "操作成功"))

    async def _balance(self, request: web.Request, given: _Parameters) -> web.StreamResponse:
        self._check_store(given)
        call = Call(request, GATEWAY, "balance", "")
        asked = self.faults.for_call("balance", "")
        if not await self.answerer.may_begin(call, asked):
            return drop(request)
        money = {"money": _yuan(self.book.balance_fen(GATEWAY)), "id": 1}
        return await self._give(call, asked, _answer(OK, "获取成功", money))

    async def _give(self, call: Call, asked: Fault, body: bytes) -> web.StreamResponse:
        if asked.answer is Answer.UNLISTED_CODE:
            body = _answer(UNLISTED_CODE, "系统繁忙")
        return await self.answerer.give(call, asked, body)


def _answer(code: str, message: str, data: Mapping[str, Any] | None = None) -> bytes:
    return orjson.dumps({"code": code, "msg": message, "time": str(int(time.time())), "data": data})


def _pushed(entry: Entry, fault: Fault) -> bytes:
    if fault.answer is Answer.UNLISTED_CODE:
        return _answer(UNLISTED_CODE, "系统繁忙")
    return _answer(OK, "推送成功", {"order_number": entry.order_number})


def _untaken(fault: Fault) -> bytes:
    if fault.answer is Answer.REFUSAL:
        return _answer(NOT_POSSIBLE, "暂不支持该号码")
    return _answer(UNLISTED_CODE, "系统繁忙")


def _shown(entry: Entry, view: View, *, unlisted: bool) -> dict[str, str]:
    amount_fen = entry.amount_fen * 2 if view is View.OTHER_AMOUNT else entry.amount_fen
    return {
        "order_number": entry.order_number,
        "status": UNLISTED_STATUS if unlisted else _STATUSES[entry.status],
        "mobile": entry.account,
        "amount": _yuan(amount_fen),
        "order_no": entry.order_no,
        "arrived_amount": _yuan(entry.arrived_fen),
        "cost_price": _yuan(entry.amount_fen),
        "reason": _REASONS.get(entry.status, ""),
    }


def _callback(entry: Entry, standing: Standing) -> Callback:
    form = {"order_no": entry.order_no, "order_number": entry.order_number, "status": _STATUSES[standing]}
    return Callback(entry.notify_url, form, _ACKNOWLEDGEMENT)


def _yuan(fen: int) -> str:
    yuan, rest = divmod(fen, _FEN_PER_YUAN)
    return f"{yuan}.{rest:02d}" if rest else str(yuan)
