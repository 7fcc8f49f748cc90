"""The bench on few orders: it must go on working, and its verification is a test of the worker under load."""

from collections.abc import Iterator

import pytest

from tests.bench.work import latency, throughput
from worker.embedded import Services


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with Services() as services:
        yield services


async def test_waiting_orders_are_worked_off(services: Services) -> None:
    result = await throughput(services, 300)
    assert result.rate > 20
    assert result.cpu["worker"] > 0


async def test_orders_at_a_steady_rate_are_told_of_soon(services: Services) -> None:
    result = await latency(services, rate=50, seconds=2, warm_up_seconds=0.5)
    assert len(result.latencies) == 100
    assert 70 <= result.percentile(50) < 1000
