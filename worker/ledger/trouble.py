"""What an error of the database, or of the way to it, says to an operator."""

from collections.abc import Iterator

import asyncpg

from worker.core.masking import mask_text


def describe(error: BaseException) -> str | None:
    """Return one line about an error that a database may well cause; None: it is a bug of ours."""
    for each in _causes(error):
        if isinstance(each, asyncpg.PostgresError):
            return f"{_line(each)} (SQLSTATE {each.sqlstate})"
        if isinstance(each, asyncpg.InterfaceError):
            return _line(each)
        if isinstance(each, TimeoutError):
            return "no answer in time"
        if isinstance(each, OSError):
            return f"cannot be reached: {_line(each)}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it wraps: SQLAlchemy hands on asyncpg's errors inside its own."""
    current: BaseException | None = error
    while current is not None:
        yield current
        inner = getattr(current, "orig", None)
        current = inner if isinstance(inner, BaseException) else current.__cause__


def _line(error: BaseException) -> str:
    return mask_text(str(error).partition("\n")[0]) or type(error).__name__
