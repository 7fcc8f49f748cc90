"""A decision about an order in review holds for the order that was looked at, on a real ledger."""

from collections.abc import AsyncIterator

import pytest
from support.ledgers import EVIDENCE, House, house

from worker.cli.decisions import decided_on, fact_of
from worker.core.machine import Decision, Ignored
from worker.core.order import Event, Fact, Order, State


@pytest.fixture
async def home(ledger_dsn: str) -> AsyncIterator[House]:
    async with house(ledger_dsn) as it:
        yield it


async def contradicted(home: House) -> Order:
    """Return an order in review that only a person ends: the gateway cannot say what became of it."""
    step = await home.ledger.apply(await home.admit(), Fact(Event.DISPUTED, sending=1, evidence=EVIDENCE))
    assert isinstance(step, Decision)
    assert step.order.state is State.REVIEW
    return step.order


async def test_an_arrival_that_was_only_noted_meanwhile_stops_a_resubmission(home: House) -> None:
    looked_at = await contradicted(home)
    noted = await home.ledger.apply(looked_at, Fact(Event.ARRIVED, evidence=EVIDENCE))
    assert (noted.order.state, noted.order.version) == (State.REVIEW, looked_at.version), "the state did not move"
    decided = await decided_on(home.ledger, looked_at, fact_of(Event.RESUBMITTED, "came to nothing", "anna"))
    assert isinstance(decided, Ignored)
    assert await home.value("SELECT (state, attempt)::text FROM orders") == "(review,1)"


async def test_what_was_looked_at_is_decided(home: House) -> None:
    decided = await decided_on(
        home.ledger, await contradicted(home), fact_of(Event.RESUBMITTED, "nothing came", "anna")
    )
    assert isinstance(decided, Decision)
    assert (decided.order.state, decided.order.attempt) == (State.QUEUED, 2)
