"""The simulator of dingyin under `/dingyin`: electricity, games and Douyin, query, balance, signed callbacks.

Besides the codes of `dingyin_wire` it refuses with 5002 (balance too low), 5003 (product not sold, and the fault
`refused`), 5006 (submitted before) and 5007 (no such order). `9527` and `77` are what the faults show as things that no
public client knows; an order that timed out is shown as 9999, and one that was reversed as 9, since there is no other
code for it. Names in its answers hold 镕, 喆 and 堃, which GB2312, as which the answers are declared, does not have.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from html import escape
from typing import ClassVar
from urllib.parse import urlencode

from aiohttp import web

from worker.sandbox.answers import Reply
from worker.sandbox.book import Entry, Standing, Wanted
from worker.sandbox.callbacks import Callback, says
from worker.sandbox.faults import Reason
from worker.sandbox.simulator import Refused, Simulator, Work
from worker.sandbox.simulators.dingyin_wire import (
    BALANCE,
    FORM,
    PAY,
    SEARCH,
    TOLD,
    WRONG_CALL,
    WRONG_NUMBER,
    DingyinSettings,
    Shape,
    meter,
    read,
    sign,
)

TAKEN = "0"
NOT_SOLD = "5003"
UNLISTED_CODE = "9527"
UNLISTED_STATUS = "77"

_XML = "text/xml; charset=GB2312"
_NAMES = {"power": "电费直充 镕", "game": "游戏直充 喆", "douyin": "抖音直充 堃"}
_FEN_PER_YUAN = 100

_Fields = Mapping[str, str]
_Step = Callable[[web.Request, _Fields], Awaitable[web.StreamResponse]]


class Dingyin(Simulator):
    """Serves the gateway's operations; every answer is XML, and HTTP 200."""

    name = "dingyin"
    settings_type = DingyinSettings
    refusals: ClassVar[Mapping[Reason, tuple[str, str]]] = {
        Reason.NO_SUCH_ORDER: ("5007", "no such order"),
        Reason.DUPLICATE: ("5006", "submitted before"),
        Reason.BALANCE_TOO_LOW: ("5002", "balance too low"),
        Reason.NOT_POSSIBLE: (NOT_SOLD, "not sold"),
        Reason.UNLISTED: (UNLISTED_CODE, "?"),
    }
    lacks = frozenset(
        {
            "partly_arrived",  # there is no code for it
            *("false_callback", "false_success"),  # what it signs is true: whoever verified it must believe it
            "other_account_callback",  # its callbacks name no account
            "forged_answer",  # it signs no answers
            *("pays_late", "never_pays"),  # the merchant pays, from his deposit
        }
    )
    calls = frozenset({"push", "query", "balance"})
    statuses: ClassVar[Mapping[Standing, str]] = {
        Standing.CHARGING: "2",
        Standing.SUCCEEDED: "1",
        Standing.FAILED: "9",
        Standing.REFUNDED: "9",
        Standing.REVERSED: "9",
        Standing.TIMED_OUT: "9999",
        Standing.UNLISTED: UNLISTED_STATUS,
    }

    settings: DingyinSettings

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        self.route(app, "/gameonlinepay.do", self._step(PAY, self._pay), push=True)
        self.route(app, "/searchpay.do", self._step(SEARCH, self._search))
        self.route(app, "/searchbalance.do", self._step(BALANCE, self._balance))
        self.route(app, "/{path:.*}", self._wrong_path)

    # --- what it answers ---------------------------------------------------------------------------

    def refusal(self, refused: Refused) -> Reply:
        """Write a record that has little more than its code."""
        return _xml("order", {"orderid": "", "sporderid": refused.order_no, "resultno": refused.code})

    def pushed(self, entry: Entry) -> Reply:
        """Write the order as it was taken."""
        return _xml("order", self._record(entry, TAKEN))

    def shown(self, entry: Entry) -> Reply:
        """Write an order as queries show it."""
        more = {"remark1": f"凭证镕{entry.order_number}", "fundbalance": _yuan(self.book.balance_fen(self.name))}
        return _xml("order", self._record(entry, self.statuses[entry.status]) | more)

    def callback(self, entry: Entry) -> Callback | None:
        """Write a form that signs the numbers and the code, and nothing of what else it says."""
        if not entry.notify_url:
            return None
        told = {
            "userid": self.settings.userid,
            "orderid": entry.order_number,
            "sporderid": entry.order_no,
            "merchantsubmittime": entry.details["spordertime"],
            "resultno": self.statuses[entry.status],
        }
        more = {
            "parvalue": _yuan(entry.amount_fen),
            "remark1": "凭证镕",
            "payno": entry.order_number,
            "fundbalance": _yuan(self.book.balance_fen(self.name)),
            "sign": sign(told, TOLD, self.settings.key),
        }
        body = urlencode(told | more, encoding="gbk").encode()
        return Callback(entry.notify_url, body, {"Content-Type": FORM}, says(self.settings.ack_body.encode()))

    def forged(self, callback: Callback) -> Callback:
        """Return the same callback signed with nothing."""
        return replace(callback, body=callback.body.rpartition(b"&sign=")[0] + b"&sign=" + b"0" * 32)

    # --- what it takes -----------------------------------------------------------------------------

    def _step(self, shape: Shape, step: _Step) -> Work:
        async def work(request: web.Request) -> web.StreamResponse:
            if request.method != "POST" or request.content_type != FORM:
                raise Refused(WRONG_CALL, f"expected POST of {FORM}")
            if (request.charset or "gbk").lower() != "gbk" or request.raw_path.partition("?")[2]:
                raise Refused(WRONG_CALL, "expected a form in GBK, and nothing beside it")
            return await step(request, read(await request.read(), shape, self.settings))

        return work

    async def _wrong_path(self, _request: web.Request) -> web.StreamResponse:
        raise Refused(WRONG_CALL, "no such path")

    async def _pay(self, request: web.Request, given: _Fields) -> web.StreamResponse:
        if not given["num"].isascii() or not given["num"].isdigit() or int(given["num"]) == 0:
            raise Refused(WRONG_NUMBER, "num: expected a whole number above 0", given["sporderid"])
        product = self._product(given)
        power = product == "power"
        unit_fen = self.settings.electricity_unit_fen if power else self.settings.piece_fen
        names = ("productid", "num", "areaid", "serverid", "account", "userip", "spordertime")
        wanted = Wanted(
            order_no=given["sporderid"],
            account=meter(given) if power else given["account"],
            amount_fen=int(given["num"]) * unit_fen,
            notify_url=given.get("back_url", ""),
            product=product,
            details={name: given.get(name, "") for name in names} | {"unit_fen": str(unit_fen)},
        )
        return await self.push(request, wanted)

    def _product(self, given: _Fields) -> str:
        settings, wanted = self.settings, given.get("productid", "")
        if wanted == settings.electricity_product:
            return "power"
        sold = {"game": settings.game_products, "douyin": settings.douyin_products}
        for product, numbers in sold.items():
            if wanted in map(str, numbers):
                return product
        raise Refused(NOT_SOLD, "productid: not sold", given["sporderid"])

    async def _search(self, request: web.Request, given: _Fields) -> web.StreamResponse:
        return await self.query(request, self.find(given["sporderid"]), given["sporderid"])

    async def _balance(self, request: web.Request, _given: _Fields) -> web.StreamResponse:
        def write() -> Reply:
            balance = _yuan(self.book.balance_fen(self.name))
            return _xml("user", {"userid": self.settings.userid, "balance": balance, "resultno": "1"})

        return await self.answer(request, "balance", write)

    def _record(self, entry: Entry, code: str) -> dict[str, str]:
        account = entry.account
        if entry.product == "power":
            given = json.loads(entry.details["account"]) | {"userid": entry.account}
            account = json.dumps(given, ensure_ascii=False, separators=(",", ":"))
        return {
            "orderid": entry.order_number,
            "productid": entry.details["productid"],
            "num": str(entry.amount_fen // int(entry.details["unit_fen"])),
            "ordercash": _yuan(entry.amount_fen),
            "productname": _NAMES[entry.product],
            "sporderid": entry.order_no,
            "account": account,
            "resultno": code,
        }


def _xml(root: str, fields: Mapping[str, str]) -> Reply:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return Reply(f'<?xml version="1.0" encoding="GB2312" ?><{root}>{inner}</{root}>'.encode("gbk"), _XML)


def _yuan(fen: int) -> str:
    yuan, rest = divmod(fen, _FEN_PER_YUAN)
    return f"{yuan}.{rest:02d}".rstrip("0").rstrip(".") if rest else str(yuan)
