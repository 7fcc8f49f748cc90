"""The two works: W1, orders that wait in the queue, as fast as possible; W2, a steady rate, for the latency."""

import asyncio
import contextlib
import json
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
from aiormq import Channel

from tests.bench.meter import Meter
from tests.bench.stub import SECRET
from worker.broker import topology as layout
from worker.broker.connection import Link, ask
from worker.broker.consumer import Consumer
from worker.broker.message import Delivery, Outgoing
from worker.broker.publisher import Publisher
from worker.broker.settlement import COMMITTED, Settled
from worker.broker.topology import Topology
from worker.demo.children import WorkerProcess
from worker.embedded import Service, Services
from worker.ledger.migrate import migrate

REPEATS = 50
WARM_UP_SECONDS = 2.0
_POLL_SECONDS = 0.02
_BATCH = 500
_PATIENCE = 60.0  # beyond what the work should take
_FINAL_EVENTS = ["succeeded", "partial", "failed", "refunded", "cancelled", "review"]
_ROOT = Path(__file__).parent.parent.parent


class InvalidRunError(Exception):
    """The run does not count: something was lost, repeated or left."""


class Stub(Service):
    """The stub gateway as a process."""

    name = "stub"

    def __init__(self, directory: Path, amqp_url: str, exchange: str) -> None:
        super().__init__(directory)
        self._plan = json.dumps({"port": self.port, "url": amqp_url, "exchange": exchange})

    @property
    def url(self) -> str:
        """Where it takes pushes."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it answers."""
        self._launch([sys.executable, "-m", "tests.bench.stub", self._plan], _listens, {"PYTHONPATH": str(_ROOT)})


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@dataclass(frozen=True, slots=True)
class Result:
    """One run: rates, CPU seconds per 1000 orders by process, latencies in seconds."""

    orders: int
    seconds: float
    cpu: dict[str, float]
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Orders a second."""
        return self.orders / self.seconds

    def percentile(self, share: int) -> float:
        """Return a percentile of the latencies, in milliseconds."""
        return 1000 * statistics.quantiles(self.latencies, n=100, method="inclusive")[share - 1]


class Arena:
    """A fresh database, topology, stub and worker for one run on shared services."""

    def __init__(self, services: Services, name: str) -> None:
        self.topology = Topology(name)
        self.events_queue = f"{name}.bench"
        self.url = services.amqp_url
        self.directory = services.directory / name
        self.directory.mkdir(mode=0o711)
        self.dsn = services.postgres.create_database(name)
        self.stub = Stub(self.directory, self.url, name)
        self.worker = WorkerProcess(self.directory, self._settings())
        self._services = services

    def _settings(self) -> dict[str, dict[str, Any]]:
        return {
            "amqp": {"url": self.url, "prefix": self.topology.prefix, "prefetch": 1000},
            "database": {"dsn": self.dsn},
            "events": {"publish": _FINAL_EVENTS},
            "gateways.wikeyun": {
                "adapter": "wikeyun",
                "base_url": self.stub.url,
                "notify_url": "http://127.0.0.1/callbacks/wikeyun",
                "store_id": "1001",
                "app_key": "2002",
                "app_secret": SECRET,
                "trust_callbacks": True,
                "concurrency": 256,
                "query_after_seconds": [30, 60],
                "balance_every_seconds": 0,
            },
        }

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Make everything but the worker ready."""
        await migrate(self.dsn)
        await layout.declare(self.url, self.topology)
        link = await Link.connect(self.url, "bench")
        try:
            channel = await link.channel()
            await channel.queue_declare(self.events_queue, durable=True, arguments={"x-queue-type": "quorum"})
            await channel.queue_bind(self.events_queue, self.topology.events, "order.succeeded.*")
        finally:
            await link.close()
        try:
            with self.stub:
                yield
        finally:
            self.worker.close()

    def meter(self) -> Meter:
        """Return a meter of all processes, from now on."""
        services = self._services
        pids = {"PG": services.postgres.pid, "MQ": services.rabbitmq.pid, "stub": self.stub.pid}
        return Meter({"worker": self.worker.pid, **pids})

    async def seen(self) -> dict[str, Any]:
        """Return what the stub has seen."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.stub.url}/stats") as answer:
            return orjson.loads(await answer.read())

    def message(self, number: int) -> Outgoing:
        """Return the submit message of an order."""
        order_no = order_name(number)
        order = {
            "order_no": order_no,
            "source": "bench",
            "product": "mobile",
            "amount_fen": 10_000,
            "target": {"mobile": f"138{number % 10**8:08d}"},
        }
        return Outgoing(self.topology.main, "submit.mobile", orjson.dumps(order), order_no, "order.submit")

    def consumer(self, publisher: Publisher, hear: "Hearing") -> Consumer:
        """Return a consumer of the events, not yet started."""
        return Consumer(
            self.url,
            [self.events_queue],
            hear.handle,
            publish=publisher.publish,
            dead_exchange=self.topology.dead,
            on_stuck=print,
            name="bench events",
        )

    async def verify(self, orders: int, heard: set[str]) -> None:
        """Check that the run counts; stops the worker.

        Raises:
            InvalidRunError: it does not.
        """
        await asyncio.sleep(1)  # confirmed events are forgotten within half a second
        await asyncio.to_thread(self.worker.stop)
        seen = await self.seen()
        connection = await asyncpg.connect(self.dsn)
        try:
            found = {
                "orders": await connection.fetchval("SELECT count(*) FROM orders"),
                "succeeded": await connection.fetchval("SELECT count(*) FROM orders WHERE state = 'succeeded'"),
                "alarms": await connection.fetchval("SELECT count(*) FROM alarms"),
                "outbox": await connection.fetchval("SELECT count(*) FROM outbox"),
                "least journal": await connection.fetchval(
                    "SELECT min(n) FROM (SELECT count(*) AS n FROM journal GROUP BY order_id) x"
                ),
            }
        finally:
            await connection.close()
        found |= {"told": len(heard)} | {name: seen[name] for name in ("pushes", "badly_signed", "queries")}
        found["pushed orders"] = seen["orders"]
        link = await Link.connect(self.url, "bench")
        try:
            channel = await link.channel()
            for queue in (self.topology.submit("mobile"), self.topology.callbacks, self.topology.dead):
                found[queue] = await _depth(channel, queue)
        finally:
            await link.close()
        counted = dict.fromkeys(("orders", "succeeded", "told", "pushes", "pushed orders"), orders)
        expected = dict.fromkeys(found, 0) | counted
        least = found.pop("least journal")
        expected.pop("least journal")
        # a callback may overtake the answer: then the order never was `pending`
        if found != expected or least < 2:
            raise InvalidRunError(f"found {found}, expected {expected}; least journal {least}")


class Hearing:
    """Hears events, with the moment of each order's first one."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    async def handle(self, delivery: Delivery) -> Settled:
        """Note one event."""
        now = time.perf_counter()
        self.at.setdefault((delivery.properties.message_id or "").partition(":")[0], now)
        return COMMITTED


