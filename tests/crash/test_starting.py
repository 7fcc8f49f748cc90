"""The database goes away while a worker is starting: it waits and says so, as if it had been away from the first."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import wire
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from worker.embedded import Postgres
from worker.sandbox import SandboxSettings


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A database server to be ended."""
    with Postgres() as running:
        yield running


@pytest.fixture
def here(amqp_url: str, server: Postgres, tmp_path: Path) -> Iterator[Stage]:
    """A deployment on that server, without a worker."""
    with (
        Market(SandboxSettings(port=0, settle_after=0.2)) as market,
        stage(amqp_url, server.dsn, tmp_path, "http://127.0.0.1:1") as made,
    ):
        made.gateway("wikeyun", market.gateway)
        yield made


def test_a_database_that_dies_after_the_first_look_at_it_is_waited_for(server: Postgres, here: Stage) -> None:
    """The worker has connected and found the schema; then the server crashes, before anything was begun."""
    worker = here.worker("synchronize.before=SIGSTOP")
    worker.await_stopped()
    server.stop_immediate()
    worker.send(signal.SIGCONT)
    until(lambda: "the database is away" in worker.log.read_text() or not worker.running, 20, worker.tail)
    assert worker.running, worker.tail()
    assert (worker.probe("/readyz"), worker.probe("/healthz")) == (503, 200)
    here.producer.submit(wire.order("S-1"))
    server.start()
    worker.await_ready()
    here.producer.await_event("S-1", "succeeded")
    assert worker.terminate() == 0, worker.tail()


def test_a_worker_that_waits_for_the_database_ends_when_it_is_asked_to(server: Postgres, here: Stage) -> None:
    """SIGTERM in that wait is obeyed at once."""
    server.stop_immediate()
    worker = here.worker()
    until(lambda: "the database is away" in worker.log.read_text(), 20, worker.tail)
    assert worker.terminate(5) == 0, worker.tail()
    server.start()
