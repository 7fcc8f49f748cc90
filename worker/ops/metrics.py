"""What a process counts and shows to Prometheus: every name, its labels and its meaning are here and nowhere else.

A label's values are ours (states, tasks, reasons), configured (gateways, queues), or capped (`_Bound`): nothing that a
stranger chooses can make a series. What is counted for each order has its child bound beforehand or kept by its key,
which makes it half a microsecond. What only stands somewhere is read at the scrape (`readings.py`).
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import TYPE_CHECKING, Generic, TypeVar

from prometheus_client import Counter, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from worker.core.order import Event
from worker.core.outcome import Outcome
from worker.core.rules import transitions
from worker.ops.readings import Readings, Row

if TYPE_CHECKING:
    from worker.core.machine import Decision

NEW = "new"
"""`from_state` of an order that has just been admitted."""
OTHER = "other"
"""What a label shows once it has taken as many values as it may."""
KINDS = ("submit", "query")
"""Of calls to a gateway; a query is any that moves no money."""
MOST_RESULTS = 40
"""Results of calls that a gateway's operation is shown with: our codes are some thirty, HTTP's statuses hundreds."""

_CALL_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 15, 20, 30, 60)
_WAIT_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
_LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, about its age, which nobody asks for


M = TypeVar("M", bound=MetricWrapperBase)


class _Bound(dict[tuple[str, ...], M], Generic[M]):
    """The children of a metric by the values of their labels: found again in a tenth of the time of `labels()`.

    `most`: of the last label, so many values are told apart for each combination of the others; the rest is `other`.
    """

    def __init__(self, metric: M, most: int | None = None) -> None:
        super().__init__()
        self._metric = metric
        self._most = most
        self._taken: Tally[tuple[str, ...]] = Tally()

    def bind(self, *values: str) -> None:
        """Show a child at once, at zero."""
        self[values]

    def __missing__(self, values: tuple[str, ...]) -> M:
        group = values[:-1]
        if self._most is not None and self._taken[group] >= self._most:
            return self._metric.labels(*group, OTHER)  # not kept: there may be any number of them
        self._taken[group] += 1
        child = self[values] = self._metric.labels(*values)
        return child


class ProcessMetrics:
    """What every process of ours shows. `readings` are given their sources by whoever has them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.readings = Readings(self.registry)
        self._declared: dict[str, tuple[str, ...]] = {}
        ProcessCollector(registry=self.registry)
        self._lag = self._histogram(
            "worker_event_loop_lag_seconds", "How late the event loop came to a timer, twice a second", (), _LAG_SECONDS
        )
        self.observe_lag: Callable[[float], None] = self._lag.observe
        reads = self.readings
        reads.gauge("worker_build_info", "The version that runs; always 1", ["version"])
        reads.gauge("worker_dependency_up", "Whether what /readyz asks about is usable", ["dependency"])
        reads.counter("worker_broker_connections_total", "Connections made; all but the first again", ["connection"])
        reads.gauge("worker_broker_connected", "Whether a connection does its work", ["connection"])
        self._declare()
        reads.register()
        reads.source("worker_build_info", _version)

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Return the labels of each metric of ours, by the name that it is scraped under (without `_bucket` etc.)."""
        return {**self._declared, **self.readings.labels()}

    def _declare(self) -> None:
        """Declare what this kind of process shows besides."""

    def _counter(self, name: str, meaning: str, labels: Iterable[str]) -> Counter:
        self._declared[name] = tuple(labels)
        return Counter(name, meaning, self._declared[name], registry=self.registry)

    def _histogram(self, name: str, meaning: str, labels: Iterable[str], buckets: tuple[float, ...]) -> Histogram:
        self._declared[name] = tuple(labels)
        return Histogram(name, meaning, self._declared[name], registry=self.registry, buckets=buckets)


class RelayMetrics(ProcessMetrics):
    """What `worker relay` shows."""

    def _declare(self) -> None:
        publish = self._histogram(
            "worker_relay_publish_seconds", "From handing a callback to the broker to its answer", (), _CALL_SECONDS
        )
        self.observe_publish: Callable[[float], None] = publish.observe
        reads = self.readings
        reads.counter(
            "worker_relay_requests_total",
            "Requests by how they ended: relayed, bad_signature, away, http_*",
            ["result"],
        )
        reads.gauge("worker_relay_waiting", "Callbacks that wait for the broker's confirm")


class WorkerMetrics(ProcessMetrics):
    """What `worker run` shows. Its methods are the hooks of ledger, gateways, broker and flows."""

    def _declare(self) -> None:
        self._declare_counted()
        self._declare_gateways()
        self._declare_ledger()

    def _declare_counted(self) -> None:
        steps = self._counter(
            "worker_transitions_total", "Committed steps of orders", ["from_state", "to_state", "cause"]
        )
        self._steps = _Bound(steps)
        calls = self._counter(
            "worker_gateway_requests_total", "Requests to gateways by result", ["gateway", "operation", "result"]
        )
        self._calls = _Bound(calls, most=MOST_RESULTS)
        self._call_seconds = _Bound(
            self._histogram(
                "worker_gateway_request_seconds", "How long requests took", ["gateway", "operation"], _CALL_SECONDS
            )
        )
        self._submits = _Bound(self._counter("worker_submits_total", "What became of submits", ["gateway", "outcome"]))
        self._unknown_codes = _Bound(
            self._counter(
                "worker_gateway_unknown_codes_total",
                "Answers with a code or status that no table lists; the journal has it",
                ["gateway"],
            )
        )
        self._waits = _Bound(
            self._histogram(
                "worker_gateway_limiter_wait_seconds",
                "How long those calls waited that found no slot at once, admitted or not",
                ["gateway", "kind"],
                _WAIT_SECONDS,
            )
        )
        sizes = self._histogram("worker_batch_orders", "Orders in one commit", ["batch"], _BATCH_SIZES)
        self._sizes = _Bound(sizes)
        self._commits = _Bound(
            self._histogram("worker_batch_commit_seconds", "How long a commit took", ["batch"], _COMMIT_SECONDS)
        )
        self._uncommitted = _Bound(
            self._counter(
                "worker_batch_failures_total", "Commits that failed: away, held by a lock, refused", ["batch", "result"]
            )
        )
        self._dead = _Bound(self._counter("worker_dead_letters_total", "Messages this process gave up", ["reason"]))

    def _declare_gateways(self) -> None:
        reads = self.readings
        reads.gauge("worker_gateway_in_flight", "Calls under way", ["gateway", "kind"])
        reads.gauge("worker_gateway_slots", "Calls that may be under way at once, in this process", ["gateway"])
        reads.gauge("worker_gateway_waiting", "Calls that wait for a slot", ["gateway", "kind"])
        reads.gauge("worker_gateway_breaker_state", "1 for the state that the breaker is in", ["gateway", "state"])
        reads.gauge("worker_gateway_paused", "1 while no submit may begin", ["gateway", "cause"])
        reads.gauge("worker_gateway_balance_fen", "Our money there when it was last asked for", ["gateway"])
        reads.gauge("worker_gateway_balance_lasts_seconds", "How long it lasts at the present rate", ["gateway"])
        reads.gauge("worker_gateway_balance_age_seconds", "How long ago it was asked for", ["gateway"])
        reads.gauge("worker_deliveries_in_hand", "Messages that are being handled", ["connection"])
        reads.gauge("worker_queue_messages", "Messages that are ready in a queue", ["queue"])
        reads.gauge("worker_queue_consumers", "Consumers of a queue, of all workers", ["queue"])

    def _declare_ledger(self) -> None:
        reads = self.readings
        reads.gauge("worker_due_backlog", "Open orders whose moment has come", ["gateway", "task"])
        reads.gauge("worker_due_oldest_seconds", "How long the first of them is overdue", ["gateway", "task"])
        reads.gauge("worker_orders", "Orders that are not closed, review included", ["gateway", "state"])
        reads.gauge(
            "worker_orders_oldest_seconds",
            "How long the first has been so; in unknown since it was first sent, however often it was sent again",
            ["gateway", "state"],
        )
        reads.gauge("worker_orders_at_risk_fen", "Money of orders in unknown and review", ["gateway", "state"])
        reads.gauge("worker_outbox_events", "Events that are not confirmed; more than 100000 are not counted")
        reads.gauge("worker_outbox_oldest_seconds", "How long the first of them has waited")
        reads.counter("worker_events_total", "Events by result: confirmed, unheard, failed", ["result"])
        reads.gauge("worker_hints", "Unproven callbacks whose gateway has not answered", ["gateway"])
        reads.gauge("worker_figures_age_seconds", "How old the ledger's and the queues' figures are", ["source"])

    # --- hooks: called once for each, on the hot path ----------------------------------------------

    def stepped(self, decision: "Decision") -> None:
        """Count what the ledger has written."""
        fact = decision.fact
        if decision.before is None or "version" in decision.changes:
            self._steps[decision.before or NEW, decision.order.state, decision.event].inc()
        if fact.doubt or fact.event is Event.UNCLEAR:
            self._unknown_codes[(decision.order.gateway,)].inc()

    def exchanged(self, gateway: str, operation: str, seconds: float, result: str) -> None:
        """Count a request to a gateway; the observer of `Gateway`."""
        self._call_seconds[gateway, operation].observe(seconds)
        self._calls[gateway, operation, result].inc()

    def submitted(self, gateway: str, outcome: str) -> None:
        """Count what became of a submit."""
        self._submits[gateway, outcome].inc()

    def waits(self, gateway: str) -> Callable[[bool, float], None]:
        """Return what counts the waits for a gateway's slots; told whether for a query, and the seconds."""
        submit, query = (self._waits[gateway, kind].observe for kind in KINDS)
        return lambda is_query, seconds: (query if is_query else submit)(seconds)

    def flushed(self, batch: str, size: int, seconds: float, failure: str | None) -> None:
        """Count one try of a batch."""
        if failure is None:
            self._sizes[(batch,)].observe(size)
            self._commits[(batch,)].observe(seconds)
        else:
            self._uncommitted[batch, failure].inc()

    def buried(self, _queue: str, reason: str) -> None:
        """Count a dead letter."""
        self._dead[(reason,)].inc()

    # --- what is shown before it happens: a rate over a counter that begins at 1 misses its first ----

    def expect(self, gateways: Iterable[str], reasons: Iterable[str]) -> None:
        """Show zeros for what these gateways' orders, and dead letters of these reasons, may be counted under."""
        for start, to, cause in transitions():
            self._steps.bind(start or NEW, to, cause)
        for gateway in gateways:
            self._unknown_codes.bind(gateway)
            for outcome in Outcome:
                self._submits.bind(gateway, outcome)
        for reason in reasons:
            self._dead.bind(reason)
        for batch in ("admit", "step", "find"):
            for failure in ("away", "held", "refused"):
                self._uncommitted.bind(batch, failure)


def _version() -> Iterable[Row]:
    try:
        version = metadata.version("order-worker")
    except metadata.PackageNotFoundError:
        version = "unknown"
    return [((version,), 1)]
