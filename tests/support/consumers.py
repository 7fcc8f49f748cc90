"""Consumers on a real broker, behind a proxy, and a handler that does as it is told."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from support import amqp
from support.proxy import Proxy

from worker.broker.consumer import Consumer, ConsumerOptions
from worker.broker.message import Delivery
from worker.broker.publisher import Publisher
from worker.broker.settlement import COMMITTED, Handler, Settled
from worker.broker.topology import Topology

HASTY = ConsumerOptions(prefetch=20, drain_seconds=5, watch_every=0.3, idle_seconds=1)


def never(reason: str) -> None:
    pytest.fail(f"stuck: {reason}")


class Handling:
    """A handler that notes what it is given, says what it is told to, and may be held up."""

    def __init__(self, says: Settled | Callable[[Delivery], Settled] = COMMITTED) -> None:
        self.says = says
        self.seen: list[Delivery] = []
        self.finished = 0
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, delivery: Delivery) -> Settled:
        """Handle one delivery."""
        self.seen.append(delivery)
        await self.free.wait()
        settled = self.says if isinstance(self.says, Settled) else self.says(delivery)
        self.finished += 1
        return settled

    @property
    def bodies(self) -> Counter[bytes]:
        """How often each body came."""
        return Counter(delivery.body for delivery in self.seen)


class Bench:
    """Starts consumers on one test's topology, through a proxy, and stops them."""

    def __init__(self, url: str, topology: Topology, proxy: Proxy, publisher: Publisher) -> None:
        self.url, self.topology, self.proxy, self.publisher = url, topology, proxy, publisher
        self.queue = topology.commands
        self.running: list[Consumer] = []

    async def consume(
        self,
        handle: Handler,
        *,
        queues: Iterable[str] = (),
        options: ConsumerOptions = HASTY,
        on_stuck: Callable[[str], None] = never,
        ready: bool = True,
        gate: Callable[[], bool] = lambda: True,
    ) -> Consumer:
        """Start a consumer, and wait until it consumes."""

        async def ask() -> bool:
            return gate()

        it = Consumer(
            self.proxy.url,
            tuple(queues) or (self.queue,),
            handle,
            publish=self.publisher.publish,
            dead_exchange=self.topology.dead,
            on_stuck=on_stuck,
            gate=ask,
            options=options,
            chance=lambda: 0,
        )
        self.running.append(it)
        await it.start()
        if ready:
            await amqp.until(lambda: it.ready)
        return it

    def put(self, *bodies: bytes, **properties: object) -> None:
        """Publish to the queue."""
        amqp.put(self.url, self.queue, *bodies, **properties)

    def depth(self, queue: str | None = None) -> int:
        """Messages that are ready."""
        return amqp.depth(self.url, queue or self.queue)
