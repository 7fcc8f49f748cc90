"""Properties that pamqp refuses by nature are read all the same: one message must not end the connection."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pamqp import commands, decode, encode, frame, header

from worker.broker import lenient


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    before = dict(decode.METHODS)
    lenient.install()
    yield
    decode.METHODS.update(before)


def read(flag: int, value: bytes) -> commands.Basic.Properties:
    """Return the properties of a header frame with one property, as it comes from the wire."""
    payload = struct.pack(">HHQH", 60, 0, 0, flag) + value
    _, _, got = frame.unmarshal(struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce")
    assert isinstance(got, header.ContentHeader)
    return got.properties


def table(*fields: bytes) -> bytes:
    inner = b"".join(fields)
    return struct.pack(">I", len(inner)) + inner


FLAGS = commands.Basic.Properties.flags


@pytest.mark.parametrize("stamp", [1_800_000_000_000_000, 1_800_000_000_000_000_000, 2**64 - 1])
def test_a_time_stamp_in_smaller_units_is_no_time(stamp: int) -> None:
    assert read(FLAGS["timestamp"], struct.pack(">Q", stamp)).timestamp is None


def test_a_plain_time_stamp_is_read() -> None:
    assert read(FLAGS["timestamp"], struct.pack(">Q", 0)).timestamp == datetime(1970, 1, 1, tzinfo=UTC)


def test_text_that_is_not_utf_8_is_escaped() -> None:
    assert read(FLAGS["message_id"], b"\x03a\xffb").message_id == "a\\xffb"


def test_escaped_text_can_go_out_again() -> None:
    got = read(FLAGS["message_id"], b"\xff" + "é".encode() + b"\xfe" * 253).message_id
    assert got is not None
    assert got.startswith("é\\xfe")
    assert encode.short_string(got)


@pytest.mark.parametrize(
    "headers",
    [
        table(b"\x01aZ"),  # a kind that nobody knows
        table(b"\x01\xffV"),  # a name that is not UTF-8
        table(b"\x01aT" + struct.pack(">Q", 2**60)),  # a time after the end of time
        table(b"\x05ab"),  # longer than itself
    ],
)
def test_unreadable_headers_are_said_to_be_so(headers: bytes) -> None:
    assert read(FLAGS["headers"], headers).headers == {lenient.UNREADABLE_HEADERS: True}


def test_what_follows_unreadable_headers_is_read() -> None:
    got = read(FLAGS["headers"] | FLAGS["message_id"], table(b"\x01aZ") + b"\x02id")
    assert got.message_id == "id"


def test_good_headers_are_read() -> None:
    assert read(FLAGS["headers"], table(b"\x01aS\0\0\0\x01x", b"\x01bt\x01")).headers == {"a": "x", "b": True}
