"""The simulator of WeChat Pay's e-bike charging: deduction and query, under `/wechat`.

Besides the codes of `wechat_wire` it refuses with these:

| code | HTTP | refused because |
|------|------|-----------------|
| OUT_TRADE_NO_USED | 403 | the number was deducted before |
| ORDER_NOT_EXIST | 404 | no such order |
| RULE_LIMIT | 403 | not possible: the fault `refused` |
| FREQUENCY_LIMITED | 429 | more deductions than `charges_per_second` |
| RESOURCE_NOT_EXISTS | 404 | no such path or method |

`SANDBOX_ERROR` and the state `SANDBOX_STATE` are what the faults show as things that no document lists. Every answer is
signed, refusals too. That a refund is told as `TRANSACTION.PAY_BACK` is the simulator's own reading: no document says.
"""

import base64
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar

import orjson
from aiohttp import web

from worker.sandbox.answers import Reply
from worker.sandbox.book import Entry, Standing, Wanted
from worker.sandbox.callbacks import Callback
from worker.sandbox.faults import Reason
from worker.sandbox.simulator import House, Refused, Simulator
from worker.sandbox.simulators.wechat_keys import Keys, seal
from worker.sandbox.simulators.wechat_wire import FORGERIES, PARAM_ERROR, WechatSettings, read, read_charge

_JSON = "application/json; charset=utf-8"
_TOO_MANY = "FREQUENCY_LIMITED"
_NO_SUCH_PATH = "RESOURCE_NOT_EXISTS"
_HTTP: Mapping[str, int] = {
    "SIGN_ERROR": 401,
    "NO_AUTH": 403,
    "RULE_LIMIT": 403,
    "OUT_TRADE_NO_USED": 403,
    "ORDER_NOT_EXIST": 404,
    _NO_SUCH_PATH: 404,
    _TOO_MANY: 429,
}
"""The HTTP status of each code; any other is 400."""
_STATES: Mapping[Standing, tuple[str, str]] = {
    Standing.CHARGING: ("ACCEPTED", "已受理"),
    Standing.SUCCEEDED: ("SUCCESS", "支付成功"),
    Standing.FAILED: ("PAY_FAIL", "支付失败"),
    Standing.REFUNDED: ("REFUND", "转入退款"),
    Standing.REVERSED: ("REFUND", "转入退款"),
    Standing.UNLISTED: ("SANDBOX_STATE", ""),
}
_EVENTS: Mapping[Standing, str] = {
    Standing.SUCCEEDED: "TRANSACTION.SUCCESS",
    Standing.FAILED: "TRANSACTION.FAIL",
    Standing.REFUNDED: "TRANSACTION.PAY_BACK",
    Standing.REVERSED: "TRANSACTION.PAY_BACK",
}
_CHINA = timezone(timedelta(hours=8))
_AN_HOUR_AGO = -3600


