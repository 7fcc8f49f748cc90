"""zjzdy on the wire: strict reading of what is asked, and the documented shape of what is answered."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from typing import Any

from aiohttp import web

from worker.sandbox.simulator import Refused

_BAD = "1"
_JSON = "application/json"
_FEN_PER_YUAN = 100
_MOST_ITEMS = 50  # the record ids end in two digits for the package
_USER = re.compile(r"[!-~]{1,64}")
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{1,31}")
_ITEM = re.compile(r"[!-+\--~]{1,64}")
_RECORD = re.compile(r"[0-9]{22}")
_HEADER = re.compile(r"[!#-'*+.^_`|~0-9A-Za-z-]+: ?[ -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZjzdySettings:
    """How this deployment behaves. Times are seconds."""

    amount_unit: str = "fen"  # or "yuan": what `amount` of PayMoney is in
    header: str = field(default="", repr=False)  # `Name: value` that every request must have
    pay_seconds: int = 86_400  # for the payer
    shows_after: float = 0.0  # from a payment that was asked for until it shows
    payer: str = "himself"  # pays the charges that are asked about; "asked": only as `POST /zjzdy/payer` says

    def __post_init__(self) -> None:
        if self.amount_unit not in ("fen", "yuan"):
            raise ValueError("amount_unit: expected fen or yuan")
        if self.payer not in ("himself", "asked"):
            raise ValueError("payer: expected himself or asked")
        if self.header and not _HEADER.fullmatch(self.header):
            raise ValueError("header: expected Name: value")
        if self.pay_seconds <= 0:
            raise ValueError("pay_seconds: expected more than 0")
        if self.shows_after < 0:
            raise ValueError("shows_after: expected 0 or more")


@dataclass(frozen=True, slots=True)
class Bill:
    """What a PayMoney asks for. Money is fen."""

    user_id: str
    amount_fen: int
    wish: str  # the same for the same wish
    details: dict[str, str]


async def read(request: web.Request, settings: ZjzdySettings) -> dict[str, Any]:
    """Return the JSON object of a request, its numbers exact.

    Raises:
        Refused: another method, media type or header, or no such object.
    """
    if request.method != "POST":
        raise Refused("wrong_method", "expected POST")
    if request.query_string:
        raise Refused(_BAD, "expected no query")
    if settings.header:
        name, _, value = settings.header.partition(":")
        if request.headers.getall(name, []) != [value.strip()]:
            raise Refused(_BAD, "未授权")
    if request.content_type != _JSON or (request.charset or "utf-8").lower() != "utf-8":
        raise Refused("wrong_type", f"expected {_JSON} in UTF-8")
    try:
        given = json.loads((await request.read()).decode(), parse_float=Decimal, object_pairs_hook=_once)
    except ValueError:
        raise Refused(_BAD, "expected JSON") from None
    if not isinstance(given, dict):
        raise Refused(_BAD, "expected an object")
    return given


def read_bill(given: Mapping[str, Any], settings: ZjzdySettings) -> Bill:
    """Return what a PayMoney asks for.

    Raises:
        Refused: a field is missing, unknown or cannot be so.
    """
    texts = ("channel", "subject", "body", "userID", "empName", "itemIDs")
    _fields(given, {*texts, "amount", "type"})
    for name in texts:
        if not isinstance(given[name], str) or not given[name].strip():
            raise Refused(_BAD, f"{name}: expected text")
    if not _CHANNEL.fullmatch(given["channel"]):
        raise Refused(_BAD, "channel: expected a channel of ping++")
    if not _USER.fullmatch(given["userID"]):
        raise Refused(_BAD, "userID: expected visible characters")
    chosen = given["itemIDs"].split(",")
    if len(chosen) > _MOST_ITEMS or not all(map(_ITEM.fullmatch, chosen)):
        raise Refused(_BAD, "itemIDs: expected ids with commas between")
    kind = _number(given["type"], "type", (0, 1, 2))
    details = {name: given[name] for name in texts if name != "userID"} | {"type": str(kind)}
    details["items"] = details.pop("itemIDs")
    fen = _fen(given["amount"], settings.amount_unit)
    wish = json.dumps([given["userID"], fen, *sorted(details.items())], ensure_ascii=False)
    return Bill(given["userID"], fen, sha256(wish.encode()).hexdigest()[:16], details)


def read_ids(given: Mapping[str, Any]) -> list[str]:
    """Return the record ids that a SearchSuccessData asks about.

    Raises:
        Refused: they are missing, or cannot be so.
    """
    _fields(given, {"ids"})
    ids = given["ids"].split(",") if isinstance(given["ids"], str) else []
    if not ids or not all(map(_RECORD.fullmatch, ids)):
        raise Refused(_BAD, "ids: expected record ids with commas between")
    return ids


def charge(number: str, order_no: str, amount_fen: int, details: Mapping[str, str]) -> dict[str, Any]:
    """Return a charge as ping++ describes one, and as the document shows it."""
    expires, channel = int(details["expires"]), details["channel"]
    identity = f"ch_{sha256(number.encode()).hexdigest()[:24]}"
    return {
        "id": identity,
        "object": "charge",
        "created": int(time.time()),
        "livemode": False,
        "paid": False,
        "refunded": False,
        "app": "app_sandbox",
        "channel": channel,
        "order_no": order_no,
        "client_ip": "127.0.0.1",
        "amount": amount_fen,
        "amount_settle": amount_fen,
        "currency": "cny",
        "subject": details["subject"],
        "body": details["body"],
        "extra": {},
        "time_paid": None,
        "time_expire": expires,
        "time_settle": None,
        "transaction_no": None,
        "refunds": {"object": "list", "url": f"/v1/charges/{identity}/refunds", "has_more": False, "data": []},
        "amount_refunded": 0,
        "failure_code": None,
        "failure_msg": None,
        "metadata": {},
        "credential": {"object": "credential", channel: {"out_trade_no": order_no, "sign": f"sandbox-{number}"}},
        "description": None,
    }


def items(details: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the packages of a charge that was paid, as the document shows one."""
    year = time.gmtime().tm_year
    return [
        {
            "projectName": details["subject"],
            "itemName": f"套餐{item}",
            "payStartDate": f"{year}-09-01",
            "payEndDate": f"{year + 1}-08-31",
            "empName": details["empName"],
            "imei": "335731330112233",
            "sim": "89860318740012345678",
            "gradeName": "高一",
            "className": "高一(3)班",
            "mobile": "13900139000",
        }
        for item in details["items"].split(",")
    ]


