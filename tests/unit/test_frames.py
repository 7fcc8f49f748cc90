"""Frames from a stream, however it is cut: the same as aiormq's own receiver makes of it, failures included."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from aiormq.connection import FrameReceiver
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from hypothesis import given
from hypothesis import strategies as st
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Connection
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from worker.broker.frames import Frames

DELIVERY = (
    marshal(Basic.Deliver("tag", 7, exchange="orders", routing_key="mobile"), 3)
    + marshal(ContentHeader(body_size=5, properties=Basic.Properties(message_id="m")), 3)
    + marshal(ContentBody(b"\xcehello"[:5]), 3)
)
STREAM = (
    marshal(Connection.CloseOk(), 0) + Heartbeat().marshal() + DELIVERY * 3 + marshal(Basic.Ack(9, multiple=True), 2)
)


async def received(kind: type[FrameReceiver], pieces: Sequence[bytes]) -> list[object]:
    """Everything that a receiver makes of a stream that comes in pieces and ends; a failure is the last of it."""
    reader = asyncio.StreamReader()
    receiver = kind(reader)

    async def feed() -> None:
        for piece in pieces:
            reader.feed_data(piece)
            await asyncio.sleep(0)
        reader.feed_eof()

    feeding = asyncio.create_task(feed())
    made: list[object] = []
    try:
        async for length, channel, frame in receiver:
            shown = (frame.body_size, dict(frame.properties)) if isinstance(frame, ContentHeader) else None
            shown = shown or (dict(frame) if isinstance(frame, Frame) else vars(frame))
            made.append((length, channel, type(frame), shown))
    except Exception as error:  # noqa: BLE001 - both receivers must raise the same
        made.append(type(error))
    await feeding
    return made


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """A stream in the pieces that lie between places."""
    edges = [0, *sorted(place % len(stream) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges) if a < b]


@given(places=st.lists(st.integers(0, len(STREAM)), max_size=60))
def test_pieces_do_not_matter(places: list[int]) -> None:
    expected = asyncio.run(received(FrameReceiver, [STREAM]))
    assert len(expected) == 12 + 1  # and the end
    assert asyncio.run(received(Frames, cut(STREAM, places))) == expected


@given(length=st.integers(1, len(STREAM) - 1), places=st.lists(st.integers(0, len(STREAM)), max_size=5))
def test_a_stream_that_ends_early_fails_only_within_a_frame(length: int, places: list[int]) -> None:
    short = STREAM[:length]
    assert asyncio.run(received(Frames, cut(short, places))) == asyncio.run(received(FrameReceiver, [short]))


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"AMQP\x00\x00\x09\x01", ProtocolSyntaxError),
        (DELIVERY[:-1] + b"\x00", InvalidFrameError),
        (b"\x09" + DELIVERY[1:], InvalidFrameError),
        (DELIVERY[:-3], AMQPConnectionError),
    ],
    ids=["another-protocol", "no-end", "no-type", "cut"],
)
async def test_what_is_no_frame_is_told_as_aiormq_tells_it(stream: bytes, error: type[Exception]) -> None:
    for kind in (FrameReceiver, Frames):
        assert (await received(kind, [stream]))[-1] is error
    bytewise = [stream[place : place + 1] for place in range(len(stream))]
    assert (await received(Frames, bytewise))[-1] is error


async def test_a_broken_socket_is_a_lost_connection() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(DELIVERY)
    reader.set_exception(ConnectionResetError(104, "reset"))
    with pytest.raises(AMQPConnectionError):
        await Frames(reader).get_frame()
