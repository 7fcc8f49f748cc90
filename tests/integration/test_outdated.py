"""What was said of an attempt before it was given up: it moves nothing, and is asked anew."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.ledgers import EVIDENCE, House, house

from worker.core.order import Event, Order, State
from worker.core.outcome import Report, Status
from worker.core.policy import Policy
from worker.flows.hints import Hints
from worker.flows.scheduler import Scheduler
from worker.ledger.hints import HintBook

if TYPE_CHECKING:
    from worker.gateways.gateway import Gateway


async def nothing() -> None:
    """Nothing happens meanwhile."""


@dataclass
class Answers:
    """A gateway that gives these answers, and what happens while each is under way."""

    reports: list[tuple[Report, Callable[[], Coroutine[Any, Any, None]]]]
    asked: list[str] = field(default_factory=list)
    name: str = "one"
    policy: Policy = field(default_factory=Policy)

    async def query(self, order: Order, _now: datetime) -> Report:
        """Give the next answer."""
        self.asked.append(order.reference)
        report, meanwhile = self.reports.pop(0)
        await meanwhile()
        return report._replace(evidence=EVIDENCE)


async def ask_about_hints(home: House, hints: Hints, gateway: Answers) -> None:
    """Ask about every hint, due or not."""
    await home.pool.execute("UPDATE hints SET due_at = now()")
    for hint in await HintBook(home.pool).claim("one", 9, 1):
        await hints._question(cast("Gateway", gateway), hint)


@pytest.mark.parametrize(("then", "state"), [(Status.FAILED, State.QUEUED), (Status.CHARGING, State.REVIEW)])
async def test_an_answer_that_a_failover_overtook_is_asked_anew(ledger_dsn: str, then: Status, state: State) -> None:
    """Asked, "charging"; while that was under way it failed and the next gateway got it: only what is so now counts."""
    async with house(ledger_dsn) as home:
        order = await home.step(await home.admit("T1"), Event.ACCEPTED, sending=1)

        async def fails() -> None:
            assert (await home.step(order, Event.REFUSED)).gateway == "two"

        gateway = Answers([(Report(Status.CHARGING, "1"), fails), (Report(then, "3"), nothing)])
        gateways = cast("dict[str, Gateway]", {})
        hints = Hints(home.ledger, HintBook(home.pool), gateways, lambda: 0.5)
        await Scheduler(home.ledger, gateways, None, hints)._question(order, cast("Gateway", gateway))
        now = await home.ledger.find("T1")
        assert now is not None
        assert (now.state, now.attempt, await home.value("SELECT count(*) FROM hints")) == (State.QUEUED, 2, 1)
        await ask_about_hints(home, hints, gateway)
        now = await home.ledger.find("T1")
        assert now is not None
        assert (now.state, await home.value("SELECT count(*) FROM hints"), gateway.asked) == (state, 0, ["T1", "T1"])


async def test_a_hint_about_a_closed_order_is_not_done_with_while_the_gateway_says_it_is_on_its_way(
    ledger_dsn: str,
) -> None:
    """The callback says success, the query lags behind it: else nobody would ever hear that money arrived."""
    async with house(ledger_dsn) as home:
        failed = await home.step(await home.admit("T1", route=("one",)), Event.REJECTED, sending=1)
        gateway = Answers([(Report(Status.CHARGING, "1"), nothing), (Report(Status.SUCCEEDED, "2"), nothing)])
        hints = Hints(home.ledger, HintBook(home.pool), {}, lambda: 0.5)
        await hints.keep(failed, 1, "one")
        for state, left in ((State.FAILED, 1), (State.REVIEW, 0)):
            await ask_about_hints(home, hints, gateway)
            now = await home.ledger.find("T1")
            assert now is not None
            assert (now.state, await home.value("SELECT count(*) FROM hints")) == (state, left)


async def test_one_no_such_order_does_not_outweigh_a_callback_about_a_closed_order(ledger_dsn: str) -> None:
    """The gateway denied it until the order was given up; it calls back that it arrived, and its queries still lag."""
    async with house(ledger_dsn) as home:
        failed = await home.step(await home.admit("T1", route=("one",)), Event.REJECTED, sending=1)
        denied = (Report(Status.ABSENT, "2002"), nothing)
        gateway = Answers([denied] * 3, policy=Policy(settle_seconds=0.3, settle_queries=3))
        hints = Hints(home.ledger, HintBook(home.pool), {}, lambda: 0.5)
        await hints.keep(failed, 1, "one")
        for _ in range(2):
            await ask_about_hints(home, hints, gateway)
            assert await home.value("SELECT count(*) FROM hints") == 1
        await asyncio.sleep(0.35)
        await ask_about_hints(home, hints, gateway)
        assert await home.value("SELECT count(*) FROM hints") == 0, "denied often and long enough"
        gateway.reports += [denied, (Report(Status.SUCCEEDED, "2"), nothing)]
        await hints.keep(failed, 1, "one")
        for state, left in ((State.FAILED, 1), (State.REVIEW, 0)):
            await ask_about_hints(home, hints, gateway)
            now = await home.ledger.find("T1")
            assert now is not None
            assert (now.state, await home.value("SELECT count(*) FROM hints")) == (state, left)
