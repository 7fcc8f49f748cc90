"""The gate: slots, shares, order of arrival, the rate, the breaker; and that no slot is ever lost."""

import asyncio
import random

import pytest

from worker.gateways.breaker import Breaker, BreakerState
from worker.gateways.gate import Gate


class Hand:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time that it was set to."""
        return self.now


def enter(gate: Gate, count: int) -> int:
    return sum(gate.try_enter_submit() for _ in range(count))


def test_submits_cannot_take_the_queries_share() -> None:
    gate = Gate(16)
    assert enter(gate, 20) == 14
    assert [gate.try_enter_query() for _ in range(3)] == [True, True, False]
    assert gate.in_flight == 16
    gate.leave()
    assert gate.free_submits() == 1


def test_queries_cannot_take_the_submits_share() -> None:
    gate = Gate(16)
    assert sum(gate.try_enter_query() for _ in range(20)) == 14
    assert gate.free_submits() == 2
    assert enter(gate, 5) == 2


def test_one_slot_serves_both() -> None:
    gate = Gate(1)
    assert gate.try_enter_submit()
    assert not gate.try_enter_query()
    gate.leave()
    assert gate.try_enter_query()
    gate.leave(query=True)
    assert gate.in_flight == 0


def test_a_pause_stops_submits_only() -> None:
    gate = Gate(8)
    gate.paused = True
    assert (gate.try_enter_submit(), gate.free_submits(), gate.try_enter_query()) == (False, 0, True)
    gate.paused = False
    assert gate.try_enter_submit()


def test_a_pause_for_some_time_ends_by_itself() -> None:
    clock = Hand()
    gate = Gate(8, clock=clock)
    assert gate.pause_for(10), "until now they could begin"
    assert not gate.pause_for(10), "they were stopped already"
    assert gate.resting
    assert (gate.try_enter_submit(), gate.free_submits(), gate.try_enter_query()) == (False, 0, True)
    clock.now += 9.9
    assert not gate.try_enter_submit()
    clock.now += 0.2
    assert not gate.resting
    assert gate.free_submits() > 0
    assert gate.try_enter_submit()


def test_one_order_may_be_tried_in_a_pause() -> None:
    clock = Hand()
    gate = Gate(8, clock=clock)
    gate.paused = True
    gate.pause_for(60)
    gate.allow_one(10)
    assert gate.free_submits() == 1
    assert (gate.try_enter_submit(), gate.try_enter_submit(), gate.free_submits()) == (True, False, 0)
    assert not gate.pause_for(60), "it has been paused all the time"
    gate.allow_one(10)
    clock.now += 10
    assert not gate.try_enter_submit(), "too late: another worker may try one now"


def test_the_end_of_a_pause_ends_also_one_for_some_time() -> None:
    gate = Gate(8)
    gate.paused = True
    gate.pause_for(60)
    gate.paused = True
    assert gate.free_submits() == 0
    gate.paused = False
    assert gate.free_submits() > 1
    gate.pause_for(60)
    gate.paused = False
    assert gate.free_submits() == 0, "nobody has said that this one is over"


async def test_whoever_waits_is_let_in_for_a_trial() -> None:
    gate = Gate(8)
    gate.paused = True
    waiting = [asyncio.create_task(gate.enter_submit(0.2)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.allow_one(10)
    assert await asyncio.gather(*waiting) == [True, False, False]


async def test_whoever_waits_is_let_in_when_the_pause_ends() -> None:
    gate = Gate(8)
    gate.pause_for(0.05)
    waiting = asyncio.create_task(gate.enter_submit(5))
    await asyncio.sleep(0)
    gate.pause_for(0.1)
    async with asyncio.timeout(2):
        assert await waiting


@pytest.mark.parametrize(("rate", "burst", "window"), [(10, 10, 1.0), (0.5, 1, 2.0), (2.5, 2, 0.8)])
def test_the_rate_holds_in_every_window(rate: float, burst: int, window: float) -> None:
    clock = Hand()
    gate = Gate(1000, rate, clock=clock)
    begun: list[float] = []
    for _ in range(2000):
        clock.now += 0.01
        if gate.free_submits():
            assert gate.try_enter_submit()
            begun.append(clock.now)
            gate.leave()
    assert all(later - earlier >= window - 1e-6 for earlier, later in zip(begun, begun[burst:], strict=False))
    assert len(begun) == pytest.approx(rate * 20, rel=0.15)


async def test_waiting_is_in_order_of_arrival_and_nobody_overtakes() -> None:
    gate = Gate(1)
    assert gate.try_enter_submit()
    order: list[int] = []

    async def one(number: int) -> None:
        assert await gate.enter_submit(5)
        order.append(number)
        await asyncio.sleep(0)
        gate.leave()

    tasks = [asyncio.create_task(one(number)) for number in range(5)]
    await asyncio.sleep(0)
    gate.leave()
    assert not gate.try_enter_submit()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    assert gate.in_flight == 0


@pytest.mark.parametrize(("slots", "rate"), [(64, 20), (1, 0), (4, 0)])
async def test_queries_that_always_wait_do_not_starve_submits(slots: int, rate: float) -> None:
    gate = Gate(slots, rate)
    begun: list[str] = []

    async def query() -> None:
        while True:
            await gate.enter_query()
            begun.append("query")
            try:
                await asyncio.sleep(0.001)
            finally:
                gate.leave(query=True)

    async def submit() -> None:
        if await gate.enter_submit(2):
            begun.append("submit")
            gate.leave()

    async def scheduler() -> None:
        while begun.count("submit") < 20:
            claimed = gate.free_submits()  # it claims no order that could not begin
            submits.update(asyncio.create_task(submit()) for _ in range(claimed))
            await asyncio.sleep(0.001)

    submits: set[asyncio.Task[None]] = set()
    tasks = [asyncio.create_task(query()) for _ in range(32)]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(6):
        await scheduler()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, *submits, return_exceptions=True)
    since = begun[begun.index("submit") :]
    assert since.count("query") >= 10, "nor do submits starve queries"
    assert (gate.in_flight, gate.waiting) == (0, (0, 0))


async def test_patience_ends() -> None:
    gate = Gate(1)
    assert gate.try_enter_submit()
    assert not await gate.enter_submit(0)
    assert not await gate.enter_submit(0.02)
    gate.leave()
    assert gate.try_enter_submit()


async def test_the_rate_lets_the_next_one_in_by_itself() -> None:
    gate = Gate(8, 20)
    assert enter(gate, 30) == 7
    for _ in range(7):
        gate.leave()
    assert enter(gate, 30) == 7
    for _ in range(7):
        gate.leave()
    assert enter(gate, 30) == 6
    for _ in range(6):
        gate.leave()
    assert await gate.enter_submit(3)


async def test_a_cancelled_waiter_gives_back_a_slot_that_came_in_the_same_moment() -> None:
    gate = Gate(1)
    assert gate.try_enter_submit()
    waiting = asyncio.create_task(gate.enter_submit(5))
    await asyncio.sleep(0)
    gate.leave()  # grants it
    waiting.cancel()  # before it could run
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gate.in_flight == 0
    assert gate.try_enter_submit()


async def test_no_slot_is_lost_whatever_happens() -> None:
    chance = random.Random(7)  # noqa: S311 - a repeatable history, no secret
    gate = Gate(3)

    async def one() -> None:
        query = chance.random() < 0.3
        if query:
            await gate.enter_query()
        elif not await gate.enter_submit(chance.random() * 0.004):
            return
        try:
            await asyncio.sleep(chance.random() * 0.002)
        finally:
            gate.leave(query=query)

    tasks = []
    for _ in range(600):
        tasks.append(asyncio.create_task(one()))
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
        if chance.random() < 0.2:
            await asyncio.sleep(0.001)
        assert 0 <= gate.in_flight <= 3
    await asyncio.gather(*tasks, return_exceptions=True)
    assert gate.in_flight == 0
    assert gate.free_submits() == 3
    assert gate.waiting == (0, 0)


def test_the_breaker_opens_after_five_in_a_row_and_tries_one() -> None:
    clock = Hand()
    gate = Gate(8, clock=clock)
    for n, ok in enumerate((False, False, True, False, False, False, False)):
        gate.record(f"T{n}", ok=ok)
    assert gate.breaker is BreakerState.CLOSED
    gate.record("T7", ok=False)
    assert (gate.breaker, gate.free_submits()) == (BreakerState.OPEN, 0)
    assert (gate.try_enter_submit(), gate.try_enter_query()) == (False, True)
    clock.now += 5
    assert (gate.breaker, gate.free_submits()) == (BreakerState.HALF_OPEN, 1)
    assert enter(gate, 3) == 1
    gate.record("T1", ok=True)
    assert gate.breaker is BreakerState.CLOSED
    assert enter(gate, 3) == 3


def test_one_order_that_never_gets_an_answer_does_not_open_it() -> None:
    gate = Gate(8)
    for order_no in ("T1",) * 20 + ("T2", "T3", "T1", "T4"):
        gate.record(order_no, ok=False)
    assert gate.breaker is BreakerState.CLOSED
    gate.record("T5", ok=False)
    assert gate.breaker is BreakerState.OPEN


def test_the_cool_down_doubles_up_to_a_minute() -> None:
    clock = Hand()
    gate = Gate(8, clock=clock)
    for n in range(5):
        gate.record(f"T{n}", ok=False)
    for pause in (5, 10, 20, 40, 60, 60):
        clock.now += pause - 0.01
        assert not gate.try_enter_submit()
        clock.now += 0.01
        assert gate.try_enter_submit()
        gate.record("T1", ok=False)
        gate.leave()
    gate.record("T1", ok=True)
    for n in range(5):
        gate.record(f"T{n}", ok=False)
    clock.now += 5
    assert gate.try_enter_submit()


def test_late_failures_do_not_lengthen_the_cool_down() -> None:
    breaker = Breaker()
    for n in range(50):
        breaker.record(0, f"T{n}", ok=False)
    assert breaker.allows(5)


def test_a_trial_of_which_nothing_is_heard_is_followed_by_another() -> None:
    breaker = Breaker()
    for n in range(5):
        breaker.record(0, f"T{n}", ok=False)
    breaker.entered(5)
    assert not breaker.allows(9.9)
    assert breaker.allows(10)


async def test_whoever_waits_is_let_in_when_the_breaker_or_the_pause_ends() -> None:
    gate = Gate(2, breaker=Breaker(opens_after=1, cool_down=0.03))
    gate.record("T1", ok=False)
    assert await gate.enter_submit(2)
    gate.record("T1", ok=True)
    gate.leave()
    gate.paused = True
    waiting = asyncio.create_task(gate.enter_submit(2))
    await asyncio.sleep(0)
    gate.paused = False
    assert await waiting
