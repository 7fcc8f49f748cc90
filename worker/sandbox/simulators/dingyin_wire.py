"""Reads dingyin's calls as strictly as a gateway can: GBK, signature, fields, clock. Written apart from the adapter.

Of the codes that public clients know it refuses with these:

| code | refused because |
|------|-----------------|
| 5001 | no such `userid` |
| 5004 | `num` is no whole number above 0 |
| 5005 | the signature is wrong |
| 5010 | not POST, not a form, or no such path |
| 5011 | unreadable: percent-encoding, GBK, a field given twice, one that this call does not have |
| 5012 | a field is missing, or has a value that cannot be |
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes

from worker.sandbox.simulator import Refused

NO_SUCH_MERCHANT = "5001"
WRONG_NUMBER = "5004"
WRONG_SIGN = "5005"
WRONG_CALL = "5010"
UNREADABLE = "5011"
WRONG_FIELD = "5012"

FORM = "application/x-www-form-urlencoded"
_CLOCK_TOLERANCE = timedelta(minutes=10)
_CHINA_IS_AHEAD = timedelta(hours=8)
_LAST_OF_ID = 6
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ACCOUNT_KEYS = {"product_type", "userid", "username", "type", "area", "city"}
_ACCOUNT_TYPES = {"1", "2", "3", "4", "6", "7"}
_VALUES = {
    "spordertime": re.compile("[0-9]{14}"),
    "sporderid": re.compile("[A-Za-z0-9_-]{1,40}"),
    "back_url": re.compile(r"https?://[^\s/]+\S*"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DingyinSettings:
    """The simulated merchant's account. Money is fen."""

    userid: str = "10086"
    key: str = field(default="sandbox-key", repr=False)
    ack_body: str = "OK"  # what it takes for an acknowledgement of a callback
    electricity_product: str = ""  # `productid` of electricity
    electricity_unit_fen: int = 100  # what one of its `num` is worth
    game_products: tuple[int, ...] = (3312,)
    douyin_products: tuple[int, ...] = (880,)
    piece_fen: int = 9850  # what a piece of either costs the merchant

    def __post_init__(self) -> None:
        for name in ("userid", "key", "ack_body"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected a text that is not empty")
        for name in ("electricity_unit_fen", "piece_fen"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected fen above 0")


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one call: what is signed, in that order, and what else may be there."""

    signed: tuple[str, ...]
    required: frozenset[str]
    unsigned: frozenset[str] = frozenset()


PAY = Shape(
    ("userid", "productid", "num", "areaid", "serverid", "account", "spordertime", "sporderid"),
    frozenset({"userid", "num", "account", "spordertime", "sporderid"}),
    frozenset({"userip", "back_url"}),
)
SEARCH = Shape(("userid", "sporderid"), frozenset({"userid", "sporderid"}))
BALANCE = Shape(("userid",), frozenset({"userid"}))
TOLD = Shape(("userid", "orderid", "sporderid", "merchantsubmittime", "resultno"), frozenset())


def read(body: bytes, shape: Shape, settings: DingyinSettings) -> Mapping[str, str]:
    """Return the fields of a call, the empty ones included.

    Raises:
        Refused: anything at all is not as it must be.
    """
    try:
        given = _parse(body.decode("ascii"))
    except UnicodeDecodeError:
        raise Refused(UNREADABLE, "the form holds bytes that are not percent-encoded") from None
    order_no = given.get("sporderid", "")
    for name in given:
        if name not in (*shape.signed, *shape.unsigned, "sign"):
            raise Refused(UNREADABLE, f"{name}: not a field of this call", order_no)
    if given.get("userid") != settings.userid:
        raise Refused(NO_SUCH_MERCHANT, "userid: no such merchant", order_no)
    if given.get("sign") != sign(given, shape, settings.key):
        raise Refused(WRONG_SIGN, "sign: wrong", order_no)
    _check_values(given, shape, order_no)
    return given


def sign(given: Mapping[str, str], shape: Shape, key: str) -> str:
    """Return the signature: the shape's fields in its order, then the key, in GBK."""
    text = "".join(f"{name}={given.get(name, '')}&" for name in shape.signed) + f"key={key}"
    return hashlib.md5(text.encode("gbk"), usedforsecurity=False).hexdigest().upper()


def meter(given: Mapping[str, str]) -> str:
    """Return the meter's account that an electricity order is for.

    Raises:
        Refused: its account, or what goes beside it, is not as it must be.
    """

    def wrong(what: str) -> Refused:
        return Refused(WRONG_FIELD, f"account: {what}", given["sporderid"])

    try:
        account = json.loads(given["account"])
    except ValueError:
        raise wrong("not JSON") from None
    if not isinstance(account, dict) or set(account) != _ACCOUNT_KEYS:
        raise wrong(f"expected the keys {sorted(_ACCOUNT_KEYS)}")
    if not all(isinstance(value, str) for value in account.values()):
        raise wrong("expected texts")
    if account["product_type"] != "3" or account["type"] not in _ACCOUNT_TYPES or not account["userid"]:
        raise wrong("product_type, type or userid cannot be so")
    if account["area"].endswith(("省", "市")) or account["city"].endswith("市") or not account["area"]:
        raise wrong("area and city: expected as in 江苏, 南京")
    _check_holder(account["username"], given)
    return str(account["userid"])


def _check_holder(last_of_id: str, given: Mapping[str, str]) -> None:
    """Southern Grid: the last six of the holder's number, and the whole of it, if at all; State Grid: his phone."""
    whole, phone, order_no = given.get("userip", ""), given.get("areaid", ""), given["sporderid"]
    if not last_of_id and whole:
        raise Refused(WRONG_FIELD, "userip: the state grid asks for none", order_no)
    if last_of_id and (len(last_of_id) != _LAST_OF_ID or phone or (whole and not whole.endswith(last_of_id))):
        raise Refused(WRONG_FIELD, "username, areaid or userip: not as the southern grid wants it", order_no)


def _check_values(given: Mapping[str, str], shape: Shape, order_no: str) -> None:
    for name in shape.required:
        if not given.get(name):
            raise Refused(WRONG_FIELD, f"{name}: missing", order_no)
    for name, pattern in _VALUES.items():
        if given.get(name) and not pattern.fullmatch(given[name]):
            raise Refused(WRONG_FIELD, f"{name}: not as it must be", order_no)
    if "spordertime" in given:
        _check_clock(given["spordertime"], order_no)


def _check_clock(text: str, order_no: str) -> None:
    try:
        china = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise Refused(WRONG_FIELD, "spordertime: no such time", order_no) from None
    if abs(china - _CHINA_IS_AHEAD - datetime.now(UTC)) > _CLOCK_TOLERANCE:
        raise Refused(WRONG_FIELD, "spordertime: expected the time in China", order_no)


def _parse(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for pair in text.split("&") if text else ():
        name, equals, value = pair.partition("=")
        if not equals or not name.replace("_", "").isalnum() or name in fields or _BAD_ESCAPE.search(value):
            raise Refused(UNREADABLE, "expected each field once, as name=value, percent-encoded")
        try:
            fields[name] = unquote_to_bytes(value.replace("+", " ")).decode("gbk")
        except UnicodeDecodeError:
            raise Refused(UNREADABLE, f"{name}: not GBK") from None
    return fields
