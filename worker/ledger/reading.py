"""The reading side: orders and their stories for people and their programs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.core.order import Order, reference
from worker.ledger.paging import Wanted, walk
from worker.ledger.queries import load
from worker.ledger.rows import from_record

if TYPE_CHECKING:
    import asyncpg


@dataclass(frozen=True, slots=True)
class Seen:
    """An order as it was at one moment."""

    order: Order
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None

    def view(self) -> dict[str, Any]:
        """Return what `orders list --json` and `order.query` tell of it."""
        order = self.order
        reason = order.reason
        return {
            "order_no": order.order_no,
            "source": order.source,
            "product": order.product,
            "state": order.state.value,
            "version": order.version,
            "gateway": order.gateway,
            "attempt": order.attempt,
            "upstream_no": order.upstream_no,
            "amount_fen": order.amount_fen,
            "arrived_fen": order.arrived_fen,
            "cost_fen": order.cost_fen,
            "reason": None if reason is None else {"code": reason.code, "message": reason.message},
            "created_at": instant(self.created_at),
            "updated_at": instant(self.updated_at),
            "due_at": None if self.due_at is None else instant(self.due_at),
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an order's journal."""

    version: int
    at: datetime
    from_state: str | None
    to_state: str
    cause: str
    attempt: int
    code: str | None
    message: str | None
    evidence: Mapping[str, Any] | None = None  # masked; what proves it, or who decided it

    def view(self) -> dict[str, Any]:
        """Return what `orders show --json` tells of it."""
        return {
            "version": self.version,
            "at": instant(self.at),
            "from": self.from_state,
            "to": self.to_state,
            "cause": self.cause,
            "attempt": self.attempt,
            "code": self.code,
            "message": self.message,
        }


class Attempt(NamedTuple):
    """An attempt that was given up: whom to ask about it, and by which number."""

    attempt: int
    gateway: str
    reference: str


@dataclass(frozen=True, slots=True)
class Story:
    """An order as it is, what became of it before, and every line of its journal, the oldest first."""

    seen: Seen
    earlier: Sequence[Attempt]
    steps: Sequence[Step]

    def view(self) -> dict[str, Any]:
        """Return what `orders show --json` tells."""
        return {
            **self.seen.view(),
            "earlier_attempts": [attempt._asdict() for attempt in self.earlier],
            "journal": [step.view() for step in self.steps],
        }


def instant(moment: datetime) -> str:
    """Return a time as messages tell it: UTC, microseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Reader:
    """Reads, and writes nothing; each answer is of one moment."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def seen(self, order_no: str) -> Seen | None:
        """Return an order as it is; None: there is no such order."""
        async with self._moment() as connection:
            found = await _seen(connection, await connection.fetch(load("find"), [order_no]))
        return found[0] if found else None

    async def known(self, order_nos: Sequence[str]) -> set[str]:
        """Return which of these numbers are orders."""
        return {row["order_no"] for row in await self._pool.fetch(load("known"), order_nos)}

    async def story(self, order_no: str) -> Story | None:
        """Return an order and its journal; None: there is no such order."""
        async with self._moment() as connection:
            rows = await connection.fetch(load("find"), [order_no])
            if not rows:
                return None
            (seen,) = await _seen(connection, rows)
            earlier = await connection.fetch(load("earlier_attempts"), seen.order.id)
            lines = await connection.fetch(load("story"), seen.order.id)
        return Story(
            seen,
            [Attempt(row["attempt"], row["gateway"], reference(order_no, row["attempt"])) for row in earlier],
            [
                Step(
                    row["version"],
                    row["at"],
                    row["from_state"],
                    row["to_state"],
                    row["cause"],
                    row["attempt"],
                    row["code"],
                    row["message"],
                    row["evidence"],
                )
                for row in lines
            ],
        )

    async def pages(
        self, wanted: Wanted, limit: int | None = None, after: int | None = None
    ) -> AsyncIterator[list[Seen]]:
        """Yield the wanted orders in pages, the newest first, at most `limit` of them; a page never empty.

        `after`: the key (`Order.id`) of an order, to go on after it.
        """
        async for page in walk(self._moment, _seen, wanted, limit, after):
            yield page

    @asynccontextmanager
    async def _moment(self) -> "AsyncIterator[_Connection]":
        """A connection on which everything that is read is of the same moment."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    _Connection = PoolConnectionProxy[asyncpg.Record]


async def _seen(connection: "_Connection", rows: "list[asyncpg.Record]") -> list[Seen]:
    alarms = await connection.fetch(load("alarms"), [row["id"] for row in rows])
    due = {row["order_id"]: row["due_at"] for row in alarms}
    stored = [from_record(row) for row in rows]
    return [Seen(each.order, each.created_at, each.updated_at, due.get(each.order.id)) for each in stored]
