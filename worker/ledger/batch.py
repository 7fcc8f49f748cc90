"""Group commit: calls of one order at a time go in, batches reach the database.

A batch is whatever came since the previous flush began. The larger that one was, the longer the next
may gather, up to `pace` seconds: an idle worker adds no delay, a busy one commits hundreds at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from worker.ledger.connection import is_away, is_held

log = structlog.get_logger("worker.ledger")

Item = TypeVar("Item")
Result = TypeVar("Result")

Observer = Callable[[str, int, float, str | None], None]
"""Told of each try of a batch: its kind, its size, its seconds, and None or `away`, `held`, `refused`."""

LONGEST_BACKOFF = 2.0
BUSY = 8
"""From so many items on, the next batch gathers for the whole pace."""


class Batcher(Generic[Item, Result]):
    """Gathers items into batches for `flush`, which answers one result an item, in order.

    While the database is away a batch is tried again, unchanged, for as long as it takes: what a lost
    connection left behind is unknown, so `flush` must be a statement that may run twice. A batch that the
    database refuses is halved until the one bad item stands alone; only that one's call raises. A batch that
    somebody's lock holds up steps aside, where each of its items is tried alone, in turn: what is locked
    waits for the end of the lock, everything else does not.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        name: str,
        limit: int = 500,
        pace: float = 0.03,
        observe: Observer | None = None,
    ) -> None:
        self._flush = flush
        self._name = name
        self._limit = limit
        self._pace = pace
        self._observe = observe
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._some = asyncio.Event()
        self._aside: asyncio.Queue[tuple[Item, asyncio.Future[Result]]] = asyncio.Queue()
        self._runners: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to flush; needs a running loop."""
        self._runners = [
            asyncio.create_task(self._run(), name=f"batcher {self._name}"),
            asyncio.create_task(self._run_aside(), name=f"batcher {self._name}, aside"),
        ]

    async def stop(self) -> None:
        """Flush nothing more; calls that still wait are cancelled, and what they meant is unknown."""
        self._stopped = True
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        while not self._aside.empty():
            self._waiting.append(self._aside.get_nowait())
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()

    async def __call__(self, item: Item) -> Result:
        """Return the result of `item` after the commit of its batch.

        Raises:
            asyncpg.PostgresError: the database refuses this very item.
            asyncio.CancelledError: the batcher was stopped; whether the item was written is unknown.
        """
        if self._stopped:
            raise asyncio.CancelledError
        if self._loop is None:  # asked once: each time is a system call, by which Python looks for a fork
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append((item, future))
        self._some.set()
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        earliest = 0.0
        while True:
            await self._some.wait()
            early = earliest - loop.time()
            if early > 0 and len(self._waiting) < self._limit:
                await asyncio.sleep(early)
            began = loop.time()
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            earliest = began + self._pace * min(1.0, len(batch) / BUSY)
            if not self._waiting:
                self._some.clear()
            await self._settle_or_cancel(batch)

    async def _run_aside(self) -> None:
        """Try what stepped aside, one item after another, until each has got through."""
        while True:
            await self._settle_or_cancel([await self._aside.get()])

    async def _settle_or_cancel(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            await self._settle(batch)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise

    async def _settle(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        backoff = 0.05
        while True:
            began = time.perf_counter()
            try:
                results = await self._flush([item for item, _ in batch])
                settled = list(zip(batch, results, strict=True))
            except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it
                failure = "held" if is_held(error) else "away" if is_away(error) else "refused"
                self._tell(batch, began, failure)
                if failure == "held":
                    log.warning("rows_locked", batch=self._name, orders=len(batch), error=type(error).__name__)
                    for each in batch:
                        self._aside.put_nowait(each)
                    return
                if failure == "away":
                    log.warning("database_away", batch=self._name, orders=len(batch), error=type(error).__name__)
                    await asyncio.sleep(backoff)
                    backoff = min(backoff * 2, LONGEST_BACKOFF)
                    continue
                if len(batch) > 1:
                    middle = len(batch) // 2
                    await self._settle(batch[:middle])
                    await self._settle(batch[middle:])
                    return
                _, future = batch[0]
                if not future.done():
                    future.set_exception(error)
                return
            self._tell(batch, began, None)
            for (_, future), result in settled:
                if not future.done():
                    future.set_result(result)
            return

    def _tell(self, batch: list[tuple[Item, asyncio.Future[Result]]], began: float, failure: str | None) -> None:
        if self._observe is not None:
            self._observe(self._name, len(batch), time.perf_counter() - began, failure)
