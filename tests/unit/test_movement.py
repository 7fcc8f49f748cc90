"""What orders took from a balance between two readings: exact where it can be, a range where it cannot."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.core.movement import Held, Reading, bracket, movement

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
START, END = Reading(NOON, 100_000), Reading(NOON + timedelta(hours=1), 90_000)


def held(at_start: str | None, at_end: str | None, now: str | None = None, **changes: object) -> Held:
    made = Held(
        here=True,
        amount_fen=10_000,
        cost_fen=9_900,
        arrived_fen=None,
        at_start=at_start,
        at_end=at_end,
        now="succeeded",
    )
    return made._replace(now=now or at_end or "succeeded", **changes)


@pytest.mark.parametrize(
    ("order", "took"),
    [
        (held(None, "succeeded"), (9_900, 9_900)),
        (held("queued", "succeeded"), (9_900, 9_900)),
        (held("queued", "failed"), (0, 0)),
        (held(None, "cancelled"), (0, 0)),
        (held("succeeded", "refunded"), (-9_900, 0)),  # whether it had come back at the first reading nobody knows
        (held("succeeded", "succeeded"), (0, 0)),
        (held("failed", "failed"), (0, 0)),
        (held(None, None), (0, 0)),  # later than both
        (held("pending", "succeeded"), (0, 9_900)),
        (held(None, "pending", "succeeded"), (0, 9_900)),
        (held("pending", "failed"), (-9_900, 0)),
        (held("unknown", "review"), (-9_900, 9_900)),
        (held(None, "failed", "succeeded"), (0, 9_900)),
        (held(None, "succeeded", "refunded"), (0, 9_900)),
        (held(None, "succeeded", cost_fen=None), (0, 10_000)),
        (held(None, "partial", arrived_fen=4_000), (4_000, 9_900)),
        (held(None, "partial", arrived_fen=9_900), (9_900, 9_900)),
        (held(None, "succeeded", here=False), (0, 0)),
        (held(None, "succeeded", "review", here=False), (0, 9_900)),
        (held("pending", "succeeded", here=False), (-9_900, 0)),
        (held(None, "failed", here=False), (0, 0)),
        (held("pending", "queued", here=False), (-9_900, 0)),
    ],
)
def test_what_an_order_took(order: Held, took: tuple[int, int]) -> None:
    assert order.moved() == took


def test_a_movement_that_closes_to_the_fen() -> None:
    made = movement(START, END._replace(fen=100_000 - 19_800), [held(None, "succeeded")] * 2)
    assert (made.exact, made.left_fen, made.difference_fen, made.doubtful) == (True, 19_800, 0, 0)


@pytest.mark.parametrize(("fen", "difference"), [(80_201, -1), (80_199, 1)])
def test_a_fen_that_no_order_explains(fen: int, difference: int) -> None:
    made = movement(START, END._replace(fen=fen), [held(None, "succeeded")] * 2)
    assert made.difference_fen == difference


def test_what_was_paid_in_is_no_difference() -> None:
    made = movement(START, END._replace(fen=590_100), [held(None, "succeeded")], topped_up_fen=500_000)
    assert (made.left_fen, made.difference_fen) == (9_900, 0)


@pytest.mark.parametrize(("fen", "difference"), [(100_000, 0), (90_100, 0), (90_099, 1), (100_001, -1)])
def test_an_open_order_makes_it_a_range(fen: int, difference: int) -> None:
    made = movement(START, END._replace(fen=fen), [held(None, "pending")])
    assert (made.exact, made.doubtful, made.difference_fen) == (False, 1, difference)


@pytest.mark.parametrize(
    ("minutes", "found"),
    [
        ([-5, -1, 30, 61, 70], (-1, 61)),
        ([0, 60], (0, 60)),
        ([1, 61], None),
        ([-1, 59], None),
        ([], None),
    ],
)
def test_two_readings_bracket_a_period(minutes: list[int], found: tuple[int, int] | None) -> None:
    readings = [Reading(NOON + timedelta(minutes=minute), minute) for minute in minutes]
    made = bracket(readings, NOON, NOON + timedelta(hours=1))
    assert (None if made is None else (made[0].fen, made[1].fen)) == found
