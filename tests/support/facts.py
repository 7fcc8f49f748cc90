"""The worker's database, read by plain SQL: what `worker orders show` would tell."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import asyncpg
from support.waiting import until

FINAL = frozenset({"succeeded", "partial", "failed", "refunded", "cancelled"})


class Facts:
    """Reads one database; every question connects anew, so that it may go away and come back."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query."""
        return self._runner.run(self._fetch(sql, values))

    async def _fetch(self, sql: str, values: Iterable[Any]) -> list[dict[str, Any]]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._dsn)
        return [dict(row) for row in await self._connection.fetch(sql, *values)]

    def order(self, order_no: str) -> dict[str, Any] | None:
        """An order's row."""
        found = self.rows("SELECT * FROM orders WHERE order_no = $1", order_no)
        return found[0] if found else None

    def state(self, order_no: str) -> str | None:
        """Where an order stands; None: it was not admitted."""
        found = self.order(order_no)
        return None if found is None else str(found["state"])

    def states(self) -> Counter[str]:
        """How many orders stand where."""
        found = self.rows("SELECT state, count(*) AS orders FROM orders GROUP BY state")
        return Counter({row["state"]: row["orders"] for row in found})

    def steps(self, order_no: str) -> list[tuple[str | None, str, str]]:
        """An order's journal: from, to, cause."""
        sql = """SELECT from_state, to_state, cause FROM journal j JOIN orders o ON o.id = j.order_id
                  WHERE order_no = $1 ORDER BY j.at, j.version"""
        return [(row["from_state"], row["to_state"], row["cause"]) for row in self.rows(sql, order_no)]

    def path(self, order_no: str) -> list[str]:
        """The states that an order went through."""
        return [to for before, to, _ in self.steps(order_no) if to != before]

    def causes(self, order_no: str) -> list[str]:
        """What happened to an order."""
        return [cause for _, _, cause in self.steps(order_no)]

    def outbox(self) -> int:
        """How many events wait to be published or forgotten."""
        return int(self.rows("SELECT count(*) AS events FROM outbox")[0]["events"])

    def await_state(self, order_no: str, *states: str, seconds: float = 30) -> str:
        """Wait until an order stands in one of these states; return which."""
        until(
            lambda: self.state(order_no) in states,
            seconds,
            lambda: f"{order_no}: {self.state(order_no)}, expected {' or '.join(states)}; {self.steps(order_no)}",
        )
        return str(self.state(order_no))

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.terminate()
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
