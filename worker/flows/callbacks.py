"""Taking callbacks: a proven one moves its order, an unproven one makes the worker ask the gateway at once."""

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from schemas.dead import DeadReason
from schemas.decode import check_properties, decode_callback
from schemas.errors import InvalidMessageError
from worker.broker.message import Delivery
from worker.broker.settlement import COMMITTED, Settled
from worker.core.order import TASKS, Order
from worker.core.outcome import Report, Status
from worker.gateways.base import CallbackRefusal, CallbackReport, RawCallback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.flows.scheduler import Scheduler
    from worker.gateways.gateway import Gateway
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.callbacks")


class UnheardHintError(Exception):
    """A hint about an order that has no alarm could not be checked: its message is tried again, then set aside."""


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
        order = decision.order
        if attempt == order.attempt and order.state in TASKS:
            self._scheduler.wake()  # its alarm rings now
        elif self._ledger.would_move(order, _if_true(report).fact(order, attempt)):
            await self._ask(gateway, order, attempt)

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

    async def _ask(self, gateway: "Gateway", order: Order, attempt: int) -> None:
        """Ask what the scheduler does not ask about: an order without an alarm, or an attempt that was given up."""
        asked = order
        if attempt != order.attempt:
            asked = order.changed({"attempt": attempt, "gateway": gateway.name, "upstream_no": None})
        asked_at = self._ledger.now()
        report = await gateway.query(asked, asked_at)
        if report.status in (Status.SILENT, Status.UNCLEAR):
            # nothing would ever ask again, so the callback must not be acknowledged as if it had been heard
            raise UnheardHintError(report.code or "no answer")
        log.info("hint_asked", order_no=order.order_no, gateway=gateway.name, status=report.status, state=order.state)
        await self._ledger.apply(order, lambda current: report.answer(current, asked, asked_at))


def _if_true(report: Report) -> Report:
    """Return a hint as the proof that it is not; how much arrived is nowhere in it, and does not matter here."""
    return replace(report, proven=True, arrived_fen=report.arrived_fen or 1)
