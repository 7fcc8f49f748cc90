"""Consumes a set of queues on one connection, and keeps doing so."""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from worker.broker.connection import BrokerLostError, Link
from worker.broker.lane import Lane
from worker.broker.message import Delivery, Outgoing
from worker.broker.settlement import Answer, Buried, Gate, Handler, Publish, Settled, Settler
from worker.broker.subscription import Hands, Subscriptions
from worker.broker.supervisor import Supervised
from worker.broker.watchdog import IDLE_SECONDS, INTERVAL_SECONDS, Watchdog

HEALTHY_SECONDS = 60.0  # a connection that lived so long was no failed repair

log = structlog.get_logger("worker.broker")


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How a consumer behaves; the defaults are right unless a test is in a hurry."""

    prefetch: int = 200  # a queue
    drain_seconds: float = 20.0  # how long `stop` waits for handlers
    watch_every: float = INTERVAL_SECONDS
    idle_seconds: float = IDLE_SECONDS
    repairs: int = 5  # of the connection by the watchdog, none of which helped, before `on_stuck`


async def _always() -> bool:
    return True


def _nothing(_delivery: Delivery, _settled: Settled) -> Outgoing | None:
    return None


def _uncounted(_queue: str, _reason: str) -> None:
    """Nobody counts."""


class Consumer(Supervised):
    """Hands every delivery to `handle`, in a task of its own, and settles it by what that returns.

    Args:
        queues: their names.
        handle: must be safe to run twice for one message; see `Settlement`.
        publish: a publisher's, for the dead letters.
        dead_exchange: where those go.
        on_stuck: told when even repairs do not help; the process should then exit non-zero.
        gate: asked before a queue is consumed, at first and again after an `AWAY`: can work be done now?
        answer: what is answered to whoever sent what became a dead letter.
        reply: publishes that; without one, `publish` does.
        buried: told of each dead letter.
    """

    def __init__(
        self,
        url: str,
        queues: Iterable[str],
        handle: Handler,
        *,
        publish: Publish,
        dead_exchange: str,
        on_stuck: Callable[[str], None],
        gate: Gate = _always,
        answer: Answer = _nothing,
        reply: Publish | None = None,
        buried: Buried = _uncounted,
        options: ConsumerOptions | None = None,
        name: str = "worker consumer",
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(url, name, chance=chance, on_stuck=on_stuck)
        self._options = options or ConsumerOptions()
        self._gate = gate
        settler = Settler(
            handle,
            publish,
            dead_exchange,
            gate=self._open,
            answer=answer,
            reply=reply or publish,
            chance=chance,
            buried=buried,
        )
        self._subscriptions = Subscriptions()
        self._hands = Hands()
        self._repairs = 0
        self._queues = tuple(queues)
        self._lanes = [
            Lane(
                queue,
                settler.settle,
                gate=self._open,
                prefetch=self._options.prefetch,
                subscriptions=self._subscriptions,
                hands=self._hands,
                chance=chance,
            )
            for queue in self._queues
        ]

    @property
    def ready(self) -> bool:
        """Whether every queue is being consumed."""
        return not self.missing

    @property
    def missing(self) -> list[str]:
        """The queues that are not being consumed."""
        return [queue for queue in self._queues if queue not in self._subscriptions]

    @property
    def in_hand(self) -> int:
        """How many deliveries are being handled."""
        return len(self._hands)

    async def _serve(self, link: Link) -> None:
        lanes = [asyncio.create_task(lane.run(link)) for lane in self._lanes]
        dog = asyncio.create_task(self._watch(link))
        stop = asyncio.create_task(self._stopping.wait())
        tasks = (*lanes, dog, stop)
        try:
            await asyncio.wait({link.lost, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                await self._drain()
        finally:
            if dog.done():
                link.abort()  # nobody need wait for its answers
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _drain(self) -> None:
        seconds = self._options.drain_seconds
        await asyncio.gather(*(each.drain(seconds) for each in tuple(self._subscriptions.values())))
        if self._hands:
            log.warning("handlers_left", count=len(self._hands))

    async def _watch(self, link: Link) -> None:
        """End when the connection should be rebuilt."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            reason = await Watchdog(link, self._options.watch_every, self._options.idle_seconds).watch(
                self._subscriptions
            )
        except BrokerLostError as error:
            reason = str(error)
        if link.lost.done():
            return
        helped = loop.time() - began >= HEALTHY_SECONDS or any(each.delivered for each in self._subscriptions.values())
        self._repairs = 1 if helped else self._repairs + 1
        log.error("consumer_stuck", error=reason, repairs=self._repairs)
        if self._repairs >= self._options.repairs:
            self._on_stuck(f"{self._name}: {reason}")

    async def _open(self) -> bool:
        """Ask the gate; one that fails is closed."""
        try:
            return await self._gate()
        except Exception as error:  # noqa: BLE001 - whatever the gate does, the queue is asked for again later
            log.warning("gate_failed", error=type(error).__name__)
            return False
