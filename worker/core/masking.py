"""What may be shown of a phone, card or identity number: enough to recognise it, too little to use it."""

import re

_HIDDEN = "****"
_LONGEST_SHOWN = 6
_DIGITS = re.compile(r"(?<![0-9A-Za-z])[0-9]{7,}[0-9Xx]?(?![0-9A-Za-z])")


def mask(value: str) -> str:
    """Return `value` with its middle hidden: `13800138000` -> `138****8000`, anything short -> `****`."""
    if len(value) <= _LONGEST_SHOWN:
        return _HIDDEN
    shown = 4 if len(value) > 2 * _LONGEST_SHOWN - 3 else 2
    return f"{value[: shown - 1]}{_HIDDEN}{value[-shown:]}"


def mask_text(text: str, limit: int = 200) -> str:
    """Return text from outside with runs of 7 or more digits masked, on one line, cut to `limit` characters."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * limit])
    return _DIGITS.sub(lambda found: mask(found.group()), printable)[:limit]
