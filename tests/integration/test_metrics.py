"""`/metrics` of a live worker: what it counts is what happened, and it goes on while a dependency is away."""

import json
import re
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from support import promtool, wire
from support.market import Market
from support.process import WorkerProcess
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker.embedded import Services
from worker.ops.metrics import WorkerMetrics
from worker.sandbox import SandboxSettings

MARKET = SandboxSettings(port=0, settle_after=0.2)
DISPUTED = "13800138020"  # its order ends in review
CONNECTIONS = {"worker publisher", "worker answers", "worker consumer", "worker commands", "worker depths"}

Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """A broker and a database to be ended."""
    with Services() as running:
        yield running


@pytest.fixture(scope="module")
def here(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A deployment whose worker runs."""
    directory = tmp_path_factory.mktemp("metrics")
    with (
        Market(MARKET) as market,
        Relay(services.amqp_url) as relay,
        stage(services.amqp_url, services.dsn, directory, relay.url) as made,
    ):
        made.gateway("wikeyun", market.gateway, concurrency=16, balance_every_seconds=0.5)
        made.worker().await_ready()
        yield made


def scrape(worker: WorkerProcess) -> Samples:
    """Return every sample by its name and labels."""
    status, text = worker.page("/metrics")
    assert status == 200
    samples: Samples = {}
    for family in read_text(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return samples


def value(samples: Samples, series: str, **labels: str) -> float | None:
    """Return the value of one series; None: it is not there."""
    return samples.get(series, {}).get(frozenset(labels.items()))


def readiness(worker: WorkerProcess) -> tuple[int, list[str]]:
    """Return the status of /readyz, and what it says is missing."""
    status, text = worker.page("/readyz")
    answer = json.loads(text)
    assert answer["ready"] == (not answer["missing"])
    assert [name for name, state in answer["dependencies"].items() if not state["ok"]] == answer["missing"]
    return status, answer["missing"]


def test_what_it_counts_is_what_happened(here: Stage) -> None:
    """Three orders that succeed, one in review, one that is none: in counters, gauges, and not in a single label."""
    (worker,) = here.workers
    orders = [wire.order(f"M-{number}") for number in range(3)]
    here.producer.submit(*orders, wire.order("M-R", mobile=DISPUTED, amount_fen=5000))
    here.producer.submit(wire.order("M-X", amount_fen=-1))
    for number in range(3):
        here.facts.await_state(f"M-{number}", "succeeded")
    here.facts.await_state("M-R", "review")
    until(lambda: here.producer.ready("dead")["dead"] == 1, 10)

    def seen() -> bool:  # the ledger and the queues are looked at every fifteen seconds
        figures = scrape(worker)
        return bool(
            value(figures, "worker_orders", gateway="wikeyun", state="review")
            and value(figures, "worker_queue_messages", queue=f"{here.prefix}.dead")
        )

    until(seen, 40, lambda: worker.page("/metrics")[1])
    samples = scrape(worker)
    steps = samples["worker_transitions_total"]
    for path, count in ((("new", "submitting", "admitted"), 4), (("pending", "succeeded", "arrived"), 3)):
        names = ("from_state", "to_state", "cause")
        assert steps[frozenset(zip(names, path, strict=True))] == count, path
    journal = here.facts.rows("SELECT count(*) AS lines FROM journal WHERE from_state IS DISTINCT FROM to_state")
    assert sum(steps.values()) == journal[0]["lines"]
    assert value(samples, "worker_submits_total", gateway="wikeyun", outcome="accepted") == 4
    assert value(samples, "worker_submits_total", gateway="wikeyun", outcome="unknown") == 0
    requests = samples["worker_gateway_requests_total"]
    assert sum(requests.values()) >= 4
    assert {dict(labels)["result"] for labels in requests} == {"http_200"}
    timed = samples["worker_gateway_request_seconds_count"]
    assert sum(timed.values()) == sum(requests.values())
    assert value(samples, "worker_dead_letters_total", reason="invalid_message") == 1
    assert value(samples, "worker_dead_letters_total", reason="poison") == 0
    assert value(samples, "worker_batch_orders_sum", batch="admit") == 4
    assert (value(samples, "worker_batch_commit_seconds_count", batch="step") or 0) >= 2
    assert value(samples, "worker_orders_at_risk_fen", gateway="wikeyun", state="review") == 5000
    assert value(samples, "worker_outbox_events") == 0
    assert value(samples, "worker_queue_consumers", queue=f"{here.prefix}.submit.mobile") == 1
    assert value(samples, "worker_queue_consumers", queue=f"{here.prefix}.dead") == 0
    assert {dict(labels)["connection"] for labels in samples["worker_broker_connected"]} == CONNECTIONS
    assert set(samples["worker_broker_connected"].values()) == {1}
    assert set(samples["worker_broker_connections_total"].values()) == {1}
    assert set(samples["worker_dependency_up"].values()) == {1}
    assert value(samples, "worker_gateway_breaker_state", gateway="wikeyun", state="closed") == 1
    assert value(samples, "worker_gateway_in_flight", gateway="wikeyun", kind="submit") == 0
    assert value(samples, "worker_gateway_slots", gateway="wikeyun") == 16
    assert value(samples, "worker_gateway_paused", gateway="wikeyun", cause="unfunded") == 0
    assert (value(samples, "worker_gateway_balance_fen", gateway="wikeyun") or 0) > 0
    assert (value(samples, "worker_event_loop_lag_seconds_count") or 0) > 0
    assert (value(samples, "worker_events_total", result="confirmed") or 0) >= 8


def test_nothing_about_an_order_is_in_it(here: Stage) -> None:
    """No number of an order, no account: a label's values are ours, configured, or capped."""
    (worker,) = here.workers
    text = worker.page("/metrics")[1]
    assert "M-R" not in text
    assert "1380013" not in text
    known = WorkerMetrics().labels()
    for family in read_text(text):
        if family.name.startswith("worker_"):
            name = family.name if family.name in known else f"{family.name}_total"
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(known[name]), sample


def test_prometheus_finds_no_fault_with_it(here: Stage) -> None:
    (worker,) = here.workers
    code, said = promtool.check("check", "metrics", given=worker.page("/metrics")[1])
    assert (code, said) == (0, "")


def test_it_speaks_the_format_that_is_asked_for(here: Stage) -> None:
    (worker,) = here.workers
    text = worker.page("/metrics", "application/openmetrics-text; version=1.0.0")[1]
    assert text.endswith("# EOF\n")
    assert "worker_transitions" in {family.name for family in read_openmetrics(text)}


def test_without_its_database_it_says_so_and_lives(services: Services, here: Stage) -> None:
    (worker,) = here.workers
    services.postgres.stop_immediate()
    until(lambda: readiness(worker) == (503, ["database"]), 40, lambda: worker.page("/readyz")[1])
    assert "database_away" in worker.page("/readyz")[1]
    assert worker.probe("/healthz") == 200
    assert value(scrape(worker), "worker_dependency_up", dependency="database") == 0
    services.postgres.start()
    until(lambda: readiness(worker) == (200, []), 30, lambda: worker.page("/readyz")[1])
    assert value(scrape(worker), "worker_dependency_up", dependency="database") == 1


def test_without_its_broker_it_says_so_and_lives(services: Services, here: Stage) -> None:
    (worker,) = here.workers
    services.rabbitmq.kill()
    until(lambda: readiness(worker) == (503, ["broker", "consuming"]), 20, lambda: worker.page("/readyz")[1])
    until(lambda: "Connection refused" in worker.page("/readyz")[1], 20, lambda: worker.page("/readyz")[1])
    assert re.search(r"not consumed: \S+\.submit\.\w+, ", worker.page("/readyz")[1])
    assert worker.probe("/healthz") == 200
    samples = scrape(worker)
    assert value(samples, "worker_dependency_up", dependency="broker") == 0
    assert set(samples["worker_broker_connected"].values()) == {0}
    services.rabbitmq.start()
    until(lambda: readiness(worker) == (200, []), 60, lambda: worker.page("/readyz")[1])
    made = scrape(worker)["worker_broker_connections_total"]
    assert made[frozenset({("connection", "worker publisher")})] >= 2
