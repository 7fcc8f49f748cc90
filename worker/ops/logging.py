"""Logs: one JSON line an event, a readable form on a terminal. What is not on the list of keys does not get out.

A line says what its task is about (`core.subject`): the order, its gateway and attempt, and the message that it came
by. It is built from values that strangers chose, so whatever is in it is masked (`showing.py`); and one that cannot be
written is dropped: a full disk or a closed pipe under the log must never stop an order.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from worker.core.subject import bound
from worker.ops.showing import LONGEST, clean, concealed, describe

LEVELS = ("debug", "info", "warning", "error", "critical")

KEYS = frozenset(
    {
        *("order_no", "source", "product", "gateway", "state", "version", "attempt", "sending", "reference"),
        *(
            "upstream_no",
            "amount_fen",
            "arrived_fen",
            "cost_fen",
            "balance_fen",
            "hours_left",
            "cause",
            "fact",
            "due_at",
            "at",
        ),
        *("queue", "exchange", "routing_key", "type", "prefix", "products", "sources", "reason", "detail"),
        *("code", "message"),
        *("count", "size", "limit", "seconds", "retry_in", "age", "waiting", "in_flight", "depth", "since", "until"),
        *("operation", "method", "path", "status", "phase", "answer", "host", "port", "listen", "remote_addr", "url"),
        *(
            "task",
            "command",
            "operator",
            "note",
            "letter",
            "setting",
            "worker",
            "process",
            "pid",
            "signal",
            "exit_code",
        ),
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
            "trace_id",
            "where",
        ),
        *("migration", "table", "partition", "statement", "sqlstate", "server", "dependency", "ok", "error", "what"),
    }
)
"""The keys that a line may have beside its own. A value that could hold a secret has no key here."""

_IDENTIFIERS = frozenset({"order_no", "reference", "upstream_no", "trace_id"})
"""Numbers of orders, which are no secret; masked they would be of no use."""

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
    # they log a traceback for every lost connection, or try to make one; we say it in one line
    for room in ("aiormq", "asyncpg.pool"):
        logging.getLogger(room).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger called `name`; fetching it before `configure` is fine, using it is not."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def _shape(logger: WrappedLogger, level: str, given: EventDict) -> EventDict:
    """Put the line's own keys first, keep what may be shown of the others, and name what may not."""
    never = concealed()
    line: EventDict = {
        "timestamp": given.pop("timestamp"),
        "level": level,
        "logger": logger.name,
        "event": clean(given.pop("event", ""), never),
    }
    error = given.pop("exc_info", None)
    dropped = None
    for key, value in {**bound(), **given}.items():
        if key not in KEYS:
            dropped = [*(dropped or ()), key]
        elif key in _IDENTIFIERS and type(value) is str and value.isascii() and value.isprintable():
            line[key] = value[:LONGEST]
        else:
            line[key] = clean(value, never)
    if dropped is not None:
        line["dropped_keys"] = dropped
    if error and (lines := list(describe(error, never))):
        line["exception"] = lines
    return line


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
