"""The relay's HTTP server: it survives clients that are slow, many, or hostile.

A connection carries one request, and its life is bounded: seconds for the head, for the body, and for the answer. When
there are too many, the oldest that has not brought its request yet makes room.
"""

import asyncio
import logging
import os

from aiohttp import web

from worker.config import Address, SettingsError
from worker.relay.receiver import Receiver

MOST_CONNECTIONS = 1024
HEAD_SECONDS = 10.0
LINGER_SECONDS = 2.0
"""How long what nobody wants to read is taken from a client, so that it hears why."""
_BACKLOG = 1024


class RelayServer:
    """Listens on `listen` from `start` to `stop` and hands requests to a receiver.

    Args:
        drain_seconds: how long `stop` lets requests end that are being relayed.
    """

    def __init__(self, listen: Address, receiver: Receiver, drain_seconds: float) -> None:
        self._listen = listen
        self._receiver = receiver
        self._drain_seconds = drain_seconds
        self._runner: web.AppRunner | None = None
        self._socket: asyncio.Server | None = None
        self.address: Address | None = None  # where it really listens, once started

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._receiver.answer)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            logger=_quiet(),
            keepalive_timeout=HEAD_SECONDS,  # which aiohttp counts from the connection on
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            shutdown_timeout=self._drain_seconds,
        )
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        problem = None
        try:
            self._socket = await loop.create_server(
                self._connection, self._listen.host, self._listen.port, backlog=_BACKLOG
            )
        except OSError as error:
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror  # below 0: the name is not resolved
            problem = f"relay.listen: expected an address that is free; {self._listen}: {why}"
        if problem is not None or self._socket is None:
            await self._runner.cleanup()
            raise SettingsError(problem or "relay.listen: it cannot be listened on")
        self.address = Address(*self._socket.sockets[0].getsockname()[:2])

    async def stop(self) -> None:
        """Take no more connections, let requests end that are being relayed, and close the rest."""
        if self._socket is not None:
            self._socket.close()
        if self._runner is not None:
            self._make_room(0)
            await self._runner.cleanup()
        self._runner = self._socket = self.address = None

    def _connection(self) -> asyncio.Protocol:
        if self._runner is None or self._runner.server is None:
            raise ConnectionAbortedError
        self._make_room(MOST_CONNECTIONS - 1)
        return self._runner.server()

    def _make_room(self, most: int) -> None:
        """Close the oldest connections that have not brought their requests, until no more than `most` are left."""
        if self._runner is None or self._runner.server is None:
            return
        alive = [each for each in self._runner.server.connections if each.transport is not None]
        surplus = len(alive) - most
        if surplus <= 0:
            return
        for each in [each for each in alive if each not in self._receiver.relaying][:surplus]:
            each.force_close()


def _quiet() -> logging.Logger:
    """Return a logger for what clients do wrong: they are counted, and must not be able to fill the log."""
    logger = logging.getLogger("worker.relay.clients")
    logger.disabled = True
    return logger
