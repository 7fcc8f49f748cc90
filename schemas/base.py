"""What all messages share: a strict frozen model, and the types of text, time, money and addresses.

Patterns are written in the common subset of Rust's, ECMA 262's and Python's regular expressions, since
pydantic, JSON Schema validators and the tests all read them. `$` is the very end of the text.
"""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, StringConstraints

MOST_FEN = 10**13  # a hundred billion yuan: more is a mistake, and sums stay far inside 64 bits
_MOST = 2**31 - 1


class Message(BaseModel):
    """A strict, immutable message: no coercion, no unknown fields, and no input echoed in its errors."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )


# Text. Lone surrogates never get past the JSON parser, or pydantic's own check of a str.
_LINE = r"^[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
Line = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_LINE)]
"""One line for people: no control characters, no blanks at its ends."""
Prose = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00]*$")]
"""Free text, possibly empty or of several lines; only NUL is refused, which PostgreSQL cannot hold."""
Code = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")]
"""An identifier of somebody else's: visible ASCII."""
OptionalCode = Annotated[str, StringConstraints(pattern=r"^[!-~]{0,64}$")]
"""The same, where the other side takes an empty one for none."""
Token = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,512}$")]

OrderNo = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,28}$")]
Source = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]
GatewayName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
Mobile = Annotated[str, StringConstraints(pattern=r"^1[0-9]{10}$")]
Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9][0-9-]{4,19}$")]
PersonalNumber = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{6,32}$")]
"""An identity card's, licence's or bank card's number, or its last six characters."""
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IpAddress = Annotated[
    str,
    StringConstraints(pattern=rf"^(?:{_OCTET}(?:\.{_OCTET}){{3}}|[0-9A-Fa-f]{{0,4}}(?::[0-9A-Fa-f.]{{0,15}}){{2,7}})$"),
]
"""An IPv4 address exactly; of IPv6 only the alphabet and the outline."""

# Numbers. In strict mode 10000.0, "10000" and true are not integers.
Fen = Annotated[int, Field(gt=0, le=MOST_FEN)]
FenOrZero = Annotated[int, Field(ge=0, le=MOST_FEN)]
SignedFen = Annotated[int, Field(ge=-MOST_FEN, le=MOST_FEN)]
Natural = Annotated[int, Field(ge=0, le=_MOST)]
Positive = Annotated[int, Field(gt=0, le=_MOST)]

_INSTANT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$"
_INSTANT_PATTERN = re.compile(_INSTANT)
_INSTANT_EXPECTED = "expected an RFC 3339 date and time with its offset, such as 2026-11-21T12:00:00Z"


def _instant(value: object) -> datetime:
    """Return RFC 3339 text, or an aware datetime, as UTC; pydantic's own parser takes far more than RFC 3339."""
    if isinstance(value, str) and _INSTANT_PATTERN.fullmatch(value):
        try:
            value = datetime.fromisoformat(value.upper())
        except ValueError:
            raise ValueError(_INSTANT_EXPECTED) from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(_INSTANT_EXPECTED)
    try:
        return value.astimezone(UTC)
    except OverflowError:  # 0001-01-01T00:00:00+08:00 has no UTC
        raise ValueError(_INSTANT_EXPECTED) from None


def instant_text(moment: datetime) -> str:
    """Return an aware UTC datetime as the one text that we use for it, ending in `Z`."""
    return moment.isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    PlainValidator(
        _instant,
        json_schema_input_type=Annotated[
            str, Field(pattern=_INSTANT, json_schema_extra={"format": "date-time"}, max_length=64)
        ],
    ),
    PlainSerializer(instant_text, return_type=str, when_used="json"),
]
"""RFC 3339 with an offset outside, aware UTC inside."""