def order_name(number: int) -> str:
    """Return the number of the n-th order."""
    return f"B{number:08d}"


async def throughput(services: Services, orders: int) -> Result:
    """Run W1."""
    arena = Arena(services, "w1")
    async with arena.open(), _publisher(arena.url) as publisher:
        await _fill(publisher, arena, orders)
        starting = asyncio.create_task(asyncio.to_thread(arena.worker.start))
        try:
            return await _race(arena, publisher, orders)
        finally:
            await asyncio.gather(starting, return_exceptions=True)


async def _race(arena: Arena, publisher: Publisher, orders: int) -> Result:
    deadline = time.monotonic() + _PATIENCE + orders / 50
    while not (await arena.seen())["pushes"]:
        _in_time(deadline, "no order was pushed")
        await asyncio.sleep(_POLL_SECONDS / 2)
    meter = arena.meter()
    link = await Link.connect(arena.url, "bench")
    try:
        channel = await link.channel()
        while await _depth(channel, arena.events_queue) < orders:
            _in_time(deadline, "not every order was told")
            await asyncio.sleep(_POLL_SECONDS)
        ended, used = time.time(), meter.read()
    finally:
        await link.close()
    began = await _first_commit(arena)
    hearing = Hearing()
    consumer = arena.consumer(publisher, hearing)
    await consumer.start()
    try:
        while len(hearing.at) < orders:
            _in_time(deadline, f"{len(hearing.at)} of {orders} orders were told")
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await consumer.stop()
    await arena.verify(orders, set(hearing.at))
    return Result(orders, ended - began, _per_thousand(used, orders))


