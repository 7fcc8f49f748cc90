"""Patience: steps that keep their last one, within the jitter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.policy import Policy

SCHEDULES = st.lists(st.floats(0.1, 1000), min_size=1, max_size=8).map(tuple)
CHANCE = st.floats(0, 1, exclude_max=True)


@given(SCHEDULES, st.floats(0, 0.9), st.integers(0, 50), CHANCE)
def test_every_delay_is_its_step_within_the_jitter(
    schedule: tuple[float, ...], jitter: float, count: int, chance: float
) -> None:
    policy = Policy(query_after=schedule, retry_after=schedule, jitter=jitter)
    step = schedule[min(count, len(schedule) - 1)]
    assert step * (1 - jitter) * 0.999 <= policy.query_delay(count, chance) <= step * (1 + jitter) * 1.001
    assert policy.retry_delay(count + 1, chance) == policy.query_delay(count, chance) > 0


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 4.0), (0.5, 5.0), (0.9999999, 6.0)])
def test_chance_stretches_or_shortens(chance: float, delay: float) -> None:
    assert Policy().query_delay(0, chance) == pytest.approx(delay)


def test_the_documented_defaults() -> None:
    policy = Policy()
    assert policy.query_after == (5, 10, 20, 40, 60)
    assert (policy.query_deadline, policy.lease, policy.settle_seconds, policy.settle_queries) == (86_400, 60, 120, 3)
    assert not policy.repeat_safe
