"""Gateways in PostgreSQL: what all workers share about them (pauses, balances), and what each says of its own part."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.ledger.queries import load

if TYPE_CHECKING:
    import asyncpg

    from worker.ledger.connection import Pool

ALIVE_SECONDS = 10.0
"""A worker that has not been heard of for so long is not counted."""


class Pause(NamedTuple):
    """Why no submit begins at a gateway; an automatic one ends by itself, one by hand never."""

    since: datetime
    by: str
    note: str
    automatic: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What all workers share about a gateway."""

    gateway: str
    pause: Pause | None = None
    try_at: datetime | None = None  # in an automatic pause: when one order may be tried
    lowest_fen: int | None = None  # in an automatic pause: the least that was there since it began
    needed_fen: int | None = None  # in an automatic pause: the amount of the smallest order that waits
    balance_fen: int | None = None
    balance_at: datetime | None = None
    spent_per_hour_fen: int | None = None  # at present; None: not known yet

    @property
    def hours_left(self) -> float | None:
        """How long the balance lasts at the present rate of spending; None: nothing is spent, or it is not known."""
        if self.balance_fen is None or not self.spent_per_hour_fen:
            return None
        return max(self.balance_fen, 0) / self.spent_per_hour_fen

    @property
    def suffices(self) -> bool:
        """Whether, in an automatic pause, the balance read since it began is enough for the smallest order that waits.

        Where none waits, it is.
        """
        if self.lowest_fen is None or self.balance_fen is None:
            return False
        return self.needed_fen is None or self.balance_fen >= self.needed_fen

    @property
    def topped_up(self) -> bool:
        """Whether, in an automatic pause, the balance has grown since, and suffices."""
        grown = self.balance_fen is not None and self.lowest_fen is not None and self.balance_fen > self.lowest_fen
        return grown and self.suffices


class Turn(NamedTuple):
    """How often a gateway is asked for our balance, in seconds: always, and in an automatic pause."""

    gateway: str
    every: float
    unfunded_every: float


class Beat(NamedTuple):
    """What a worker knows of one of its gateways."""

    gateway: str
    breaker: str  # closed, open, half_open
    in_flight: int


class Live(NamedTuple):
    """What the workers that are alive say of a gateway together."""

    gateway: str
    workers: int
    in_flight: int
    open: int  # so many workers' breakers
    half_open: int
    waiting: int  # orders that wait to be sent there

    @property
    def breaker(self) -> str | None:
        """The state of the breaker that is open furthest; None: no worker is alive."""
        if not self.workers:
            return None
        return "open" if self.open else "half_open" if self.half_open else "closed"


class GatewayBook:
    """Reads and writes pauses, balances and heartbeats; every statement may run twice."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def ensure(self, gateways: Iterable[str]) -> None:
        """Make the rows of gateways that were never seen before; without one, nothing below does anything."""
        await self._pool.execute(load("ensure_gateways"), list(gateways))

    async def standings(self, gateways: Iterable[str]) -> dict[str, Standing]:
        """Return what is shared about each of these gateways, in their order."""
        names = list(gateways)
        rows = await self._fetch("gateways", names)
        found = {row["gateway"]: _standing(row) for row in rows}
        return {name: found.get(name) or Standing(name) for name in names}

    async def live(self, gateways: Iterable[str]) -> dict[str, Live]:
        """Return what the workers say that are alive."""
        return {
            row["gateway"]: Live(**row) for row in await self._fetch("gateways_live", list(gateways), ALIVE_SECONDS)
        }

    # --- pauses ----------------------------------------------------------------------------------

    async def pause(self, gateway: str, by: str, note: str) -> None:
        """Pause it until a person resumes it; who pauses what is paused already takes the pause over."""
        await self.ensure([gateway])
        await self._fetch("pause_by_hand", gateway, by, note)

    async def pause_unfunded(self, gateway: str, note: str, retry: float) -> bool:
        """Pause it because our money there is used up; one order may be tried in `retry` seconds.

        Returns whether it is paused so: a pause by hand stays one.
        """
        return bool(await self._fetch("pause_unfunded", gateway, note, retry))

    async def resume(self, gateway: str, automatic_since: datetime | None = None) -> Pause | None:
        """Lift its pause, or only the automatic one that began then; return what was lifted."""
        rows = await self._fetch("resume", gateway, automatic_since)
        return _pause(rows[0]) if rows else None

    async def claim_trial(self, gateway: str, seconds: float) -> bool:
        """Take the right to try one order in an automatic pause; nobody else gets it for so long."""
        return bool(await self._fetch("claim_trial", gateway, seconds))

    # --- balances --------------------------------------------------------------------------------

    async def claim_balances(self, turns: Sequence[Turn]) -> list[str]:
        """Take the turn to ask for those balances that are due; return their gateways."""
        return [row["gateway"] for row in await self._fetch("claim_balances", *map(list, zip(*turns, strict=True)))]

    async def keep_balance(self, gateway: str, at: datetime, balance_fen: int, window: float) -> None:
        """Keep what it answered to the question of `at`; the rate of spending is that of the last `window` seconds."""
        await self._pool.execute(load("keep_balance"), gateway, at, balance_fen, window)

    async def balances(self, gateway: str, since: datetime, until: datetime) -> list[tuple[datetime, int]]:
        """Return its balances (when asked, fen) from `since` on and before `until`, and one more on either side."""
        return [(row["at"], row["balance_fen"]) for row in await self._fetch("balance_history", gateway, since, until)]

    # --- heartbeats ------------------------------------------------------------------------------

    async def beat(self, worker: str, beats: Sequence[Beat]) -> None:
        """Write what a worker knows of its gateways."""
        await self._pool.execute(load("beat"), worker, *map(list, zip(*beats, strict=True)))

    async def forget_worker(self, worker: str) -> None:
        """Remove what a worker wrote that ends."""
        await self._pool.execute(load("forget_worker"), worker)

    async def _fetch(self, name: str, *values: Any) -> "list[asyncpg.Record]":
        return await self._pool.fetch(load(name), *values)


def _standing(row: "asyncpg.Record") -> Standing:
    return Standing(
        gateway=row["gateway"],
        pause=None if row["paused_at"] is None else _pause(row),
        try_at=row["try_at"],
        lowest_fen=row["lowest_fen"],
        needed_fen=row["needed_fen"],
        balance_fen=row["balance_fen"],
        balance_at=row["balance_at"],
        spent_per_hour_fen=row["spent_per_hour_fen"],
    )


def _pause(row: "asyncpg.Record") -> Pause:
    return Pause(row["paused_at"], row["paused_by"], row["pause_note"], row["automatic"])
