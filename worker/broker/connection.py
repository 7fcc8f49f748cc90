"""One connection to RabbitMQ, and asking it so that nothing hangs and nothing looks like our own cancellation."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiormq import (
    AMQPError,
    Channel,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    Connection,
    ConnectionInternalError,
    TransportFactory,
)
from aiormq.connection import TCPTransportFactory, TLSTransportFactory
from yarl import URL

from worker.broker import frames, lenient

HEARTBEAT_SECONDS = 10  # aiormq gives a silent peer up after (heartbeat + 1) * 3
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 5.0
CLOSE_SECONDS = 3.0
NOT_FOUND = 404
_REFUSALS: dict[type[BaseException], int] = {
    ChannelAccessRefused: 403,
    ChannelNotFoundEntity: NOT_FOUND,
    ChannelLockedResource: 405,
    ChannelPreconditionFailed: 406,
}

T = TypeVar("T")


class BrokerLostError(Exception):
    """The broker is away, did not answer in time or ended the channel: what was asked may or may not have happened."""


class BrokerFailedError(BrokerLostError):
    """The broker failed, and ended the connection: perhaps at what was asked, perhaps at what was asked beside it."""


class BrokerRefusedError(BrokerLostError):
    """The broker said no, and ended the channel: `code` is 403, 404, 405 or 406, `words` are its own."""

    def __init__(self, what: str, code: int, words: str) -> None:
        super().__init__(f"{what}: {words}")
        self.code = code
        self.words = words


class UnsendableError(BrokerLostError):
    """The message cannot be encoded: it was not published and never will be, which is a mistake of ours."""


async def ask(call: Coroutine[Any, Any, T], what: str, seconds: float = ANSWER_SECONDS) -> T:
    """Await one call into aiormq, at most `seconds`.

    It runs in a task of its own: aiormq ends calls by a bare `CancelledError` when a connection ends, which here
    becomes an ordinary error, and some of its calls do not end when they are cancelled, which here nobody waits for.

    Raises:
        BrokerLostError: no answer in time, or the channel or the connection ended.
        BrokerRefusedError: the broker refused this very call.
    """
    task = asyncio.create_task(call)
    task.add_done_callback(_retrieve)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        raise BrokerLostError(f"{what}: no answer within {seconds:g} s")
    return outcome(task, what)


def outcome(task: asyncio.Future[T], what: str) -> T:
    """Return what a finished call into aiormq returned, or raise what its failure means."""
    if task.cancelled():
        raise BrokerLostError(f"{what}: the connection ended")
    error = task.exception()
    if error is None:
        return task.result()
    text = f"{what}: {type(error).__name__} {error}".rstrip()
    if (code := _REFUSALS.get(type(error))) is not None:
        raise BrokerRefusedError(what, code, str(error)) from error
    if isinstance(error, ConnectionInternalError):
        raise BrokerFailedError(text) from error
    # aiormq rejects what is in flight with a plain `Exception` when the peer closed in good order
    if isinstance(error, (AMQPError, RuntimeError, OSError, asyncio.CancelledError)) or type(error) is Exception:
        raise BrokerLostError(text) from error
    raise error


def _retrieve(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


class _Transport(TransportFactory):
    """aiormq's own transports, but we keep hold of the writer, so that a silent peer can be dropped at once."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, self.writer = await factory.create(url, **kwargs)
        return reader, self.writer


class Link:
    """A connection that is up; `lost` is done when it is no more."""

    def __init__(self, connection: Connection, transport: _Transport) -> None:
        self._connection = connection
        self._transport = transport
        self.lost: asyncio.Future[Any] = connection.closing

    @classmethod
    async def connect(cls, url: str, name: str, *, seconds: float = CONNECT_SECONDS) -> Self:
        """Connect, under a name that the broker shows.

        Raises:
            BrokerLostError: it cannot be reached, or does not let us in.
        """
        frames.install()
        lenient.install()
        transport = _Transport()
        connection = Connection(
            _with_heartbeat(url), transport_factory=transport, client_properties={"connection_name": name}
        )
        link = cls(connection, transport)
        try:
            await ask(connection.connect(), "connect", seconds)
        except BaseException:
            link.abort()
            await link.close()
            raise
        return link

    @property
    def version(self) -> str:
        """The broker's version, as it says; empty: it does not."""
        told = self._connection.server_properties.get("version", "")
        return told.decode(errors="replace") if isinstance(told, bytes) else str(told)

    async def channel(self, *, confirms: bool = False) -> Channel:
        """Open a channel."""
        channel = await ask(self._connection.channel(publisher_confirms=confirms), "open a channel")
        if not isinstance(channel, Channel):  # aiormq promises less than it gives
            raise TypeError(f"a channel is a {type(channel).__name__}")
        return channel

    async def flowing(self) -> bool:
        """Return whether the broker reads what we publish; False under its memory or disk alarm."""
        try:
            await ask(self._connection.ready(), "unblocked", 0.05)
        except BrokerLostError:
            return False
        return True

    async def flow(self) -> None:
        """Wait until the broker reads what we publish."""
        await self._connection.ready()

    async def close(self) -> None:
        """Say good-bye; a peer that does not answer is dropped."""
        try:
            await ask(self._connection.close(), "close", CLOSE_SECONDS)
        except BrokerLostError:
            self.abort()

    def abort(self) -> None:
        """Drop the connection now: everything on it fails at once."""
        if self._transport.writer is not None:
            self._transport.writer.transport.abort()


async def close_channel(channel: Channel) -> None:
    """Close a channel that may be closed already; whoever does not answer is left alone."""
    if not channel.is_closed:
        try:
            await ask(channel.close(), "close a channel", CLOSE_SECONDS)
        except BrokerLostError:
            return


class Backoff:
    """How long to wait before the next try: longer each time, never the same for two workers."""

    def __init__(self, first: float, longest: float, chance: Callable[[], float]) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._tries = 0

    def next(self) -> float:
        """Return the seconds to wait now."""
        base = min(self._first * (1 << min(self._tries, 16)), self._longest)
        self._tries += 1
        return base * (0.5 + self._chance() / 2)

    def reset(self) -> None:
        """Begin from the shortest again: it went well for a while."""
        self._tries = 0


def _with_heartbeat(url: str) -> str:
    """Return the URL with our heartbeat, unless it names one."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query.setdefault("heartbeat", str(HEARTBEAT_SECONDS))
    return parts._replace(path=parts.path or "/", query=urlencode(query)).geturl()
