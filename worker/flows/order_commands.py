"""`order.query` and `order.cancel`: what may be asked and done about an order in each of its states."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from worker.core.order import Event, Fact, Order, State
from worker.core.outcome import Report, Status
from worker.flows.command_trouble import RefusedCommandError, Turns, no_answer

if TYPE_CHECKING:
    from worker.flows.scheduler import Scheduler
    from worker.gateways.gateway import Gateway
    from worker.ledger.ledger import Ledger
    from worker.ledger.reading import Reader

S = State

_KEPT: Mapping[State, str] = {
    S.QUEUED: "the order has just been queued again: try again",
    S.SUBMITTING: "the order is being sent at this moment: try again when it is pending",
    S.UNKNOWN: "the order was sent and what became of it is not known yet: the gateway is being asked",
    S.REVIEW: "the order is in review: a person decides about it",
    S.SUCCEEDED: "the order has succeeded",
    S.PARTIAL: "the order has partly succeeded",
    S.FAILED: "the order has failed already",
    S.REFUNDED: "the order has been refunded already",
}
"""Why an order in this state is not cancelled."""
_QUEUED = frozenset({S.QUEUED})
_WITH_GATEWAY = frozenset({S.PENDING, S.AWAITING_PAYMENT})
"""States in which only the gateway can cancel."""
_TAKEN = frozenset({Status.CHARGING, Status.PAYMENT_DUE})
"""What a gateway says that has taken the request to cancel, and has not cancelled yet."""


class OrderCommands:
    """Asks about and cancels orders. Each method returns the order as `order.query` shows it."""

    def __init__(self, ledger: "Ledger", reader: "Reader", scheduler: "Scheduler", turns: Turns) -> None:
        self._ledger = ledger
        self._reader = reader
        self._scheduler = scheduler
        self._turns = turns

    async def query(self, order: Order, gateway: "Gateway | None") -> dict[str, Any]:
        """Ask the gateway about an order now, unless nothing of it can have got there yet.

        Raises:
            RefusedCommandError: there was no answer.
        """
        if order.sent_at is None or order.state is S.SUBMITTING:
            return await self._view(order)
        gateway = _configured(order, gateway)
        await self._ask(order, gateway)
        return await self._view(order)

    async def cancel(self, order: Order, gateway: "Gateway | None") -> dict[str, Any]:
        """Cancel an order that is queued, or have the gateway cancel one that it has.

        The order is cancelled when the gateway has proven that; until then it stays what it is.

        Raises:
            RefusedCommandError: it cannot be cancelled, or the gateway did not.
        """
        order = await self._request(order, _QUEUED)
        if order.state in _WITH_GATEWAY:
            order = await self._cancel_there(order, _configured(order, gateway))
            if order.state in _WITH_GATEWAY:
                return await self._view(order)
        if order.state is not S.CANCELLED:
            raise RefusedCommandError("refused", _KEPT[order.state])
        return await self._view(order)

    async def _request(self, order: Order, states: Collection[State]) -> Order:
        """Write that its cancellation was asked for, if it is in one of these states now; return it as it is then.

        A later attempt than that of `order` nobody was asked about: it is cancelled only while it is queued.
        """

        def fact(current: Order) -> Fact | None:
            asked_for = current.attempt == order.attempt or current.state is S.QUEUED
            if current.state not in states or not asked_for:
                return None
            return Fact(Event.CANCEL_REQUESTED, evidence={"command": "order.cancel"})

        return (await self._ledger.apply(order, fact)).order

    async def _cancel_there(self, order: Order, gateway: "Gateway") -> Order:
        """Have its gateway cancel it; from the request on no other gateway gets it, whatever comes of that.

        Raises:
            RefusedCommandError: this gateway cannot, will not, does not answer, or does not have the order any more.
        """
        if not gateway.cancels:
            raise RefusedCommandError("not_supported", f"the order was sent, and {gateway.name} cannot cancel")
        order = await self._request(order, _QUEUED | _WITH_GATEWAY)
        if order.state not in _WITH_GATEWAY:
            return order
        _configured(order, gateway)
        async with self._turns.of(gateway):
            asked_at = self._ledger.now()
            report = await gateway.cancel(order, asked_at)
        order = (await self._scheduler.answered(order, gateway, report, asked_at)).order
        if report.status is Status.SILENT:
            raise _silent(report, order)
        if order.state in _WITH_GATEWAY:
            _configured(order, gateway)
        if order.state in _WITH_GATEWAY and report.status not in _TAKEN:
            # it may say no because a command that was carried out before this one has cancelled it already
            order = await self._ask(order, gateway)
            if order.state in _WITH_GATEWAY:
                raise _will_not(report, order)
        return order

    async def _ask(self, order: Order, gateway: "Gateway") -> Order:
        """Ask the gateway about an order now, and return it as the answer leaves it."""
        async with self._turns.of(gateway):
            asked_at = self._ledger.now()
            report = await gateway.query(order, asked_at)
        decision = await self._scheduler.answered(order, gateway, report, asked_at)
        if report.status is Status.SILENT:
            raise _silent(report, decision.order)
        return decision.order

    async def _view(self, order: Order) -> dict[str, Any]:
        seen = await self._reader.seen(order.order_no)
        if seen is None:
            raise LookupError(f"order {order.order_no} is not in the ledger")
        return seen.view()


def _configured(order: Order, gateway: "Gateway | None") -> "Gateway":
    """Return the gateway that the order is at now; it may have changed since the order was looked up."""
    if gateway is None or gateway.name != order.gateway:
        what = "is not configured here" if gateway is None else "has just got it: try again"
        raise RefusedCommandError("unknown_gateway" if gateway is None else "refused", f"{order.gateway} {what}")
    return gateway


def _silent(report: Report, order: Order) -> RefusedCommandError:
    return no_answer(report.code or "", f"{report.message or report.code}; the order is {order.state}")


def _will_not(report: Report, order: Order) -> RefusedCommandError:
    told = ": ".join(part for part in (report.code, report.message) if part)
    return RefusedCommandError(
        "refused", f"{order.gateway} did not cancel it ({told or report.status}); the order is {order.state} there"
    )
