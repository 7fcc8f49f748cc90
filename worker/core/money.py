"""Money is integer fen; these are the exact conversions at a gateway's edge. No float anywhere."""

import re

from worker.core.errors import AmountNotSupportedError

FEN_PER_YUAN = 100
_YUAN = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,2})0*)?")


def fen_to_whole_yuan(fen: int) -> int:
    """Return `fen` as whole yuan.

    Raises:
        AmountNotSupportedError: a part of a yuan would be lost.
    """
    yuan, rest = divmod(fen, FEN_PER_YUAN)
    if rest:
        raise AmountNotSupportedError(f"{fen} fen is not a whole number of yuan")
    return yuan


def yuan_to_fen(yuan: str | int) -> int:
    """Return a gateway's decimal yuan (`"98.5"`, `"100"`, `100`) as fen, exactly.

    Raises:
        ValueError: not a plain decimal number of yuan, or with a part of a fen.
    """
    found = _YUAN.fullmatch(str(yuan).strip()) if not isinstance(yuan, bool) else None
    if found is None:
        raise ValueError("expected yuan as a decimal number with at most two places")
    whole, part = found.groups()
    return int(whole) * FEN_PER_YUAN + int((part or "").ljust(2, "0"))


def balance_to_fen(yuan: str | int) -> int:
    """Return a balance in fen, which is below zero where a gateway grants us credit; else as `yuan_to_fen`.

    Raises:
        ValueError: as there.
    """
    text = str(yuan).strip()
    return -yuan_to_fen(text[1:]) if text.startswith("-") else yuan_to_fen(yuan)


def fen_to_text(fen: int) -> str:
    """Return `fen` as yuan for people: 10050 -> `"100.50"`."""
    sign = "-" if fen < 0 else ""
    yuan, rest = divmod(abs(fen), FEN_PER_YUAN)
    return f"{sign}{yuan}.{rest:02d}"
