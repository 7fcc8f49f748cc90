"""Balances: each gateway is asked for ours on a schedule, by one worker at a time; every answer is kept with its time.

In a pause because our money is used up it is asked for more often: a top-up ends the pause (`pauses.py`).
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from worker.gateways.base import RefusedError
from worker.gateways.gateway import GatewayUnavailableError
from worker.ledger.connection import is_away
from worker.ledger.gateways import Turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.gateways.gateway import Gateway
    from worker.ledger.gateways import GatewayBook
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.balances")

TICK_SECONDS = 1.0
UNFUNDED_SHARE = 4
"""It is asked for so often before one order is tried."""
WINDOW_SECONDS, WINDOW_READINGS = 3600.0, 12
"""The present rate of spending is that of the last hour, or of so many readings where they are rare."""


def turn(gateway: "Gateway") -> Turn:
    """Return how often a gateway is asked; every 0 seconds: never."""
    every = gateway.adapter.settings.balance_every_seconds if gateway.keeps_balance else 0.0
    return Turn(gateway.name, every, min(every, gateway.policy.unfunded_pause / UNFUNDED_SHARE))


class Balances:
    """Asks, keeps, and warns before our money at a gateway runs out."""

    def __init__(self, ledger: "Ledger", book: "GatewayBook", gateways: "Mapping[str, Gateway]") -> None:
        self._ledger = ledger
        self._book = book
        self._gateways = gateways
        self._turns = [each for each in map(turn, gateways.values()) if each.every]
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Ask whenever it is due, until cancelled; a database that is away is waited for."""
        try:
            while True:
                try:
                    await self.look()
                except Exception as error:
                    if not is_away(error):
                        raise
                    log.warning("database_away", error=type(error).__name__)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def look(self) -> None:
        """Begin to ask where it is due and nobody else does."""
        free = [each for each in self._turns if each.gateway not in self._tasks]
        for name in await self._book.claim_balances(free) if free else ():
            task = self._tasks[name] = asyncio.create_task(self._ask(self._gateways[name]))
            task.add_done_callback(partial(self._done, name))

    def _done(self, name: str, _task: "asyncio.Task[None]") -> None:
        del self._tasks[name]

    async def _ask(self, gateway: "Gateway") -> None:
        """Ask one gateway; whatever goes wrong, it is asked again when its next turn comes."""
        try:
            await self._question(gateway)
        except (GatewayUnavailableError, RefusedError) as error:
            log.warning("balance_unknown", gateway=gateway.name, code=error.code, message=error.message)
        except Exception as error:
            log.exception("work_failed", gateway=gateway.name, error=type(error).__name__)

    async def _question(self, gateway: "Gateway") -> None:
        settings = gateway.adapter.settings
        asked_at = self._ledger.now()
        balance = await gateway.balance(asked_at)
        window = max(WINDOW_SECONDS, WINDOW_READINGS * settings.balance_every_seconds)
        await self._book.keep_balance(gateway.name, asked_at, balance, window)
        standing = (await self._book.standings([gateway.name]))[gateway.name]
        hours = standing.hours_left
        if hours is not None and hours < settings.balance_warning_hours:
            log.warning("balance_low", gateway=gateway.name, balance_fen=balance, hours_left=round(hours, 1),
                        what="top it up: it will be used up at the present rate of spending")  # fmt: skip
