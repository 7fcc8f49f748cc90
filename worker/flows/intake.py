"""Taking orders in: a submit message becomes an order in the ledger, or a dead letter that says why not."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson
import structlog

from schemas.dead import DeadReason
from schemas.decode import check_properties, decode_submit
from schemas.errors import InvalidMessageError
from worker.broker.message import Delivery, Outgoing
from worker.broker.settlement import COMMITTED, Settled
from worker.core.order import Order
from worker.core.subject import about
from worker.core.trace import Kind, headers, read
from worker.gateways.lease import Lease
from worker.ledger.admission import Admission

if TYPE_CHECKING:
    from schemas.orders import SubmitOrder
    from worker.core.trace import Tracing
    from worker.flows.scheduler import Scheduler
    from worker.flows.sending import Sending
    from worker.gateways.gateway import Gateway
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.intake")

PATIENCE_SECONDS = 1.0
"""How long an order may wait for a slot before it is admitted as `queued`: a queue that is only busy keeps flowing."""


class Intake:
    """Handles the deliveries of the submit queues."""

    def __init__(
        self,
        *,
        ledger: "Ledger",
        gateways: "Mapping[str, Gateway]",
        routes: Mapping[str, tuple[str, ...]],
        sending: "Sending",
        scheduler: "Scheduler",
        tracing: "Tracing",
    ) -> None:
        self._ledger = ledger
        self._gateways = gateways
        self._routes = routes
        self._sending = sending
        self._scheduler = scheduler
        self._tracing = tracing

    async def handle(self, delivery: Delivery) -> Settled:
        """Admit the order of one submit message, and send it at once where its gateway has a slot."""
        span = self._tracing.span("intake", Kind.CONSUMER, read(delivery.properties.headers))
        outcome = "error"
        try:
            settled = await self._take_in(delivery, span.context)
            outcome = settled.reason or "committed"
        finally:
            span.end(outcome, failed=outcome != "committed", queue=delivery.queue)
        if settled is not COMMITTED:
            log.warning("order_refused", queue=delivery.queue, reason=settled.reason)
        return settled

    async def _take_in(self, delivery: Delivery, trace: str | None) -> Settled:
        product = delivery.queue.rpartition(".")[2]
        given = delivery.properties
        try:
            check_properties(given.content_type, given.content_encoding, given.type, "order.submit")
            message = decode_submit(delivery.body, product)
            order = self._order(message, given.correlation_id or given.message_id, trace)
            about(order)
            return await self._admit(order, message.content_digest())
        except InvalidMessageError as error:
            return Settled.impossible(error.reason, str(error))

    def _order(self, message: "SubmitOrder", correlation_id: str | None, trace: str | None) -> Order:
        route: tuple[str, ...] = self._routes.get(message.product, ())
        if message.gateway is not None:
            gateway = self._gateways.get(message.gateway)
            if gateway is None:
                raise InvalidMessageError("gateway", "not a configured gateway", DeadReason.UNKNOWN_GATEWAY)
            if message.product not in gateway.adapter.products:
                raise InvalidMessageError("gateway", f"does not sell the product {message.product}")
            route = (message.gateway,)
        if not route:
            raise InvalidMessageError(
                "product", f"no configured gateway sells {message.product}", DeadReason.UNKNOWN_GATEWAY
            )
        return Order(
            order_no=message.order_no,
            source=message.source,
            product=message.product,
            amount_fen=message.amount_fen,
            target=message.target_fields(),
            route=route,
            gateway=route[0],
            expires_at=message.expires_at,
            correlation_id=correlation_id and correlation_id.replace("\x00", "\ufffd"),  # as the ledger will keep it
            trace=trace,
        )

    async def _admit(self, order: Order, digest: bytes) -> Settled:
        expired = order.expires_at is not None and order.expires_at <= self._ledger.now()
        if expired and await self._ledger.find(order.order_no) is None:
            raise InvalidMessageError("expires_at", "expected a time in the future", DeadReason.EXPIRED)
        gateway = self._gateways[order.gateway]
        gate = gateway.gate
        at_once = not expired and not self._scheduler.has_backlog(order.gateway)
        entered = at_once and await gate.enter_submit(PATIENCE_SECONDS)
        lease = Lease.lasting(gateway.policy.lease)
        sending = False
        try:
            admitted = await self._ledger.admit(order, digest, sending=entered)
            sending = entered and admitted.admission is Admission.NEW
        finally:
            if entered and not sending:
                gate.leave()
        if sending:
            self._sending.start(admitted.order, lease)
        elif admitted.admission is Admission.NEW:
            self._scheduler.queued(order.gateway)
        elif admitted.admission is Admission.CONFLICT:
            raise InvalidMessageError(
                "order_no", "taken by another order with other content", DeadReason.ORDER_CONFLICT
            )
        return COMMITTED


def refusal(delivery: Delivery, settled: Settled) -> Outgoing | None:
    """Return what a producer that asked for an answer hears about an order that was not accepted."""
    given = delivery.properties
    if not given.reply_to:
        return None
    body = {"ok": False, "error": {"code": settled.reason, "message": settled.detail}}
    return Outgoing(
        "",
        given.reply_to,
        orjson.dumps(body),
        correlation_id=given.correlation_id or given.message_id,
        headers=headers(read(given.headers)),
    )
