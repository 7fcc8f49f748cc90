"""Reads wikeyun's calls as strictly as a gateway can: parameters, signature, clock. Written apart from the adapter.

A call is refused with one of these codes. Only `1003` is in wikeyun's document; the others are the simulator's own:

| code | refused because |
|------|-----------------|
| 1001 | no such path |
| 1002 | not POST, or not `application/x-www-form-urlencoded` |
| 1003 | app_key missing or empty |
| 1004 | the signature is wrong |
| 1005 | another system parameter is missing, empty or not as it must be |
| 1006 | app_key is not known |
| 1007 | the timestamp is more than ten minutes off |
| 1008 | a parameter that this call does not have, at this place |
| 1009 | a business parameter is missing or empty |
| 1010 | unreadable: percent-encoding, UTF-8, a parameter given twice |
"""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from worker.sandbox.simulator import Refused

NO_SUCH_PATH = "1001"
WRONG_METHOD = "1002"
NO_APP_KEY = "1003"
WRONG_SIGN = "1004"
WRONG_SYSTEM_PARAMETER = "1005"
WRONG_APP_KEY = "1006"
WRONG_CLOCK = "1007"
UNKNOWN_PARAMETER = "1008"
MISSING_PARAMETER = "1009"
UNREADABLE = "1010"

FORM = "application/x-www-form-urlencoded"
_CLOCK_TOLERANCE = 600
_SYSTEM = frozenset({"app_key", "timestamp", "client", "format", "v", "sign"})
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SECONDS = re.compile(r"[0-9]{9,11}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WikeyunSettings:
    """The simulated merchant's account, which has two stores. Amounts are whole yuan."""

    store_id: str = "1001"
    other_store_id: str = "1002"  # cards and orders of one store are unknown in the other
    app_key: str = "2002"
    app_secret: str = field(default="sandbox-secret", repr=False)
    mobile_amounts: tuple[int, ...] = (50, 100, 200)  # empty: any
    oil_amounts: tuple[int, ...] = (500,)  # empty: any
    power_multiple: int = 100
    json_callbacks: bool = False  # instead of forms
    tells_known_card: bool = True  # the refusal of a card that is there already names its id

    def __post_init__(self) -> None:
        for name in ("store_id", "other_store_id", "app_key", "app_secret"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected a text that is not empty")
        for name in ("mobile_amounts", "oil_amounts"):
            if any(amount <= 0 for amount in getattr(self, name)):
                raise ValueError(f"{name}: expected whole yuan above 0")
        if self.power_multiple <= 0:
            raise ValueError("power_multiple: expected whole yuan above 0")


@dataclass(frozen=True, slots=True)
class Shape:
    """The business parameters of one operation."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


def read(query: str, body: bytes, shape: Shape, settings: WikeyunSettings) -> Mapping[str, str]:
    """Return the business parameters that are not empty.

    Args:
        query: the URL's query string as it came, still percent-encoded.
        body: the form as it came.
        shape: what the operation takes.
        settings: whose key and secret are right.

    Raises:
        Refused: anything at all is not as it must be.
    """
    try:
        form_text = body.decode("ascii")
    except UnicodeDecodeError:
        raise Refused(UNREADABLE, "the form holds bytes that are not percent-encoded") from None
    system, business = _parse(query), _parse(form_text)
    if not system.get("app_key"):
        raise Refused(NO_APP_KEY, "app_key不能为空")
    _check_names(system, business, shape)
    _check_system(system, settings)
    given = system.pop("sign")
    if given != sign(system | business, settings.app_secret):
        raise Refused(WRONG_SIGN, "sign错误")
    filled = {name: value for name, value in business.items() if value}
    for name in shape.required:
        if name not in filled:
            raise Refused(MISSING_PARAMETER, f"{name}不能为空")
    return filled


def sign(parameters: Mapping[str, str], secret: str) -> str:
    """Return the signature of decoded parameters: secret, names and values in byte order of the names, secret."""
    middle = "".join(name + parameters[name] for name in sorted(parameters, key=str.encode))
    return hashlib.md5(f"{secret}{middle}{secret}".encode(), usedforsecurity=False).hexdigest().upper()


def _parse(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for pair in text.split("&") if text else ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Refused(UNREADABLE, "expected name=value")
        name = _decode(name)
        if name in parameters:
            raise Refused(UNREADABLE, f"{name} is given twice")
        parameters[name] = _decode(value)
    return parameters


def _decode(text: str) -> str:
    if text.isalnum() and text.isascii():
        return text
    if _BAD_ESCAPE.search(text):
        raise Refused(UNREADABLE, "a percent sign that escapes nothing")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise Refused(UNREADABLE, "not UTF-8") from None


def _check_names(system: Mapping[str, str], business: Mapping[str, str], shape: Shape) -> None:
    for name in system:
        if name not in _SYSTEM:
            raise Refused(UNKNOWN_PARAMETER, f"{name} in the query string")
    for name in business:
        if name not in shape.required and name not in shape.optional:
            raise Refused(UNKNOWN_PARAMETER, f"{name} in the form")
    for name in _SYSTEM:
        if not system.get(name):
            raise Refused(WRONG_SYSTEM_PARAMETER, f"{name}不能为空")


def _check_system(system: Mapping[str, str], settings: WikeyunSettings) -> None:
    for name, expected in (("format", "json"), ("v", "1.0")):
        if system[name] != expected:
            raise Refused(WRONG_SYSTEM_PARAMETER, f"{name}: expected {expected}")
    if not _is_address(system["client"]):
        raise Refused(WRONG_SYSTEM_PARAMETER, "client: expected an IP address")
    if not _SECONDS.fullmatch(system["timestamp"]):
        raise Refused(WRONG_SYSTEM_PARAMETER, "timestamp: expected unix seconds")
    if abs(time.time() - int(system["timestamp"])) > _CLOCK_TOLERANCE:
        raise Refused(WRONG_CLOCK, "timestamp已过期")
    if system["app_key"] != settings.app_key:
        raise Refused(WRONG_APP_KEY, "app_key不存在")


@lru_cache(maxsize=64)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
