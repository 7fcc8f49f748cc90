"""Pauses: every worker obeys what the ledger says of them, and says there when our money at a gateway is used up.

A pause stops submits only: orders wait as `queued` and expire when they must, queries and callbacks go on. One by hand
ends by hand. One because our money is used up ends by itself when a top-up is seen: the balance has grown, and is
enough for the smallest order that waits. And since a balance may not be had, or not tell all (it was topped up before
it was first asked for, a part of it is reserved), one order is tried from time to time, by one worker, unless a balance
that was read lately says that it would be in vain. When the gateway takes that order, or refuses it for another reason,
the pause is over.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from worker.core.outcome import Outcome
from worker.flows.balances import turn
from worker.gateways.breaker import BreakerState
from worker.ledger.connection import is_away
from worker.ledger.gateways import Beat, Standing

if TYPE_CHECKING:
    from worker.core.outcome import Submitted
    from worker.gateways.gateway import Gateway
    from worker.ledger.gateways import GatewayBook, Pause
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.pauses")

LOOK_SECONDS = 2.0
STALE = 10
"""A balance says nothing any more after so many questions that got no answer."""
_CONCLUSIVE = frozenset({Outcome.ACCEPTED, Outcome.SUCCEEDED, Outcome.REJECTED})


class Pauses:
    """One worker's part in it. `standings` is what the ledger said last, for whoever shows it."""

    def __init__(
        self,
        ledger: "Ledger",
        book: "GatewayBook",
        gateways: "Mapping[str, Gateway]",
        worker: str,
        wake: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._gateways = gateways
        self._worker = worker
        self._wake_scheduler = wake
        self._news = asyncio.Event()
        self._unfunded: dict[str, str] = {}  # what the ledger must hear yet, by gateway
        self._trying: set[str] = set()  # gateways where one order is being tried by us
        self._taken: set[str] = set()  # those that took it
        self._open: set[str] = set()  # gateways whose breaker the log has told to be open
        self.standings: dict[str, Standing] = {name: Standing(name) for name in gateways}

    def heard(self, gateway: str, submitted: "Submitted") -> None:
        """Note what became of a submit."""
        if submitted.outcome is Outcome.UNFUNDED:
            self._unfunded[gateway] = f"our money there is used up: code {submitted.code}"
            self._trying.discard(gateway)
            self._news.set()
        elif gateway in self._trying and submitted.outcome in _CONCLUSIVE:
            self._trying.discard(gateway)
            self._taken.add(gateway)
            self._news.set()

    async def start(self) -> None:
        """Learn what is paused, before anything is sent; a database that is away is waited for."""
        while True:
            try:
                await self._book.ensure(self._gateways)
                await self.look()
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("database_away", error=type(error).__name__)
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return

    async def run(self) -> None:
        """Look again and again until cancelled; while the database is away, what was known last holds."""
        try:
            await self._run()
        finally:
            await self._leave()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()
            self._news.clear()
            try:
                await self.look()
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("database_away", error=type(error).__name__)

    async def _leave(self) -> None:
        """Say that this worker ends, if the database is there to hear it."""
        try:
            await self._book.forget_worker(self._worker)
        except Exception as error:
            if not is_away(error):
                raise

    async def look(self) -> None:
        """Tell the ledger what is new here, and obey what it says."""
        for name, note in list(self._unfunded.items()):
            await self._pause(name, note)
        gates = {name: gateway.gate for name, gateway in self._gateways.items()}
        for name, gate in gates.items():
            self._tell_breaker(name, gate.breaker)
        await self._book.beat(self._worker, [Beat(name, gate.breaker, gate.in_flight) for name, gate in gates.items()])
        standings = await self._book.standings(self._gateways)
        for name, gate in gates.items():
            if name in self._unfunded:
                continue  # heard since, and not written yet
            pause = standings[name].pause
            self._tell_change(name, self.standings[name].pause, pause)
            if gate.paused != (pause is not None):
                gate.paused = pause is not None
                self._wake_scheduler()
            self.standings[name] = standings[name]
            if pause is not None and pause.automatic:
                await self._try_to_end(name, standings[name], pause)
            else:
                self._trying.discard(name)
                self._taken.discard(name)

    async def _pause(self, name: str, note: str) -> None:
        gateway = self._gateways[name]
        if await self._book.pause_unfunded(name, note, gateway.policy.unfunded_pause):
            gateway.gate.paused = True
        if self._unfunded.get(name) is note:
            del self._unfunded[name]

    async def _try_to_end(self, name: str, standing: Standing, pause: "Pause") -> None:
        gateway = self._gateways[name]
        if name in self._taken or standing.topped_up:
            await self._book.resume(name, pause.since)
            self._taken.discard(name)
            self._news.set()  # and obey it at once
        elif standing.try_at is not None and standing.try_at <= self._ledger.now() and self._worth_trying(standing):
            seconds = gateway.policy.unfunded_pause
            if await self._book.claim_trial(name, seconds):
                self._trying.add(name)
                gateway.gate.allow_one(seconds)
                self._wake_scheduler()
                log.info("gateway_tried", gateway=name, balance_fen=standing.balance_fen, what="one order may be sent")

    def _worth_trying(self, standing: Standing) -> bool:
        """Whether the gateway may have money for an order: its balance suffices, or is not known."""
        if standing.lowest_fen is None or standing.balance_at is None:
            return True
        patience = timedelta(seconds=STALE * max(turn(self._gateways[standing.gateway]).unfunded_every, LOOK_SECONDS))
        return standing.suffices or self._ledger.now() - standing.balance_at > patience

    def _tell_breaker(self, name: str, state: BreakerState) -> None:
        """Log when it opens and when it closes; the calls that try in between have lines of their own."""
        if state is BreakerState.CLOSED and name in self._open:
            self._open.discard(name)
            log.info("breaker_closed", gateway=name, what="it answers again: its orders go out")
        elif state is BreakerState.OPEN and name not in self._open:
            self._open.add(name)
            log.warning("breaker_open", gateway=name, what="calls in a row got no readable answer: its orders wait")

    def _tell_change(self, name: str, before: "Pause | None", now: "Pause | None") -> None:
        if now is not None and now != before:
            what = "its orders wait until a top-up is seen" if now.automatic else "its orders wait until it is resumed"
            since = now.since.isoformat()
            log.warning("gateway_paused", gateway=name, operator=now.by, note=now.note, since=since, what=what)
        elif before is not None and now is None:
            log.info("gateway_resumed", gateway=name, since=before.since.isoformat())
