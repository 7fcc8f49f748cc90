"""The simulator of wikeyun under `/wikeyun`: mobile top-up, electricity and fuel cards, balance and cancel.

Besides the codes of `wikeyun_wire` and `wikeyun_cards` it refuses with these, all its own:

| code | refused because |
|------|-----------------|
| 2000 | a business parameter has a value that cannot be |
| 2001 | the order number was pushed before |
| 2002 | no such order |
| 2003 | the amount is not one that is sold |
| 2004 | the merchant's balance is too low |
| 2005 | not a mobile number |
| 2006 | not possible: the fault `refused`, or an order that can no longer be cancelled |

`9527` and status `77` are what the faults show as things that no document lists. A refusal is HTTP 200, as the
document's answers are. Queries about a card's order show its number as `mobile`, as the documents' examples do.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

import orjson
from aiohttp import web

from worker.sandbox.answers import Reply
from worker.sandbox.book import Entry, Standing, Wanted
from worker.sandbox.callbacks import Callback, says
from worker.sandbox.faults import Reason
from worker.sandbox.simulator import House, Refused, Simulator, Work
from worker.sandbox.simulators.wikeyun_cards import BAD_VALUE, NAMED, CardDesk, CardKind
from worker.sandbox.simulators.wikeyun_products import PRODUCTS, Product
from worker.sandbox.simulators.wikeyun_wire import FORM, NO_SUCH_PATH, WRONG_METHOD, Shape, WikeyunSettings, read

OK = "0000"
DUPLICATE = "2001"
NO_SUCH_ORDER = "2002"
BAD_AMOUNT = "2003"
BALANCE_TOO_LOW = "2004"
BAD_MOBILE = "2005"
NOT_POSSIBLE = "2006"
UNLISTED_CODE = "9527"
UNLISTED_STATUS = "77"

_FEN_PER_YUAN = 100
_UNDOCUMENTED_SIGN = "0123456789ABCDEF0123456789ABCDEF"  # no document gives its rule, so it means nothing here
_REASONS: Mapping[Standing, str] = {Standing.FAILED: "运营商充值失败", Standing.REFUNDED: "运营商充值失败"}
_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_WHOLE_YUAN = re.compile(r"[1-9][0-9]{0,8}")
_VALUES = {
    "order_no": re.compile(r"[A-Za-z0-9_-]{1,32}"),
    "notify_url": re.compile(r"https?://[^\s/]+\S*"),
    "change": re.compile("[01]"),
    "source": re.compile("[0-9]{1,9}"),
}
_QUERY = Shape(optional=frozenset({"order_number", "order_no", "store_id"}))
_CANCEL = Shape(frozenset({"order_number"}), frozenset({"store_id"}))
_BALANCE = Shape(optional=frozenset({"store_id"}))

_Parameters = Mapping[str, str]
_Step = Callable[[web.Request, _Parameters], Awaitable[web.StreamResponse]]


class Wikeyun(Simulator):
    """One merchant's account at wikeyun."""

    name = "wikeyun"
    settings_type = WikeyunSettings
    calls = Simulator.calls | {"add_card", "edit_card", "delete_card", "show_card"}
    refusals: ClassVar[Mapping[Reason, tuple[str, str]]] = {
        Reason.NO_SUCH_ORDER: (NO_SUCH_ORDER, "订单不存在"),
        Reason.DUPLICATE: (DUPLICATE, "订单号已存在"),
        Reason.BALANCE_TOO_LOW: (BALANCE_TOO_LOW, "余额不足"),
        Reason.NOT_POSSIBLE: (NOT_POSSIBLE, "暂不支持该操作"),
        Reason.UNLISTED: (UNLISTED_CODE, "系统繁忙"),
    }
    lacks = frozenset(
        {
            "forged_callback",  # it signs neither callbacks…
            "forged_success",
            "forged_answer",  # …nor answers
            "other_amount_callback",  # its callbacks name no amount…
            "other_account_callback",  # …and no account
            "pays_late",  # nobody but the merchant pays
            "never_pays",
        }
    )
    statuses: ClassVar[Mapping[Standing, str]] = {
        Standing.CHARGING: "1",
        Standing.SUCCEEDED: "2",
        Standing.FAILED: "3",
        Standing.REFUNDED: "4",
        Standing.TIMED_OUT: "5",
        Standing.CANCELLED: "9",
        Standing.REVERSED: "10",
        Standing.PARTIAL: "11",
        Standing.CANCELLING: "12",
        Standing.UNLISTED: UNLISTED_STATUS,
    }

    settings: WikeyunSettings

    def __init__(self, house: House, settings: WikeyunSettings) -> None:
        super().__init__(house, settings)
        self._desk = CardDesk(self.name, house.cards, settings)

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        for product in PRODUCTS:
            self.route(app, f"{product.path}/pushOrder", self._step(product.push, self._push(product)), push=True)
            self.route(app, f"{product.path}/query", self._step(_QUERY, self._query(product)))
            self.route(app, f"{product.path}/cancel", self._step(_CANCEL, self._cancel(product)))
            if product.card is not None:
                self._mount_cards(app, product.name, product.path, product.card)
        self.route(app, "/rest/User/query", self._step(_BALANCE, self._balance))
        self.route(app, "/{path:.*}", self._wrong_path)

    def _mount_cards(self, app: web.Application, name: str, path: str, kind: CardKind) -> None:
        desk = self._desk
        for operation, call, shape, work in (
            ("addCard", "add_card", kind.added, lambda given: desk.add(name, kind, given)),
            ("editCard", "edit_card", kind.edited, lambda given: desk.edit(name, kind, given)),
            ("delCard", "delete_card", NAMED, lambda given: desk.delete(name, given)),
            ("cardInfo", "show_card", NAMED, lambda given: desk.show(name, given)),
        ):
            self.route(app, f"{path}/{operation}", self._step(shape, self._card(call, work)))

    # --- what it answers ---------------------------------------------------------------------------

    def refusal(self, refused: Refused) -> Reply:
        """Write a code that is not `0000`."""
        return _answer(refused.code, refused.message, refused.data)

    def pushed(self, entry: Entry) -> Reply:
        """Write the gateway's number."""
        return _answer(OK, "推送成功", {"order_number": entry.order_number})

    def shown(self, entry: Entry) -> Reply:
        """Write an order as queries show it."""
        data = {
            "order_number": entry.order_number,
            "status": self.statuses[entry.status],
            "mobile": entry.account,
            "amount": _yuan(entry.amount_fen),
            "order_no": entry.order_no,
            "arrived_amount": _yuan(entry.arrived_fen),
            "cost_price": _yuan(entry.amount_fen),
            "reason": _REASONS.get(entry.status, ""),
        }
        return _answer(OK, "获取成功", data)

    def callback(self, entry: Entry) -> Callback:
        """Write a form that names the order and its status; JSON in the newer way (public clients)."""
        told = {"order_no": entry.order_no, "order_number": entry.order_number, "status": self.statuses[entry.status]}
        if self.settings.json_callbacks:
            told |= {"amount": _yuan(entry.amount_fen), "sign": _UNDOCUMENTED_SIGN}
            return Callback(
                entry.notify_url, orjson.dumps(told), {"Content-Type": "application/json"}, says(b"success")
            )
        return Callback(entry.notify_url, urlencode(told).encode(), {"Content-Type": FORM}, says(b"success"))

    # --- what it takes -----------------------------------------------------------------------------

    def _step(self, shape: Shape, step: _Step) -> Work:
        async def work(request: web.Request) -> web.StreamResponse:
            if request.method != "POST":
                raise Refused(WRONG_METHOD, "expected POST")
            body = await request.read()
            if body and (request.content_type != FORM or (request.charset or "utf-8").lower() != "utf-8"):
                raise Refused(WRONG_METHOD, f"expected {FORM} in UTF-8")
            given = read(request.raw_path.partition("?")[2], body, shape, self.settings)
            if "store_id" in given and given["store_id"] not in (self.settings.store_id, self.settings.other_store_id):
                raise Refused(BAD_VALUE, "店铺不存在")
            return await step(request, given)

        return work

    async def _wrong_path(self, _request: web.Request) -> web.StreamResponse:
        raise Refused(NO_SUCH_PATH, "接口不存在")

    def _push(self, product: Product) -> _Step:
        async def push(request: web.Request, given: _Parameters) -> web.StreamResponse:
            for name, pattern in _VALUES.items():
                if name in given and not pattern.fullmatch(given[name]):
                    raise Refused(BAD_VALUE, f"{name}格式错误")
            if given["recharge_type"] not in product.recharge_types:
                raise Refused(BAD_VALUE, "recharge_type格式错误")
            money = given[product.money]
            yuan = int(money) if _WHOLE_YUAN.fullmatch(money) else 0
            if not yuan or not product.sells(yuan, self.settings):
                raise Refused(BAD_AMOUNT, "充值金额错误")
            wanted = Wanted(
                order_no=given["order_no"],
                account=self._account(product, given),
                amount_fen=yuan * _FEN_PER_YUAN,
                notify_url=given["notify_url"],
                product=product.name,
                details={name: given[name] for name in ("store_id", "cardId", "recharge_type") if name in given},
            )
            return await self.push(request, wanted)

        return push

    def _account(self, product: Product, given: _Parameters) -> str:
        """Return whom the order is for: the number itself, or that of the card as it is now."""
        if product.card is not None:
            return self._desk.find(product.name, given, "cardId").number
        if not _MOBILE.fullmatch(given["mobile"]):
            raise Refused(BAD_MOBILE, "手机号格式错误")
        return given["mobile"]

    def _query(self, product: Product) -> _Step:
        async def query(request: web.Request, given: _Parameters) -> web.StreamResponse:
            names = [name for name in ("order_number", "order_no") if name in given]
            if not names:
                raise Refused(BAD_VALUE, "order_number不能为空")
            found = [(self.find_number if name == "order_number" else self.find)(given[name]) for name in names]
            entry = found[0] if all(entry is found[0] for entry in found) else None
            return await self.query(request, _of(product, given, entry), given.get("order_no", ""))

        return query

    def _cancel(self, product: Product) -> _Step:
        async def cancel(request: web.Request, given: _Parameters) -> web.StreamResponse:
            entries: list[Entry] = []
            for number in given["order_number"].split(","):
                entry = _of(product, given, self.find_number(number))
                if entry is None:
                    raise self.no(Reason.NO_SUCH_ORDER)
                entries.append(entry)
            return await self.cancel(request, entries, lambda: _answer(OK, "操作成功"))

        return cancel

    def _card(self, call: str, work: Callable[[_Parameters], Mapping[str, Any] | None]) -> _Step:
        async def step(request: web.Request, given: _Parameters) -> web.StreamResponse:
            named = given.get("card_num") or given["card_id"]
            return await self.answer(request, call, lambda: _answer(OK, "操作成功", work(given)), named)

        return step

    async def _balance(self, request: web.Request, _given: _Parameters) -> web.StreamResponse:
        def write() -> Reply:
            return _answer(OK, "获取成功", {"money": _yuan(self.book.balance_fen(self.name)), "id": 1})

        return await self.answer(request, "balance", write)


def _of(product: Product, given: _Parameters, entry: Entry | None) -> Entry | None:
    """Return the entry if it is an order of this product and store."""
    if entry is None or entry.product != product.name:
        return None
    store_id = entry.details["store_id"]
    return entry if given.get("store_id", store_id) == store_id else None


def _answer(code: str, message: str, data: Mapping[str, Any] | None = None) -> Reply:
    return Reply(orjson.dumps({"code": code, "msg": message, "time": str(int(time.time())), "data": data}))


def _yuan(fen: int) -> str:
    yuan, rest = divmod(fen, _FEN_PER_YUAN)
    return f"{yuan}.{rest:02d}" if rest else str(yuan)
