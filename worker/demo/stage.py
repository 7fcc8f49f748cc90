"""Sets the stage: private servers, the sandbox, the relay, a worker with short schedules; and clears it afterwards."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from rich.console import Console

from worker.broker import topology as layout
from worker.broker.connection import BrokerLostError
from worker.broker.publisher import Publisher
from worker.broker.topology import Topology
from worker.demo.children import SandboxProcess, WorkerProcess
from worker.demo.performance import Performance
from worker.demo.relay import DemoRelay
from worker.demo.traffic import Listener, Producer, wishes
from worker.demo.view import View
from worker.demo.watch import Watch
from worker.embedded import ServiceError, Services
from worker.ledger.migrate import migrate
from worker.ops import logging

PUBLISHED_PER_SECOND = 50.0
_INTERRUPTED = 130
_TOPOLOGY = Topology("orders")

# Everything that takes minutes or hours in production takes seconds here. The sandbox stays below what the worker
# waits for: "no such order" holds shorter than the settling, an answer that is slow comes before the time-out, and one
# that is late comes after it.
_GATEWAY: Mapping[str, Any] = {
    "adapter": "wikeyun",
    "store_id": "1001",
    "app_key": "2002",
    "app_secret": "sandbox-secret",
    "timeout_seconds": 2.0,
    "lease_seconds": 6.0,
    "query_after_seconds": [0.5, 1.0, 2.0, 3.0],
    "settle_seconds": 4.0,
    "settle_queries": 3,
    # what the sandbox refuses with, before it charges
    "refusal_codes": [*(str(code) for code in range(1001, 1011)), "2000", "2003", "2004", "2005", "2006"],
    "no_such_order_codes": ["2002"],
    "duplicate_codes": ["2001"],
}
_SANDBOX: Mapping[str, Any] = {
    "answer_latency": 0.15,
    "settle_after": 1.0,
    "late_seconds": 4.0,
    "slow_seconds": 0.8,
    "absent_seconds": 2.0,
    "unlisted_seconds": 2.0,
    "endings": False,  # only what `fault_rate` draws: no fault that can end only in review
}


def run(orders: int = 1000, fault_rate: float = 0.3, seed: int = 1, kill: bool = True) -> int:  # noqa: FBT001, FBT002 - the command's flags
    """Play the demo; return 0 when both ledgers agree to the fen and everybody was told, else 1."""
    console = Console()
    view = View(console)
    console.print("starting a private broker and database, a gateway that misbehaves, and a worker")
    try:
        with _signals_interrupt(), Services() as services:
            options = {**_SANDBOX, "fault_rate": fault_rate, "seed": seed}
            with SandboxProcess(services.directory, options) as sandbox:
                return asyncio.run(_play(services, sandbox, Performance(view, wishes(orders, seed), kill=kill)))
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started has been ended")
        return _INTERRUPTED
    except (ServiceError, BrokerLostError, OSError) as error:
        console.print(f"the demo could not go on: {error}", style="red", markup=False, soft_wrap=True)
        return 1


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP what Ctrl-C is, so that everything is ended by all three."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _play(services: Services, sandbox: SandboxProcess, performance: Performance) -> int:
    own_log = sandbox.directory / "demo.log"  # it goes with the sandbox, however the demo ends
    with own_log.open("w", encoding="utf-8") as log:
        logging.configure("info", log)
        url, dsn = services.amqp_url, await asyncio.to_thread(services.postgres.create_database, "worker")
        await migrate(dsn)
        await layout.declare(url, _TOPOLOGY)
        async with contextlib.AsyncExitStack() as stack:
            publisher = Publisher(url, on_stuck=performance.give_up, name="demo publisher")
            await publisher.start()
            stack.push_async_callback(publisher.stop)
            listener = Listener(url, _TOPOLOGY, publisher)
            await listener.start()
            stack.push_async_callback(listener.stop)
            relay = await stack.enter_async_context(DemoRelay(publisher, _TOPOLOGY.main))
            watch = await stack.enter_async_context(Watch(url, dsn, sandbox.url, _TOPOLOGY))
            tables = {
                "amqp": {"url": url, "prefix": _TOPOLOGY.prefix},
                "database": {"dsn": dsn},
                "gateways.wikeyun": {**_GATEWAY, "base_url": f"{sandbox.url}/wikeyun", "notify_url": relay.url},
            }
            worker = WorkerProcess(services.directory, tables)
            stack.callback(worker.close)
            producer = Producer(publisher, _TOPOLOGY.main, performance.orders, PUBLISHED_PER_SECOND)
            return await performance.run(worker, producer, listener, watch, own_log)
