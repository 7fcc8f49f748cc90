"""SIGTERM in the middle of the work: what is in flight is finished, what is not begun stays, and the exit code is 0."""

import signal
import time
from collections.abc import Iterator

import pytest
from support import wire
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

IN_FLIGHT = 5


@pytest.fixture
def market() -> Iterator[Market]:
    """A sandbox that holds what it is told to."""
    with Market(SandboxSettings(port=0, settle_after=0.2, accept_duplicates=True)) as running:
        yield running


@pytest.fixture
def here(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory, market: Market
) -> Iterator[Stage]:
    """A worker with calls in flight."""
    directory = tmp_path_factory.mktemp("stopping")
    with stage(amqp_url, database_server, directory, "http://127.0.0.1:1") as made:
        made.gateway("wikeyun", market.gateway, timeout_seconds=2)
        made.worker().await_ready()
        for number in range(IN_FLIGHT):
            market.force(f"S-{number}", "hold")
            made.producer.submit(wire.order(f"S-{number}"))
            market.await_held(f"S-{number}")
        yield made


def test_calls_in_flight_are_finished_and_nothing_new_is_begun(here: Stage, market: Market) -> None:
    """Their outcomes are written before the worker ends; a later message waits for another worker."""
    (worker,) = here.workers
    worker.send(signal.SIGTERM)
    until(lambda: '"worker_stopping"' in worker.log.read_text(), 10, worker.tail)
    time.sleep(0.3)
    here.producer.submit(wire.order("S-late"))
    for number in range(IN_FLIGHT):
        market.release(f"S-{number}")
    assert worker.await_end() == 0, worker.tail()
    assert here.facts.states() == {"pending": IN_FLIGHT}
    assert here.producer.ready("submit.mobile") == {"submit.mobile": 1}
    assert here.facts.outbox() == 0
    here.producer.look()
    assert len(here.producer.seen) == IN_FLIGHT

    following = here.worker()
    for name in ("S-late", *(f"S-{number}" for number in range(IN_FLIGHT))):
        here.producer.await_event(name, "succeeded")
        assert (market.charges(name), market.pushes(name)) == (1, 1)
    assert following.terminate() == 0


def test_calls_that_are_never_answered_do_not_hold_it_up_for_ever(here: Stage, market: Market) -> None:
    """It ends after the gateway's time-out, and says of each call that nobody knows what became of it."""
    (worker,) = here.workers
    began = time.monotonic()
    assert worker.terminate() == 0, worker.tail()
    assert time.monotonic() - began < 6
    assert here.facts.states() == {"unknown": IN_FLIGHT}
    following = here.worker()
    for number in range(IN_FLIGHT):
        here.producer.await_event(f"S-{number}", "succeeded")
        assert market.pushes(f"S-{number}") == 1
    assert following.terminate() == 0


def test_a_second_signal_does_not_wait(here: Stage) -> None:
    """Whoever signals twice wants it to be gone: at once, with exit code 1, and the orders are left to their lease."""
    (worker,) = here.workers
    worker.send(signal.SIGTERM)
    until(lambda: '"worker_stopping"' in worker.log.read_text(), 10, worker.tail)
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    assert worker.await_end() == 1
    assert time.monotonic() - began < 1
    assert here.facts.states() == {"submitting": IN_FLIGHT}
