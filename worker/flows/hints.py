"""Asking about what no alarm rings for: orders that are closed, and attempts that were given up.

Mostly it is a callback that hints at them. A charge that nobody paid in time is looked at once more, unasked.

A callback without proof about one of them is written down and thereby done with: however many come, and however
long the gateway does not answer, the callback queue flows on. The question is asked until there is an answer.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from worker.core.order import State
from worker.core.outcome import Status
from worker.core.subject import about
from worker.flows.scheduler import HOLD_SECONDS, PACE_SECONDS
from worker.ledger.connection import is_away

if TYPE_CHECKING:
    from worker.core.order import Order
    from worker.core.outcome import Report
    from worker.core.policy import Policy
    from worker.gateways.gateway import Gateway
    from worker.ledger.hints import Hint, HintBook
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.hints")

TICK_SECONDS = 1.0
_UNSETTLED = frozenset({Status.SILENT, Status.UNCLEAR, Status.CHARGING, Status.PAYMENT_DUE})
"""Answers after which it is asked again. That it is on its way is news only of an attempt that was given up, or of a
second order of theirs."""
SHARE = 8
"""One in so many of a gateway's calls at once may be about a hint: orders that are open come first."""


class Hints:
    """Keeps hints, and asks about those that are due, a few at a time."""

    def __init__(
        self,
        ledger: "Ledger",
        book: "HintBook",
        gateways: "Mapping[str, Gateway]",
        chance: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._gateways = gateways
        self._chance = chance
        self._asking = dict.fromkeys(gateways, 0)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep(self, order: "Order", attempt: int, gateway: str, seconds: float = 0) -> None:
        """Write down that an attempt of `order` is to be asked about, so many seconds from now.

        When this returns, the callback that hinted at it has been heard.
        """
        await self._book.keep(order, attempt, gateway, seconds)
        self._wake.set()

    async def run(self) -> None:
        """Claim and ask until cancelled; a database that is away is waited for."""
        try:
            while True:
                try:
                    for gateway in self._gateways.values():
                        await self._look(gateway)
                except Exception as error:
                    if not is_away(error):
                        raise
                    log.warning("database_away", error=type(error).__name__)
                await asyncio.sleep(PACE_SECONDS)
                await self._rest()
        finally:
            for task in self._tasks:
                task.cancel()

    async def _look(self, gateway: "Gateway") -> None:
        settings = gateway.adapter.settings
        room = max(1, settings.concurrency // SHARE) - self._asking[gateway.name]
        if room <= 0:
            return
        for hint in await self._book.claim(gateway.name, room, settings.timeout_seconds + HOLD_SECONDS):
            self._asking[gateway.name] += 1
            task = asyncio.create_task(self._ask(gateway, hint))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, gateway: "Gateway", hint: "Hint") -> None:
        """Ask about one hint; whatever goes wrong, it is due again when its lease ends."""
        try:
            await self._question(gateway, hint)
        except Exception as error:
            log.exception("work_failed", order_no=hint.order_no, error=type(error).__name__)
        finally:
            self._asking[gateway.name] -= 1
            self._wake.set()

    async def _question(self, gateway: "Gateway", hint: "Hint") -> None:
        order = await self._ledger.find(hint.order_no)
        if order is None:
            raise LookupError(f"order {hint.order_no} is not in the ledger")
        about(order)
        asked = order
        if hint.attempt != order.attempt:
            asked = order.at_attempt(hint.attempt, gateway.name)
        asked_at = self._ledger.now()
        report = await gateway.query(asked, asked_at)
        say = log.bind(order_no=order.order_no, attempt=hint.attempt, gateway=gateway.name, status=report.status)
        still_unpaid = report.status is Status.PAYMENT_DUE and order.state is State.CANCELLED
        unsettled = report.status in _UNSETTLED and not still_unpaid and not _contradicts(order, hint.attempt, report)
        if unsettled or _denied_too_soon(hint, report, asked_at, gateway.policy):
            say.warning("hint_not_answered", code=report.code, asked=hint.asked, heard_at=hint.heard_at.isoformat())
            await self._book.postpone(hint, gateway.policy.hint_delay(hint.asked, self._chance()))
            return
        decision = await self._ledger.apply(
            order, lambda current: report.answer(current, order, asked_at, hint.attempt)
        )
        await self._book.forget(hint)
        say.info("hint_answered", state=decision.order.state)

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                await self._wake.wait()
        self._wake.clear()


def _contradicts(order: "Order", attempt: int, report: "Report") -> bool:
    """Return whether it says that something is on its way which ought not to be."""
    second = report.status is Status.CHARGING and report.renumbered(order, attempt)
    return second or report.outdated(order, attempt)


def _denied_too_soon(hint: "Hint", report: "Report", asked_at: datetime, policy: "Policy") -> bool:
    """Return whether "no such order" is not believed yet: queries may lag behind the callback that says otherwise."""
    held = asked_at - hint.heard_at >= timedelta(seconds=policy.settle_seconds)
    return report.status is Status.ABSENT and not (held and hint.asked >= policy.settle_queries)
