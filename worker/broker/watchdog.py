"""Compares what we believe to consume with what the broker says, on channels of its own."""

import asyncio
from collections.abc import Mapping

import structlog
from aiormq import Channel

from worker.broker.connection import NOT_FOUND, BrokerRefusedError, Link, ask, close_channel
from worker.broker.subscription import Subscription

INTERVAL_SECONDS = 5.0
IDLE_SECONDS = 10.0  # messages are ready, and we got none for so long: the broker has forgotten us
STRIKES = 2  # so often in a row must the broker deny a consumer: its counts lag a little

log = structlog.get_logger("worker.broker")


class Watchdog:
    """Looks every few seconds; `watch` ends with the reason when the connection should be rebuilt."""

    def __init__(self, link: Link, interval: float = INTERVAL_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self._link = link
        self._interval = interval
        self._idle = idle
        self._denied: dict[str, int] = {}
        self._blind = False

    async def watch(self, subscriptions: Mapping[str, Subscription]) -> str:
        """Look again and again at the queues that are consumed now.

        Raises:
            BrokerLostError: the broker does not answer.
        """
        while True:
            await asyncio.sleep(self._interval)
            channel: Channel | None = None
            for queue, subscription in tuple(subscriptions.items()):
                if channel is None or channel.is_closed:
                    channel = await self._link.channel()
                if reason := await self._look(channel, queue, subscription):
                    return f"{queue}: {reason}"
            if channel is not None:
                await close_channel(channel)

    async def _look(self, channel: Channel, queue: str, subscription: Subscription) -> str | None:
        ready = consumers = 0
        try:
            seen = await ask(channel.queue_declare(queue, passive=True), f"look at {queue}")
            ready, consumers = seen.message_count or 0, seen.consumer_count or 0
        except BrokerRefusedError as error:
            if error.code != NOT_FOUND:  # from 4.3 on a passive declare needs the `configure` permission
                self._cannot_see(queue, error)
                return None
        if not subscription.alive():
            return None
        self._denied[queue] = 0 if consumers else self._denied.get(queue, 0) + 1
        if self._denied[queue] >= STRIKES:
            return "the broker knows of no consumer"
        idle = asyncio.get_running_loop().time() - subscription.last_delivery
        if ready and not subscription.in_hand and idle >= self._idle:
            return f"{ready} messages are ready and none came for {idle:.0f} s"
        return None

    def _cannot_see(self, queue: str, error: BrokerRefusedError) -> None:
        if not self._blind:
            self._blind = True
            log.warning("watchdog_blind", queue=queue, error=str(error))
