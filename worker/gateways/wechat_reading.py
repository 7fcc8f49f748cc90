"""The fields of WeChat Pay's answers and callbacks: strictly what its documents say, or nothing."""

from collections.abc import Mapping
from typing import Any

import orjson

from worker.core.masking import mask_text
from worker.gateways.base import UnreadableReplyError

LONGEST_TEXT = 128
"""Characters of a number, state or code; more is none."""


def read_object(raw: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object that `raw` is; `what` names it in the error.

    Raises:
        UnreadableReplyError: it is none.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UnreadableReplyError(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise UnreadableReplyError(f"{what} is not a JSON object")
    return value


def read_text(data: Mapping[str, Any], name: str) -> str | None:
    """Return a field that is a short text; None where it is absent or empty.

    Raises:
        UnreadableReplyError: it is something else.
    """
    value = data.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable():
        return value
    raise UnreadableReplyError(f"{name}: expected a short text")


def read_code(answer: Mapping[str, Any]) -> str:
    """Return the `code` of an error.

    Raises:
        UnreadableReplyError: there is none.
    """
    code = read_text(answer, "code")
    if code is None:
        raise UnreadableReplyError("code: expected the error's code")
    return mask_text(code, LONGEST_TEXT)


def read_message(value: Any) -> str | None:
    """Return a line for people, masked; None where there is none."""
    return mask_text(value) if isinstance(value, str) and value else None


def read_total(amount: Any) -> int | None:
    """Return `amount.total` in fen, as it was asked for; None where it is absent.

    Raises:
        UnreadableReplyError: it is not an integer.
    """
    if amount is None:
        return None
    if not isinstance(amount, Mapping):
        raise UnreadableReplyError("amount: expected an object")
    total = amount.get("total")
    if total is not None and type(total) is not int:
        raise UnreadableReplyError("amount.total: expected fen as an integer")
    return total


def shown(envelope: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a verified callback goes into the journal: nothing about the payer, nothing encrypted."""
    told = {name: envelope.get(name) for name in ("id", "create_time", "event_type")}
    told |= {name: data.get(name) for name in ("out_trade_no", "transaction_id", "trade_state", "success_time")}
    masked = {name: mask_text(value) for name, value in told.items() if isinstance(value, str)}
    return {"operation": "callback", "amount_fen": read_total(data.get("amount"))} | masked