async def latency(services: Services, rate: int, seconds: float, warm_up_seconds: float = WARM_UP_SECONDS) -> Result:
    """Run W2."""
    arena = Arena(services, "w2")
    hearing = Hearing()
    warm_up, orders = int(rate * warm_up_seconds), int(rate * seconds)
    async with arena.open(), _publisher(arena.url) as publisher:
        await asyncio.to_thread(arena.worker.start)
        consumer = arena.consumer(publisher, hearing)
        await consumer.start()
        try:
            sent = await _steady(publisher, arena, range(warm_up), rate)
            meter = arena.meter()
            began = time.perf_counter()
            sent |= await _steady(publisher, arena, range(warm_up, warm_up + orders), rate)
            deadline = time.monotonic() + _PATIENCE
            while len(hearing.at) < warm_up + orders:
                _in_time(deadline, f"{len(hearing.at)} of {warm_up + orders} orders were told")
                await asyncio.sleep(_POLL_SECONDS)
            used, took = meter.read(), time.perf_counter() - began
        finally:
            await consumer.stop()
        await arena.verify(warm_up + orders, set(hearing.at))
    counted = [order_name(number) for number in range(warm_up, warm_up + orders)]
    latencies = [hearing.at[order] - sent[order] for order in counted]
    return Result(orders, took, _per_thousand(used, orders), latencies)


async def _steady(publisher: Publisher, arena: Arena, numbers: Sequence[int], rate: int) -> dict[str, float]:
    """Publish at a fixed rate, whatever comes back; return when each was published."""
    began = time.perf_counter()
    sent: dict[str, float] = {}
    tasks = []
    for index, number in enumerate(numbers):
        await asyncio.sleep(max(0.0, began + index / rate - time.perf_counter()))
        sent[order_name(number)] = time.perf_counter()
        tasks.append(asyncio.create_task(publisher.publish(arena.message(number))))
    if not all(await asyncio.gather(*tasks)):
        raise InvalidRunError("an order was not taken by a queue")
    return sent


async def _fill(publisher: Publisher, arena: Arena, orders: int) -> None:
    """Publish the orders, one in so many twice in a row."""
    every = max(1, orders // REPEATS)
    messages = [
        arena.message(number) for number in range(orders) for _ in range(2 if number % every == every - 1 else 1)
    ]
    for start in range(0, len(messages), _BATCH):
        if set(await publisher.publish_many(messages[start : start + _BATCH])) != {True}:
            raise InvalidRunError("the queue was not filled")


async def _depth(channel: Channel, queue: str) -> int:
    return (await ask(channel.queue_declare(queue, passive=True), queue)).message_count or 0


async def _first_commit(arena: Arena) -> float:
    connection = await asyncpg.connect(arena.dsn)
    try:
        first = await connection.fetchval("SELECT extract(epoch FROM min(created_at))::float8 FROM orders")
        return min(float(first), (await arena.seen())["first_push"])
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _publisher(url: str) -> AsyncIterator[Publisher]:
    publisher = Publisher(url, on_stuck=print, name="bench publisher")
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


def _in_time(deadline: float, otherwise: str) -> None:
    if time.monotonic() > deadline:
        raise InvalidRunError(otherwise)


def _per_thousand(used: dict[str, float], orders: int) -> dict[str, float]:
    return {name: seconds * 1000 / orders for name, seconds in used.items()}
