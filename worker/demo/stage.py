"""Sets the stage: private servers, the sandbox, the relay, a worker with short schedules; and clears it afterwards."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console

from worker.broker import topology as layout
from worker.broker.connection import BrokerLostError
from worker.broker.publisher import Publisher
from worker.broker.topology import Topology
from worker.demo.children import RelayProcess, SandboxProcess, WorkerProcess
from worker.demo.gateways import GATEWAYS, ROUTES, sandbox_options, tables
from worker.demo.payer import Payer
from worker.demo.performance import Cast, Performance
from worker.demo.traffic import Listener, Producer
from worker.demo.view import View
from worker.demo.wares import wishes
from worker.demo.watch import Watch
from worker.embedded import ServiceError, Services
from worker.embedded.service import free_ports
from worker.ledger.migrate import migrate
from worker.ops import logging

PUBLISHED_PER_SECOND = 50.0
_INTERRUPTED = 130
_TOPOLOGY = Topology("orders")


def run(orders: int = 1000, fault_rate: float = 0.3, seed: int = 1, kill: bool = True) -> int:  # noqa: FBT001, FBT002 - the command's flags
    """Play the demo; return 0 when both ledgers agree to the fen and everybody was told, else 1."""
    console = Console()
    view = View(console)
    console.print("starting a private broker and database, four gateways that misbehave, a relay and a worker")
    try:
        with _signals_interrupt(), Services() as services:
            keys = services.directory / "keys"
            performance = Performance(view, wishes(orders, seed), kill=kill)
            with SandboxProcess(services.directory, sandbox_options(keys, fault_rate, seed)) as sandbox:
                return asyncio.run(_play(services, sandbox, keys, seed, performance))
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


async def _play(services: Services, sandbox: SandboxProcess, keys: Path, seed: int, performance: Performance) -> int:
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
            payer = await stack.enter_async_context(Payer(sandbox.url, seed))
            listener = Listener(url, _TOPOLOGY, publisher, payer.hear)
            await listener.start()
            stack.push_async_callback(listener.stop)
            watch = await stack.enter_async_context(Watch(url, dsn, sandbox.url, GATEWAYS, _TOPOLOGY))
            (port,) = free_ports(1)
            settings = {
                "relay": {"listen": f"127.0.0.1:{port}"},
                "amqp": {"url": url, "prefix": _TOPOLOGY.prefix},
                "database": {"dsn": dsn},
                "routes": ROUTES,
                **tables(sandbox.url, f"http://127.0.0.1:{port}", keys),
            }
            worker = WorkerProcess(services.directory, settings)
            stack.callback(worker.close)
            relay = RelayProcess(services.directory, worker.settings)
            stack.callback(relay.close)
            await asyncio.to_thread(relay.start)
            producer = Producer(publisher, _TOPOLOGY.main, performance.orders, PUBLISHED_PER_SECOND)
            return await performance.run(Cast(worker, producer, listener, payer, watch, own_log))
