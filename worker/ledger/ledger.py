"""The ledger's verbs: `admit`, `apply` and `claim`. Nothing else writes an order.

Callers deal with one order at a time; batches reach the database (`batch.py`). An order is written by
compare-and-set: decided on the row as it was read, written only if nobody has written it since, else
read and decided again. So no lock is held while Python thinks, and a statement may run twice.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from worker.core.clock import boottime
from worker.core.machine import Decision, Ignored, Moment, admit, decide
from worker.core.order import Fact, Order, Task, candidates
from worker.core.policy import Policy
from worker.ledger.admission import Admission, Admissions, Admitted, Entry, Render
from worker.ledger.batch import Batcher, Observer
from worker.ledger.clock import SharedClock
from worker.ledger.connection import Pool, is_away
from worker.ledger.queries import load
from worker.ledger.rows import OutboxEvent, Stored, event_values, from_record, step_values, to_event

ANSWER_SECONDS = 3.0
REMEMBERED = 5_000
"""How many orders a process remembers as it wrote them last: a callback soon after needs no reading."""

MakeFact = Callable[[Order], Fact | None]
"""Makes a fact about the order as it is in the ledger now; None: it has nothing to say about it."""


class Located(NamedTuple):
    """One attempt of an order, found by its number."""

    order: Order
    attempt: int
    gateway: str  # that was given this attempt, also where it is not the order's latest


class _Step(NamedTuple):
    """One decided step on its way to the database."""

    decision: Decision
    token: int
    event: OutboxEvent | None


def _unwatched(_decision: Decision) -> None:
    """Nobody counts."""


class Ledger:
    """The one way to orders in PostgreSQL.

    `tell` is handed the events of each commit, to publish them at once. `stepped` is told of each order that this
    ledger has admitted or moved, `flushed` of each try of a batch; neither may fail.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        policies: Mapping[str, Policy],
        render: Render,
        tell: Callable[[Sequence[OutboxEvent]], None],
        chance: Callable[[], float],
        stepped: Callable[[Decision], None] = _unwatched,
        flushed: Observer | None = None,
    ) -> None:
        self._pool = pool
        self._stepped = stepped
        self._policies = policies
        self._render = render
        self._tell = tell
        self._chance = chance
        self._clock = SharedClock()
        self.now = self._clock.now
        """Returns the database's time."""
        self._written: OrderedDict[str, Order] = OrderedDict()
        self._tokens = random.SystemRandom().getrandbits(62)
        self._admit = Batcher(Admissions(self._fetch, render, tell).flush, name="admit", observe=flushed)
        self._step = Batcher(self._flush_steps, name="step", observe=flushed)
        self._find = Batcher(self._flush_finds, name="find", observe=flushed)

    async def start(self) -> None:
        """Begin to take calls."""
        await self.synchronize()
        for batcher in (self._admit, self._step, self._find):
            batcher.start()

    async def stop(self) -> None:
        """Take no more calls; what still waits is cancelled and nothing of it may be believed."""
        for batcher in (self._admit, self._step, self._find):
            await batcher.stop()

    async def synchronize(self) -> None:
        """Look at the database's clock, which all workers share: `now` tells its time."""
        async with self._pool.acquire() as connection:  # first, since waiting for one would count as doubt
            asked_at = boottime()
            theirs = await connection.fetchval(load("clock"))
            self._clock.measured(asked_at, theirs, boottime())

    async def answers(self) -> bool:
        """Return whether the database answers at once."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._pool.fetchval(load("clock"))
        except Exception as error:
            if not is_away(error):
                raise
            return False
        return True

    # --- the verbs -------------------------------------------------------------------------------

    async def admit(self, order: Order, digest: bytes, *, sending: bool) -> Admitted:
        """Let an order in, already `submitting` where its call follows at once, else `queued`.

        Raises:
            asyncpg.PostgresError: the database refuses this very order.
        """
        now = self.now()
        decision = admit(order, self._moment(order.gateway, now), sending=sending)
        event = self._render(decision.order, "accepted", now)
        entry = Entry(decision, digest, self._token(), event, order.correlation_id, order.trace)
        admitted = await self._admit(entry)
        if admitted.admission is Admission.NEW:
            self._stepped(decision)
            self._remember(admitted.order)
        return admitted

    async def apply(self, order: Order, fact: Fact | MakeFact) -> Decision | Ignored:
        """Let the machine decide what a fact makes of the order as it is now, and write it.

        `order` may be what the caller remembers of it: it is read again where that is out of date.

        Raises:
            asyncpg.PostgresError: the database refuses this very step.
        """
        current, remembered = order, True
        while True:
            made = fact(current) if callable(fact) else fact
            decision: Decision | Ignored = Ignored(current, None)
            if made is not None:
                now = self.now()
                decision = decide(current, made, self._moment(current.gateway, now))
                if isinstance(decision, Decision) and (written := await self._write(decision, now)):
                    return written
            if isinstance(decision, Ignored) and not remembered:
                return decision
            current, remembered = await self._reread(order), False

    async def _write(self, decision: Decision, now: datetime) -> Decision | None:
        """Write a decision; None: somebody else has written the order since it was read."""
        event = self._render(decision.order, decision.tell, now) if decision.tell else None
        while True:
            try:
                written = await self._step(_Step(decision, self._token(), event))
            except asyncpg.UniqueViolationError:
                if not decision.new_attempt:
                    raise
                # the number is another order's own ("T1R2"): it is passed over, never used twice
                number = {"attempt": decision.order.attempt + 1}
                decision = decision._replace(
                    order=decision.order.changed(number), changes={**decision.changes, **number}
                )
            else:
                if not written:
                    return None
                self._stepped(decision)
                self._remember(decision.order)
                return decision

    def _remember(self, order: Order) -> None:
        self._written[order.order_no] = order
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)

    def would_move(self, order: Order, fact: Fact) -> bool:
        """Return whether a fact, were it true, would be a step of the order."""
        decision = self.foresee(order, fact)
        return isinstance(decision, Decision) and decision.order.version != order.version

    def foresee(self, order: Order, fact: Fact) -> Decision | Ignored:
        """Return what a fact would make of the order as it is given, and write nothing."""
        return decide(order, fact, self._moment(order.gateway, self.now()))

    async def claim(
        self, gateway: str, task: Task, limit: int, lease: float, products: Sequence[str] | None = None
    ) -> list[Order]:
        """Take up to `limit` orders of a gateway whose alarm is due for `task`; they are ours for `lease` seconds."""
        rows = await self._fetch("claim", gateway, task.value, products, limit, lease)
        return [from_record(row).order for row in rows]

    async def claim_expired(self, limit: int, products: Sequence[str] | None = None) -> list[Order]:
        """Take up to `limit` orders that waited past their `expires_at`."""
        return [from_record(row).order for row in await self._fetch("claim_expired", limit, products)]

    async def stray_gateways(self, known: Sequence[str]) -> list[str]:
        """Return the gateways with open orders that are not among `known`: nobody takes those orders up."""
        return [row["gateway"] for row in await self._fetch("stray_gateways", known)]

    # --- reading ---------------------------------------------------------------------------------

    async def find(self, order_no: str) -> Order | None:
        """Return an order by its number."""
        stored = await self._find(order_no)
        return stored.order if stored else None

    async def locate(self, reference: str) -> Located | None:
        """Return whose number `reference` is: an order, which of its attempts, and the gateway that has that one.

        The order may be what this process wrote last, and out of date; `apply` finds that out.
        """
        order = self._written.get(reference) or await self.find(reference)
        if order is not None:
            return Located(order, 1, order.route[0])
        if len(candidates(reference)) > 1:
            for row in await self._fetch("find_attempt", reference):
                order = await self.find(row["order_no"])
                if order is not None:
                    return Located(order, row["attempt"], row["gateway"])
        return None

    async def _reread(self, order: Order) -> Order:
        current = await self.find(order.order_no)
        if current is None:
            raise LookupError(f"order {order.order_no} is not in the ledger")
        return current

    # --- events ----------------------------------------------------------------------------------

    async def take_events(self, limit: int) -> list[OutboxEvent]:
        """Take events that nobody got confirmed in time, to publish them."""
        return [to_event(row) for row in await self._fetch("take_events", limit)]

    async def forget_events(self, ids: Sequence[int]) -> None:
        """Remove events that the broker has confirmed."""
        await self._pool.execute(load("forget_events"), ids)

    async def release_events(self, ids: Sequence[int]) -> None:
        """Leave events to any worker at once, instead of when our time to publish them is over."""
        await self._pool.execute(load("release_events"), ids)

    async def _fetch(self, name: str, *values: Any) -> "list[asyncpg.Record]":
        return await self._pool.fetch(load(name), *values)

    # --- flushing --------------------------------------------------------------------------------

    def _token(self) -> int:
        """Return a number that no other write of any worker has; see `Entry.token`."""
        self._tokens = (self._tokens + 1) % 2**62
        return self._tokens

    def _moment(self, gateway: str, now: datetime) -> Moment:
        return Moment(now, self._policies.get(gateway) or Policy(), self._chance())

    async def _flush_steps(self, steps: Sequence[_Step]) -> list[bool]:
        firsts: dict[int, _Step] = {}
        for step in steps:
            firsts.setdefault(step.decision.order.id, step)
        ordered = [firsts[key] for key in sorted(firsts)]
        values = [step_values(s.decision, s.token) for s in ordered]
        events = [event_values(s.decision.order.id, s.event) for s in ordered if s.event is not None]
        rows = await self._fetch("step", *zip(*values, strict=True), *_columns(events, 6))
        written = {row["id"] for row in rows if row["id"] is not None}
        outbox = {row["message_id"]: row["outbox_id"] for row in rows if row["outbox_id"] is not None}
        told = [
            s.event.stored(outbox[s.event.message_id])
            for s in ordered
            if s.event is not None and s.decision.order.id in written
        ]
        if told:
            self._tell(told)
        if missing := [key for key in firsts if key not in written]:
            for row in await self._fetch("tokens", missing):
                if row["write_token"] == firsts[row["id"]].token:
                    # our own write, whose commit was not heard of; its event leaves through the outbox
                    written.add(row["id"])
        return [s is firsts[s.decision.order.id] and s.decision.order.id in written for s in steps]

    async def _flush_finds(self, order_nos: Sequence[str]) -> list[Stored | None]:
        rows = await self._fetch("find", list(set(order_nos)))
        stored = {row["order_no"]: from_record(row) for row in rows}
        return [stored.get(order_no) for order_no in order_nos]


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    """Return rows as columns, also where there is no row."""
    return list(zip(*rows, strict=True)) if rows else [()] * width
