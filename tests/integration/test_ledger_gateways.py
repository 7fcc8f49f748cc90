"""What all workers share about a gateway: who paused it, who may lift that, its balances, and what each worker says."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import asyncpg
import pytest
from support.ledgers import House, house

from worker.ledger.connection import opened
from worker.ledger.gateways import Beat, GatewayBook, Pause, Standing, Turn

HOUR = 3600.0


@pytest.fixture
async def home(ledger_dsn: str) -> AsyncIterator[House]:
    """A ledger with the gateways `one` and `two`."""
    async with house(ledger_dsn) as made:
        await GatewayBook(made.pool).ensure(["one", "two"])
        yield made


@pytest.fixture
def book(home: House) -> GatewayBook:
    return GatewayBook(home.pool)


async def one(book: GatewayBook) -> Standing:
    return (await book.standings(["one"]))["one"]


async def paused(book: GatewayBook) -> Pause | None:
    return (await one(book)).pause


async def told(home: House, *readings: tuple[float, int]) -> None:
    """Keep balances of so many seconds ago, in fen."""
    now = home.ledger.now()
    for seconds, fen in readings:
        await GatewayBook(home.pool).keep_balance("one", now - timedelta(seconds=seconds), fen, HOUR)


async def test_a_pause_by_hand_is_lifted_by_hand_only(book: GatewayBook) -> None:
    await book.pause("one", "ada", "their maintenance")
    pause = await paused(book)
    assert pause is not None
    assert (pause.by, pause.note, pause.automatic) == ("ada", "their maintenance", False)
    assert not await book.pause_unfunded("one", "used up", 60)
    assert not await book.claim_trial("one", 60)
    assert await book.resume("one", pause.since) is None
    assert await paused(book) == pause
    assert (await book.standings(["two", "never_seen"])) == {
        "two": Standing("two"),
        "never_seen": Standing("never_seen"),
    }
    assert await book.resume("one") == pause
    assert await paused(book) is None
    assert await book.resume("one") is None


async def test_whoever_pauses_what_is_paused_takes_the_pause_over(book: GatewayBook) -> None:
    assert await book.pause_unfunded("one", "used up", 0)
    first = await paused(book)
    await book.pause("one", "ada", "")
    second = await paused(book)
    assert first is not None
    assert second == Pause(first.since, "ada", "", automatic=False)
    assert not await book.claim_trial("one", 60)


async def test_a_gateway_that_nobody_has_seen_can_be_paused(ledger_dsn: str) -> None:
    async with opened(ledger_dsn) as pool:
        book = GatewayBook(pool)
        await book.pause("new", "ada", "not yet")
        assert (await book.standings(["new"]))["new"].pause is not None


async def test_only_the_pause_that_was_judged_is_lifted(book: GatewayBook) -> None:
    """Between the look at it and the end of it somebody may have lifted it, and another may have begun."""
    await book.pause_unfunded("one", "used up", 60)
    first = await paused(book)
    assert first is not None
    await book.resume("one")
    await book.pause_unfunded("one", "used up", 60)
    assert await book.resume("one", first.since) is None
    assert await paused(book) is not None


async def test_one_worker_at_a_time_may_try_an_order(book: GatewayBook) -> None:
    await book.pause_unfunded("one", "used up", 0.3)
    assert not await book.claim_trial("one", 60)
    await asyncio.sleep(0.35)
    won = await asyncio.gather(*(book.claim_trial("one", 60) for _ in range(4)))
    assert sorted(won) == [False, False, False, True]


async def test_one_worker_at_a_time_asks_for_a_balance(book: GatewayBook) -> None:
    turns = [Turn("one", 60, 0.3), Turn("two", 0.3, 0.3)]
    asked = await asyncio.gather(*(book.claim_balances(turns) for _ in range(4)))
    assert sorted(name for names in asked for name in names) == ["one", "two"]
    await asyncio.sleep(0.35)
    assert await book.claim_balances(turns) == ["two"]
    await book.pause_unfunded("one", "used up", 60)
    assert await book.claim_balances(turns[:1]) == ["one"], "a pause makes it due at once"
    assert await book.claim_balances(turns[:1]) == []
    await asyncio.sleep(0.35)
    assert await book.claim_balances(turns[:1]) == ["one"], "and then more often"


@pytest.mark.parametrize(
    ("readings", "rate", "hours"),
    [
        ([(0, 5000)], None, None),
        ([(1800, 9000), (0, 5000)], 8000, 0.625),
        ([(1800, 5000), (0, 5000)], 0, None),
        ([(1800, 2000), (900, 1000), (600, 9000), (0, 7000)], 6000, 7000 / 6000),  # 1000, a top-up, 2000
        ([(7200, 100_000), (1800, 1000), (0, 0)], 2000, 0.0),  # the first is no part of the present
        ([(1800, 100), (0, -100)], 400, 0.0),
    ],
)
async def test_how_long_the_balance_lasts_at_the_present_rate(
    home: House, book: GatewayBook, readings: list[tuple[float, int]], rate: int | None, hours: float | None
) -> None:
    await told(home, *readings)
    standing = await one(book)
    assert standing.spent_per_hour_fen == pytest.approx(rate)
    assert standing.hours_left == pytest.approx(hours)
    assert standing.balance_fen == readings[-1][1]


async def test_an_answer_that_comes_late_is_kept_but_is_not_the_last(home: House, book: GatewayBook) -> None:
    await told(home, (10, 700), (20, 900))
    assert (await one(book)).balance_fen == 700
    assert await home.value("SELECT count(*) FROM balances") == 2
    now = home.ledger.now()
    await book.keep_balance("one", now, 600, HOUR)
    await book.keep_balance("one", now, 600, HOUR)  # a repetition, since the first commit was not heard of
    assert await home.value("SELECT count(*) FROM balances") == 3


async def test_the_history_of_balances_with_the_one_before_and_the_one_after(home: House, book: GatewayBook) -> None:
    await told(home, (50, 5), (40, 4), (30, 3), (20, 2), (10, 1))
    now = home.ledger.now()

    def ago(seconds: float) -> datetime:
        return now - timedelta(seconds=seconds)

    assert [fen for _, fen in await book.balances("one", ago(35), ago(15))] == [4, 3, 2, 1]
    assert [fen for _, fen in await book.balances("one", ago(90), ago(45))] == [5, 4]
    assert [fen for _, fen in await book.balances("one", ago(5), now)] == [1]
    assert await book.balances("two", ago(90), now) == []


@pytest.mark.parametrize("statement", ["UPDATE balances SET at = now()", "DELETE FROM balances", "TRUNCATE balances"])
async def test_a_balance_stays_as_it_was_told(home: House, statement: str) -> None:
    await told(home, (0, 5000))
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await home.pool.execute(statement)


async def test_a_top_up_is_a_balance_that_has_grown_and_is_enough_for_the_smallest_order(
    home: House, book: GatewayBook
) -> None:
    for number, amount in enumerate((9000, 5000, 7000)):
        await home.admit(f"T{number}", sending=False, amount_fen=amount)
    await told(home, (60, 8000))
    await book.pause_unfunded("one", "used up", 60)
    judged = []
    for fen in (1000, 4000, 400, 4999, 5000, 6000):
        await told(home, (0, fen))
        standing = await one(book)
        judged.append((standing.suffices, standing.topped_up))
    assert judged == [(False, False)] * 4 + [(True, True)] * 2
    assert (standing.lowest_fen, standing.needed_fen) == (400, 5000)


async def test_a_balance_that_is_enough_from_the_first_is_no_top_up(home: House, book: GatewayBook) -> None:
    await home.admit("T1", sending=False, amount_fen=5000)
    await book.pause_unfunded("one", "used up", 60)
    standing = await one(book)
    assert (standing.suffices, standing.topped_up) == (False, False), "nothing is known yet"
    await told(home, (0, 6000))
    standing = await one(book)
    assert (standing.suffices, standing.topped_up) == (True, False)


async def test_a_question_of_before_the_pause_says_nothing_about_it(home: House, book: GatewayBook) -> None:
    asked_at = home.ledger.now()
    await book.pause_unfunded("one", "used up", 60)
    await book.keep_balance("one", asked_at - timedelta(milliseconds=5), 9000, HOUR)
    assert (await one(book)).lowest_fen is None


async def test_what_the_workers_that_are_alive_say(home: House, book: GatewayBook) -> None:
    await home.admit("T1", sending=False)
    await book.beat("w1", [Beat("one", "closed", 3), Beat("two", "closed", 0)])
    await book.beat("w2", [Beat("one", "open", 4), Beat("two", "half_open", 1)])
    await book.beat("w3", [Beat("one", "closed", 50)])
    await home.pool.execute("UPDATE heartbeats SET at = now() - interval '1 hour' WHERE worker = 'w3'")
    live = await book.live(["one", "two", "three"])
    said = {name: (each.workers, each.in_flight, each.breaker, each.waiting) for name, each in live.items()}
    assert said == {"one": (2, 7, "open", 1), "two": (2, 1, "half_open", 0), "three": (0, 0, None, 0)}
    await book.forget_worker("w2")
    await book.beat("w1", [Beat("one", "closed", 2)])
    assert (await book.live(["one"]))["one"][:3] == ("one", 1, 2)
    assert await home.value("SELECT count(*) FROM heartbeats WHERE worker = 'w3'") == 0, "what a dead worker left"
