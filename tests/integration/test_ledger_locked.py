"""Somebody holds a row, in a transaction that he forgot: its order waits, and nobody else does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest
from support.ledgers import ARRIVED, House, connected, house

from worker.core.order import Order, State
from worker.ledger.batch import Batcher

HELD = {
    "order": "SELECT FROM orders WHERE id = $1 FOR UPDATE",
    "alarm": "UPDATE alarms SET due_at = now() WHERE order_id = $1",
}
"""What a person may have left open, by what it locks."""


@pytest.fixture
async def home(ledger_dsn: str) -> AsyncIterator[House]:
    async with house(ledger_dsn, size=3) as it:
        yield it


@asynccontextmanager
async def holding(dsn: str, statement: str, order: Order) -> AsyncIterator[None]:
    """Hold a row of an order."""
    async with connected(dsn) as person, person.transaction():
        await person.execute(statement, order.id)
        yield


@pytest.mark.parametrize("statement", HELD.values(), ids=HELD)
async def test_only_the_order_whose_row_is_locked_waits(ledger_dsn: str, home: House, statement: str) -> None:
    """A batch of 40 with one locked row: 39 are written, later ones go on, and the one follows when it can."""
    orders = await asyncio.gather(*(home.admit(f"T{number}") for number in range(40)))
    async with holding(ledger_dsn, statement, orders[7]):
        calls = [asyncio.create_task(home.ledger.apply(order, ARRIVED)) for order in orders]
        locked = calls.pop(7)
        async with asyncio.timeout(8):
            written = await asyncio.gather(*calls)
        assert {decision.order.state for decision in written} == {State.SUCCEEDED}
        for number in range(20):
            async with asyncio.timeout(1):  # half of what a lock is waited for
                await home.ledger.apply(await home.admit(f"L{number}"), ARRIVED)
            await asyncio.sleep(0.1)
        assert not locked.done()
    async with asyncio.timeout(5):
        assert (await locked).order.state is State.SUCCEEDED
    assert await home.value("SELECT count(*) FROM journal") == 120


async def test_stopping_does_not_wait_for_the_lock(ledger_dsn: str, home: House) -> None:
    orders = [await home.admit("T1"), await home.admit("T2")]
    async with holding(ledger_dsn, HELD["order"], orders[0]):
        calls = [asyncio.create_task(home.ledger.apply(order, ARRIVED)) for order in orders]
        await calls[1]
        # a statement that is cancelled before the server has it would run into the lock all the same
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while not await home.value(waits):  # noqa: ASYNC110 - a statement at the server
            await asyncio.sleep(0.01)
        async with asyncio.timeout(2):
            await home.ledger.stop()
            with pytest.raises(asyncio.CancelledError):
                await calls[0]


@pytest.mark.parametrize("error", [asyncpg.LockNotAvailableError(), asyncpg.QueryCanceledError()])
async def test_what_is_held_is_tried_again_alone_until_it_gets_through(error: Exception) -> None:
    batches: list[list[int]] = []

    async def flush(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        await asyncio.sleep(0)
        if 2 in items and len(batches) < 6:
            raise error
        return [2 * item for item in items]

    batcher = Batcher(flush, name="test")
    batcher.start()
    assert await asyncio.gather(*map(batcher, range(4))) == [0, 2, 4, 6]
    assert batches == [[0, 1, 2, 3], [0], [1], [2], [3], [2]]
    await batcher.stop()
