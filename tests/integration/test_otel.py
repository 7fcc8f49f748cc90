"""Spans as OpenTelemetry records them: in memory, from a worker in the test's own loop; and over the wire, by OTLP."""

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support import wire
from support.commander import Commander
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker import app
from worker.config import SettingsError, load
from worker.core.trace import Kind, Tracing
from worker.ops import tracing
from worker.ops.otel import RecordedTracing
from worker.ops.tracing import choose_tracing
from worker.sandbox import SandboxSettings

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=b"}
NEVER = [600]


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def recorded(memory: InMemorySpanExporter) -> RecordedTracing:
    return RecordedTracing(SimpleSpanProcessor(memory), random.getrandbits)


@pytest.fixture
def here(amqp_url: str, database_server: str, tmp_path: Path) -> Iterator[tuple[Stage, Market]]:
    """A deployment without a worker yet, and its market."""
    with (
        Market(SandboxSettings(port=0, settle_after=0.3)) as market,
        Relay(amqp_url) as relay,
        stage(amqp_url, database_server, tmp_path, relay.url) as made,
    ):
        made.gateway("wikeyun", market.gateway, query_after_seconds=NEVER)
        yield made, market


def identity(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def parent(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


async def test_a_worker_records_what_it_does_with_an_order(
    here: tuple[Stage, Market],
    memory: InMemorySpanExporter,
    recorded: RecordedTracing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Intake below the producer's span; calls, callback and events below the intake; nothing about a person."""
    deployed, market = here
    config = tmp_path / "worker.toml"
    config.write_text(deployed._settings(0))
    monkeypatch.setattr(app, "choose_tracing", lambda *_: recorded)
    stop = asyncio.Event()
    worker = asyncio.create_task(app.Worker(load(config, {})).run(stop))
    try:
        await asyncio.to_thread(drive, deployed, market)
    finally:
        stop.set()
        assert await worker == 0
    spans = memory.get_finished_spans()
    ours = [span for span in spans if span.context is not None and f"{span.context.trace_id:032x}" == TRACE]
    (intake,) = [span for span in ours if span.name == "intake"]
    assert (parent(intake), intake.kind) == (SPAN, SpanKind.CONSUMER)
    assert dict(intake.attributes or {}) == {
        "operation": "intake",
        "outcome": "committed",
        "messaging.destination.name": f"{deployed.prefix}.submit.mobile",
    }
    below = {span.name for span in ours if parent(span) == identity(intake)}
    calls = [span for span in ours if span.kind is SpanKind.CLIENT]
    assert len(calls) >= 2  # the push, and the query that proved the callback
    assert below == {"callback", "publish", *(call.name for call in calls)}
    for call in calls:
        about = dict(call.attributes or {})
        assert about == {
            "operation": call.name,
            "outcome": "http_200",
            "gateway": "wikeyun",
            "order.no": "O-1",
            "order.attempt": 1,
        }
    published = [span for span in ours if span.name == "publish"]
    told = deployed.producer.events("O-1")
    assert [(each.attributes or {})["messaging.message.id"] for each in published] == [
        event.properties.message_id for event in told
    ]
    assert [event.properties.headers["traceparent"] for event in told] == [
        f"00-{TRACE}-{identity(each)}-01" for each in published
    ]
    roots = [span for span in spans if span.parent is None]
    assert sorted((span.name, (span.attributes or {})["outcome"]) for span in roots) == [
        ("command", "ok"),
        ("command", "unknown_gateway"),
        ("intake", "committed"),  # a trace begins where none was brought
        ("intake", "invalid_message"),
    ]
    failed = {span.name for span in spans if span.status.status_code is StatusCode.ERROR}
    assert failed == {"command", "intake"}
    shown = "".join(span.to_json() for span in spans)
    for canary in (wire.MOBILE, "13912345678", "sandbox-secret"):
        assert canary not in shown


def drive(deployed: Stage, market: Market) -> None:
    """Have the worker do one thing of each kind."""
    deployed.producer.submit(wire.order("O-1"), headers=HEADERS)
    deployed.producer.await_event("O-1", "succeeded")
    deployed.producer.submit(wire.order("O-2"))
    deployed.producer.await_event("O-2", "succeeded")
    deployed.producer.submit(wire.order("O-3", mobile="13912345678", amount_fen=-1))
    until(deployed.producer.letters, 10)
    assert market.charges("O-1") == 1
    with Commander(deployed.amqp_url, deployed.prefix) as commander:
        assert commander.ask("balance.show", {"gateway": "wikeyun"})["ok"]
        assert commander.code("balance.show", {"gateway": "nobody"}) == "unknown_gateway"


class Collector(BaseHTTPRequestHandler):
    """Takes what is exported."""

    got: ClassVar[list[tuple[str, Any]]] = []

    def do_POST(self) -> None:
        """Keep one export."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_worker_exports_to_the_endpoint_of_its_settings(here: tuple[Stage, Market]) -> None:
    """What is left is sent before the process ends; the service has its name."""
    deployed, _ = here
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        deployed.sections["ops"] = {"otlp_endpoint": f"http://127.0.0.1:{server.server_port}/"}
        deployed.worker().await_ready()
        deployed.producer.submit(wire.order("O-5"), headers=HEADERS)
        deployed.producer.await_event("O-5", "succeeded")
        assert deployed.workers[0].terminate() == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert {path for path, _ in Collector.got} == {"/v1/traces"}
    resources = [resource for _, request in Collector.got for resource in request.resource_spans]
    services = {
        attribute.value.string_value
        for resource in resources
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    assert services == {"order-worker"}
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert {span.name for span in spans} >= {"intake", "callback", "publish"}
    assert wire.MOBILE not in str(Collector.got)


def test_a_collector_that_is_away_holds_nobody_up(here: tuple[Stage, Market]) -> None:
    deployed, _ = here
    deployed.sections["ops"] = {"otlp_endpoint": "http://127.0.0.1:1"}
    deployed.worker().await_ready()
    deployed.producer.submit(wire.order("O-6"))
    deployed.producer.await_event("O-6", "succeeded")
    assert deployed.workers[0].terminate(seconds=20) == 0


# --- with and without the extra ------------------------------------------------------------------

WITHOUT = "import sys; sys.modules['opentelemetry'] = None; sys.argv[0] = 'worker'; from worker.cli import main; main()"


def test_the_worker_runs_without_the_extra(here: tuple[Stage, Market], tmp_path: Path) -> None:
    """A setting that needs it is refused with its name; else nobody misses it."""
    deployed, _ = here
    config = tmp_path / "without.toml"
    command = [sys.executable, "-c", WITHOUT, "--config", str(config), "run"]
    deployed.sections["ops"] = {"listen": "", "otlp_endpoint": "http://127.0.0.1:4318"}
    config.write_text(deployed._settings(0))
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("ops.otlp_endpoint: expected the extra `otel`")
    deployed.sections["ops"] = {"listen": ""}
    config.write_text(deployed._settings(0))
    with (
        (tmp_path / "without.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as running,
    ):
        try:
            deployed.producer.submit(wire.order("O-7"), headers=HEADERS)
            told = deployed.producer.await_event("O-7", "succeeded")
            running.terminate()
            assert running.wait(20) == 0
        finally:
            running.kill()
    assert told.properties.headers["traceparent"].startswith(f"00-{TRACE}-")


def test_the_environment_of_opentelemetry_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen = choose_tracing("", variables, random.getrandbits)
    assert isinstance(chosen, RecordedTracing)
    chosen.stop()
    for environ in ({}, variables | {"OTEL_SDK_DISABLED": "true"}):
        assert type(choose_tracing("", environ, random.getrandbits)) is Tracing


def test_a_variable_without_the_extra_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable may be meant for all services of a machine."""
    monkeypatch.setattr(tracing, "find_spec", lambda _: None)
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}
    assert type(choose_tracing("", environ, random.getrandbits)) is Tracing
    with pytest.raises(SettingsError, match=r"^ops\.otlp_endpoint: expected the extra `otel`"):
        choose_tracing("http://127.0.0.1:1", environ, random.getrandbits)


# --- one span ------------------------------------------------------------------------------------


def test_a_trace_that_is_not_sampled_is_handed_on_and_not_recorded(
    memory: InMemorySpanExporter, recorded: RecordedTracing
) -> None:
    given = f"00-{TRACE}-{SPAN}-00 a=b"
    span = recorded.span("intake", Kind.CONSUMER, given)
    span.end("committed")
    assert span.context is not None
    assert span.context.startswith(f"00-{TRACE}-")
    assert span.context.endswith("-00 a=b")
    assert memory.get_finished_spans() == ()


def test_only_listed_attributes_are_exported(memory: InMemorySpanExporter, recorded: RecordedTracing) -> None:
    span = recorded.span("intake", Kind.CONSUMER, None)
    span.end("x", mobile=wire.MOBILE, order_no="T1", gateway=None)
    assert recorded.span("push", Kind.CLIENT, None).context is None
    (only,) = memory.get_finished_spans()
    assert dict(only.attributes or {}) == {"operation": "intake", "outcome": "x", "order.no": "T1"}
    assert recorded.span("push", Kind.CLIENT, span.context).context != span.context
