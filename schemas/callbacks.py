"""The callback message: what a gateway posted to a relay, untouched."""

import binascii
from base64 import b64encode
from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator

from schemas.base import GatewayName, Instant, Message


def _raw(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("expected base64 text")  # noqa: TRY004 pydantic reports a ValueError by its field
    try:
        return binascii.a2b_base64(value.encode(), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raise ValueError("expected base64 text") from None


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()


RawBody = Annotated[
    bytes,
    PlainValidator(
        _raw,
        json_schema_input_type=Annotated[
            str,
            Field(
                pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
                json_schema_extra={"contentEncoding": "base64"},
            ),
        ],
    ),
    PlainSerializer(_base64, return_type=str, when_used="json"),
]
"""Base64 text outside, the bytes themselves inside."""
HeaderName = Annotated[str, Field(pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$")]
HeaderValue = Annotated[str, Field(max_length=8192, pattern=r"^[^\x00\r\n]*$")]


class GatewayCallback(Message):
    """An upstream callback as a relay received it; a relay need not understand it."""

    gateway: GatewayName = Field(description="The gateway in whose name it came; the same as in the routing key")
    received_at: Instant = Field(description="When the relay received it, RFC 3339; signatures' ages count from here")
    method: str = Field("POST", pattern=r"^[A-Z]{1,16}$", description="HTTP method")
    path: str = Field("/", pattern=r"^/[!-~]{0,2047}$", description="Path of the request as it was sent, undecoded")
    query: str = Field("", pattern=r"^[!-~]{0,8192}$", description="Query string without its question mark, undecoded")
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        max_length=128,
        description="Header names in lower case; values of a repeated header joined by a comma",
    )
    body: RawBody = Field(description="Base64 of the raw body, byte for byte as it was received")
    remote_addr: str | None = Field(
        None, pattern=r"^[!-~]{1,64}$", description="Address from which the gateway connected"
    )
