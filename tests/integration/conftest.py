"""Migrated databases: made once, then copied, which takes a tenth of the time; and a bench for consumers."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.cli import Cli
from support.consumers import Bench, never
from support.letters import Post
from support.proxy import Proxy

from worker.broker.publisher import Publisher
from worker.broker.topology import Topology, declare
from worker.embedded import create_database, drop_database
from worker.ledger.migrate import migrate


@pytest.fixture(scope="session")
def migrated_template(database_server: str) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    name = f"t{secrets.token_hex(6)}"
    asyncio.run(migrate(create_database(database_server, name)))
    yield name
    drop_database(database_server, name)


@pytest.fixture
def ledger_dsn(database_server: str, migrated_template: str) -> Iterator[str]:
    """The DSN of a fresh, migrated database."""
    name = f"t{secrets.token_hex(6)}"
    yield create_database(database_server, name, migrated_template)
    drop_database(database_server, name)


@pytest.fixture
async def bench(amqp_url: str, amqp_prefix: str) -> AsyncIterator[Bench]:
    """A topology of the test's own, and consumers on it; they are stopped afterwards."""
    topology = Topology(amqp_prefix)
    await declare(amqp_url, topology)
    publisher = Publisher(amqp_url, on_stuck=never, away_seconds=1)
    await publisher.start()
    async with Proxy(amqp_url) as proxy:
        it = Bench(amqp_url, topology, proxy, publisher)
        yield it
        for consumer in it.running:
            await consumer.stop()
        await publisher.stop()


@pytest.fixture
def cli(tmp_path: Path, amqp_url: str, amqp_prefix: str, database_dsn: str) -> Cli:
    """The program, with a database and a prefix that are empty."""
    return Cli(tmp_path, amqp_url, amqp_prefix, database_dsn)


@pytest.fixture
def post(cli: Cli, amqp_url: str) -> Iterator[Post]:
    """The queues, and somebody who puts letters there."""
    asyncio.run(declare(amqp_url, Topology(cli.prefix)))
    made = Post(amqp_url, cli.prefix)
    yield made
    made.close()
