"""What may be shown of a phone, card or identity number: enough to recognise it, too little to use it."""

import re
from collections.abc import Mapping
from typing import Any

_HIDDEN = "****"
_LONGEST_SHOWN = 6
_DIGITS = re.compile(r"(?<![0-9A-Za-z])(PUB_KEY_ID_[0-9]{24,32}|[0-9]{7,}[0-9Xx]?)(?![0-9A-Za-z])")
_PUBLIC_KEY = "PUB_KEY_ID_"
"""Begins the name of one of WeChat Pay's public keys: no secret, longer than anybody's number, and needed whole."""
_PERSONAL = (
    "mobile", "account_no", "card_no", "account", "user_id", "charging_token",
    "phone", "holder_id", "name", "id_number", "buyer_ip", "device_id", "device_ip",
)  # fmt: skip
"""The fields of a target that are about a person."""
_IDENTITIES = ("holder_id", "id_number")
_LAST_OF_ID = 6


def mask(value: str) -> str:
    """Return `value` with its middle hidden: `13800138000` -> `138****8000`, anything short -> `****`."""
    if len(value) <= _LONGEST_SHOWN:
        return _HIDDEN
    shown = 4 if len(value) > 2 * _LONGEST_SHOWN - 3 else 2
    return f"{value[: shown - 1]}{_HIDDEN}{value[-shown:]}"


def mask_text(text: str, limit: int = 200) -> str:
    """Return text from outside with runs of 7 or more digits masked, on one line, cut to `limit` characters."""
    printable = text[: 4 * limit]
    if not printable.isprintable():
        printable = "".join(character if character.isprintable() else " " for character in printable)
    return _DIGITS.sub(_masked, printable)[:limit]


def _masked(found: re.Match[str]) -> str:
    run = found.group()
    return run if run.startswith(_PUBLIC_KEY) else mask(run)


def personal_fields(target: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a target, or a card, says about a person."""
    whole = [value for name in _PERSONAL if isinstance(value := target.get(name), str) and value]
    # after the whole, or it would be broken up first; gateways are sent the last six alone, too
    return (*whole, *[target[name][-_LAST_OF_ID:] for name in _IDENTITIES if target.get(name)])
