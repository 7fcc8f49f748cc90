"""Reads WeChat Pay's calls as strictly as a gateway can: headers, signature, clock, body. Apart from the adapter.

A call is refused with one of these codes, which are WeChat Pay's; where it has none that fits, the nearest.

| code | HTTP | refused because |
|------|------|-----------------|
| SIGN_ERROR | 401 | Authorization missing, not of this form, of another merchant, too old, or not of these bytes |
| PARAM_ERROR | 400 | a header, a field or a parameter is missing, unknown, empty or not as it must be |
| APPID_MCHID_NOT_MATCH | 400 | another appid |
| NO_AUTH | 403 | another sub_mchid or sub_appid |
"""

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from aiohttp import web

from worker.sandbox.simulator import Refused
from worker.sandbox.simulators.wechat_keys import Keys

SIGN_ERROR = "SIGN_ERROR"
PARAM_ERROR = "PARAM_ERROR"
WRONG_APPID = "APPID_MCHID_NOT_MATCH"
NO_AUTH = "NO_AUTH"

FORGERIES = ("signature", "nothing", "probe", "old", "serial")
"""The ways of signing wrongly."""

_SCHEME = "WECHATPAY2-SHA256-RSA2048 "
_PAIR = re.compile(r'([a-z_]+)="([^"]*)"')
_PARTS = frozenset({"mchid", "nonce_str", "signature", "timestamp", "serial_no"})
_CLOCK_TOLERANCE = 300
_APIV3_KEY_LENGTH = 32
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+08:00")
_NUMBER = re.compile(r"[0-9A-Za-z_-]{1,32}")
_URL = re.compile(r"https?://[^\s/?]+[^\s?]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class WechatSettings:
    """The simulated merchant's account, and how its platform behaves."""

    mchid: str = "1900000001"
    appid: str = "wxd678efh567hg678"
    sub_mchid: str = ""  # empty: the merchant acts for itself
    sub_appid: str = ""
    serial_no: str = "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C"
    apiv3_key: str = field(default="sandbox-apiv3-key-sandbox-apiv3-", repr=False)
    keys: str = ""  # a directory for them; empty: they are made anew and nobody can see them
    charges_per_second: int = 0  # more are answered 429; 0: no limit
    forgery: str = ""  # how the faults forge signatures; empty: one way after the other

    def __post_init__(self) -> None:
        for name in ("mchid", "appid", "serial_no"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected a text that is not empty")
        if len(self.apiv3_key.encode()) != _APIV3_KEY_LENGTH:
            raise ValueError(f"apiv3_key: expected {_APIV3_KEY_LENGTH} bytes")
        if self.charges_per_second < 0:
            raise ValueError("charges_per_second: expected 0 or more")
        if self.forgery and self.forgery not in FORGERIES:
            raise ValueError(f"forgery: expected one of {', '.join(FORGERIES)}, or nothing")


async def read(request: web.Request, keys: Keys, settings: WechatSettings) -> bytes:
    """Return the body of a call that the merchant has signed.

    Raises:
        Refused: anything at all is not as it must be.
    """
    body = await request.read()
    _check_signature(request, body, keys, settings)
    if "application/json" not in request.headers.get("Accept", ""):
        raise Refused(PARAM_ERROR, "Accept: expected application/json")
    if not request.headers.get("User-Agent"):
        raise Refused(PARAM_ERROR, "User-Agent: missing")
    if request.method == "POST" and request.content_type != "application/json":
        raise Refused(PARAM_ERROR, "Content-Type: expected application/json")
    if request.method == "GET" and body:
        raise Refused(PARAM_ERROR, "expected no body")
    return body


def _check_signature(request: web.Request, body: bytes, keys: Keys, settings: WechatSettings) -> None:
    given = request.headers.get("Authorization", "")
    if not given.startswith(_SCHEME):
        raise Refused(SIGN_ERROR, f"Authorization: expected {_SCHEME}")
    pairs = [_PAIR.fullmatch(part) for part in given.removeprefix(_SCHEME).split(",")]
    parts = {pair[1]: pair[2] for pair in pairs if pair is not None}
    if len(pairs) != len(_PARTS) or parts.keys() != _PARTS:
        raise Refused(SIGN_ERROR, f"Authorization: expected {', '.join(sorted(_PARTS))}, each once")
    if (parts["mchid"], parts["serial_no"]) != (settings.mchid, settings.serial_no):
        raise Refused(SIGN_ERROR, "Authorization: another merchant, or another certificate")
    timestamp, nonce = parts["timestamp"], parts["nonce_str"]
    if not re.fullmatch("[0-9]{9,11}", timestamp) or abs(time.time() - int(timestamp)) > _CLOCK_TOLERANCE:
        raise Refused(SIGN_ERROR, "timestamp: expected the time now, in unix seconds")
    if not re.fullmatch("[0-9A-Za-z]{8,32}", nonce):
        raise Refused(SIGN_ERROR, "nonce_str: expected 8 to 32 letters or digits")
    message = f"{request.method}\n{request.raw_path}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
    try:
        signature = base64.b64decode(parts["signature"], validate=True)
    except binascii.Error:
        raise Refused(SIGN_ERROR, "signature: expected Base64") from None
    if not keys.verifies(message, signature):
        raise Refused(SIGN_ERROR, "signature: not the merchant's, of these bytes")


# --- the body of a deduction -----------------------------------------------------------------------

_TEXTS: Mapping[str, int] = {
    "sub_mchid": 32,
    "appid": 32,
    "sub_appid": 32,
    "out_trade_no": 32,
    "attach": 512,
    "goods_tag": 512,
    "notify_url": 2048,
    "description": 128,
    "charging_token": 512,
    "start_time": 64,
    "end_time": 64,
    "charging_station_name": 128,
    "charging_gun_number": 64,
    "device_id": 64,
    "device_ip": 64,
    "currency": 8,
}
"""Every text, and how many characters it may have: what the contract's messages may hold; the document names none."""
_OPTIONAL = frozenset(
    {"sub_mchid", "sub_appid", "attach", "goods_tag", "currency", "park_duration", "park_fee"}
)  # e-bike document
_SHAPES: Mapping[str, frozenset[str]] = {
    "": frozenset(
        {"sub_mchid", "appid", "sub_appid", "out_trade_no", "attach", "goods_tag", "notify_url", "description"}
        | {"charging_token", "amount", "charge_info", "device_info"}
    ),
    "amount": frozenset({"total", "currency"}),
    "charge_info": frozenset(
        {"start_time", "end_time", "charging_station_name", "charging_gun_number", "charged_capacity"}
        | {"park_duration", "park_fee"}
    ),
    "device_info": frozenset({"device_id", "device_ip"}),
}


def read_charge(body: bytes, settings: WechatSettings) -> dict[str, Any]:
    """Return the fields of a deduction.

    Raises:
        Refused: one of them is not as it must be.
    """
    try:
        given = json.loads(body, object_pairs_hook=_once)
    except ValueError as error:
        raise Refused(PARAM_ERROR, f"the body: {error}") from None
    _check_object("", given)
    for name in ("amount", "charge_info", "device_info"):
        _check_object(name, given[name])
    order_no = str(given["out_trade_no"])
    if given["appid"] != settings.appid:
        raise Refused(WRONG_APPID, "appid: another one", order_no)
    for name in ("sub_mchid", "sub_appid"):
        if given.get(name, "") != getattr(settings, name):
            raise Refused(NO_AUTH, f"{name}: another one", order_no)
    _check_values(given)
    fields: dict[str, Any] = given
    return fields


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _check_object(name: str, given: Any) -> None:
    if not isinstance(given, dict):
        raise Refused(PARAM_ERROR, f"{name or 'the body'}: expected an object")
    for missing in _SHAPES[name] - given.keys() - _OPTIONAL:
        raise Refused(PARAM_ERROR, f"{missing}: missing")
    for unknown in given.keys() - _SHAPES[name]:
        raise Refused(PARAM_ERROR, f"{unknown}: unknown")
    for field_name, value in given.items():
        longest = _TEXTS.get(field_name)
        if longest is not None:
            if not isinstance(value, str) or not 0 < len(value) <= longest:
                raise Refused(PARAM_ERROR, f"{field_name}: expected a text of at most {longest} characters")
        elif field_name not in _SHAPES and (type(value) is not int or value < 0):
            raise Refused(PARAM_ERROR, f"{field_name}: expected a whole number")


def _check_values(given: Mapping[str, Any]) -> None:
    charge, amount = given["charge_info"], given["amount"]
    checks = {
        "out_trade_no": _NUMBER.fullmatch(given["out_trade_no"]),
        "notify_url": _URL.fullmatch(given["notify_url"]),
        "total": amount["total"] > 0,
        "currency": amount.get("currency", "CNY") == "CNY",
        "start_time": _is_time(charge["start_time"]),
        "end_time": _is_time(charge["end_time"]) and charge["end_time"] >= charge["start_time"],
        "device_ip": _is_address(given["device_info"]["device_ip"]),
    }
    for name, good in checks.items():
        if not good:
            raise Refused(PARAM_ERROR, f"{name}: not as it must be")


def _is_time(text: str) -> bool:
    try:
        return bool(_TIME.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False