def packages(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a user may buy.

    Raises:
        Refused: a field is missing, unknown or cannot be so.
    """
    _fields(given, {"userID", "type", "payType"})
    if not isinstance(given["userID"], str) or not _USER.fullmatch(given["userID"]):
        raise Refused(_BAD, "userID: expected visible characters")
    sms = _number(given["type"], "type", (0, 1))
    upgrade = _number(given["payType"], "payType", (0, 1))
    name = ("短信套餐" if sms else "B套餐-含定位") + ("(升级)" if upgrade else "")
    price = 30 if sms or upgrade else 188
    item = {
        "id": f"{1 + sms}000000{2 + upgrade}",
        "itemName": name,
        "itemPrice": f"¥{price}元/年",
        "itemValue": price,
        "description": name,
        "details": [{"icon": "http://127.0.0.1/att.png", "title": "进出校考勤", "content": "及时的消息通知"}],
    }
    data = {
        "empName": "陈雅诺",
        "photo": "http://127.0.0.1/photo.jpg",
        "cardNo": "335731330",
        "selectType": 0,
        "qrCode": "",
        "protocolUrl": "",
        "wxAccount": "",
        "alipayAccount": "",
        "unionPayAccount": "",
        "projectDescription": "",
        "items": [item],
    }
    return {"error": 0, "data": data}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found


def _fields(given: Mapping[str, Any], expected: set[str]) -> None:
    for name in sorted(expected ^ set(given)):
        raise Refused(_BAD, f"{name}: {'missing' if name in expected else 'unknown'}")


def _number(value: Any, name: str, known: tuple[int, ...]) -> int:
    if type(value) is not int or value not in known:
        raise Refused(_BAD, f"{name}: expected one of {', '.join(map(str, known))}")
    return value


def _fen(value: Any, unit: str) -> int:
    """Return the amount in fen: whole ones, or yuan with at most two places."""
    if type(value) not in ((int,) if unit == "fen" else (int, Decimal)):
        raise Refused(_BAD, f"amount: expected {unit} as a number")
    fen = Decimal(value) * (1 if unit == "fen" else _FEN_PER_YUAN)
    if fen <= 0 or fen != int(fen):
        raise Refused(_BAD, "amount: expected whole fen above 0")
    return int(fen)
