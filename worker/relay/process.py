"""One relay process: HTTP server, publisher and ops endpoint, and the order in which they start and stop."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from worker.broker.message import Outgoing
from worker.broker.publisher import Publisher
from worker.broker.topology import Topology, await_topology
from worker.config import SettingsError
from worker.ops import sources
from worker.ops.heartbeat import Heartbeat
from worker.ops.http import OpsServer
from worker.ops.metrics import RelayMetrics
from worker.relay.receiver import Receiver
from worker.relay.server import RelayServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.config import Address, Settings
    from worker.gateways.gateway import Gateway

log = structlog.get_logger("worker.relay")

RETRY_SECONDS = 2.0
AWAY_SECONDS, CONFIRM_SECONDS = 1.0, 4.0
"""Together they bound how long a gateway waits for its answer: most of them give up after five seconds or more."""
TELL_SECONDS = 10.0


class RelayProcess:
    """Relays from `run` until it is told to stop. With the broker away it answers 503, so that gateways come again."""

    def __init__(self, settings: "Settings", gateways: "Mapping[str, Gateway]") -> None:
        if settings.relay.listen is None:
            raise SettingsError('relay.listen: expected "host:port" for the relay to listen on')
        self._topology = Topology(settings.amqp.prefix)
        self._amqp_url = settings.amqp.url.get_secret_value()
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._publisher = Publisher(
            self._amqp_url,
            on_stuck=self._fail,
            name="worker relay",
            away_seconds=AWAY_SECONDS,
            confirm_seconds=CONFIRM_SECONDS,
            chance=random.random,
        )
        self._metrics = RelayMetrics()
        self._heartbeat = Heartbeat(self._metrics.observe_lag)
        self._receiver = Receiver(gateways, self._publish, self._topology)
        self._server = RelayServer(settings.relay.listen, self._receiver, AWAY_SECONDS + CONFIRM_SECONDS + 1)
        checks = {"broker": self._broker_state}
        self._ops = OpsServer(
            settings.ops.listen, checks, alive=lambda: self._heartbeat.alive, registry=self._metrics.registry
        )
        readings = self._metrics.readings
        sources.read_dependencies(readings, checks)
        sources.read_connections(readings, [self._publisher])
        sources.read_counts(readings, "worker_relay_requests_total", self._receiver.counts)
        readings.source("worker_relay_waiting", lambda: [((), len(self._receiver.relaying))])
        self._problem: str | None = None
        self._told: Counter[str] = Counter()

    @property
    def address(self) -> "Address | None":
        """Where it takes callbacks, once it does."""
        return self._server.address

    @property
    def ready(self) -> bool:
        """Whether a callback could be relayed now."""
        return self._publisher.ready

    async def run(self, stop: asyncio.Event) -> int:
        """Relay until `stop` is set, then drain; return the exit code: 0, or 1 when it could not go on.

        Raises:
            SettingsError: an address cannot be listened on.
        """
        await self._ops.start()
        self._heartbeat.start()
        tasks: list[asyncio.Task[Any]] = []
        try:
            await self._server.start()
            log.info("relay_started", listen=str(self._server.address), gateways=self._receiver.names)
            stopping = asyncio.create_task(stop.wait())
            tasks = [stopping, self._guarded(self._connect()), self._guarded(self._tell())]
            ends: list[asyncio.Future[Any]] = [self._failure, stopping]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            log.info("relay_stopping")
            await self._server.stop()
            if self._failure.done():
                log.error("relay_failed", error=self._failure.result())
                return 1
        finally:
            await self._server.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._publisher.stop()
            await self._ops.stop()
            self._heartbeat.stop()
            self._tell_counts()
        log.info("relay_stopped")
        return 0

    async def _publish(self, message: Outgoing) -> bool:
        """Publish one message, and count how long the broker took."""
        began = time.perf_counter()
        try:
            return await self._publisher.publish(message)
        finally:
            self._metrics.observe_publish(time.perf_counter() - began)

    async def _connect(self) -> None:
        """Start publishing when the topology is there: until then nothing is published, and so nothing lost."""
        await await_topology(self._amqp_url, self._topology, self._wait)
        self._problem = None
        await self._publisher.start()

    async def _wait(self, problems: list[str]) -> None:
        problem = "; ".join(problems)
        if problem != self._problem:
            for each in problems:
                log.warning("waiting", what=each)
        self._problem = problem
        await asyncio.sleep(RETRY_SECONDS)

    async def _tell(self) -> None:
        """Log now and then how requests ended: a line for each would let a stranger fill the log."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            self._tell_counts()

    def _tell_counts(self) -> None:
        counts = self._receiver.counts
        for outcome in sorted(counts):
            if new := counts[outcome] - self._told[outcome]:
                say = log.info if outcome == "relayed" else log.warning
                say("callbacks", outcome=outcome, count=new)
        self._told = Counter(counts)

    def _guarded(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run what must not fail: when it does, the process ends with it."""
        task = asyncio.create_task(work)

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._fail(f"{type(error).__name__}: {error}")

        task.add_done_callback(ended)
        return task

    def _fail(self, why: str) -> None:
        if not self._failure.done():
            self._failure.set_result(why)

    def _broker_state(self) -> tuple[bool, str]:
        return self.ready, "ok" if self.ready else self._problem or self._publisher.trouble
