"""Hints in PostgreSQL: leased to one worker at a time, and never forgotten for an answer that came before them."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from support.ledgers import House, house, make

from worker.core.order import Event, Order
from worker.ledger.hints import Hint, HintBook


@pytest.fixture
async def home(ledger_dsn: str) -> AsyncIterator[House]:
    async with house(ledger_dsn) as it:
        yield it


@pytest.fixture
def book(home: House) -> HintBook:
    return HintBook(home.pool)


@pytest.fixture
async def order(home: House) -> Order:
    return await home.step(await home.admit(), Event.ARRIVED)


async def kept(home: House) -> int:
    """How many hints there are."""
    found: int = await home.value("SELECT count(*) FROM hints")
    return found


async def claim(book: HintBook, gateway: str = "one") -> Hint:
    (hint,) = await book.claim(gateway, 10, 60)
    return hint


async def test_a_hint_is_due_at_once_at_its_gateway(book: HintBook, order: Order) -> None:
    await book.keep(order, 1, "one")
    assert await book.claim("two", 10, 60) == []
    hint = await claim(book)
    assert (hint.order_id, hint.order_no, hint.attempt, hint.gateway, hint.asked) == (order.id, "T1", 1, "one", 1)


async def test_one_that_is_claimed_is_nobody_elses_until_its_lease_ends(book: HintBook, order: Order) -> None:
    await book.keep(order, 1, "one")
    await book.claim("one", 10, 0.3)
    assert await book.claim("one", 10, 60) == []
    await asyncio.sleep(0.35)
    assert (await claim(book)).asked == 2


async def test_workers_that_claim_at_once_share_the_hints(home: House, book: HintBook) -> None:
    orders = await asyncio.gather(*(home.admit(f"T{number}") for number in range(60)))
    await asyncio.gather(*(book.keep(order, 1, "one") for order in orders))
    claimed = await asyncio.gather(*(book.claim("one", 20, 60) for _ in range(4)))
    numbers = [hint.order_no for hints in claimed for hint in hints]
    assert (len(numbers), set(numbers)) == (60, {order.order_no for order in orders})


async def test_an_answered_hint_is_forgotten_and_one_without_an_answer_waits(
    home: House, book: HintBook, order: Order
) -> None:
    await book.keep(order, 1, "one")
    hint = await claim(book)
    await book.postpone(hint, 0.2)
    assert await book.claim("one", 10, 60) == []
    await asyncio.sleep(0.25)
    await book.forget(await claim(book))
    assert await kept(home) == 0


async def test_one_that_is_heard_again_during_the_question_is_asked_about_again(
    home: House, book: HintBook, order: Order
) -> None:
    """The answer may be older than what the second callback tells."""
    await book.keep(order, 1, "one")
    before = await claim(book)
    await book.keep(order, 1, "one")
    await book.postpone(before, 600)
    await book.forget(before)
    after = await claim(book)
    assert (after.asked, await kept(home)) == (1, 1)
    assert after.heard_at > before.heard_at


async def test_each_attempt_and_each_gateway_has_its_own(home: House, book: HintBook, order: Order) -> None:
    """A callback that names another gateway's attempt does not hide the true one."""
    for attempt, gateway in ((1, "one"), (2, "two"), (1, "two")):
        await book.keep(order, attempt, gateway)
    await book.forget(await claim(book))
    assert {(hint.attempt, hint.gateway) for hint in await book.claim("two", 10, 60)} == {(1, "two"), (2, "two")}


async def test_a_hint_is_about_an_order(book: HintBook) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await book.keep(make().changed({"id": 99}), 1, "one")


async def test_a_gateway_that_is_not_configured_any_more_is_told(home: House, book: HintBook, order: Order) -> None:
    await book.keep(order, 1, "gone")
    await home.admit("T2", gateway="two", route=("two",))
    assert await home.ledger.stray_gateways(["one"]) == ["gone", "two"]
    assert await home.ledger.stray_gateways(["one", "two"]) == ["gone"]
    assert await home.ledger.stray_gateways(["one", "two", "gone"]) == []
