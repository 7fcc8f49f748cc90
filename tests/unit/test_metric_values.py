"""Counting: what a step, a call, a wait and a batch leave in the metrics, and that no stranger can make a series."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import CollectorRegistry

from worker.core.machine import Decision, Moment, admit, decide
from worker.core.order import Event, Fact, Order, State
from worker.core.policy import Policy
from worker.core.rules import transitions
from worker.gateways.gate import Gate
from worker.ledger.batch import Batcher
from worker.ledger.figures import Backlog, Figures, Task, Watched
from worker.ops.metrics import MOST_RESULTS, OTHER, WorkerMetrics
from worker.ops.readings import Readings

NOW = Moment(datetime(2026, 11, 21, tzinfo=UTC), Policy())
ORDER = Order(
    order_no="T1", source="shop", product="mobile", amount_fen=10_000, target={"mobile": "13800138000"},
    route=("one",), gateway="one",
)  # fmt: skip


@pytest.fixture
def metrics() -> WorkerMetrics:
    metrics = WorkerMetrics()
    metrics.expect(["one"], ["poison"])
    return metrics


def shown(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    """Return what is scraped; None: nothing."""
    return metrics.registry.get_sample_value(name, labels)


def moved(order: Order, fact: Fact) -> Decision:
    """Return what a fact makes of an order."""
    decision = decide(order, fact, NOW)
    assert isinstance(decision, Decision)
    return decision


def test_every_step_of_the_machine_is_shown_before_it_happens(metrics: WorkerMetrics) -> None:
    """Or the rate of a counter that begins at one would miss the first, which is the one that an alert is for."""
    for start, to, cause in transitions():
        labels = {"from_state": start or "new", "to_state": to, "cause": cause}
        assert shown(metrics, "worker_transitions_total", **labels) == 0
    assert shown(metrics, "worker_submits_total", gateway="one", outcome="unknown") == 0
    assert shown(metrics, "worker_dead_letters_total", reason="poison") == 0


def test_a_step_is_counted_and_a_note_is_not(metrics: WorkerMetrics) -> None:
    admitted = admit(ORDER, NOW, sending=True)
    metrics.stepped(admitted)
    assert shown(metrics, "worker_transitions_total", from_state="new", to_state="submitting", cause="admitted") == 1
    accepted = moved(admitted.order, Fact(Event.ACCEPTED, sending=1))
    metrics.stepped(accepted)
    labels = {"from_state": "submitting", "to_state": "pending", "cause": "accepted"}
    assert shown(metrics, "worker_transitions_total", **labels) == 1
    unclear = moved(accepted.order, Fact(Event.UNCLEAR, code="77"))
    assert unclear.order.state is State.PENDING
    metrics.stepped(unclear)
    assert shown(metrics, "worker_gateway_unknown_codes_total", gateway="one") == 1
    counted = [sample for family in metrics.registry.collect() for sample in family.samples
               if sample.name == "worker_transitions_total" and sample.value]  # fmt: skip
    assert len(counted) == 2


def test_a_refusal_that_no_table_lists_is_an_unknown_code(metrics: WorkerMetrics) -> None:
    admitted = admit(ORDER, NOW, sending=True)
    metrics.stepped(moved(admitted.order, Fact(Event.UNANSWERED, sending=1, code="9527", doubt=True)))
    assert shown(metrics, "worker_gateway_unknown_codes_total", gateway="one") == 1


def test_results_beyond_a_number_are_not_told_apart(metrics: WorkerMetrics) -> None:
    """A gateway that answers with ever new statuses makes no series for each."""
    for status in range(100, 300):
        metrics.exchanged("one", "pay", 0.1, f"http_{status}")
        metrics.exchanged("two", "pay", 0.1, f"http_{status}")
    for gateway in ("one", "two"):
        found = [
            sample
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "worker_gateway_requests_total" and sample.labels["gateway"] == gateway
        ]
        assert len(found) == MOST_RESULTS + 1
        labels = {"gateway": gateway, "operation": "pay", "result": OTHER}
        assert shown(metrics, "worker_gateway_requests_total", **labels) == 200 - MOST_RESULTS
        assert sum(sample.value for sample in found) == 200


async def test_only_calls_that_waited_are_counted_as_waits(metrics: WorkerMetrics) -> None:
    gate = Gate(1)
    gate.observe = metrics.waits("one")
    assert await gate.enter_submit(1)
    assert gate.calls == (1, 0)
    waiting = asyncio.create_task(gate.enter_submit(5))
    refused = asyncio.create_task(gate.enter_submit(0.01))
    await asyncio.sleep(0.05)
    assert gate.waiting == (1, 0)
    gate.leave()
    assert await waiting
    assert not await refused
    assert gate.waiting == (0, 0)
    assert shown(metrics, "worker_gateway_limiter_wait_seconds_count", gateway="one", kind="submit") == 2
    assert shown(metrics, "worker_gateway_limiter_wait_seconds_count", gateway="one", kind="query") == 0
    assert (shown(metrics, "worker_gateway_limiter_wait_seconds_sum", gateway="one", kind="submit") or 0) >= 0.05


async def test_each_try_of_a_batch_is_told(metrics: WorkerMetrics) -> None:
    """Committed ones with their size, failed ones with what failed."""
    failures: list[Exception] = [OSError("gone"), asyncpg.UniqueViolationError("no")]

    async def flush(items: Sequence[int]) -> Sequence[int]:
        if failures and items == [1]:
            raise failures.pop(0)
        return items

    batch: Batcher[int, int] = Batcher(flush, name="step", observe=metrics.flushed)
    batch.start()
    with pytest.raises(asyncpg.UniqueViolationError):
        await batch(1)
    assert await asyncio.gather(batch(2), batch(3)) == [2, 3]
    await batch.stop()
    for result, count in (("away", 1), ("refused", 1), ("held", 0)):
        assert shown(metrics, "worker_batch_failures_total", batch="step", result=result) == count
    assert shown(metrics, "worker_batch_orders_sum", batch="step") == 2
    assert shown(metrics, "worker_batch_orders_count", batch="step") == 1


def test_open_orders_follow_from_alarms_and_from_those_that_are_watched() -> None:
    figures = Figures(
        backlog={
            ("one", Task.SUBMIT): Backlog(7, 5, 3.0),
            ("one", Task.LEASE): Backlog(2, 0, 0.0),
            ("one", Task.QUERY): Backlog(10, 4, 1.0),
        },
        watched={
            ("one", State.UNKNOWN): Watched(3, 300, 9.0),
            ("one", State.AWAITING_PAYMENT): Watched(1, 100, 9.0),
            ("one", State.REVIEW): Watched(4, 400, 9.0),
        },
    )
    states = {State.QUEUED: 7, State.SUBMITTING: 2, State.PENDING: 6, State.UNKNOWN: 3, State.AWAITING_PAYMENT: 1}
    assert figures.orders() == {("one", state): count for state, count in (states | {State.REVIEW: 4}).items()}
    assert figures.at_risk() == {("one", State.UNKNOWN): 300, ("one", State.REVIEW): 400}


def test_a_reading_that_fails_hides_no_other() -> None:
    registry = CollectorRegistry()
    readings = Readings(registry)
    for name in ("broken", "whole", "silent"):
        readings.gauge(name, "meaning", ["a"])
    readings.register()

    def fails() -> list[Any]:
        raise RuntimeError

    readings.source("broken", fails)
    readings.source("whole", lambda: [(("x",), 2.0)])
    found = list(registry.collect())
    assert [family.name for family in found] == ["whole"]
    assert isinstance(found[0], GaugeMetricFamily)
    assert registry.get_sample_value("whole", {"a": "x"}) == 2
    with pytest.raises(KeyError):
        readings.source("unheard_of", fails)
