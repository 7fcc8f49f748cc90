"""What a database says about itself to whoever checks it: server, schema, journal, and what stands in its way."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from worker.core.rules import transitions
from worker.ledger.connection import schema_problem
from worker.ledger.figures import FigureBook
from worker.ledger.gateways import GatewayBook
from worker.ledger.queries import load

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from worker.ledger.connection import Pool

_MOST_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Server:
    """How the server is, in a session like the worker's."""

    version: str
    number: int  # 180001 is 18.1
    synchronous_commit: str
    fsync: str
    full_page_writes: str
    read_only: bool
    time_zone: str
    free_connections: int  # so many more clients may connect


class OpenTransaction(NamedTuple):
    """Somebody's transaction that does not end."""

    pid: int
    user: str
    application: str
    state: str
    seconds: float


class Stalled(NamedTuple):
    """Orders of a gateway that are tried again and again, in vain."""

    gateway: str
    lost: bool  # they were sent each time, and the gateway knows nothing of it; else none of the tries sent them
    orders: int
    first: str  # the number of the one that has been so longest
    age: float  # seconds since that was first sent, or, if it never was, admitted


class Months(NamedTuple):
    """How far ahead the journal has its partitions."""

    ahead: int  # months without a gap, this one first
    strays: bool  # lines were written while their month's was missing


class Checkup:
    """Looks at one database and changes nothing; every method raises what its statement does."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self.figures = FigureBook(pool)
        self.gateways = GatewayBook(pool)

    async def server(self) -> Server:
        """Return how the server is."""
        return Server(**await self._row("server"))

    async def skew(self) -> timedelta:
        """Return how far the server's clock is ahead of ours; half of the round trip is its error at most."""
        before = datetime.now(UTC)
        theirs: datetime = await self._pool.fetchval(load("clock"))
        after = datetime.now(UTC)
        return theirs - (before + (after - before) / 2)

    async def schema_problem(self) -> str | None:
        """Return what is wrong with the schema and what to run; None: nothing."""
        return await schema_problem(self._pool)

    async def missing_rights(self) -> dict[str, str]:
        """Return what our user may not do though the worker does it, as the words of a GRANT, by table or sequence."""
        return {row["name"]: row["rights"] for row in await self._pool.fetch(load("missing_rights"))}

    async def missing_transitions(self) -> int:
        """Return how many steps of the machine the database would refuse."""
        known = {tuple(row) for row in await self._pool.fetch(load("transitions"))}
        ours = {(start and start.value, to.value, cause.value) for start, to, cause in transitions()}
        return len(ours - known)

    async def months(self) -> Months:
        """Return how far ahead the journal has its partitions."""
        row = await self._row("journal_months", _MOST_MONTHS)
        return Months(row["months"], row["strays"])

    async def oldest_transaction(self, longer_than: float) -> OpenTransaction | None:
        """Return somebody's transaction that has been open longest, and for more than so many seconds."""
        row = await self._pool.fetchrow(load("oldest_transaction"), longer_than)
        if row is None:
            return None
        return OpenTransaction(
            row["pid"], row["usename"] or "", row["application_name"] or "", row["state"] or "", row["seconds"]
        )

    async def stray_gateways(self, configured: "Iterable[str]") -> list[str]:
        """Return the gateways with open orders or hints that are not among the configured ones."""
        return [row["gateway"] for row in await self._pool.fetch(load("stray_gateways"), list(configured))]

    async def stalled(self, tries: int) -> list[Stalled]:
        """Return what so many calls, or more, have not brought on: lost each time, or not sent as often in a row."""
        return [Stalled(*row) for row in await self._pool.fetch(load("stalled"), tries)]

    async def last_unanswered(self, gateway: str) -> str:
        """Return what was wrong with the call there whose outcome has been unknown for the shortest; empty: none is."""
        return await self._pool.fetchval(load("last_unanswered"), gateway) or ""

    async def _row(self, name: str, *values: object) -> "asyncpg.Record":
        row = await self._pool.fetchrow(load(name), *values)
        if row is None:
            raise LookupError(f"{name}: no row")
        return row
