"""The call itself: an order that is committed as `submitting` goes out once, and what became of it is written."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from worker.core.machine import Decision, Ignored
from worker.core.order import Event, Fact, Order, State
from worker.core.outcome import Outcome, Submitted
from worker.core.subject import about

if TYPE_CHECKING:
    from worker.gateways.gateway import Gateway
    from worker.gateways.lease import Lease
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.sending")


class Sending:
    """Makes calls in tasks of their own, which neither a lost broker nor a failing sibling can cancel."""

    def __init__(
        self,
        ledger: "Ledger",
        gateways: "Mapping[str, Gateway]",
        freed: Callable[[str], None],
        heard: Callable[[str, Submitted], None],
    ) -> None:
        self._ledger = ledger
        self._gateways = gateways
        self._freed = freed
        self._heard = heard
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, order: Order, lease: "Lease") -> None:
        """Send an order whose slot at its gateway the caller has entered; the slot is left when the call is over."""
        task = asyncio.create_task(self._send(order, lease))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> int:
        """Wait for the calls in flight, at most so long; return how many are left to their leases."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._tasks and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(tuple(self._tasks), timeout=left)
        return len(self._tasks)

    async def _send(self, order: Order, lease: "Lease") -> None:
        about(order)
        gateway = self._gateways[order.gateway]
        now = self._ledger.now()
        try:
            if order.expires_at is not None and now >= order.expires_at:
                submitted = Submitted(Outcome.NOT_SENT, "expired", "its time was over before the call")
            else:
                submitted = await gateway.submit(order, now, lease)
        finally:
            gateway.gate.leave()
            self._freed(order.gateway)
        self._heard(order.gateway, submitted)
        if submitted.outcome is Outcome.REJECTED and not submitted.evidence:
            # refused before any call: the refusal itself is what proves it
            submitted = submitted._replace(evidence={"refused_by": "worker", "code": submitted.code})
        try:
            decision = await self._ledger.apply(order, submitted.fact(order))
        except Exception as error:
            log.exception(
                "outcome_not_written", order_no=order.order_no, gateway=order.gateway, error=type(error).__name__
            )
            return
        if submitted.outcome is not Outcome.ACCEPTED:
            log.info(
                "submit_ended",
                order_no=order.order_no,
                gateway=order.gateway,
                attempt=order.attempt,
                outcome=submitted.outcome,
                code=submitted.code,
                state=decision.order.state,
                ignored=isinstance(decision, Ignored),
            )


async def take(ledger: "Ledger", order: Order) -> Order | None:
    """Commit a claimed order as `submitting`; None: it is not to be sent (expired, or somebody has moved it on)."""
    evidence = {"expires_at": order.expires_at.isoformat()} if order.expires_at else {}
    claimed = (order.gateway, order.attempt, order.sending)

    def fact(current: Order) -> Fact | None:
        same = (current.gateway, current.attempt, current.sending) == claimed
        return Fact(Event.TAKEN, evidence=evidence) if same else None

    decision = await ledger.apply(order, fact)
    taken = isinstance(decision, Decision) and decision.order.state is State.SUBMITTING
    return decision.order if taken else None
