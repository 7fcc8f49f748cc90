"""Keeps one connection alive: connect, serve until it ends, tear down, wait, again."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

import structlog

from worker.broker.connection import Backoff, BrokerLostError, Link

STEADY_SECONDS = 10.0  # a connection that lived so long begins the waits anew
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0

log = structlog.get_logger("worker.broker")


class Supervised(ABC):
    """A connection of its own under supervision.

    Args:
        url: the broker's.
        name: what the broker shows the connection as.
        chance: 0…1, for the jitter.
        on_stuck: told when it cannot help itself any more; the process should then exit non-zero.
    """

    def __init__(self, url: str, name: str, *, chance: Callable[[], float], on_stuck: Callable[[str], None]) -> None:
        self._url = url
        self._name = name
        self.connections = 0
        """How often it has connected."""
        self.trouble = "not connected"
        """Why it does not do its work, where it does not: the last that was heard."""
        self._backoff = Backoff(FIRST_WAIT, LONGEST_WAIT, chance)
        self._on_stuck = on_stuck
        self._stopping = asyncio.Event()
        self._serving = False
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """What the broker shows the connection as."""
        return self._name

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether it does its work at this moment."""

    @abstractmethod
    async def _serve(self, link: Link) -> None:
        """Work on this connection until it ends or `_stopping` is set."""

    async def start(self) -> None:
        """Begin, and return at once: with the broker away it keeps trying, and `ready` is False."""
        self._task = asyncio.create_task(self._run(), name=self._name)
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Drain and close."""
        self._stopping.set()
        if self._task is not None:
            if not self._serving:
                self._task.cancel()  # it is only trying to connect
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            try:
                await self._once()
            except BrokerLostError as error:
                self.trouble = str(error)
                log.warning("broker_away", connection=self._name, error=str(error))
            if loop.time() - began >= STEADY_SECONDS:
                self._backoff.reset()
            await self._pause(self._backoff.next())

    async def _once(self) -> None:
        link = await Link.connect(self._url, self._name)
        self.connections += 1
        log.info("broker_connected", connection=self._name)
        try:
            self._serving = True
            await self._serve(link)
        finally:
            self._serving = False
            await link.close()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("supervisor_died", connection=self._name, exc_info=error)
            self._on_stuck(f"{self._name}: {type(error).__name__} in its supervisor")
