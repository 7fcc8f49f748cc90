"""Where the readings of `metrics.py` are read: gates, queues, figures, connections, as they stand at a scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from worker.gateways.breaker import BreakerState
from worker.ops.metrics import KINDS
from worker.ops.readings import Read, Readings, Row

if TYPE_CHECKING:
    from datetime import datetime

    from worker.broker.consumer import Consumer
    from worker.broker.depths import Depths
    from worker.broker.supervisor import Supervised
    from worker.gateways.gateway import Gateway
    from worker.ledger.figures import FigureBook, Figures
    from worker.ledger.gateways import Standing
    from worker.ops.http import Check


def read_dependencies(readings: Readings, checks: "Mapping[str, Check]") -> None:
    """Show what `/readyz` says."""
    readings.source("worker_dependency_up", lambda: [((name,), check()[0]) for name, check in checks.items()])


def read_connections(readings: Readings, connections: "Iterable[Supervised]") -> None:
    """Show the connections to the broker."""
    known = tuple(connections)
    readings.source("worker_broker_connections_total", lambda: [((each.name,), each.connections) for each in known])
    readings.source("worker_broker_connected", lambda: [((each.name,), each.ready) for each in known])


def read_deliveries(readings: Readings, consumers: "Iterable[Consumer]") -> None:
    """Show what is in hand."""
    known = tuple(consumers)
    readings.source("worker_deliveries_in_hand", lambda: [((each.name,), each.in_hand) for each in known])


def read_counts(readings: Readings, name: str, counts: Mapping[str, int]) -> None:
    """Show counts that are kept by their one label."""
    readings.source(name, lambda: [((label,), count) for label, count in counts.items()])


def read_gateways(
    readings: Readings,
    gateways: "Mapping[str, Gateway]",
    standings: "Callable[[], Mapping[str, Standing]]",
    now: "Callable[[], datetime]",
) -> None:
    """Show the gates, and what all workers share about gateways: pauses and balances."""

    def each(read: "Callable[[Gateway], Iterable[Row]]") -> Read:
        return lambda: [((name, *rest), number) for name, one in gateways.items() for rest, number in read(one)]

    def shared(read: "Callable[[Standing], float | None]") -> Read:
        def rows() -> Iterator[Row]:
            for name, standing in standings().items():
                if (number := read(standing)) is not None:
                    yield (name,), number

        return rows

    def paused() -> Iterator[Row]:
        for name, standing in standings().items():
            pause = standing.pause
            yield (name, "operator"), pause is not None and not pause.automatic
            yield (name, "unfunded"), (pause is not None and pause.automatic) or gateways[name].gate.resting

    readings.source("worker_gateway_slots", each(lambda one: [((), one.adapter.settings.concurrency)]))
    readings.source("worker_gateway_in_flight", each(lambda one: _by_kind(one.gate.calls)))
    readings.source("worker_gateway_waiting", each(lambda one: _by_kind(one.gate.waiting)))
    readings.source(
        "worker_gateway_breaker_state",
        each(lambda one: [((state.value,), state is one.gate.breaker) for state in BreakerState]),
    )
    readings.source("worker_gateway_paused", paused)
    readings.source("worker_gateway_balance_fen", shared(lambda standing: standing.balance_fen))
    readings.source(
        "worker_gateway_balance_lasts_seconds",
        shared(lambda standing: None if standing.hours_left is None else 3600 * standing.hours_left),
    )
    readings.source(
        "worker_gateway_balance_age_seconds",
        shared(lambda standing: (now() - standing.balance_at).total_seconds() if standing.balance_at else None),
    )


def read_queues(readings: Readings, depths: "Depths") -> None:
    """Show the queues."""
    readings.source(
        "worker_queue_messages", lambda: [((queue,), depth.messages) for queue, depth in depths.latest.items()]
    )
    readings.source(
        "worker_queue_consumers", lambda: [((queue,), depth.consumers) for queue, depth in depths.latest.items()]
    )


def read_ledger(readings: Readings, book: "FigureBook") -> None:
    """Show the ledger's figures, while they are fresh."""

    def figures(read: "Callable[[Figures], Iterable[Row]]") -> Read:
        return lambda: [] if book.latest is None else read(book.latest)

    readings.source("worker_due_backlog", figures(lambda seen: [(key, it.due) for key, it in seen.backlog.items()]))
    readings.source(
        "worker_due_oldest_seconds", figures(lambda seen: [(key, it.overdue) for key, it in seen.backlog.items()])
    )
    readings.source("worker_orders", figures(lambda seen: seen.orders().items()))
    readings.source(
        "worker_orders_oldest_seconds", figures(lambda seen: [(key, it.age) for key, it in seen.watched.items()])
    )
    readings.source("worker_orders_at_risk_fen", figures(lambda seen: seen.at_risk().items()))
    readings.source("worker_outbox_events", figures(lambda seen: [((), seen.events)]))
    readings.source("worker_outbox_oldest_seconds", figures(lambda seen: [((), seen.oldest_event)]))
    readings.source("worker_hints", figures(lambda seen: [((name,), count) for name, count in seen.hints.items()]))


def read_ages(readings: Readings, ages: "Mapping[str, Callable[[], float | None]]") -> None:
    """Show how old figures are, by where they come from."""

    def rows() -> Iterator[Row]:
        for source, read in ages.items():
            if (age := read()) is not None:
                yield (source,), age

    readings.source("worker_figures_age_seconds", rows)


def _by_kind(numbers: tuple[int, int]) -> list[Row]:
    return [((kind,), number) for kind, number in zip(KINDS, numbers, strict=True)]