class Wechat(Simulator):
    """One merchant's account at WeChat Pay."""

    name = "wechat"
    settings_type = WechatSettings
    refusals: ClassVar[Mapping[Reason, tuple[str, str]]] = {
        Reason.NO_SUCH_ORDER: ("ORDER_NOT_EXIST", "订单不存在"),
        Reason.DUPLICATE: ("OUT_TRADE_NO_USED", "商户订单号重复"),
        Reason.BALANCE_TOO_LOW: ("RULE_LIMIT", "业务规则限制"),  # nothing is prepaid: no call is refused for that
        Reason.NOT_POSSIBLE: ("RULE_LIMIT", "业务规则限制"),
        Reason.UNLISTED: ("SANDBOX_ERROR", "系统繁忙"),
    }
    lacks = frozenset(
        {
            "partly_arrived",  # a deduction is made or not
            "timed_out",  # it always knows
            "false_callback",  # what it signs is true: whoever verified it must believe it
            "false_success",
            "balance_too_low",
            "other_account",  # neither queries…
            "other_account_callback",  # …nor callbacks repeat the charging token
            "stale_callback",  # nobody is told of an order that is still charging
            "pays_late",
            "never_pays",
        }
    )
    prepaid = False
    calls = frozenset({"push", "query"})

    settings: WechatSettings

    def __init__(self, house: House, settings: WechatSettings) -> None:
        super().__init__(house, settings)
        self.keys = Keys(Path(settings.keys) if settings.keys else None)
        self._forgeries = cycle([settings.forgery] if settings.forgery else FORGERIES)
        self._begun: deque[float] = deque()  # when the deductions of the last second came

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        charges = "/v3/ebike/charge/transactions"
        self.route(app, charges, self._charge, method="POST", push=True)
        self.route(app, f"{charges}/out-trade-no/{{number}}", self._by_ours, method="GET")
        self.route(app, f"{charges}/id/{{number}}", self._by_theirs, method="GET")
        self.route(app, "/{path:.*}", self._wrong_path)

    def rotate(self) -> Mapping[str, Any]:
        """Sign with the next platform key."""
        key = self.keys.rotate()
        return {"serial": key.serial, "key": key.shown}

    # --- calls -------------------------------------------------------------------------------------

    async def _charge(self, request: web.Request) -> web.StreamResponse:
        given = read_charge(await read(request, self.keys, self.settings), self.settings)
        if self._too_many():
            raise Refused(_TOO_MANY, "频率超限", given["out_trade_no"])
        wanted = Wanted(
            order_no=given["out_trade_no"],
            account=given["charging_token"],
            amount_fen=given["amount"]["total"],
            notify_url=given["notify_url"],
            product="ebike",
            details={"attach": given["attach"]} if "attach" in given else {},
        )
        return await self.push(request, wanted)

    async def _by_ours(self, request: web.Request) -> web.StreamResponse:
        number = await self._number(request)
        return await self.query(request, self.find(number), number)

    async def _by_theirs(self, request: web.Request) -> web.StreamResponse:
        entry = self.find_number(await self._number(request))
        return await self.query(request, entry, entry.order_no if entry else "")

    async def _number(self, request: web.Request) -> str:
        await read(request, self.keys, self.settings)
        ours = self.settings.sub_mchid
        if request.raw_path.partition("?")[2] != (f"sub_mchid={ours}" if ours else ""):
            raise Refused(PARAM_ERROR, "expected sub_mchid in the query string where there is one, and nothing else")
        return request.match_info["number"]

    async def _wrong_path(self, _request: web.Request) -> web.StreamResponse:
        raise Refused(_NO_SUCH_PATH, "接口不存在")

    def _too_many(self) -> bool:
        limit, now = self.settings.charges_per_second, time.monotonic()
        while self._begun and now - self._begun[0] > 1:
            self._begun.popleft()
        if limit and len(self._begun) >= limit:
            return True
        self._begun.append(now)
        return False

    # --- answers -----------------------------------------------------------------------------------

    def refusal(self, refused: Refused) -> Reply:
        """Write a signed error."""
        error = {"code": refused.code, "message": refused.message}
        return replace(self._signed(error), status=_HTTP.get(refused.code, 400))

    def pushed(self, entry: Entry) -> Reply:
        """Write that the deduction was taken on."""
        return self._signed({"accept_state": "ACCEPTED", "create_time": _moment(entry.taken_at)})

    def shown(self, entry: Entry) -> Reply:
        """Write an order as queries show it."""
        return self._signed(self._transaction(entry))

    def forged_reply(self, reply: Reply) -> Reply:
        """Return the same answer, wrongly signed."""
        return replace(reply, headers=self._forged(reply.body))

    # --- callbacks ---------------------------------------------------------------------------------

    def callback(self, entry: Entry) -> Callback | None:
        """Write an encrypted and signed notice of how the deduction ended."""
        event = _EVENTS.get(entry.status)
        if event is None:
            return None
        body = orjson.dumps(
            {
                "id": f"EV-{entry.order_number}-{event}",
                "create_time": _moment(time.time()),
                "event_type": event,
                "resource_type": "encrypt-resource",
                "resource": seal(orjson.dumps(self._transaction(entry)), self.settings.apiv3_key, "transaction"),
                "summary": _STATES[entry.status][1],
            }
        )
        headers = {"Content-Type": _JSON, **self.keys.sign(body)}
        return Callback(entry.notify_url, body, headers, lambda status, _body: status in (200, 204))

    def forged(self, callback: Callback) -> Callback:
        """Return the same callback, wrongly signed."""
        return replace(callback, headers={"Content-Type": _JSON, **self._forged(callback.body)})

    # --- what both say -----------------------------------------------------------------------------

    def _transaction(self, entry: Entry) -> dict[str, Any]:
        state, described = _STATES[entry.status]
        settings = self.settings
        said: dict[str, Any] = {
            "mchid": settings.mchid,
            "appid": settings.appid,
            "out_trade_no": entry.order_no,
            "transaction_id": entry.order_number,
            "trade_type": "EBIKE",
            "trade_state": state,
            "trade_state_des": described,
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {"total": entry.amount_fen, "payer_total": entry.amount_fen, "discount_total": 0}
            | {"currency": "CNY"},
            **entry.details,
        }
        if settings.sub_mchid:
            said["sub_mchid"] = settings.sub_mchid
        if entry.status is Standing.SUCCEEDED:
            said["success_time"] = _moment(time.time())
        return said

    def _signed(self, said: Mapping[str, Any]) -> Reply:
        body = orjson.dumps(said)
        return Reply(body, _JSON, headers=self.keys.sign(body))

    def _forged(self, body: bytes) -> dict[str, str]:
        """Return headers that prove nothing, in the next way of `FORGERIES`."""
        headers = self.keys.sign(body)
        match next(self._forgeries):
            case "nothing":
                return {}
            case "probe":
                probe = "WECHATPAY/SIGNTEST/" + headers["Wechatpay-Signature"]
                return headers | {"Wechatpay-Signature": probe}
            case "old":
                return self.keys.sign(body, seconds=_AN_HOUR_AGO)
            case "serial":
                return headers | {"Wechatpay-Serial": "PUB_KEY_ID_OF_NOBODY"}
        return headers | {"Wechatpay-Signature": base64.b64encode(secrets.token_bytes(256)).decode()}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, _CHINA).isoformat(timespec="seconds")
