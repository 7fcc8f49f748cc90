"""Looks at the running system from outside: the ledger's states, the queues' depths, what the gateways have charged."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from worker.broker.connection import Link, ask
from worker.broker.topology import Topology
from worker.core.order import FINAL, State
from worker.demo.traffic import EVENTS_QUEUE
from worker.demo.verdict import Charge, Row
from worker.ledger.connection import create_pool

if TYPE_CHECKING:
    import asyncpg
    from aiormq import Channel

_STATES = "SELECT product, state, count(*) AS orders FROM orders GROUP BY product, state"
_ROWS = "SELECT order_no, product, gateway, attempt, state, version, amount_fen, cost_fen FROM orders"
_OUTBOX = "SELECT count(*) FROM outbox"
_JOURNAL = """
    SELECT o.order_no, j.version, j.at, j.from_state, j.to_state, j.cause, j.attempt, j.code, j.message, j.evidence
      FROM journal j JOIN orders o ON o.id = j.order_id
     WHERE o.order_no = ANY($1::text[])
     ORDER BY o.order_no, j.at, j.version
"""
_HTTP_SECONDS = 10.0
_ENDED = frozenset(state.value for state in FINAL) | {State.REVIEW.value}


@dataclass(frozen=True, slots=True)
class Sight:
    """How everything stood at one moment."""

    states: Counter[str] = field(default_factory=Counter)
    ended_of: Counter[str] = field(default_factory=Counter)  # by product: nothing more happens to them by itself
    depths: dict[str, int] = field(default_factory=dict)
    outbox: int = 0
    kept_fen: dict[str, int] = field(default_factory=dict)  # what each gateway has of our money

    @property
    def ended(self) -> int:
        """How many orders nothing more happens to by itself."""
        return self.ended_of.total()


class Watch:
    """Three connections that only look: `async with Watch(…) as watch: … await watch.look()`."""

    def __init__(self, amqp_url: str, dsn: str, sandbox_url: str, gateways: Iterable[str], topology: Topology) -> None:
        self._amqp_url = amqp_url
        self._dsn = dsn
        self._sandbox_url = sandbox_url
        self._gateways = tuple(gateways)
        self._queues = {
            "orders": [topology.submit(product) for product in topology.products],
            "callbacks": [topology.callbacks],
            "events": [EVENTS_QUEUE],
            "dead": [topology.dead],
        }
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._link: Link | None = None
        self._channel: Channel | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_HTTP_SECONDS))
        self._pool = await create_pool(self._dsn, 1)
        self._link = await Link.connect(self._amqp_url, "demo watch")
        self._channel = await self._link.channel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
        if self._pool is not None:
            self._pool.terminate()
        if self._link is not None:
            await self._link.close()

    async def look(self) -> Sight:
        """Return how everything stands."""
        sight = Sight(outbox=(await self._fetch(_OUTBOX))[0][0])
        for row in await self._fetch(_STATES):
            sight.states[row["state"]] += row["orders"]
            if row["state"] in _ENDED:
                sight.ended_of[row["product"]] += row["orders"]
        for name, queues in self._queues.items():
            sight.depths[name] = sum([await self._depth(queue) for queue in queues])
        for gateway in self._gateways:
            sight.kept_fen[gateway] = (await self._get(f"/ledger/totals?gateway={gateway}"))["net_fen"]
        return sight

    async def rows(self) -> list[Row]:
        """Return every order of the ledger."""
        return [Row(**row) for row in await self._fetch(_ROWS)]

    async def charges(self) -> list[Charge]:
        """Return every order number of every gateway, the oldest first."""
        return [Charge.read(row) for row in (await self._get("/ledger"))["orders"]]

    async def journal(self, order_nos: list[str]) -> list[dict[str, Any]]:
        """Return the journal of some orders."""
        return [dict(row) for row in await self._fetch(_JOURNAL, order_nos)]

    async def _fetch(self, query: str, *arguments: Any) -> "list[asyncpg.Record]":
        if self._pool is None:
            raise RuntimeError("enter the watch first")
        return await self._pool.fetch(query, *arguments)

    async def _depth(self, queue: str) -> int:
        if self._channel is None:
            raise RuntimeError("enter the watch first")
        return (await ask(self._channel.queue_declare(queue, passive=True), queue)).message_count or 0

    async def _get(self, path: str) -> Any:
        if self._http is None:
            raise RuntimeError("enter the watch first")
        async with self._http.get(self._sandbox_url + path) as answer:
            return await answer.json()
