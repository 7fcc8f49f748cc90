"""Taking callbacks: a proven one moves its order, an unproven one makes the worker ask the gateway at once.

Nothing is asked here: the question is the alarm's, or, where there is none, that of a hint that is kept.
"""

from typing import TYPE_CHECKING

from schemas.dead import DeadReason
from schemas.decode import check_properties, decode_callback
from schemas.errors import InvalidMessageError
from worker.broker.message import Delivery
from worker.broker.settlement import COMMITTED, Settled
from worker.core.masking import mask
from worker.core.order import TASKS, Order
from worker.core.outcome import Report
from worker.core.subject import about
from worker.core.trace import Kind
from worker.gateways.base import CallbackRefusal, CallbackReport, RawCallback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.trace import Tracing
    from worker.flows.hints import Hints
    from worker.flows.scheduler import Scheduler
    from worker.gateways.gateway import Gateway
    from worker.ledger.ledger import Ledger


class Callbacks:
    """Handles the deliveries of the callback queue."""

    def __init__(
        self,
        ledger: "Ledger",
        gateways: "Mapping[str, Gateway]",
        scheduler: "Scheduler",
        hints: "Hints",
        tracing: "Tracing",
    ) -> None:
        self._ledger = ledger
        self._gateways = gateways
        self._scheduler = scheduler
        self._hints = hints
        self._tracing = tracing

    async def handle(self, delivery: Delivery) -> Settled:
        """Apply one relayed callback."""
        given = delivery.properties
        try:
            check_properties(given.content_type, given.content_encoding, given.type, "gateway.callback")
            await self._apply(delivery)
        except InvalidMessageError as error:
            return Settled.impossible(error.reason, str(error))
        return COMMITTED

    async def _apply(self, delivery: Delivery) -> None:
        key_gateway = delivery.routing_key.partition(".")[2] if delivery.routing_key.startswith("callback.") else None
        message = decode_callback(delivery.body, key_gateway)
        gateway = self._gateways.get(message.gateway)
        if gateway is None:
            raise InvalidMessageError("gateway", "not a configured gateway", DeadReason.UNKNOWN_GATEWAY)
        raw = RawCallback(
            received_at=message.received_at,
            method=message.method,
            path=message.path,
            query=message.query,
            headers=message.headers,
            body=message.body,
        )
        parsed = gateway.parse_callback(raw)
        if isinstance(parsed, CallbackRefusal):
            raise InvalidMessageError("body", parsed.detail, DeadReason(parsed.reason))
        order, attempt = await self._locate(gateway.name, parsed)
        about(order)
        span = self._tracing.span("callback", Kind.INTERNAL, order.trace)
        outcome = "error"
        try:
            await self._apply_report(order, attempt, gateway, gateway.concealed(parsed.report, order))
            outcome = parsed.report.status.value
        finally:
            span.end(outcome, failed=outcome == "error", order_no=order.order_no, gateway=gateway.name, attempt=attempt)

    async def _apply_report(self, order: Order, attempt: int, gateway: "Gateway", report: Report) -> None:
        decision = await self._ledger.apply(order, lambda current: report.fact(current, attempt))
        order = decision.order
        if not report.hints(order, attempt):
            return
        if attempt == order.attempt and order.state in TASKS:
            self._scheduler.wake()  # its alarm rings now
        elif self._ledger.would_move(order, _if_true(report).fact(order, attempt, fresh=True)):
            await self._hints.keep(order, attempt, gateway.name)

    async def _locate(self, gateway: str, parsed: CallbackReport) -> tuple[Order, int]:
        if parsed.reference is None:
            raise InvalidMessageError("body", "names no order number of ours", DeadReason.UNKNOWN_ORDER)
        located = await self._ledger.locate(parsed.reference)
        if located is None:
            told = mask(parsed.reference)  # anybody may send it; its ends are enough to find it by
            raise InvalidMessageError("body", f"its order number {told} is none of ours", DeadReason.UNKNOWN_ORDER)
        if located.gateway != gateway:
            raise InvalidMessageError("body", "its order is at another gateway", DeadReason.UNKNOWN_ORDER)
        return located.order, located.attempt


def _if_true(report: Report) -> Report:
    """Return a hint as the proof that it is not; how much arrived is nowhere in it, and does not matter here."""
    return report._replace(proven=True, arrived_fen=report.arrived_fen or 1)
