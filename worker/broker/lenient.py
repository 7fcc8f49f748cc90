"""Reading what the broker lets through and pamqp refuses.

Any producer may set a property that pamqp cannot decode: text that is not UTF-8, a time-stamp in microseconds,
a header of an unknown kind. pamqp then raises, aiormq gives the connection up, the message comes back, and so on
for ever: one message stops the worker. These decoders read such a value as well as they can instead, so that the
message reaches its handler and is judged there.
"""

import struct
from datetime import datetime

from pamqp import common, decode

UNREADABLE_HEADERS = "x-unreadable-headers"
_LENGTH = struct.Struct(">I")
_LONGEST = 255  # bytes of a short string


def _short_string(value: bytes) -> tuple[int, str]:
    size = value[0]
    raw = value[1 : size + 1]
    try:
        return size + 1, raw.decode()
    except UnicodeDecodeError:  # escaped, and cut to what may go out again
        return size + 1, raw.decode("utf-8", "backslashreplace").encode()[:_LONGEST].decode("utf-8", "ignore")


def _timestamp(value: bytes) -> tuple[int, datetime | None]:
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):  # after the year 9999: milli-, micro- or nanoseconds
        return 8, None


def _table(value: bytes) -> tuple[int, common.FieldTable]:
    try:
        return decode.field_table(value)
    except (ValueError, OverflowError, OSError, RecursionError, ArithmeticError):
        return _LENGTH.unpack_from(value)[0] + _LENGTH.size, {UNREADABLE_HEADERS: True}


def install() -> None:
    """Make pamqp use these decoders, in the whole process; doing it again changes nothing."""
    decode.METHODS["shortstr"] = _short_string
    decode.METHODS["timestamp"] = _timestamp
    decode.METHODS["table"] = _table
