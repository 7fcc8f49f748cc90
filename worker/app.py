"""The composition root: the one place that knows every concrete class, and the order in which they start and stop."""

import asyncio
import gc
import os
import random
import secrets
import socket
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from schemas.dead import DeadReason
from worker.broker.answers import Answers
from worker.broker.consumer import Consumer, ConsumerOptions
from worker.broker.depths import Depths
from worker.broker.message import Delivery, Outgoing
from worker.broker.publisher import Publisher
from worker.broker.settlement import AWAY, Settled
from worker.broker.subscription import AT_ONCE
from worker.broker.topology import Topology, await_topology
from worker.core.trace import Tracing
from worker.flows.balances import Balances
from worker.flows.callbacks import Callbacks
from worker.flows.command_trouble import Turns
from worker.flows.commands import Commands, invalid
from worker.flows.events import EventPublisher, Renderer
from worker.flows.gateway_commands import GatewayCommands
from worker.flows.hints import Hints
from worker.flows.intake import Intake, refusal
from worker.flows.order_commands import OrderCommands
from worker.flows.pauses import Pauses
from worker.flows.scheduler import Scheduler
from worker.flows.sending import Sending
from worker.gateways.gateway import Gateway
from worker.gateways.registry import adapters
from worker.ledger.cards import CardBook
from worker.ledger.connection import Pool, create_pool, is_away, schema_problem
from worker.ledger.figures import FigureBook
from worker.ledger.gateways import GatewayBook
from worker.ledger.hints import HintBook
from worker.ledger.ledger import Ledger
from worker.ledger.reading import Reader
from worker.ledger.trouble import describe
from worker.ops import sources
from worker.ops.heartbeat import Heartbeat
from worker.ops.http import OpsServer
from worker.ops.metrics import WorkerMetrics
from worker.ops.tracing import choose_tracing

if TYPE_CHECKING:
    from worker.config import Settings
    from worker.core.outcome import Submitted
    from worker.gateways.gateway import Observer

log = structlog.get_logger("worker.app")

RETRY_SECONDS = 2.0
EVENTS_SECONDS = 10.0
HARD_STOP_SECONDS = 5.0


def build_gateways(
    settings: "Settings", tracing: Tracing | None = None, observe: "Observer | None" = None
) -> dict[str, Gateway]:
    """Return every configured gateway, by name; without `tracing` and `observe` their calls are not recorded."""
    kinds = adapters()
    return {
        name: Gateway.build(kinds[given.adapter], name, given, tracing=tracing, observe=observe)
        for name, given in settings.gateways.items()
    }


