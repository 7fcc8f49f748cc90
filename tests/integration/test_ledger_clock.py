"""The time that the ledger tells, on a real database: neither this machine's clock nor a slow answer moves it."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, tzinfo
from typing import Self

import pytest
from support.ledgers import House, house
from support.proxy import Proxy


class SlowProxy(Proxy):
    """A network on which answers may take long, while questions do not."""

    seconds = 0.0

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        if sink.get_extra_info("peername")[1] == self._parts.port:
            await super()._pump(source, sink, gate)
            return
        while data := await source.read(65536):
            await asyncio.sleep(self.seconds)
            sink.write(data)


class Ahead(datetime):
    """The wall clock after somebody has set it forward by an hour."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Return the hour ahead."""
        return super().now(tz) + timedelta(hours=1)


@pytest.fixture
async def home(ledger_dsn: str) -> AsyncIterator[House]:
    async with house(ledger_dsn) as it:
        yield it


async def off(home: House, judge: House) -> float:
    """Return how many seconds the ledger of `home` is from the database's clock, as `judge` reads it."""
    theirs: datetime = await judge.value("SELECT clock_timestamp()")
    return abs((home.ledger.now() - theirs).total_seconds())


async def test_a_wall_clock_that_is_set_moves_nothing(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator, or NTP, sets this machine's clock between two looks at the database's."""
    for module in ("worker.ledger.ledger", "worker.ledger.clock"):
        monkeypatch.setattr(f"{module}.datetime", Ahead)
    ahead = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: ahead)
    assert await off(home, home) < 0.1
    await home.ledger.synchronize()
    assert await off(home, home) < 0.1


async def test_a_look_that_took_long_is_not_believed(ledger_dsn: str, home: House) -> None:
    """Nobody knows on which of its two ways the time was lost, so it may be off by half of it."""
    async with SlowProxy(ledger_dsn) as proxy, house(proxy.url, size=1) as far:
        proxy.seconds = 1.0
        await far.ledger.synchronize()
        proxy.seconds = 0.0
        assert await off(far, home) < 0.2
