"""Ledgers on a real database, and orders to put into them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from worker.core.machine import Decision
from worker.core.order import Event, Fact, Order
from worker.core.policy import Policy
from worker.ledger.admission import Admitted
from worker.ledger.connection import Pool, create_pool
from worker.ledger.ledger import Ledger
from worker.ledger.rows import OutboxEvent

DIGEST = b"\x01" * 32
EVIDENCE = {"http": 200, "body": "it arrived"}
ARRIVED = Fact(Event.ARRIVED, evidence=EVIDENCE)


def render(order: Order, what: str, _at: datetime) -> OutboxEvent:
    """Return every event of every order."""
    key = f"order.{what}.{order.source}"
    return OutboxEvent(f"{order.order_no}:{order.version}", key, what.encode(), order.correlation_id)


def make(order_no: str = "T1", **others: Any) -> Order:
    """Return an order that has not been admitted yet."""
    given: dict[str, Any] = {
        "source": "shop",
        "product": "mobile",
        "amount_fen": 10_000,
        "target": {"mobile": "13800138000"},
        "route": ("one", "two"),
        "gateway": "one",
    }
    return Order(order_no=order_no, **(given | others))


@dataclass
class House:
    """A ledger, its pool, and the events that it told."""

    ledger: Ledger
    pool: Pool
    told: list[OutboxEvent] = field(default_factory=list)

    async def admit(self, order_no: str = "T1", *, sending: bool = True, **others: Any) -> Order:
        """Admit a new order and return it."""
        return (await self.admitted(order_no, sending=sending, **others)).order

    async def admitted(
        self, order_no: str = "T1", *, sending: bool = True, digest: bytes = DIGEST, **others: Any
    ) -> Admitted:
        """Admit an order and return what became of it."""
        return await self.ledger.admit(make(order_no, **others), digest, sending=sending)

    async def step(self, order: Order, event: Event, **others: Any) -> Order:
        """Apply a fact with evidence that must move the order, and return the order."""
        decision = await self.ledger.apply(order, Fact(event, **({"evidence": EVIDENCE} | others)))
        assert isinstance(decision, Decision), decision
        return decision.order

    async def journal(self, order_no: str = "T1") -> list[tuple[int, str | None, str, str, int]]:
        """Return the journal of an order: version, from, to, cause, attempt."""
        rows = await self.pool.fetch(
            "SELECT version, from_state, to_state, cause, attempt FROM journal"
            " WHERE order_id = (SELECT id FROM orders WHERE order_no = $1) ORDER BY version, at",
            order_no,
        )
        return [tuple(row) for row in rows]

    async def value(self, query: str, *values: Any) -> Any:
        """Return one value of a query."""
        return await self.pool.fetchval(query, *values)

    async def sent_ago(self, order: Order, seconds: float) -> Order:
        """Let an order have been sent first so long ago, which no step would do, and return it."""
        await self.pool.execute("ALTER TABLE orders DISABLE TRIGGER stepped")
        await self.pool.execute(
            "UPDATE orders SET sent_at = now() - make_interval(secs => $2) WHERE id = $1", order.id, seconds
        )
        await self.pool.execute("ALTER TABLE orders ENABLE TRIGGER stepped")
        found = await self.ledger.find(order.order_no)
        assert found is not None
        return found

    async def rings(self) -> None:
        """Let every alarm be due."""
        await self.pool.execute("UPDATE alarms SET due_at = now() - interval '1 second'")


@asynccontextmanager
async def house(
    dsn: str,
    *,
    policy: Policy | None = None,
    size: int = 2,
    rendered: Callable[[Order, str, datetime], OutboxEvent | None] = render,
) -> AsyncIterator[House]:
    """A started ledger."""
    pool = await create_pool(dsn, size)
    told: list[OutboxEvent] = []

    def tell(events: Sequence[OutboxEvent]) -> None:
        told.extend(events)

    policies = {"one": policy or Policy(), "two": policy or Policy()}
    ledger = Ledger(pool, policies=policies, render=rendered, tell=tell, chance=lambda: 0.5)
    await ledger.start()
    try:
        yield House(ledger, pool, told)
    finally:
        await ledger.stop()
        pool.terminate()


@asynccontextmanager
async def connected(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A plain connection, as a person's."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()
