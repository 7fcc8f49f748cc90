"""Whether this process's spans are recorded, and where they go.

They go to `[ops] otlp_endpoint`, or where OpenTelemetry's own variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`, …), by
OTLP over HTTP. Without either nothing is recorded, and trace contexts are handed on all the same.
"""

from collections.abc import Mapping
from importlib.util import find_spec

import structlog

from worker.config import SettingsError
from worker.core.trace import Bits, Tracing

log = structlog.get_logger("worker.ops")

_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_OFF = "OTEL_SDK_DISABLED"
_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_INSTALL = "the extra `otel`: pip install 'order-worker[otel]'"


def choose_tracing(endpoint: str, environ: Mapping[str, str], bits: Bits) -> Tracing:
    """Return what makes this process's spans; `endpoint` is the setting, "" where there is none.

    Raises:
        SettingsError: the setting names an endpoint, and OpenTelemetry is not installed.
    """
    variable = next((name for name in _VARIABLES if environ.get(name)), None)
    if not (endpoint or variable) or environ.get(_OFF, "").lower() == "true":
        return Tracing(bits)
    if all(map(_installed, _PACKAGES)):
        from worker.ops.otel import RecordedTracing  # noqa: PLC0415 - needs the extra

        return RecordedTracing.exporting(endpoint, bits)
    if endpoint:
        raise SettingsError(f'ops.otlp_endpoint: expected {_INSTALL}; or "" to turn it off')
    # the variable may have been meant for others on this machine: no reason not to process orders
    log.warning("traces_not_exported", setting=variable, what=f"needs {_INSTALL}")
    return Tracing(bits)


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # one of the packages that it is in
        return False
