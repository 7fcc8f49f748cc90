"""From the broker's bytes to a validated message, or to an error that names the field and never its value."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import orjson
from pydantic import ValidationError

from schemas.base import Message
from schemas.callbacks import GatewayCallback
from schemas.commands import COMMANDS, Command
from schemas.dead import DeadReason
from schemas.errors import InvalidMessageError, dotted, from_pydantic
from schemas.events import Event
from schemas.orders import ORDERS, SubmitOrder

__all__ = [
    "CALLBACK_LIMIT",
    "COMMAND_LIMIT",
    "DEEPEST",
    "EVENT_LIMIT",
    "SUBMIT_LIMIT",
    "InvalidMessageError",
    "check_properties",
    "decode",
    "decode_callback",
    "decode_command",
    "decode_event",
    "decode_submit",
]

SUBMIT_LIMIT = 64 * 1024
CALLBACK_LIMIT = 256 * 1024
COMMAND_LIMIT = 64 * 1024
EVENT_LIMIT = 256 * 1024
DEEPEST = 16

_M = TypeVar("_M", bound=Message)
_TOO_LARGE = 2**63  # orjson reads integers beyond 64 bits as floats; no field of ours is that large
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_JSON_TYPE = re.compile(r'application/json(?:\s*;\s*charset\s*=\s*(?:utf-8|"utf-8"))?\s*', re.IGNORECASE)


def decode_submit(body: bytes, product: str | None = None) -> SubmitOrder:
    """Return the order that a submit message asks for; `product` is the routing key's, where there is one.

    Raises:
        InvalidMessageError: its reason is `unknown_product` where nobody knows the body's product.
    """
    named = _tag(decode(body, SUBMIT_LIMIT), "product")
    model = ORDERS.get(named)
    if model is None:
        raise InvalidMessageError("product", "nobody knows this product", DeadReason.UNKNOWN_PRODUCT)
    if product is not None and named != product:
        raise InvalidMessageError("product", "differs from the routing key's")
    return _validated(model, body)


def decode_callback(body: bytes, gateway: str | None = None) -> GatewayCallback:
    """Return the upstream callback that a relay received; `gateway` is the routing key's, where there is one.

    Raises:
        InvalidMessageError: it is not as its schema wants it.
    """
    decode(body, CALLBACK_LIMIT)
    callback = _validated(GatewayCallback, body)
    if gateway is not None and callback.gateway != gateway:
        raise InvalidMessageError("gateway", "differs from the routing key's")
    return callback


def decode_command(name: str, body: bytes) -> Command:
    """Return the command of this name.

    Raises:
        InvalidMessageError: it is not as its schema wants it, or (field `command`) nobody knows its name.
    """
    model = COMMANDS.get(name)
    if model is None:
        raise InvalidMessageError("command", f"expected one of {', '.join(COMMANDS)}")
    value = decode(body, COMMAND_LIMIT)
    if isinstance(model, Mapping):
        kinds, model = model, model.get(_tag(value, "kind"))
        if model is None:
            raise InvalidMessageError("kind", f"expected {' or '.join(kinds)}")
    return _validated(model, body)


def decode_event(body: bytes) -> Event:
    """Return an event; producers may use it, the worker's own tests judge its events by it.

    Raises:
        InvalidMessageError: it is not as its schema wants it.
    """
    decode(body, EVENT_LIMIT)
    return _validated(Event, body)


def check_properties(
    content_type: str | None, content_encoding: str | None, type_: str | None, expected_type: str
) -> None:
    """Refuse a message whose properties announce something else than `expected_type` as JSON in UTF-8.

    Raises:
        InvalidMessageError: it names the property; one that is absent or empty is fine.
    """
    if content_type and content_type != "application/json" and not _JSON_TYPE.fullmatch(content_type):
        raise InvalidMessageError("content_type", "expected application/json or none")
    if content_encoding and content_encoding.lower() != "utf-8":
        raise InvalidMessageError("content_encoding", "expected utf-8 or none")
    if type_ and type_ != expected_type:
        raise InvalidMessageError("type", f"expected {expected_type} or none")


def decode(body: bytes, limit: int) -> Any:
    """Return JSON as plain values, if it means the same to every reader and is safe to read.

    Refused are bodies over `limit` bytes, nesting deeper than `DEEPEST`, other encodings than UTF-8, duplicate
    names, NaN and infinities, integers beyond 64 bits, lone surrogates.

    Raises:
        InvalidMessageError: it names the field, or `body` where there is none to name.
    """
    if len(body) > limit:
        raise InvalidMessageError("body", f"expected at most {limit} bytes")
    # What is left when the strings are taken out tells the depth before anything is parsed, and afterwards, by
    # its colons, how many names there were: fewer in the result means that one was given twice.
    outside = _STRING.sub(b"", body) if b"\\" in body else b"".join(body.split(b'"')[::2])
    if outside.count(b"{") + outside.count(b"[") > DEEPEST:
        _check_depth(outside)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        _refuse(body)
    names, values = 0, [value]
    for each in values:  # grows while it is walked
        if type(each) is dict:
            names += len(each)
            values.extend(each.values())
        elif type(each) is list:
            values.extend(each)
        elif type(each) is float and not -_TOO_LARGE < each < _TOO_LARGE:
            _refuse(body)
    if names != outside.count(b":"):
        _refuse(body)
    return value


def _check_depth(outside: bytes) -> None:
    depth = 0
    for bracket in outside.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            raise InvalidMessageError("body", f"expected at most {DEEPEST} levels of nesting")


def _tag(value: Any, name: str) -> str:
    """Return the field that decides which model it is."""
    if type(value) is not dict:
        raise InvalidMessageError("body", "expected an object")
    tag = value.get(name)
    if type(tag) is not str:
        raise InvalidMessageError(name, "expected a string" if name in value else "required")
    return tag


def _validated(model: type[_M], body: bytes) -> _M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise from_pydantic(error) from None


class _Pairs(list[tuple[str, Any]]):
    """An object as its names and values, duplicates kept."""


def _refuse(body: bytes) -> NoReturn:
    """Say what is wrong with a body that the fast way refused; slow, and only ever called for such bodies."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidMessageError("body", f"expected UTF-8, byte {error.start + 1} is not") from None
    if text.startswith("\ufeff"):
        raise InvalidMessageError("body", "expected no byte order mark")
    try:
        value = json.loads(text, object_pairs_hook=_Pairs, parse_int=_integer, parse_constant=float)
    except json.JSONDecodeError as error:
        raise InvalidMessageError("body", f"expected JSON, line {error.lineno} column {error.colno}") from None
    for path, problem in _faults(value, ()):
        raise InvalidMessageError(dotted(path), problem)
    raise InvalidMessageError("body", "expected JSON")


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= len(str(-_TOO_LARGE)) else _TOO_LARGE


def _faults(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what Python's lenient parser lets through, each with its path."""
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, each in value:
            if name in seen:
                yield (*path, name), "given twice"
            seen.add(name)
            yield from _faults(name, path)
            yield from _faults(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _faults(each, (*path, index))
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            yield path, "expected text without lone surrogates"
    elif isinstance(value, int | float) and not -_TOO_LARGE <= value < _TOO_LARGE:
        yield path, "expected a finite number of at most 64 bits"
