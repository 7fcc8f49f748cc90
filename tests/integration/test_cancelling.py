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


async def cancel(home: House, gateway: Cancelling) -> dict[str, Any]:
    """Give the command `order.cancel` for T1."""
    gateways = cast("dict[str, Gateway]", {"one": gateway})
    scheduler = Scheduler(home.ledger, gateways, None, Hints(home.ledger, HintBook(home.pool), gateways, lambda: 0.5))
    commands = OrderCommands(home.ledger, Reader(home.pool), scheduler, Turns(gateways))
    order = await home.ledger.find("T1")
    assert order is not None
    return await commands.cancel(order, gateways["one"])


@pytest.mark.parametrize("report", [TAKEN, SILENT], ids=["taken", "no answer"])
async def test_what_fails_then_has_failed(ledger_dsn: str, report: Report) -> None:
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)
        if report is TAKEN:
            assert (await cancel(home, Cancelling(report)))["state"] == "pending"
        else:
            with pytest.raises(RefusedCommandError, match="the order is pending"):
                await cancel(home, Cancelling(report))
        order = await home.step(pending, Event.REFUSED, code="3", message="no such number")
        assert (order.state, order.gateway, order.attempt) == (State.FAILED, "one", 1)
        assert [cause for *_, cause, _ in await home.journal()][2:] == ["cancel_requested", "refused"]
        assert home.told[-1].key == "order.failed.shop"


@pytest.mark.parametrize("report", [TAKEN, SILENT], ids=["taken", "no answer"])
async def test_what_fails_meanwhile_is_cancelled_before_another_gateway_gets_it(
    ledger_dsn: str, report: Report
) -> None:
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)

        async def fails() -> None:
            assert (await home.step(pending, Event.REFUSED)).gateway == "two"

        view = await cancel(home, Cancelling(report, fails))
        assert (view["state"], view["reason"]["code"]) == ("cancelled", "cancelled_by_request")


async def test_a_refused_request_changes_nothing(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)
        with pytest.raises(RefusedCommandError, match="did not cancel it"):
            await cancel(home, Cancelling(Report(Status.UNCLEAR, "2006")))
        assert (await home.step(pending, Event.REFUSED)).gateway == "two"


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (TAKEN, "two has just got it"),
        (SILENT, "the order is pending"),
        (Report(Status.UNCLEAR, "2006"), "two has just got it"),
    ],
    ids=["taken", "no answer", "refused"],
)
async def test_who_has_it_meanwhile_was_not_asked(ledger_dsn: str, report: Report, says: str) -> None:
    """What the gateway before it says is about another attempt: it moves nothing, and promises nothing."""
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)

        async def goes_on() -> None:
            order = await home.step(await home.step(pending, Event.REFUSED), Event.TAKEN)
            order = await home.step(order, Event.ACCEPTED, attempt=2, sending=2)
            assert (order.state, order.gateway) == (State.PENDING, "two")

        gateway = Cancelling(report, goes_on)
        with pytest.raises(RefusedCommandError, match=says):
            await cancel(home, gateway)
        order = await home.ledger.find("T1")
        assert order is not None
        assert (order.state, order.gateway, order.cancelling, gateway.asked) == (State.PENDING, "two", False, ["T1"])


async def test_a_person_may_send_it_again_all_the_same(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home:
        pending = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)
        await cancel(home, Cancelling(TAKEN))
        order = await home.step(await home.step(pending, Event.DISPUTED), Event.RESUBMITTED)
        assert (order.state, order.attempt, order.cancelling) == (State.QUEUED, 2, False)
        order = await home.step(await home.step(order, Event.TAKEN), Event.REJECTED, attempt=2, sending=2)
        assert (order.state, order.gateway, order.attempt) == (State.QUEUED, "two", 3)
