"""How the ledger stands as a whole, for whoever watches it, at a cost that does not grow with the closed orders."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import structlog

from worker.core.order import State, Task
from worker.ledger.connection import is_away
from worker.ledger.queries import load

if TYPE_CHECKING:
    from worker.ledger.connection import Pool

log = structlog.get_logger("worker.ledger")

LOOK_SECONDS = 15.0
FRESH_SECONDS = 4 * LOOK_SECONDS
"""Figures that are older are not shown: none is better than a wrong one."""
MOST_EVENTS = 100_000
"""Events in the outbox are counted so far."""

_ASKED = (State.UNKNOWN, State.AWAITING_PAYMENT)  # what `query` alarms are for, besides `pending`
_AT_RISK = frozenset({State.UNKNOWN, State.REVIEW})


class Backlog(NamedTuple):
    """Open orders of a gateway with the same task."""

    orders: int
    due: int
    overdue: float  # seconds, of the first that is due


class Watched(NamedTuple):
    """Orders of a gateway in the same watched state."""

    orders: int
    fen: int
    age: float  # seconds since the first came there; in `unknown` since it was first sent in its attempt


@dataclass(frozen=True, slots=True)
class Figures:
    """One look. Gateways that have nothing of a kind are not in it."""

    backlog: Mapping[tuple[str, Task], Backlog] = field(default_factory=dict)
    watched: Mapping[tuple[str, State], Watched] = field(default_factory=dict)
    hints: Mapping[str, int] = field(default_factory=dict)  # by gateway
    events: int = 0  # in the outbox, at most `MOST_EVENTS`
    oldest_event: float = 0.0  # seconds

    def orders(self) -> dict[tuple[str, State], int]:
        """Return how many orders are not closed, by gateway and state."""
        found = {key: watched.orders for key, watched in self.watched.items()}
        for (gateway, task), backlog in self.backlog.items():
            match task:
                case Task.SUBMIT:
                    found[gateway, State.QUEUED] = backlog.orders
                case Task.LEASE:
                    found[gateway, State.SUBMITTING] = backlog.orders
                case Task.QUERY:
                    others = sum(found.get((gateway, state), 0) for state in _ASKED)
                    found[gateway, State.PENDING] = max(0, backlog.orders - others)
        return found

    def at_risk(self) -> dict[tuple[str, State], int]:
        """Return the money, in fen, of orders whose outcome nobody knows, by gateway and state."""
        return {key: watched.fen for key, watched in self.watched.items() if key[1] in _AT_RISK}


class FigureBook:
    """Looks again and again; `latest` is what it saw, while that is fresh."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._seen = Figures()
        self._seen_at: float | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the last look; None: there was none."""
        return None if self._seen_at is None else time.monotonic() - self._seen_at

    @property
    def latest(self) -> Figures | None:
        """What was seen last; None: nothing, or too long ago."""
        age = self.age
        return self._seen if age is not None and age < FRESH_SECONDS else None

    async def look(self) -> Figures:
        """Look once.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError: the database cannot be asked.
        """
        backlog = await self._pool.fetch(load("backlog"))
        watched = await self._pool.fetch(load("watched"))
        unheard = await self._pool.fetch(load("unheard"), MOST_EVENTS)
        outbox = next(row for row in unheard if row["gateway"] is None)
        self._seen = Figures(
            backlog={(gateway, Task(task)): Backlog(*rest) for gateway, task, *rest in backlog},
            watched={(gateway, State(state)): Watched(*rest) for gateway, state, *rest in watched},
            hints={row["gateway"]: row["waiting"] for row in unheard if row["gateway"] is not None},
            events=outbox["waiting"],
            oldest_event=outbox["age"],
        )
        self._seen_at = time.monotonic()
        return self._seen

    async def run(self) -> None:
        """Look every few seconds until cancelled; whatever fails, no order waits for it: the figures only grow old."""
        while True:
            try:
                await self.look()
            except Exception as error:
                if is_away(error):
                    log.warning("database_away", error=type(error).__name__)
                else:
                    log.exception("figures_failed", error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)
