"""Takes the deliveries of one channel as they come off the wire.

aiormq's own way leads each delivery through a queue, a reader and a task that it may cancel, which was a tenth of the
worker's time. Here what belongs to a delivery is put together where the connection's reader hands it to the channel;
every other frame goes where it always went.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

if TYPE_CHECKING:
    import asyncio

Take = Callable[[Basic.Deliver, ContentHeader, bytes], None]
"""Handed each delivery, whole; it must not raise, for it would end the connection."""


async def consume(channel: Channel, queue: str, take: Take) -> Basic.ConsumeOk:
    """Let `take` have each delivery of `queue` at once; the channel gets no messages in any other way.

    Raises:
        AMQPError: the broker refuses.
    """
    channel.frames = cast("asyncio.Queue[Any]", Inlet(channel.frames, take))
    return await channel.basic_consume(queue, _unheard)


async def _unheard(_: DeliveredMessage) -> None:
    raise AssertionError("the inlet takes every delivery before aiormq does")


class Inlet:
    """Stands before the frames of a channel, where the connection's reader puts them and the channel's takes them."""

    def __init__(self, frames: "asyncio.Queue[Any]", take: Take) -> None:
        self._frames = frames
        self._take = take
        self._deliver: Basic.Deliver | None = None
        self._header: ContentHeader | None = None
        self._parts: list[bytes] = []
        self._missing = 0  # bytes of the body
        self.get = frames.get
        self.task_done = frames.task_done

    async def put(self, item: tuple[int, Any]) -> None:
        """Take a frame from the connection's reader; the broker sends those of one delivery without a gap."""
        frame = item[1]
        kind = type(frame)
        if kind is Basic.Deliver:
            self._deliver = frame
        elif self._deliver is None:
            await self._frames.put(item)
        elif kind is ContentHeader:
            self._header, self._parts, self._missing = frame, [], frame.body_size
            self._hand_over_whole()
        elif kind is ContentBody:
            self._parts.append(frame.value)
            self._missing -= len(frame.value)
            self._hand_over_whole()
        else:  # the channel ends in the middle of a delivery, which will come again
            self._deliver = None
            await self._frames.put(item)

    def _hand_over_whole(self) -> None:
        if self._missing > 0 or self._deliver is None or self._header is None:
            return
        deliver, header = self._deliver, self._header
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._deliver = self._header = None
        self._take(deliver, header, body)