def _name() -> str:
    """Return a name that no other process has: containers may share a host's name and have the same number."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"


class Worker:
    """One worker process: consumers, scheduler, event publisher and ops endpoint, sharing one loop.

    `products`: take up and schedule only these; callbacks and events are everybody's.
    """

    def __init__(self, settings: "Settings", products: Sequence[str] | None = None) -> None:
        self._settings = settings
        self._products = list(products) if products else None
        self._topology = Topology(settings.amqp.prefix)
        self._amqp_url = settings.amqp.url.get_secret_value()
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tracing = choose_tracing(settings.ops.otlp_endpoint, os.environ, random.getrandbits)
        self._metrics = WorkerMetrics()
        self._metrics.expect(settings.gateways, DeadReason)
        self._heartbeat = Heartbeat(self._metrics.observe_lag)
        self._gateways = build_gateways(settings, self._tracing, self._metrics.exchanged)
        self._publisher = Publisher(self._amqp_url, on_stuck=self._fail, topology=self._topology)
        self._answers = Answers(self._amqp_url, on_stuck=self._fail)
        self._events = EventPublisher(self._publisher, self._topology.events, self._tracing)
        self._depths = Depths(self._amqp_url, (each.name for each in self._topology.queues), on_stuck=self._fail)
        checks = {"database": self._database_state, "broker": self._broker_state, "consuming": self._consuming_state}
        self._ops = OpsServer(
            settings.ops.listen, checks, alive=lambda: self._heartbeat.alive, registry=self._metrics.registry
        )
        sources.read_dependencies(self._metrics.readings, checks)
        sources.read_queues(self._metrics.readings, self._depths)
        sources.read_counts(self._metrics.readings, "worker_events_total", self._events.counts)
        self._scheduler: Scheduler | None = None
        self._consumer: Consumer | None = None
        self._commander: Consumer | None = None
        self._waiting_for: list[str] = []
        self._database_problem = "not connected yet"
        self._broker_problem: str | None = None

    async def run(self, stop: asyncio.Event) -> int:
        """Work until `stop` is set, then drain; return the exit code: 0, or 1 when it could not go on.

        Raises:
            SettingsError: the ops endpoint's address is taken.
        """
        await self._ops.start()
        self._heartbeat.start()
        await self._depths.start()
        for name, gateway in self._gateways.items():
            for notice in gateway.adapter.notices():
                log.warning("gateway_notice", gateway=name, what=notice)
        stopping = asyncio.create_task(stop.wait())
        work = asyncio.create_task(self._work(stopping))
        waits: list[asyncio.Future[Any]] = [work, self._failure]
        try:
            await asyncio.wait([*waits, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and self._consumer is None:
                work.cancel()  # still waiting for the broker or the database
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                log.error("worker_failed", error=self._failure.result())
                work.cancel()
                await asyncio.wait({work}, timeout=HARD_STOP_SECONDS)
                return 1
            if not work.cancelled() and (error := work.exception()) is not None:
                log.error("worker_failed", error=str(error), exc_info=error)
                return 1
        finally:
            stopping.cancel()
            await self._depths.stop()
            await self._ops.stop()
            self._heartbeat.stop()
            await asyncio.to_thread(self._tracing.stop)
        log.info("worker_stopped")
        return 0

    # --- life --------------------------------------------------------------------------------------

    async def _work(self, stopping: "asyncio.Task[bool]") -> None:
        await await_topology(self._amqp_url, self._topology, self._wait_for_broker)
        self._broker_problem = None
        pool, ledger = await self._await_database()
        hints = Hints(ledger, HintBook(pool), self._gateways, random.random)
        scheduler = self._scheduler = Scheduler(ledger, self._gateways, self._products, hints)
        book = GatewayBook(pool)
        pauses = Pauses(ledger, book, self._gateways, _name(), scheduler.wake)
        balances = Balances(ledger, book, self._gateways)

        def heard(gateway: str, submitted: "Submitted") -> None:
            self._metrics.submitted(gateway, submitted.outcome)
            pauses.heard(gateway, submitted)

        sending = scheduler.sending = Sending(ledger, self._gateways, scheduler.freed, heard)
        intake = Intake(
            ledger=ledger,
            gateways=self._gateways,
            routes=self._settings.routes,
            sending=sending,
            scheduler=scheduler,
            tracing=self._tracing,
        )
        callbacks = Callbacks(ledger, self._gateways, scheduler, hints, self._tracing)
        consumer = self._order_consumer(ledger, intake, callbacks)
        turns = Turns(self._gateways)
        commands = Commands(
            ledger,
            self._gateways,
            OrderCommands(ledger, Reader(pool), scheduler, turns),
            GatewayCommands(ledger, turns),
            publish=self._publisher.publish,
            reply=self._answers.publish,
            prefetch=min(self._settings.amqp.prefetch, AT_ONCE),
            tracing=self._tracing,
        )
        # a consumer of its own: a command waits for gateways, and is answered also while the database is away
        commander = Consumer(
            self._amqp_url,
            [self._topology.commands],
            commands.handle,
            publish=self._publisher.publish,
            dead_exchange=self._topology.dead,
            on_stuck=self._fail,
            answer=invalid,
            reply=self._answers.publish,
            buried=self._metrics.buried,
            options=ConsumerOptions(prefetch=self._settings.amqp.prefetch),
            name="worker commands",
        )
        await pauses.start()
        await asyncio.gather(self._publisher.start(), self._answers.start())
        askers = [
            self._loop("scheduler", scheduler.run()),
            self._loop("hints", hints.run()),
            self._loop("balances", balances.run()),
        ]
        loops = [
            self._loop("events", self._events.run()),
            self._loop("outbox", self._events.poll(ledger)),
            self._loop("pauses", pauses.run()),
            self._loop("figures", self._shown(pool, ledger, pauses, [consumer, commander]).run()),
            *askers,
        ]
        self._consumer, self._commander = consumer, commander
        await consumer.start()
        await commander.start()
        # what lives as long as the process need not be looked at again and again: a twelfth of the CPU at full load
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        log.info("worker_started", products=self._products or self._topology.products, gateways=list(self._gateways))
        try:
            await asyncio.wait({stopping, *loops}, return_when=asyncio.FIRST_COMPLETED)
            log.info("worker_stopping")
            await asyncio.gather(consumer.stop(), commander.stop())
            commands.stop()
            for asker in askers:
                asker.cancel()
            longest = max((each.timeout_seconds for each in self._settings.gateways.values()), default=0.0)
            await scheduler.drain(1)  # first, since what it has in hand may begin a call
            left = await sending.drain(longest + 1)
            await self._events.drain(ledger, EVENTS_SECONDS)
            if left:
                log.warning("calls_left", count=left)
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await asyncio.gather(self._publisher.stop(), self._answers.stop())
            await ledger.stop()
            for gateway in self._gateways.values():
                await gateway.close()
            pool.terminate()

    def _order_consumer(self, ledger: Ledger, intake: Intake, callbacks: Callbacks) -> Consumer:
        """Return the consumer of orders and callbacks."""

        async def handle(delivery: Delivery) -> Settled:
            flow = callbacks if delivery.queue == self._topology.callbacks else intake
            try:
                return await flow.handle(delivery)
            except Exception as error:
                if is_away(error):
                    return AWAY
                raise

        def answer(delivery: Delivery, settled: Settled) -> Outgoing | None:
            return None if delivery.queue == self._topology.callbacks else refusal(delivery, settled)

        products = self._products or self._topology.products
        return Consumer(
            self._amqp_url,
            [*map(self._topology.submit, products), self._topology.callbacks],
            handle,
            publish=self._publisher.publish,
            dead_exchange=self._topology.dead,
            on_stuck=self._fail,
            gate=ledger.answers,
            answer=answer,
            reply=self._answers.publish,
            buried=self._metrics.buried,
            options=ConsumerOptions(prefetch=self._settings.amqp.prefetch),
        )

    def _loop(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a loop that must not end: when it does, the worker ends with it."""
        task = asyncio.create_task(work, name=name)

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled():
                error = task.exception()
                self._fail(f"{name}: {type(error).__name__ if error else 'it ended'}: {error}")

        task.add_done_callback(ended)
        return task

    def _fail(self, why: str) -> None:
        if not self._failure.done():
            self._failure.set_result(why)

    async def _await_database(self) -> tuple[Pool, Ledger]:
        """Wait for it last, and to the end: a ledger that takes calls rides out every later outage by itself."""
        database = self._settings.database
        while True:
            pool: Pool | None = None
            try:
                pool = await create_pool(database.dsn.get_secret_value(), database.pool_size)
                problem = await schema_problem(pool)
                if problem is None:
                    ledger = self._ledger(pool)
                    await ledger.start()
                    for gateway in self._gateways.values():
                        gateway.cards = CardBook(pool)
                    self._database_problem = "ok"
                    return pool, ledger
            except Exception as error:
                if not is_away(error):
                    raise
                problem = f"the database is away: {describe(error) or type(error).__name__}"
            if pool is not None:
                pool.terminate()
            self._database_problem = problem
            await self._wait_for([problem])

    def _ledger(self, pool: Pool) -> Ledger:
        return Ledger(
            pool,
            policies={name: gateway.policy for name, gateway in self._gateways.items()},
            render=Renderer(self._settings.events.publish),
            tell=self._events.tell,
            chance=random.random,
            stepped=self._metrics.stepped,
            flushed=self._metrics.flushed,
        )

    def _shown(self, pool: Pool, ledger: Ledger, pauses: Pauses, consumers: list[Consumer]) -> FigureBook:
        """Show on `/metrics` what there is once the worker works; return what must be looked at for it."""
        readings, figures = self._metrics.readings, FigureBook(pool)
        sources.read_connections(readings, [self._publisher, self._answers, self._depths, *consumers])
        sources.read_deliveries(readings, consumers)
        sources.read_gateways(readings, self._gateways, lambda: pauses.standings, ledger.now)
        sources.read_ledger(readings, figures)
        sources.read_ages(readings, {"ledger": lambda: figures.age, "queues": lambda: self._depths.age})
        for name, gateway in self._gateways.items():
            gateway.gate.observe = self._metrics.waits(name)
        return figures

    async def _wait_for_broker(self, problems: list[str]) -> None:
        self._broker_problem = "; ".join(problems)
        await self._wait_for(problems)

    async def _wait_for(self, problems: list[str]) -> None:
        if problems != self._waiting_for:
            for problem in problems:
                log.warning("waiting", what=problem)
        self._waiting_for = problems
        await asyncio.sleep(RETRY_SECONDS)

    # --- readiness ---------------------------------------------------------------------------------

    def _database_state(self) -> tuple[bool, str]:
        if self._scheduler is None:
            return self._database_problem == "ok", self._database_problem
        fresh = self._scheduler.fresh()
        return fresh, "ok" if fresh else "not read for ten seconds: see `database_away` in the log"

    def _broker_state(self) -> tuple[bool, str]:
        ready = self._publisher.ready
        return ready, "ok" if ready else self._broker_problem or self._publisher.trouble

    def _consuming_state(self) -> tuple[bool, str]:
        if self._consumer is None or self._commander is None:
            return False, "not begun: database and broker come first"
        missing = [*self._consumer.missing, *self._commander.missing]
        return not missing, f"not consumed: {', '.join(missing)}" if missing else "ok"
