"""What of a value may be shown in a log line, and the last look for what may not.

Nothing here raises for a value that it does not understand: a strange line must not stop an order.
"""

import re
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from worker.core.masking import mask, mask_text
from worker.core.subject import private

LONGEST = 200
"""Characters of a text."""

_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^/\s]+@")
_DIGITS = re.compile(r"[0-9]{7}")
_MOST_ITEMS = 20
_MOST_FRAMES = 12
_MOST_ERRORS = 8
_WIDEST_INTEGER = 2**63
_NUMBERS = frozenset({int, float, bool, type(None)})

_HIDDEN = "****"
_SHORTEST_SECRET = 8  # a shorter one could be a word of every line
_SHORTEST = 4  # a shorter number is hidden only where it stands alone; a name may have two characters

_secrets: set[str] = set()


def conceal(secrets: Iterable[str]) -> None:
    """Show none of these values in any line of this process from now on; too short ones are passed over."""
    for secret in secrets:
        for line in secret.splitlines():  # of a key in PEM, each
            text = line.strip()
            if len(text) >= _SHORTEST_SECRET and not text.startswith("-----"):
                _secrets.update((text, quote(text, safe=""), quote_plus(text)))


def concealed() -> tuple[str, ...]:
    """Return what must not be shown in a line of the present task: our secrets, and what is private of its subject."""
    return (*_secrets, *private())


def clean(value: Any, never: Collection[str] = ()) -> Any:
    """Return what may be shown of a value, in a form that JSON has, without what must `never` be shown."""
    kind = type(value)
    if kind is str:
        for each in never:
            if each in value and (len(each) >= _SHORTEST or not each.isascii() or each == value):
                value = value.replace(each, _HIDDEN if each in _secrets else mask(each))
        # nearly every text is short and harmless, and these checks cost a tenth of masking it
        if len(value) <= LONGEST and value.isprintable() and "://" not in value and _DIGITS.search(value) is None:
            return value
        return mask_text(_PASSWORD.sub(r"\1****@", value), LONGEST)
    if kind in _NUMBERS:
        return value if kind is not int or -_WIDEST_INTEGER <= value < _WIDEST_INTEGER else str(kind)
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(item, never) for item in list(value)[:_MOST_ITEMS]]
    return clean(str.__str__(value) if isinstance(value, str) else str(value), never)


def describe(error: Any, never: Collection[str] = ()) -> Iterator[str]:
    """Yield an exception, where it came from, and what caused it, in lines.

    It is told by the first line of its text only: what follows may be a whole row.
    """
    if isinstance(error, tuple):
        error = error[1]
    if error is True:
        error = sys.exception()
    pending: list[tuple[str, BaseException]] = [("", error)] if isinstance(error, BaseException) else []
    told = 0
    while pending and told < _MOST_ERRORS:
        how, error = pending.pop(0)
        told += 1
        text = clean(str(error).partition("\n")[0], never)
        yield f"{how}{type(error).__name__}{': ' if text else ''}{text}"
        for frame in traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]:
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
        if isinstance(error, BaseExceptionGroup):
            pending += [("of these: ", inner) for inner in error.exceptions]
        if error.__cause__ is not None:
            pending.append(("caused by ", error.__cause__))
        elif error.__context__ is not None and not error.__suppress_context__:
            pending.append(("while handling ", error.__context__))
