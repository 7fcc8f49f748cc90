"""The broker or the database goes away in the middle of the work, and comes back: nothing is lost, nothing sent twice.

The services are this file's own, since they are killed.
"""

import time
from collections.abc import Callable, Iterator

import pytest
from pika.exceptions import AMQPError
from support import wire
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker.embedded import Services
from worker.sandbox import SandboxSettings

ORDERS = 60
MARKET = SandboxSettings(port=0, settle_after=0.3, accept_duplicates=True, answer_latency=0.2)
SETTLED_IN = 1.6  # RabbitMQ 3.10 may forget a quorum queue that is younger when it is killed


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """A broker and a database to be ended."""
    with Services() as running:
        yield running


@pytest.fixture
def market() -> Iterator[Market]:
    """A sandbox that would charge every repetition."""
    with Market(MARKET) as running:
        yield running


@pytest.fixture
def here(services: Services, tmp_path_factory: pytest.TempPathFactory, market: Market) -> Iterator[Stage]:
    """A deployment on these services, its worker running."""
    directory = tmp_path_factory.mktemp("outages")
    with Relay(services.amqp_url) as relay, stage(services.amqp_url, services.dsn, directory, relay.url) as made:
        made.gateway("wikeyun", market.gateway, concurrency=16)
        made.worker().await_ready()
        time.sleep(SETTLED_IN)
        yield made


def submit(here: Stage, numbers: range) -> None:
    """Publish orders as a careful producer does: again, until the broker has confirmed."""
    for number in numbers:
        deadline = time.monotonic() + 30
        while True:
            try:
                here.producer.submit(wire.order(f"O-{number}"))
                break
            except AMQPError:
                assert time.monotonic() < deadline, "the broker does not come back"
                time.sleep(0.2)
                try_again(here.producer.reconnect)


def try_again(connect: Callable[[], None]) -> None:
    try:
        connect()
    except (AMQPError, OSError):
        return


def all_went_well(here: Stage, market: Market) -> None:
    """Every order succeeded, was charged once, and its producer heard of it."""
    numbers = [f"O-{number}" for number in range(ORDERS)]
    until(lambda: here.facts.states()["succeeded"] == ORDERS, 60, lambda: str(here.facts.states()))
    until(lambda: not here.facts.outbox(), 30, lambda: f"{here.facts.outbox()} events left")
    (worker,) = here.workers
    assert worker.terminate() == 0, worker.tail()
    here.producer.look()
    told = {(event.body["order_no"], event.body["event"]) for event in here.producer.seen}
    assert told == {(number, f"order.{what}") for number in numbers for what in ("accepted", "succeeded")}
    assert {entry["order_no"]: entry["charges"] for entry in market.entries()} == dict.fromkeys(numbers, 1)
    assert here.producer.ready("submit.mobile", "dead") == {"submit.mobile": 0, "dead": 0}


def test_the_broker_is_killed_and_comes_back(services: Services, here: Stage, market: Market) -> None:
    """What the broker had confirmed is worked on, calls in flight end and are written, events leave afterwards."""
    submit(here, range(ORDERS // 2))
    until(market.entries, 10)
    services.rabbitmq.kill()
    (worker,) = here.workers
    until(lambda: worker.probe("/readyz") == 503, 10, lambda: "it does not see that the broker is away")
    assert worker.probe("/healthz") == 200
    services.rabbitmq.start()
    here.producer.reconnect()
    submit(here, range(ORDERS // 2, ORDERS))
    worker.await_ready()
    all_went_well(here, market)


def test_the_database_crashes_and_comes_back(services: Services, here: Stage, market: Market) -> None:
    """Outcomes of calls that nobody could write are written later; messages wait in their queue meanwhile."""
    submit(here, range(ORDERS // 2))
    until(market.entries, 10)
    services.postgres.stop_immediate()
    submit(here, range(ORDERS // 2, ORDERS))
    time.sleep(1.5)
    (worker,) = here.workers
    assert worker.running, worker.tail()
    assert worker.probe("/healthz") == 200
    services.postgres.start()
    all_went_well(here, market)
