"""wikeyun's wire form: how a request is signed and written, and how an answer is read.

Sources: the three API documents (mobile, power, oil) for envelope and values; "public clients" of the
platform for the system parameters and the signature, which the documents leave out.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote_plus

import orjson
from pydantic import Field

from worker.core.masking import mask_text
from worker.core.money import balance_to_fen, yuan_to_fen
from worker.gateways.base import Reply, Request, UnreadableReplyError
from worker.gateways.settings import GatewaySettings, Secret
from worker.gateways.signing import sandwich

OK = "0000"
"""The one `code` of success (mobile API document)."""

_HTTP_OK = 200
_FORM = "application/x-www-form-urlencoded"
_LONGEST_NUMBER = 64
_MOST_FIELDS = 100
_CARD_ID = re.compile(r"[0-9]{1,19}")


class WikeyunSettings(GatewaySettings):
    """What `[gateways.<name>]` holds for this adapter. No document lists the codes: they are settings."""

    store_id: str = Field(min_length=1, description="the shop's number there")
    app_key: str = Field(min_length=1, description="who we are there")
    app_secret: Secret = Field(description="the secret that signs every request")
    notify_url: str = Field(pattern=r"^https?://\S+$", description="where its callbacks go: our relay")
    client_ip: str = Field("127.0.0.1", description="our address, as the system parameter `client`")
    trust_callbacks: bool = Field(default=False, description="callbacks settle orders: filter them by address first")
    refusal_codes: tuple[str, ...] = Field(("1003",), description="submit codes that are a definite no")
    no_such_order_codes: tuple[str, ...] = Field((), description='query codes that say "no such order"')
    duplicate_codes: tuple[str, ...] = Field((), description='submit codes that say "already submitted"')
    unfunded_codes: tuple[str, ...] = Field((), description="submit codes that say that our deposit is used up")
    no_such_card_codes: tuple[str, ...] = Field((), description='card codes that say "no such card": add it anew')
    mobile_amounts: tuple[int, ...] = Field((50, 100, 200), description="yuan it sells; empty: any whole yuan")
    power_multiple: int = Field(100, ge=1, description="yuan; power is sold in multiples of it")
    oil_amounts: tuple[int, ...] = Field((500,), description="yuan it sells; empty: any whole yuan")


class Answer(NamedTuple):
    """The envelope of every answer that HTTP calls a success; `message` is masked."""

    code: str
    message: str | None
    data: Any


class Wire:
    """Writes the requests of one configured gateway."""

    def __init__(self, settings: WikeyunSettings) -> None:
        self._settings = settings
        self._base = settings.base_url.rstrip("/")
        self._secret = settings.app_secret.get_secret_value()

    def request(
        self, operation: str, path: str, business: Mapping[str, str], now: datetime, *, moves_money: bool = False
    ) -> Request:
        """System parameters go into the address, business ones into the body; all are signed (public clients)."""
        system = {
            "app_key": self._settings.app_key,
            "timestamp": str(int(now.timestamp())),
            "client": self._settings.client_ip,
            "format": "json",
            "v": "1.0",
        }
        system["sign"] = sandwich(self._secret, system, business)
        url = f"{self._base}{path}?{_form(system)}"
        return Request(operation, "POST", url, _form(business).encode(), _FORM, moves_money)


def _form(parameters: Mapping[str, str]) -> str:
    # as `urlencode` does, without its second look at every value
    return "&".join([f"{name}={_quoted(value)}" for name, value in parameters.items()])


def _quoted(value: str) -> str:
    return value if value.isascii() and value.isalnum() else _quote(value)


_quote = lru_cache(maxsize=256)(quote_plus)  # what is not a number or a word is mostly ours: addresses, settings


def refused_by_http(reply: Reply) -> str | None:
    """Return `http_<status>` for an answer that is none by its status; None: it may be read."""
    return None if reply.status == _HTTP_OK else f"http_{reply.status}"


def read(reply: Reply) -> Answer:
    """Read an answer's envelope.

    Raises:
        UnreadableReplyError: another HTTP status, not JSON, or no code.
    """
    if reply.status != _HTTP_OK:
        raise UnreadableReplyError(f"HTTP {reply.status}")
    answer = _json(reply.body, "the answer")
    return Answer(_code(answer), message(answer.get("msg")), answer.get("data"))


def read_callback(body: bytes) -> Mapping[str, Any]:
    """Return the fields of a callback, form or JSON (public clients).

    Raises:
        UnreadableReplyError: it is neither, or names a field twice.
    """
    if body.lstrip()[:1] == b"{":
        return _json(body, "the body")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise UnreadableReplyError("the body is neither a form nor JSON") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise UnreadableReplyError("a field is there twice")
    return fields


def _json(body: bytes, what: str) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnreadableReplyError(f"{what} is not JSON") from None
    if not isinstance(found, dict):
        raise UnreadableReplyError(f"{what} is not a JSON object")
    return found


def _code(answer: Mapping[str, Any]) -> str:
    """Return `code`; as a number it has lost its leading zeros (numbers may come either way: public clients)."""
    code = answer.get("code")
    if isinstance(code, int) and not isinstance(code, bool):
        return f"{code:04d}"
    if isinstance(code, str) and code.strip():
        return code.strip()  # whole, to be looked up; the gateway masks whatever is shown
    raise UnreadableReplyError("code: expected a code")


def text(data: Mapping[str, Any], name: str) -> str | None:
    """Return a field that is a number or short text as text; None where it is absent or empty.

    Raises:
        UnreadableReplyError: it is something else.
    """
    value = data.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and len(short := value.strip()) <= _LONGEST_NUMBER and short.isprintable():
        return short or None
    raise UnreadableReplyError(f"{name}: expected a number or a short text")


def card_id(value: Any) -> str | None:
    """Return the number of a card as text; None where there is none, or none that `cardId`, an integer, can carry."""
    try:
        number = text({"id": value}, "id")
    except UnreadableReplyError:
        return None
    return number if number is not None and _CARD_ID.fullmatch(number) else None


def message(value: Any) -> str | None:
    """Return a text for people, masked."""
    return mask_text(value) if isinstance(value, str) and value else None


def fen(value: Any, name: str) -> int | None:
    """Return decimal yuan as fen; None where they are absent. A JSON number is read by its shortest text.

    Raises:
        UnreadableReplyError: `name` is there and holds no yuan.
    """
    if value is None or value == "":
        return None
    try:
        return yuan_to_fen(str(value) if isinstance(value, float) else value)
    except ValueError:
        raise UnreadableReplyError(f"{name}: expected yuan") from None


def balance(value: Any) -> int:
    """Return a balance in fen, which may be below zero.

    Raises:
        UnreadableReplyError: it is none.
    """
    try:
        return balance_to_fen(str(value) if isinstance(value, float) else value)
    except ValueError:
        raise UnreadableReplyError("money: expected the balance in yuan") from None


def cost(value: Any) -> int | None:
    """Return what it cost us, in fen; unreadable is unknown, since nothing is decided by it."""
    try:
        return fen(value, "cost_price")
    except UnreadableReplyError:
        return None
