"""Spans as OpenTelemetry records them; importing this needs the extra `otel`.

A span tells which order, which operation and what came of it: nothing about a person, and no text of an exception.
"""

from collections.abc import Mapping
from threading import Thread
from typing import Self

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.core.trace import Bits, Kind, Span, Tracing, headers, read

NAMES: Mapping[str, str] = {
    "order_no": "order.no",
    "attempt": "order.attempt",
    "gateway": "gateway",
    "queue": "messaging.destination.name",
    "message_id": "messaging.message.id",
    "command": "command",
}
"""The attributes that a span may have, beside `operation` and `outcome`; what is not here is not exported."""

_SERVICE = "order-worker"
_UNNAMED = "unknown_service"
_STOP_SECONDS = 3.0
_KINDS: Mapping[Kind, api.SpanKind] = {
    Kind.CONSUMER: api.SpanKind.CONSUMER,
    Kind.INTERNAL: api.SpanKind.INTERNAL,
    Kind.CLIENT: api.SpanKind.CLIENT,
    Kind.PRODUCER: api.SpanKind.PRODUCER,
}
_PROPAGATOR = TraceContextTextMapPropagator()


class RecordedTracing(Tracing):
    """Tracing whose spans go to a processor; each is the parent of what follows from it, in here and outside."""

    def __init__(self, processor: SpanProcessor, bits: Bits) -> None:
        super().__init__(bits)
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("worker")

    @classmethod
    def exporting(cls, endpoint: str, bits: Bits) -> Self:
        """Return tracing whose spans go to the collector at `endpoint`; "": where the environment says."""
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces") if endpoint else OTLPSpanExporter()
        return cls(BatchSpanProcessor(exporter), bits)

    def span(self, name: str, kind: Kind, parent: str | None) -> Span:
        """Begin a span below `parent`; without one, only what is taken in begins a trace."""
        if parent is None and kind is not Kind.CONSUMER:
            return super().span(name, kind, None)
        above = None if parent is None else _PROPAGATOR.extract(headers(parent))
        recorded = self._tracer.start_span(name, above, _KINDS[kind], {"operation": name})
        carried: dict[str, str] = {}
        _PROPAGATOR.inject(carried, api.set_span_in_context(recorded))
        return _RecordedSpan(read(carried), recorded)

    def stop(self) -> None:
        """Send off what is left, for a few seconds at most: a collector that is away must not hold up the end."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(_STOP_SECONDS)


class _RecordedSpan(Span):
    """A span that is recorded when it ends."""

    __slots__ = ("_recorded",)

    def __init__(self, context: str | None, recorded: api.Span) -> None:
        super().__init__(context)
        self._recorded = recorded

    def end(self, outcome: str, *, failed: bool = False, **about: str | int | None) -> None:
        told = {NAMES[name]: value for name, value in about.items() if name in NAMES and value is not None}
        self._recorded.set_attributes({"outcome": outcome, **told})
        if failed:
            self._recorded.set_status(api.Status(api.StatusCode.ERROR, outcome))
        self._recorded.end()


def _resource() -> Resource:
    """Return what the environment says of this service; it is called `order-worker` unless that says otherwise."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, _UNNAMED)).startswith(_UNNAMED):
        return found.merge(Resource({SERVICE_NAME: _SERVICE}))
    return found
