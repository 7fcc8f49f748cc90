"""Metrics that nobody counts: read where they stand, at the moment of a scrape."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

log = structlog.get_logger("worker.ops")

Row = tuple[tuple[str, ...], float]
"""The values of the labels, and the number."""

Read = Callable[[], Iterable[Row]]
"""Tells how things stand, at once and without I/O; what is not known has no row."""


class _Family(NamedTuple):
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    name: str
    meaning: str
    labels: tuple[str, ...]
    read: Read | None


class Readings(Collector):
    """Gauges and counters with a reader each; one without a reader is known by name and shows nothing."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._families: dict[str, _Family] = {}
        self._registry = registry

    def register(self) -> None:
        """Become part of the registry, once every family has been declared: it looks at their names only then."""
        self._registry.register(self)

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> None:
        """Declare what goes up and down."""
        self._families[name] = _Family(GaugeMetricFamily, name, meaning, tuple(labels), None)

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> None:
        """Declare what only grows; `name` ends in `_total`."""
        self._families[name] = _Family(CounterMetricFamily, name, meaning, tuple(labels), None)

    def source(self, name: str, read: Read) -> None:
        """Say where a declared metric is read from now on.

        Raises:
            KeyError: nothing of this name was declared.
        """
        self._families[name] = self._families[name]._replace(read=read)

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Return the labels of each metric, by its name as it is scraped."""
        return {name: family.labels for name, family in self._families.items()}

    def describe(self) -> Iterable[Metric]:
        """Return the families without a sample."""
        return [_empty(family) for family in self._families.values()]

    def collect(self) -> Iterable[Metric]:
        """Read them all; one that cannot be read is left out and told in the log."""
        for family in self._families.values():
            if family.read is None:
                continue
            shown = _empty(family)
            try:
                for values, number in family.read():
                    shown.add_metric(values, number)
            except Exception as error:
                log.exception("metric_failed", what=family.name, error=type(error).__name__)
                continue
            yield shown


def _empty(family: _Family) -> CounterMetricFamily | GaugeMetricFamily:
    return family.kind(family.name, family.meaning, labels=family.labels)
