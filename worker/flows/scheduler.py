"""Taking up orders whose alarm rings: queries, queued orders, ended leases, orders that waited too long."""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from worker.core.order import TASKS, Event, Fact, Order, State, Task
from worker.core.outcome import Status
from worker.core.subject import about
from worker.flows.sending import take
from worker.gateways.lease import Lease
from worker.ledger.connection import is_away

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.machine import Decision, Ignored
    from worker.core.outcome import Report
    from worker.flows.hints import Hints
    from worker.flows.sending import Sending
    from worker.gateways.gateway import Gateway
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.scheduler")

TICK_SECONDS = 0.5
PACE_SECONDS = 0.02
"""However often it is woken, it looks no more often than this."""
CLOCK_SECONDS = 30.0
MOST = 500
FRESH_SECONDS = 10.0
LATE_PAYMENT_SECONDS = 300.0
HOLD_SECONDS = 15.0
"""How long a claim holds beyond the call that it is for; then the alarm rings again."""


class Scheduler:
    """Claims due orders and works on each in a task of its own. Waiting itself is PostgreSQL's."""

    def __init__(
        self,
        ledger: "Ledger",
        gateways: "Mapping[str, Gateway]",
        products: Sequence[str] | None,
        hints: "Hints",
    ) -> None:
        self._ledger = ledger
        self._hints = hints
        self._gateways = gateways
        self._products = products
        self.sending: Sending | None = None  # whose freed slots wake us, so it is made after us
        self._wake = asyncio.Event()
        self._stopping = False
        self._backlog: set[str] = set()
        self._asking = dict.fromkeys(gateways, 0)
        self._crowded: set[str] = set()  # gateways with more due queries than room
        self._tasks: set[asyncio.Task[None]] = set()
        self._looked_at: float | None = None  # when the alarms were last looked at, on a clock that nobody sets

    # --- what others tell it -----------------------------------------------------------------------

    def wake(self) -> None:
        """Look at the alarms now: one of them has been set to ring."""
        self._wake.set()

    def queued(self, gateway: str) -> None:
        """Note that an order waits for a slot of `gateway`; later ones queue behind it."""
        self._backlog.add(gateway)
        self._wake.set()

    def freed(self, gateway: str) -> None:
        """Note that a slot of `gateway` is free again."""
        if gateway in self._backlog:
            self._wake.set()

    def has_backlog(self, gateway: str) -> bool:
        """Return whether orders wait in the ledger for a slot of `gateway`."""
        return gateway in self._backlog

    def fresh(self) -> bool:
        """Return whether the alarms have been looked at lately, which takes a working database."""
        return self._looked_at is not None and time.monotonic() - self._looked_at < FRESH_SECONDS

    # --- its loop ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim and work until cancelled; a database that is away is waited for."""
        loop = asyncio.get_running_loop()
        next_clock = 0.0
        while True:
            more = False
            try:
                if loop.time() >= next_clock:
                    await self._ledger.synchronize()
                    await self._tell_strays()
                    next_clock = loop.time() + CLOCK_SECONDS
                more = await self._look()
                self._looked_at = time.monotonic()
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("database_away", error=type(error).__name__)
            await asyncio.sleep(PACE_SECONDS)
            if not more:
                await self._rest()

    async def drain(self, seconds: float) -> None:
        """Begin no more calls, and wait for the work in hand, at most so long; what is left rings again."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    async def _tell_strays(self) -> None:
        for name in await self._ledger.stray_gateways(list(self._gateways)):
            log.error("orders_of_unknown_gateway", gateway=name, what="nobody takes its open orders up: configure it")

    async def _look(self) -> bool:
        """Claim once of each kind; return whether there may be more."""
        more = False
        for order in (expired := await self._ledger.claim_expired(MOST, self._products)):
            self._spawn(order, self._expire(order))
        more |= len(expired) == MOST
        for name, gateway in self._gateways.items():
            ended = await self._ledger.claim(name, Task.LEASE, MOST, HOLD_SECONDS, self._products)
            for order in ended:
                self._spawn(order, self._end_lease(order))
            more |= len(ended) == MOST
            await self._claim_queries(name, gateway)
            await self._claim_submits(name, gateway)
        return more

    async def _claim_queries(self, name: str, gateway: "Gateway") -> None:
        settings = gateway.adapter.settings
        room = max(1, settings.concurrency // 2) - self._asking[name]
        if room <= 0:
            return
        hold = settings.timeout_seconds + HOLD_SECONDS
        orders = await self._ledger.claim(name, Task.QUERY, room, hold, self._products)
        if len(orders) < room:
            self._crowded.discard(name)
        else:
            self._crowded.add(name)
        for order in orders:
            self._asking[name] += 1
            self._spawn(order, self._ask(order, gateway))

    async def _claim_submits(self, name: str, gateway: "Gateway") -> None:
        free = gateway.gate.free_submits()
        if free <= 0:
            return
        orders = await self._ledger.claim(name, Task.SUBMIT, min(free, MOST), HOLD_SECONDS, self._products)
        if len(orders) < free:
            self._backlog.discard(name)
        else:
            self._backlog.add(name)
        for order in orders:
            self._spawn(order, self._submit(order, gateway))

    # --- the work on one order ---------------------------------------------------------------------

    async def _submit(self, order: Order, gateway: "Gateway") -> None:
        if self.sending is None or not await gateway.gate.enter_submit(HOLD_SECONDS / 2):
            return
        started = False
        try:
            lease = Lease.lasting(gateway.policy.lease)
            taken = None if self._stopping else await take(self._ledger, order)
            if taken is not None:
                self.sending.start(taken, lease)
                started = True
        finally:
            if not started:
                gateway.gate.leave()

    async def _ask(self, order: Order, gateway: "Gateway") -> None:
        try:
            await self._question(order, gateway)
        finally:
            self._asking[gateway.name] -= 1
            if gateway.name in self._crowded:
                self._wake.set()

    async def _question(self, order: Order, gateway: "Gateway") -> None:
        asked_at = self._ledger.now()
        report = await gateway.query(order, asked_at)
        await self.answered(order, gateway, report, asked_at)

    async def answered(
        self, order: Order, gateway: "Gateway", report: "Report", asked_at: "datetime"
    ) -> "Decision | Ignored":
        """Apply what `gateway` answered about `order` to a question of `asked_at`, unless something newer is known."""

        def answer(current: Order) -> Fact | None:
            hinted = current.noted != order.noted and current.hinted and current.state in TASKS
            # a hint that came after the question outweighs its answer: the alarm rings already, to ask again
            return None if hinted else report.answer(current, order, asked_at)

        if self._ends_unpaid(order, report, asked_at):
            # nobody has paid in time, as far as it shows: a payment of the last moment may show later
            await self._hints.keep(order, order.attempt, gateway.name, LATE_PAYMENT_SECONDS)
        decision = await self._ledger.apply(order, answer)
        if report.outdated(decision.order, order.attempt):
            # given up since the question: whether it lives after all is asked anew
            await self._hints.keep(decision.order, order.attempt, gateway.name)
        if decision.order.state is State.QUEUED or decision.order.hinted:
            self._wake.set()
        return decision

    def _ends_unpaid(self, order: Order, report: "Report", asked_at: "datetime") -> bool:
        """Return whether an order ends with this report that nobody has paid."""
        unpaid = order.state is State.AWAITING_PAYMENT and report.status is Status.PAYMENT_DUE
        return unpaid and self._ledger.would_move(order, report.answer(order, order, asked_at))

    async def _end_lease(self, order: Order) -> None:
        fact = Fact(Event.LEASE_ENDED, attempt=order.attempt, sending=order.sending)
        decision = await self._ledger.apply(order, fact)
        log.warning("lease_ended", order_no=order.order_no, gateway=order.gateway, state=decision.order.state)

    async def _expire(self, order: Order) -> None:
        if order.expires_at is not None and order.expires_at <= self._ledger.now():
            evidence = {"expires_at": order.expires_at.isoformat()}
            await self._ledger.apply(order, Fact(Event.EXPIRED, evidence=evidence))

    def _spawn(self, order: Order, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_guarded(order, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _guarded(order: Order, work: Coroutine[Any, Any, None]) -> None:
    """Run the work on one order; whatever goes wrong, its alarm rings again."""
    about(order)
    try:
        await work
    except Exception as error:
        log.exception("work_failed", error=type(error).__name__)
