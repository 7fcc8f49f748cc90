"""Reconciliations in PostgreSQL: what a run compares, what it has found so far, and what orders took from a balance.

A run is written down as it goes: one that is interrupted goes on where it was, on whatever machine.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.core.movement import Held
from worker.ledger.batch import Batcher
from worker.ledger.queries import load
from worker.ledger.rows import clean, from_record, json_text

if TYPE_CHECKING:
    import asyncpg

    from worker.core.order import Event, Fact, Order
    from worker.ledger.connection import Pool

PAGE = 1000
_FORGOTTEN = 10_000  # in one statement
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Run(NamedTuple):
    """One reconciliation: of what was settled from `since` on and before `until`, at one gateway or (None) at all."""

    id: int
    since: datetime
    until: datetime
    gateway: str | None
    started_at: datetime
    listed: bool  # all that it compares is listed
    resumed: bool  # it was interrupted before


class Finding(NamedTuple):
    """What was found out about one attempt; `kind` None: it agrees. Amounts are fen."""

    gateway: str
    order_id: int
    attempt: int
    answered: bool  # False: it is asked about again when the run goes on
    kind: str | None
    state: str  # of the order, here
    answer: str  # their status, or why nobody was asked
    ours_fen: int | None = None
    theirs_fen: int | None = None
    amount_fen: int | None = None
    cost_fen: int | None = None  # what it cost us, by them
    detail: str | None = None
    action: str | None = None
    applied: str | None = None  # what the machine made of the answer, where it was told


class Tally(NamedTuple):
    """How far a run has come with one gateway."""

    gateway: str
    listed: int
    answered: int
    differing: int
    first_asked_at: datetime | None
    last_asked_at: datetime | None


class Found(NamedTuple):
    """A difference as it is reported; see `Finding`."""

    gateway: str
    order_id: int
    attempt: int
    order_no: str
    product: str
    source: str
    asked_at: datetime | None
    kind: str
    state: str
    answer: str
    ours_fen: int | None
    theirs_fen: int | None
    amount_fen: int
    detail: str
    action: str
    applied: str | None


class ReconciliationBook:
    """Keeps runs. Every statement may run twice."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._keep = Batcher(self._flush, name="reconciled", pace=0.02)

    async def start(self) -> None:
        """Begin to take findings."""
        self._keep.start()

    async def stop(self) -> None:
        """Take no more findings; those that still wait are asked about again."""
        await self._keep.stop()

    async def now(self) -> datetime:
        """Return the database's time, by which steps are dated."""
        told: datetime = await self._pool.fetchval(load("clock"))
        return told

    # --- a run's life ------------------------------------------------------------------------------

    async def begin(self, since: datetime, until: datetime, gateway: str | None, *, fresh: bool) -> Run:
        """Return the run of this period that was interrupted, or a new one; `fresh`: a new one in any case."""
        began_at = await self.now()
        run = await self._open(since, until, gateway, began_at)
        if fresh and run.resumed:
            await self.finish(run, None, None)
            run = await self._open(since, until, gateway, began_at)
        return run

    async def _open(self, since: datetime, until: datetime, gateway: str | None, began_at: datetime) -> Run:
        row = None
        while row is None:  # somebody else is just beginning the same one
            row = await self._pool.fetchrow(load("open_reconciliation"), since, until, gateway)
        listed, started_at = row["listed_at"] is not None, row["started_at"]
        return Run(row["id"], since, until, gateway, started_at, listed, resumed=started_at < began_at)

    async def fill(self, run: Run) -> Run:
        """List what a run compares: what was settled in its period, and what was sent in it and is still open."""
        if run.listed:
            return run
        last: tuple[datetime, int] = (run.since, 0)
        while rows := await self._fetch("settled_page", run.since, run.until, *last, PAGE):
            last = (rows[-1]["at"], rows[-1]["order_id"])
            await self._list(run, [row["order_id"] for row in rows])
        last_id = 0
        while rows := await self._fetch("open_page", run.since, run.until, last_id, PAGE):
            last_id = rows[-1]["order_id"]
            await self._list(run, [row["order_id"] for row in rows])
        await self._pool.execute(load("mark_listed"), run.id)
        return run._replace(listed=True)

    async def reopen(self, run: Run) -> None:
        """Have what differs asked about again where the machine was not told of it: the run began without `apply`."""
        await self._pool.execute(load("reopen_reconciled"), run.id)

    async def finish(self, run: Run, compared: int | None, differences: int | None) -> bool:
        """End a run with its result, or (None) give it up; what it compared is forgotten.

        False: somebody else has ended it, and with it what was read of it may be incomplete.
        """
        ended = await self._pool.fetchval(load("finish_reconciliation"), run.id, compared, differences)
        while await self._pool.execute(load("forget_reconciled"), run.id, _FORGOTTEN) != "DELETE 0":
            pass
        return ended is not None

    # --- its work ----------------------------------------------------------------------------------

    async def unanswered(self, run: Run, gateway: str) -> "AsyncIterator[tuple[Order, int]]":
        """Yield the attempts at a gateway that there is no answer about, each with its order as it is then."""
        last = (0, 0)
        while rows := await self._fetch("unanswered_page", run.id, gateway, *last, PAGE):
            for row in rows:
                yield from_record(row).order, row["asked_attempt"]
            last = (rows[-1]["id"], rows[-1]["asked_attempt"])

    async def keep(self, run: Run, finding: Finding) -> None:
        """Write down what was found out about one attempt."""
        await self._keep((run.id, finding))

    async def judged(self, order: "Order", event: "Event", fact: "Fact", *, by_message: bool) -> bool:
        """Return whether a person's decision is the order's last step, and he had this very contradiction before him.

        It is the same where their answer is, word for word; `by_message`: also where it comes to the same message.
        """
        told: bool = await self._pool.fetchval(
            load("judged"),
            *(order.id, order.version, fact.attempt, event.value),
            *(clean(fact.message) if by_message else None, json_text(fact.evidence)),
        )
        return told

    # --- what it came to ---------------------------------------------------------------------------

    async def tally(self, run: Run) -> list[Tally]:
        """Return how far a run has come, by gateway."""
        return [Tally(*row) for row in await self._fetch("tally_reconciled", run.id)]

    async def differences(self, run: Run) -> AsyncIterator[Found]:
        """Yield the differences that a run has found, by gateway and in the order of admission."""
        last: tuple[str, int, int] = ("", 0, 0)
        while rows := await self._fetch("differences_page", run.id, *last, PAGE):
            for row in rows:
                yield Found(*row)
            last = (rows[-1]["gateway"], rows[-1]["order_id"], rows[-1]["attempt"])

    async def held(self, run: Run, gateway: str, start: datetime, end: datetime) -> AsyncIterator[Held]:
        """Yield what may have moved our balance at a gateway after `start` and until `end`, an order once each."""
        seen: set[int] = set()
        last: tuple[datetime, int] = (start, 0)
        now = await self.now()
        while rows := await self._fetch("settled_page", start, now, *last, PAGE):
            last = (rows[-1]["at"], rows[-1]["order_id"])
            for each in await self._held(run, gateway, start, end, {row["order_id"] for row in rows} - seen):
                yield each
            seen.update(row["order_id"] for row in rows)
        last_id = 0
        while rows := await self._fetch("open_page", _LONG_AGO, end, last_id, PAGE):
            last_id = rows[-1]["order_id"]
            for each in await self._held(run, gateway, start, end, {row["order_id"] for row in rows} - seen):
                yield each

    # --- inside ------------------------------------------------------------------------------------

    async def _held(
        self, run: Run, gateway: str, start: datetime, end: datetime, order_ids: Collection[int]
    ) -> list[Held]:
        rows = await self._fetch("held", sorted(order_ids), gateway, start, end, run.id)
        return [Held(*row) for row in rows]

    async def _list(self, run: Run, order_ids: Sequence[int]) -> None:
        await self._pool.execute(load("list_reconciled"), run.id, order_ids, run.gateway)

    async def _flush(self, items: Sequence[tuple[int, Finding]]) -> Sequence[None]:
        for run_id in {run_id for run_id, _ in items}:
            rows = [_values(finding) for each, finding in items if each == run_id]
            await self._pool.execute(load("keep_reconciled"), run_id, *map(list, zip(*rows, strict=True)))
        return [None] * len(items)

    async def _fetch(self, name: str, *values: Any) -> "list[asyncpg.Record]":
        return await self._pool.fetch(load(name), *values)


def _values(finding: Finding) -> tuple[Any, ...]:
    made = finding._replace(detail=clean(finding.detail))  # their own words are in it
    return (
        *(made.gateway, made.order_id, made.attempt, made.answered, made.kind, made.state, made.answer),
        *(made.ours_fen, made.theirs_fen, made.amount_fen, made.cost_fen, made.detail, made.action, made.applied),
    )
