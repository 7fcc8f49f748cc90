"""The demo's payer: whoever has a campus charge's credential from an event pays it at once, late, or never."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import aiohttp

_AT_ONCE_SECONDS = 0.5
_LATE_SECONDS = 6.0  # well before a charge expires, also when a killed worker has told of it late
_HTTP_SECONDS = 10.0


class Course(StrEnum):
    """What becomes of a charge."""

    AT_ONCE = "paid at once"
    LATE = "paid late"
    NEVER = "never paid"


_SHARES: Mapping[Course, float] = {Course.AT_ONCE: 0.65, Course.LATE: 0.2, Course.NEVER: 0.15}


class Payer:
    """Pays at the sandbox: `async with Payer(…) as payer: … payer.hear(event)`."""

    def __init__(self, sandbox_url: str, seed: int) -> None:
        self._url = f"{sandbox_url}/zjzdy/payer"
        self._seed = seed
        self._http: aiohttp.ClientSession | None = None
        self._paying: set[asyncio.Task[None]] = set()
        self.courses: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_HTTP_SECONDS))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._paying:
            task.cancel()
        await asyncio.gather(*self._paying, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Act on an event that was not heard before; only one that brings a credential means anything to him."""
        if event["event"] != "order.awaiting_payment":
            return
        chance = random.Random(f"{self._seed}:{event['order_no']}")  # noqa: S311 - repeatable, nothing secret
        (course,) = chance.choices([*_SHARES], [*_SHARES.values()])
        self.courses[course] += 1
        if course is not Course.NEVER:
            task = asyncio.create_task(self._pay(event["upstream_no"], course))
            self._paying.add(task)
            task.add_done_callback(self._paying.discard)

    async def _pay(self, record_ids: str, course: Course) -> None:
        if self._http is None:
            raise RuntimeError("enter the payer first")
        await asyncio.sleep(_LATE_SECONDS if course is Course.LATE else _AT_ONCE_SECONDS)
        async with self._http.post(self._url, json={"record_ids": record_ids}) as answer:
            answer.raise_for_status()
