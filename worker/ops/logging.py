"""Logs: one JSON line an event, a readable form on a terminal. What is not on the list of keys does not get out.

A line is built from values that strangers chose, so each text is masked and kept on one line, an exception is told by
the first line of its text (what follows may be a whole row), and a line that cannot be written is dropped: a full disk
or a closed pipe under the log must never stop an order.
"""

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from worker.core.masking import mask_text

LEVELS = ("debug", "info", "warning", "error", "critical")

KEYS = frozenset(
    {
        *("order_no", "source", "product", "gateway", "state", "version", "attempt", "sending", "reference"),
        *("upstream_no", "amount_fen", "arrived_fen", "cost_fen", "balance_fen", "cause", "fact", "due_at", "at"),
        *("queue", "exchange", "routing_key", "type", "prefix", "products", "reason", "detail", "code", "message"),
        *("count", "size", "limit", "seconds", "retry_in", "age", "waiting", "in_flight", "depth", "since", "until"),
        *("operation", "method", "path", "status", "phase", "answer", "host", "port", "listen", "remote_addr", "url"),
        *("task", "command", "operator", "note", "setting", "worker", "process", "pid", "signal", "exit_code"),
        *(
            "batch",
            "orders",
            "outcome",
            "gateways",
            "ignored",
            "connection",
            "repairs",
            "run",
            "consumer",
            "message_id",
            "where",
        ),
        *("migration", "table", "partition", "statement", "sqlstate", "server", "dependency", "ok", "error", "what"),
    }
)
"""The keys that a line may have beside its own. A value that could hold a secret has no key here."""

_IDENTIFIERS = frozenset({"order_no", "reference", "upstream_no"})
"""Numbers of orders, which are no secret; masked they would be of no use."""

_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^/\s]+@")
_DIGITS = re.compile(r"[0-9]{7}")
_LONGEST = 200
_MOST_ITEMS = 20
_MOST_FRAMES = 12
_MOST_ERRORS = 8
_WIDEST_INTEGER = 2**63

_NUMBERS = frozenset({int, float, bool, type(None)})
_NUMBERED = tuple(logging.getLevelNamesMapping()[level.upper()] for level in LEVELS)


def configure(level: str, stream: TextIO) -> None:
    """Send every log to `stream` from now on: ours from `level`, those of libraries from WARNING.

    Loggers that have been used before keep what they were configured with, so this comes first.

    Raises:
        ValueError: no such level.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"expected a level: {', '.join(LEVELS)}")
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _shape,
            _Terminal() if stream.isatty() else structlog.processors.JSONRenderer(serializer=_dump),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(file=cast("BinaryIO", _Sink(stream.buffer))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=max(number, logging.WARNING), force=True)
    # aiormq logs a traceback for every lost connection; the broker room says it in one line
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger called `name`; fetching it before `configure` is fine, using it is not."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def _shape(logger: WrappedLogger, level: str, given: EventDict) -> EventDict:
    """Put the line's own keys first, keep what may be shown of the others, and name what may not."""
    line: EventDict = {
        "timestamp": given.pop("timestamp"),
        "level": level,
        "logger": logger.name,
        "event": _clean(given.pop("event", "")),
    }
    error = given.pop("exc_info", None)
    dropped = None
    for key, value in given.items():
        if key not in KEYS:
            dropped = [*(dropped or ()), key]
        elif key in _IDENTIFIERS and type(value) is str and value.isascii() and value.isprintable():
            line[key] = value[:_LONGEST]
        else:
            line[key] = _clean(value)
    if dropped is not None:
        line["dropped_keys"] = dropped
    if error and (lines := list(_describe(error))):
        line["exception"] = lines
    return line


def _clean(value: Any) -> Any:
    """Return what may be shown of a value, in a form that JSON has."""
    kind = type(value)
    if kind is str:
        # nearly every text is short and harmless, and these checks cost a tenth of masking it
        if len(value) <= _LONGEST and value.isprintable() and "://" not in value and _DIGITS.search(value) is None:
            return value
        return mask_text(_PASSWORD.sub(r"\1****@", value), _LONGEST)
    if kind in _NUMBERS:
        return value if kind is not int or -_WIDEST_INTEGER <= value < _WIDEST_INTEGER else str(kind)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in list(value)[:_MOST_ITEMS]]
    return _clean(str.__str__(value) if isinstance(value, str) else str(value))


def _describe(error: Any) -> Iterator[str]:
    """Yield an exception, where it came from, and what caused it, in lines."""
    if isinstance(error, tuple):
        error = error[1]
    if error is True:
        error = sys.exception()
    pending: list[tuple[str, BaseException]] = [("", error)] if isinstance(error, BaseException) else []
    told = 0
    while pending and told < _MOST_ERRORS:
        how, error = pending.pop(0)
        told += 1
        text = _clean(str(error).partition("\n")[0])
        yield f"{how}{type(error).__name__}{': ' if text else ''}{text}"
        for frame in traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]:
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
        if isinstance(error, BaseExceptionGroup):
            pending += [("of these: ", inner) for inner in error.exceptions]
        if error.__cause__ is not None:
            pending.append(("caused by ", error.__cause__))
        elif error.__context__ is not None and not error.__suppress_context__:
            pending.append(("while handling ", error.__context__))


def _dump(line: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> bytes:
    return orjson.dumps(line, default=default)


class _Terminal:
    """Renders a line for people: colours, the exception's lines under it."""

    def __init__(self) -> None:
        self._renderer = structlog.dev.ConsoleRenderer()

    def __call__(self, logger: WrappedLogger, level: str, line: EventDict) -> bytes:
        if "exception" in line:
            line["exception"] = "\n".join(line["exception"])
        return str(self._renderer(logger, level, line)).encode("utf-8", "replace")


class _Sink:
    """The stream's bytes; a line that it does not take is lost, not the order that it is about."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        try:
            self._stream.write(line)
        except (OSError, ValueError):  # full, or closed
            return

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


class _Bridge(logging.Handler):
    """Takes what libraries log through the standard library, in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = max((number for number in _NUMBERED if number <= record.levelno), default=logging.DEBUG)
            get_logger(record.name).log(level, record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - as every handler: a bad record must not stop its library
            self.handleError(record)
