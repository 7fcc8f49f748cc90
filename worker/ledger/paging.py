"""Orders in pages, the newest first, at a cost that does not grow with the orders that nobody asked for.

They are walked through by their ids, some at a time, so that no statement is long. Orders that are still open, or in
review, are found by the small tables that only have those. A time of admission bounds the ids, which were given out in
that order, but for the moment that a statement may take.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from worker.core.order import State
from worker.ledger.queries import load

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

PAGE = 500
WINDOW = 50_000
"""Ids that one statement looks through."""
_SLACK = timedelta(minutes=10)
"""Far more than a statement may take: of two orders that were admitted so far apart, the older has the lower id."""
_CLOSE_ENOUGH = 1_000  # ids
_WATCHED = frozenset({State.UNKNOWN, State.AWAITING_PAYMENT, State.REVIEW})
_BY_ALARM = {State.QUEUED: "submit", State.SUBMITTING: "lease", State.PENDING: "query"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which orders; None: any.

    `since` is included, `until` is not; both are about `created_at`. `unchanged_since`: in their state for longer.
    Amounts are fen, both ends included. `reason` is a code.
    """

    states: Sequence[str] | None = None
    gateway: str | None = None
    product: str | None = None
    source: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    unchanged_since: datetime | None = None
    min_fen: int | None = None
    max_fen: int | None = None

    def values(self) -> tuple[Any, ...]:
        """Return the filters as the parameters of `list.sql`, in its order."""
        return (
            None if self.states is None else list(self.states),
            *(self.gateway, self.product, self.source, self.reason),
            *(self.since, self.until, self.unchanged_since),
            *(self.min_fen, self.max_fen),
        )

    def small(self) -> tuple[list[str], list[str]] | None:
        """Return the tasks, and the watched states, by which all of them are found; None: they are not."""
        states = None if self.states is None else {State(state) for state in self.states}
        if states is None or states - _WATCHED - _BY_ALARM.keys():
            return None
        tasks = [task for state, task in _BY_ALARM.items() if state in states]
        asked = states & _WATCHED
        return tasks, [str(state) for state in (asked & {State.REVIEW} if State.PENDING in states else asked)]


async def walk(
    moment: "Callable[[], AbstractAsyncContextManager[Connection]]",
    read: "Callable[[Connection, list[asyncpg.Record]], Awaitable[list[T]]]",
    wanted: Wanted,
    limit: int | None,
    after: int | None,
) -> AsyncIterator[list[T]]:
    """Yield the wanted orders below the id `after` in pages, at most `limit` of them; a page never empty.

    `read` makes of rows what is yielded, at the same moment of the database.
    """
    async with moment() as connection:
        low, high = await _bounds(connection, wanted)
    high = high if after is None else min(high, after)
    small = wanted.small()
    left = limit
    while high > low + 1 and (left is None or left > 0):
        size = PAGE if left is None else min(PAGE, left)
        floor = max(low, high - WINDOW)
        async with moment() as connection:
            name, found = ("list", ()) if small is None else ("list_open", small)
            rows = await connection.fetch(load(name), *wanted.values(), floor, high, size, *found)
            page = await read(connection, rows)
        if page:
            yield page
        high = rows[-1]["id"] if len(rows) == size else floor + 1
        left = None if left is None else left - len(page)


async def _bounds(connection: "Connection", wanted: Wanted) -> tuple[int, int]:
    """Return ids between which, without them, all wanted orders are."""
    latest = await _near(connection, 2**63 - 1)
    if latest is None:
        return 0, 0
    low, high = 0, latest["id"] + 1
    if wanted.since is not None:
        low = await _search(connection, wanted.since - _SLACK, low, high, upper=False)
    if wanted.until is not None:
        high = await _search(connection, wanted.until + _SLACK, low, high, upper=True)
    return low, high


async def _search(connection: "Connection", moment: datetime, low: int, high: int, *, upper: bool) -> int:
    """Return about where orders begin to be of `moment` or later: rather a lower id, or with `upper` a higher one."""
    while high - low > _CLOSE_ENOUGH:
        middle = (low + high) // 2
        row = await _near(connection, middle)
        if row is None or row["created_at"] < moment:
            low = middle
        else:
            high = max(low, row["id"])
    return high if upper else low


async def _near(connection: "Connection", order_id: int) -> "asyncpg.Record | None":
    return await connection.fetchrow(load("near"), order_id)
