"""An order whose gateway was asked to cancel it: whatever comes of that, no other gateway gets it."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.ledgers import EVIDENCE, House, house

from worker.core.order import Event, Order, State
from worker.core.outcome import Report, Status
from worker.core.policy import Policy
from worker.flows.command_trouble import RefusedCommandError, Turns
from worker.flows.hints import Hints
from worker.flows.order_commands import OrderCommands
from worker.flows.scheduler import Scheduler
from worker.gateways.settings import GatewaySettings
from worker.ledger.hints import HintBook
from worker.ledger.reading import Reader

if TYPE_CHECKING:
    from worker.gateways.gateway import Gateway

Meanwhile = Callable[[], Coroutine[Any, Any, object]]


@dataclass
class Told:
    """What an adapter shows of itself."""

    settings: GatewaySettings = field(
        default_factory=lambda: GatewaySettings.model_validate({"adapter": "one", "base_url": "http://one"})
    )


@dataclass
class Cancelling:
    """A gateway that answers a request to cancel so, and what happens meanwhile."""

    report: Report
    meanwhile: Meanwhile | None = None
    name: str = "one"
    cancels: bool = True
    policy: Policy = field(default_factory=Policy)
    adapter: Told = field(default_factory=Told)
    asked: list[str] = field(default_factory=list)

    async def cancel(self, order: Order, _now: datetime) -> Report:
        """Give the answer."""
        self.asked.append(order.reference)
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.report._replace(evidence=EVIDENCE)

    query = cancel


TAKEN = Report(Status.CHARGING, "12")
SILENT = Report(Status.SILENT, "timeout")
REFUSED = Report(Status.UNCLEAR, "2006")


async def cancel(home: House, gateway: Cancelling, order: Order | None = None) -> dict[str, Any]:
    """Give the command `order.cancel` for T1, as it was read; as it is, where nothing is said of that."""
    gateways = cast("dict[str, Gateway]", {"one": gateway})
    scheduler = Scheduler(home.ledger, gateways, None, Hints(home.ledger, HintBook(home.pool), gateways, lambda: 0.5))
    commands = OrderCommands(home.ledger, Reader(home.pool), scheduler, Turns(gateways))
    order = order or await home.ledger.find("T1")
    assert order is not None
    return await commands.cancel(order, gateways["one"])


ANSWERS = pytest.mark.parametrize(
    ("report", "says"),
    [(TAKEN, None), (SILENT, "the order is pending"), (REFUSED, "did not cancel it")],
    ids=["taken", "no answer", "refused"],
)


async def cancelled(home: House, gateway: Cancelling, says: str | None) -> None:
    """Give the command; it is answered by the order as it is, or refused with these words."""
    if says is None:
        assert (await cancel(home, gateway))["state"] == "pending"
    else:
        with pytest.raises(RefusedCommandError, match=says):
            await cancel(home, gateway)


@ANSWERS
async def test_what_fails_then_has_failed(ledger_dsn: str, report: Report, says: str | None) -> None:
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)
        await cancelled(home, Cancelling(report), says)
        order = await home.step(pending, Event.REFUSED, code="3", message="no such number")
        assert (order.state, order.gateway, order.attempt) == (State.FAILED, "one", 1)
        causes = [cause for *_, cause, _ in await home.journal()]
        assert (causes[2], causes[-1]) == ("cancel_requested", "refused")
        assert home.told[-1].key == "order.failed.shop"


@pytest.mark.parametrize("report", [TAKEN, REFUSED], ids=["taken", "refused"])
async def test_what_fails_meanwhile_has_failed_too(ledger_dsn: str, report: Report) -> None:
    """Its gateway is still being asked, and says by another way that it failed: nobody else may get it now."""
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)

        async def fails() -> None:
            assert (await home.step(pending, Event.REFUSED, code="3")).state is State.FAILED

        with pytest.raises(RefusedCommandError, match="has failed already"):
            await cancel(home, Cancelling(report, fails))


async def test_where_orders_cannot_be_cancelled_nothing_changes(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)
        with pytest.raises(RefusedCommandError, match="one cannot cancel"):
            await cancel(home, Cancelling(TAKEN, cancels=False))
        assert (await home.step(pending, Event.REFUSED)).gateway == "two"


async def test_another_gateway_may_have_it_by_then(ledger_dsn: str) -> None:
    """Read before it failed over, and asked to be cancelled after: the one before it is not asked about it."""
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)
        order = await home.step(await home.step(pending, Event.REFUSED), Event.TAKEN)
        await home.step(order, Event.ACCEPTED, attempt=2, sending=2)
        gateway = Cancelling(TAKEN)
        with pytest.raises(RefusedCommandError, match="two has just got it"):
            await cancel(home, gateway, pending)
        found = await home.ledger.find("T1")
        assert found is not None
        assert (found.state, found.gateway, found.cancelling, gateway.asked) == (State.PENDING, "two", False, [])


async def test_what_waits_for_the_next_gateway_by_then_is_cancelled(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)
        assert (await home.step(pending, Event.REFUSED)).gateway == "two"
        gateway = Cancelling(TAKEN)
        view = await cancel(home, gateway, pending)
        assert (view["state"], view["reason"]["code"], gateway.asked) == ("cancelled", "cancelled_by_request", [])


async def test_a_person_may_send_it_again_all_the_same(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)
        await cancel(home, Cancelling(TAKEN))
        order = await home.step(await home.step(pending, Event.DISPUTED), Event.RESUBMITTED)
        assert (order.state, order.attempt, order.cancelling) == (State.QUEUED, 2, False)
        order = await home.step(await home.step(order, Event.TAKEN), Event.REJECTED, attempt=2, sending=2)
        assert (order.state, order.gateway, order.attempt) == (State.QUEUED, "two", 3)
