"""Real services for the tests: given by TEST_AMQP_URL and TEST_DATABASE_DSN, else private, started when first used."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from worker.embedded import Postgres, RabbitMQ, create_database, drop_database

pytest.register_assert_rewrite("support")  # so that what fails in there shows its values too

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script ignores Ctrl-C for what it starts with `&`, and so would every program that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent
LONGEST_FIRST = ("crash", "simulation", "integration", "deploy", "contract", "bench", "unit")
"""The rooms of the tests: run side by side, those that wait most begin first."""

PRODUCTS = ("mobile", "power", "oil", "game", "douyin", "campus", "ebike")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the rooms in the order in which they begin."""
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.relative_to(ROOT).parts[0]))


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """Where a RabbitMQ is that every test shares; names below `amqp_prefix` keep the tests apart."""
    given = os.environ.get("TEST_AMQP_URL")
    if given:
        yield given
        return
    with RabbitMQ() as broker:
        yield broker.url


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """A DSN on a PostgreSQL where databases may be created."""
    given = os.environ.get("TEST_DATABASE_DSN")
    if given:
        yield given
        return
    with Postgres() as server:
        yield server.dsn


@pytest.fixture
def database_dsn(database_server: str) -> Iterator[str]:
    """The DSN of a fresh, empty database."""
    name = f"t{secrets.token_hex(6)}"
    yield create_database(database_server, name)
    drop_database(database_server, name)


@pytest.fixture
def amqp_prefix(amqp_url: str) -> Iterator[str]:
    """A prefix for the worker's exchanges and queues; deleted afterwards, as is `<prefix>.seen`, a test's own."""
    prefix = f"t{secrets.token_hex(6)}"
    yield prefix
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        for end in ("callbacks", "commands", "seen", "dead", *(f"submit.{product}" for product in PRODUCTS)):
            channel.queue_delete(f"{prefix}.{end}")  # deleting what is not there is no error
        for exchange in (prefix, f"{prefix}.events", f"{prefix}.dead"):
            channel.exchange_delete(exchange)
