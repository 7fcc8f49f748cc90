"""The demo's producer: it publishes orders at a steady rate, and hears what the worker tells of them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog

from worker.broker.connection import BrokerLostError, Link
from worker.broker.consumer import Consumer
from worker.broker.message import Delivery, Outgoing
from worker.broker.publisher import Publisher
from worker.broker.settlement import COMMITTED, Settled
from worker.broker.topology import Topology
from worker.demo.wares import SOURCE, Wish

EVENTS_QUEUE = "demo.events"
TWICE = 50  # one order in so many is published twice, as a producer does that lost a confirm
_TICK_SECONDS = 0.1
_TRIES = 5

log = structlog.get_logger("worker.demo")


class Producer:
    """Publishes orders, confirmed, so many a second."""

    def __init__(self, publisher: Publisher, exchange: str, orders: Sequence[Wish], rate: float) -> None:
        self._publisher = publisher
        self._exchange = exchange
        self._orders = orders
        self._rate = rate
        self.published: dict[str, Wish] = {}  # by order number
        self.repeated = 0
        self.halfway = asyncio.Event()

    async def run(self) -> None:
        """Publish all of them.

        Raises:
            BrokerLostError: the broker does not take them.
        """
        try:
            await self._run()
        finally:
            self.halfway.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        done = 0
        while done < len(self._orders):
            upto = min(len(self._orders), int((loop.time() - began) * self._rate) + 1)
            await self._publish(self._orders[done:upto])
            again = self._orders[done:upto][(-done) % TWICE :: TWICE]
            await self._publish(again)
            self.repeated += len(again)
            done = upto
            if 2 * done >= len(self._orders):
                self.halfway.set()
            await asyncio.sleep(_TICK_SECONDS)

    async def _publish(self, orders: Sequence[Wish]) -> None:
        left = list(orders)
        for _ in range(_TRIES):
            results = await self._publisher.publish_many([self._message(order) for order in left])
            taken = [order for order, result in zip(left, results, strict=True) if result is True]
            self.published.update((order.order_no, order) for order in taken)
            left = [order for order, result in zip(left, results, strict=True) if result is not True]
            if not left:
                return
        raise BrokerLostError(f"publish: {len(left)} orders are not confirmed")

    def _message(self, order: Wish) -> Outgoing:
        key, identity = f"submit.{order.product}", f"demo-{order.order_no}"
        return Outgoing(self._exchange, key, order.body, message_id=identity, type="order.submit")


class Listener:
    """Hears the events of the demo's orders through a queue of the demo's own; `tell` gets each once."""

    def __init__(
        self, url: str, topology: Topology, publisher: Publisher, tell: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._url = url
        self._tell = tell
        self._exchange = topology.events
        self._consumer = Consumer(
            url,
            [EVENTS_QUEUE],
            self._hear,
            publish=publisher.publish,
            dead_exchange=topology.dead,
            on_stuck=lambda why: log.error("listener_stuck", error=why),
            name="demo events",
        )
        self._seen: set[str] = set()
        self.accepted: set[str] = set()
        self.latest: dict[str, tuple[int, str]] = {}  # the highest version heard, and its state, by order number
        self.kinds: Counter[str] = Counter()
        self.repeats = 0

    async def start(self) -> None:
        """Bind the queue and begin to hear."""
        link = await Link.connect(self._url, "demo")
        try:
            channel = await link.channel()
            await channel.queue_declare(EVENTS_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
            await channel.queue_bind(EVENTS_QUEUE, self._exchange, f"order.*.{SOURCE}")
        finally:
            await link.close()
        await self._consumer.start()

    async def stop(self) -> None:
        """Hear no more."""
        await self._consumer.stop()

    async def _hear(self, delivery: Delivery) -> Settled:
        identity = delivery.properties.message_id or ""
        event = orjson.loads(delivery.body)
        order_no, version = event["order_no"], event["version"]
        if identity in self._seen:
            self.repeats += 1
            return COMMITTED
        self._seen.add(identity)
        self.kinds[event["event"]] += 1
        if event["event"] == "order.accepted" and version == 1:
            self.accepted.add(order_no)
        if version >= self.latest.get(order_no, (0, ""))[0]:
            self.latest[order_no] = (version, event["state"])
        self._tell(event)
        return COMMITTED
