"""A deployment for one test: its own queues and database, settings for its workers, and a producer."""

import asyncio
import itertools
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
from support.facts import Facts
from support.process import WorkerProcess
from support.wire import Producer

from worker.broker.topology import Topology, declare
from worker.embedded import create_database, drop_database
from worker.embedded.service import free_ports
from worker.ledger.migrate import migrate

_MIGRATING = threading.Lock()  # Alembic knows one migration at a time

GATEWAY: Mapping[str, Any] = {
    "adapter": "wikeyun",
    "store_id": "1001",
    "app_key": "2002",
    "app_secret": "sandbox-secret",
    "refusal_codes": ["2003", "2005", "2006"],
    "no_such_order_codes": ["2002"],
    "duplicate_codes": ["2001"],
    "timeout_seconds": 1.5,
    "lease_seconds": 4,
    "query_after_seconds": [0.3, 0.5, 1],
    "settle_seconds": 2,
    "settle_queries": 3,
    "balance_every_seconds": 0,
}
"""A gateway at the sandbox that is asked about orders soon and often, and about nothing else."""


class Stage:
    """What one deployment has; workers are started with `worker`."""

    def __init__(self, amqp_url: str, dsn: str, prefix: str, directory: Path, callbacks: str) -> None:
        self.amqp_url, self.dsn, self.prefix = amqp_url, dsn, prefix
        self._directory = directory
        self._callbacks = callbacks
        self._numbers = itertools.count(1)
        self.producer = Producer(amqp_url, prefix)
        self.facts = Facts(dsn)
        self.gateways: dict[str, dict[str, Any]] = {}
        self.sections: dict[str, dict[str, Any]] = {}
        self.workers: list[WorkerProcess] = []

    def gateway(self, name: str, base_url: str, **changes: Any) -> None:
        """Configure a gateway for the workers that are started from now on."""
        notify = {"base_url": base_url, "notify_url": f"{self._callbacks}/{self.prefix}/{name}"}
        self.gateways[name] = dict(GATEWAY) | notify | changes

    def worker(self, ends_at: str | None = None, *, spawn: bool = False, command: str = "run") -> WorkerProcess:
        """Start a worker, or another of its commands; see `WorkerProcess`."""
        (port,) = free_ports(1)
        number = next(self._numbers)
        config = self._directory / f"{self.prefix}-{number}.toml"
        config.write_text(self._settings(port))
        log = config.with_suffix(".log")
        started = WorkerProcess(config, port, log, ends_at=ends_at, spawn=spawn, command=command)
        self.workers.append(started)
        return started

    def _settings(self, port: int) -> str:
        sections: dict[str, Mapping[str, Any]] = {
            "amqp": {"url": self.amqp_url, "prefix": self.prefix},
            "database": {"dsn": self.dsn, "pool_size": 2},
            **self.sections,
            "ops": {"listen": f"127.0.0.1:{port}", **self.sections.get("ops", {})},
            **{f"gateways.{name}": values for name, values in self.gateways.items()},
        }
        return "\n".join(
            "\n".join([f"[{title}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())])
            for title, values in sections.items()
        )

    def log(self) -> str:
        """What all its workers logged."""
        return "\n".join(each.log.read_text(errors="replace") for each in self.workers)

    def close(self) -> None:
        """End every worker, and disconnect."""
        for each in self.workers:
            each.kill()
        self.producer.close()
        self.facts.close()


@contextmanager
def stage(amqp_url: str, database_server: str, directory: Path, callbacks: str) -> Iterator[Stage]:
    """Make a deployment with its own prefix and database; remove it afterwards.

    `callbacks`: the URL of a relay.
    """
    name = f"t{secrets.token_hex(6)}"
    dsn = create_database(database_server, name)
    topology = Topology(name)
    with _MIGRATING:
        asyncio.run(_prepare(dsn, amqp_url, topology))
    made = Stage(amqp_url, dsn, name, directory, callbacks)
    try:
        yield made
    finally:
        made.close()
        drop_database(database_server, name)
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            channel = connection.channel()
            for queue in (*(queue.name for queue in topology.queues), f"{name}.seen"):
                channel.queue_delete(queue)
            for exchange in reversed(topology.exchanges):
                channel.exchange_delete(exchange.name)


async def _prepare(dsn: str, amqp_url: str, topology: Topology) -> None:
    await migrate(dsn)
    await declare(amqp_url, topology)
