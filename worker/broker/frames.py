"""Reads AMQP frames from a connection, as many as have come at a time.

aiormq's own receiver awaits each frame in three pieces, under a lock, and looks at its head twice, which cost as much
again as understanding the frame.
"""

import asyncio
import struct

import aiormq.connection
import pamqp.frame
from aiormq.connection import FrameReceiver, ReceivedFrame
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from pamqp.exceptions import PAMQPException

_HEAD = struct.Struct(">BHI")  # type, channel, size
_END = 1  # byte after every frame
_AT_ONCE = 64 * 1024


class Frames(FrameReceiver):
    """Receives what aiormq's receiver does, and raises what it raises. One task reads at a time."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._pending = bytearray()
        self._at = 0  # where the next frame begins

    async def get_frame(self) -> ReceivedFrame:
        """Return the next frame, with its length and channel.

        Raises:
            StopAsyncIteration: the peer had closed before, and everything was read.
            AMQPConnectionError: the connection ended or broke.
            ProtocolSyntaxError: the peer speaks another protocol, or another version.
            InvalidFrameError: what came is no frame.
        """
        while True:
            pending, at = self._pending, self._at
            left = len(pending) - at
            if left >= _HEAD.size:
                end = at + _HEAD.size + _HEAD.unpack_from(pending, at)[2] + _END
                if not self.started and pending.startswith(b"AMQP"):
                    raise ProtocolSyntaxError("Unexpected AMQP protocol header")
                if end <= len(pending):
                    self.started = True
                    self._at = end
                    try:
                        return pamqp.frame.unmarshal(bytes(pending[at:end]))
                    except PAMQPException as error:
                        raise InvalidFrameError(str(error)) from error
            await self._read(left)

    async def _read(self, left: int) -> None:
        """Await more, after what is left of it."""
        if self.reader.at_eof() and not left:
            raise StopAsyncIteration
        try:
            more = await self.reader.read(_AT_ONCE)
        except OSError as error:
            raise AMQPConnectionError(f"Server connection error: {error!r}") from error
        if not more:
            raise AMQPConnectionError(f"Server connection unexpectedly closed, after {left} bytes of a frame")
        del self._pending[: self._at]
        self._pending += more
        self._at = 0


def install() -> None:
    """Make aiormq use this receiver, in the whole process; doing it again changes nothing."""
    aiormq.connection.FrameReceiver = Frames  # type: ignore[misc]
