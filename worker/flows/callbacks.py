"""Taking callbacks: a proven one moves its order, an unproven one makes the worker ask the gateway at once."""

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from schemas.dead import DeadReason
from schemas.decode import check_properties, decode_callback
from schemas.errors import InvalidMessageError
from worker.broker.message import Delivery
from worker.broker.settlement import COMMITTED, Settled
from worker.core.machine import Decision, Ignored
from worker.core.order import TASKS, Order
from worker.gateways.base import CallbackRefusal, CallbackReport, RawCallback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.flows.scheduler import Scheduler
    from worker.gateways.gateway import Gateway
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.callbacks")


class Callbacks:
    """Handles the deliveries of the callback queue."""

    def __init__(self, ledger: "Ledger", gateways: "Mapping[str, Gateway]", scheduler: "Scheduler") -> None:
        self._ledger = ledger
        self._gateways = gateways
        self._scheduler = scheduler

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
        report = parsed.report
        decision = await self._ledger.apply(order, lambda current: report.fact(current, attempt))
        if report.proven:
            return
        if decision.order.state in TASKS:
            self._scheduler.wake()  # its alarm rings now
        elif attempt == decision.order.attempt and self._would_matter(decision, parsed, attempt):
            await self._ask(gateway, decision.order)

    async def _locate(self, gateway: str, parsed: CallbackReport) -> tuple[Order, int]:
        if parsed.reference is None:
            raise InvalidMessageError("body", "names no order number of ours", DeadReason.UNKNOWN_ORDER)
        located = await self._ledger.locate(parsed.reference)
        if located is None:
            raise InvalidMessageError("body", "its order number is none of ours", DeadReason.UNKNOWN_ORDER)
        order, attempt = located
        if attempt == order.attempt and order.gateway != gateway:
            raise InvalidMessageError("body", "its order is at another gateway", DeadReason.UNKNOWN_ORDER)
        return order, attempt

    def _would_matter(self, decision: Decision | Ignored, parsed: CallbackReport, attempt: int) -> bool:
        """Whether the hint, were it true, would move an order that has no alarm to ring."""
        order = decision.order
        return self._ledger.would_move(order, replace(parsed.report, proven=True).fact(order, attempt))

    async def _ask(self, gateway: "Gateway", order: Order) -> None:
        """Ask about an order that the scheduler does not ask about any more."""
        report = await gateway.query(order, self._ledger.now())
        log.info("hint_asked", order_no=order.order_no, gateway=gateway.name, status=report.status, state=order.state)
        await self._ledger.apply(order, lambda current: report.fact(current, order.attempt))
