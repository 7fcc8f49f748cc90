"""Asking the gateways what became of the orders of a period, and writing down where they say otherwise than the ledger.

It only looks. With `apply` it also hands what it has found to the machine, as any query's answer is.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from worker.core.comparison import Class, action, compare
from worker.core.machine import Decision
from worker.core.order import TASKS, Fact, Order, State
from worker.core.outcome import Report, Status
from worker.ledger.reconciliations import Finding

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.comparison import Difference
    from worker.gateways.gateway import Gateway
    from worker.gateways.settings import GatewaySettings
    from worker.ledger.ledger import Ledger
    from worker.ledger.reconciliations import ReconciliationBook, Run

log = structlog.get_logger("worker.reconcile")

SHARE = 4
"""One in so many of a gateway's calls at once may be ours: the workers have orders to send and to ask about."""
RATE_SHARE = 2
PATIENCE: Sequence[float] = (1.0, 2.0)
"""Seconds before a question without an answer is put again."""
MOST_SILENT = 20
"""After so many questions in a row without an answer a gateway is left alone."""
_DECIDED = "a person has decided"
_BY_MESSAGE = frozenset({Class.AMOUNT_DIFFERS, Class.ACCOUNT_DIFFERS, Class.NOT_OUR_ORDER})
"""Of what both have delivered: the message says all that differs, whether a query or a callback has told it."""
_ROUNDS = 2  # how often an order is compared that moves meanwhile

Progress = Callable[[str, int], None]
"""Called with a gateway, and how many of its attempts are done since the last time."""


def gentle(settings: "GatewaySettings") -> "GatewaySettings":
    """Return a gateway's settings with the part of its limits that is left to reconciliation."""
    concurrency, rate = max(1, settings.concurrency // SHARE), settings.rate_per_second / RATE_SHARE
    return settings.model_copy(update={"concurrency": concurrency, "rate_per_second": rate})


class Reconciler:
    """Compares what a run has listed. `gateways` are built with `gentle` settings: their gates bound what it asks."""

    def __init__(
        self,
        ledger: "Ledger",
        book: "ReconciliationBook",
        gateways: "Mapping[str, Gateway]",
        *,
        apply: bool = False,
        progress: Progress = lambda _gateway, _count: None,
        patience: Sequence[float] = PATIENCE,
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._gateways = gateways
        self._apply = apply
        self._progress = progress
        self._patience = patience
        self._silent = dict.fromkeys(gateways, 0)  # questions in a row without an answer

    async def run(self, run: "Run", names: Sequence[str], stop: asyncio.Event) -> None:
        """Compare what has no answer yet at the gateways of these names; `stop` lets what is in hand end."""
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._at(run, name, stop))

    def gave_up(self, name: str) -> bool:
        """Return whether a gateway was left alone because it does not answer."""
        return self._silent.get(name, 0) >= MOST_SILENT

    async def _at(self, run: "Run", name: str, stop: asyncio.Event) -> None:
        gateway = self._gateways.get(name)
        attempts = self._book.unanswered(run, name)
        turn = asyncio.Lock()

        async def work() -> None:
            while not (stop.is_set() or self.gave_up(name)):
                async with turn:
                    found = await anext(attempts, None)
                if found is None:
                    return
                finding = await self._compare(gateway, *found) if gateway else _not_configured(name, *found)
                await self._book.keep(run, finding)
                self._progress(name, 1)

        at_once = 1 if gateway is None else gateway.adapter.settings.concurrency
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())

    async def _compare(self, gateway: "Gateway", order: Order, attempt: int) -> Finding:
        """Ask about one attempt; where the order has moved meanwhile, again: a difference is one of the same moment."""
        for _ in range(_ROUNDS):
            if unasked := _unasked(gateway, order, attempt):
                return unasked
            asked_at = self._ledger.now()
            report = await self._ask(gateway, order, attempt)
            found = compare(order, attempt, report)
            finding = _blank(gateway.name, order, attempt, report.status)._replace(cost_fen=report.cost_fen)
            if found is None:
                return finding
            now = await self._ledger.find(order.order_no)
            if now is None or now.revision == order.revision:
                applied = await self._tell(order, attempt, report, asked_at, found.kind) if self._apply else None
                return _with(finding, found, order)._replace(applied=applied)
            order = now
        return _with(finding, compare(order, attempt, _MOVING), order)

    async def _ask(self, gateway: "Gateway", order: Order, attempt: int) -> Report:
        asked = order
        if attempt != order.attempt:
            asked = order.at_attempt(attempt, gateway.name)
        for pause in (*self._patience, None):
            report = await gateway.query(asked, self._ledger.now())
            silent = report.status is Status.SILENT
            self._silent[gateway.name] = self._silent[gateway.name] + 1 if silent else 0
            if not silent or pause is None or self.gave_up(gateway.name):
                break
            await asyncio.sleep(pause)
        return report

    async def _tell(self, order: Order, attempt: int, report: Report, asked_at: "datetime", kind: Class) -> str | None:
        """Hand an answer to the machine, where no alarm will make a worker ask; return what came of it."""
        latest = attempt == order.attempt
        if report.status is Status.SILENT or (latest and order.state in TASKS):
            return None
        fact = report.answer(order, order, asked_at, None if latest else attempt)
        if await self._judged(order, fact, by_message=report.status is Status.SUCCEEDED and kind in _BY_MESSAGE):
            return _DECIDED
        decision = await self._ledger.apply(
            order, lambda current: report.answer(current, order, asked_at, None if latest else attempt)
        )
        moved = isinstance(decision, Decision) and decision.before is not decision.order.state
        log.info("reconciliation_applied", order_no=order.order_no, attempt=attempt, state=decision.order.state)
        if moved:
            return f"{order.state} -> {decision.order.state}"
        return "noted" if isinstance(decision, Decision) else "it changes nothing"

    async def _judged(self, order: Order, fact: Fact, *, by_message: bool) -> bool:
        """Return whether a fact would only open the review again that a person has just closed.

        What nobody had before him is a signal: another answer, or money that has moved since.
        """
        foreseen = self._ledger.foresee(order, fact)
        if not order.final or not isinstance(foreseen, Decision) or foreseen.order.state is not State.REVIEW:
            return False
        return await self._book.judged(order, foreseen.event, foreseen.fact, by_message=by_message)


_IN_FLIGHT = Report(Status.SILENT, "in_flight", "it is being sent at this moment")
_MOVING = Report(Status.SILENT, "moving", "the order moved while it was asked about")
_UNNUMBERED = Report(Status.SILENT, "not_asked", "they are asked by numbers of their own, and we have none")
_NOT_CONFIGURED = Report(Status.SILENT, "not_configured", "the settings have no such gateway")


def _unasked(gateway: "Gateway", order: Order, attempt: int) -> Finding | None:
    """Return what is said of an attempt that cannot or need not be asked about."""
    latest = attempt == order.attempt
    finding = _blank(gateway.name, order, attempt, "not asked")
    if latest and order.state is State.SUBMITTING:
        return _with(finding, compare(order, attempt, _IN_FLIGHT), order)
    if gateway.policy.repeat_safe and not (latest and order.upstream_no):
        # it knows its charges by its own numbers, and one whose number we never heard nobody can pay
        return finding if order.final or not latest else _with(finding, compare(order, attempt, _UNNUMBERED), order)
    return None


def _not_configured(gateway: str, order: Order, attempt: int) -> Finding:
    found = compare(order, attempt, _NOT_CONFIGURED)
    return _with(_blank(gateway, order, attempt, "not asked"), found, order)._replace(answered=False)


def _blank(gateway: str, order: Order, attempt: int, answer: str) -> Finding:
    return Finding(gateway, order.id, attempt, answered=True, kind=None, state=order.state.value, answer=answer)


def _with(finding: Finding, found: "Difference | None", order: Order) -> Finding:
    if found is None:
        return finding
    return finding._replace(
        answered=found.kind is not Class.NO_ANSWER,
        kind=found.kind.value,
        ours_fen=found.ours_fen,
        theirs_fen=found.theirs_fen,
        amount_fen=found.amount_fen,
        detail=found.detail,
        action=action(found.kind, order, finding.attempt),
    )
