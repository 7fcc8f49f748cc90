"""Keeps one queue consumed, on whatever connection there is."""

import asyncio
from collections.abc import Callable

import structlog

from worker.broker.connection import NOT_FOUND, Backoff, BrokerLostError, BrokerRefusedError, Link
from worker.broker.settlement import Gate
from worker.broker.subscription import Hands, Subscription, Subscriptions, Work
from worker.broker.supervisor import FIRST_WAIT, LONGEST_WAIT, STEADY_SECONDS

LONGEST_AWAY = 30.0  # each try of a queue whose work is away costs its messages one of their deliveries
REMIND_EVERY = 12  # tries: about a minute

log = structlog.get_logger("worker.broker")


class Lane:
    """One queue with its own channel and its own troubles: while it is missing, the others go on.

    Args:
        subscriptions: where it shows its subscription, by queue, while it has one.
    """

    def __init__(
        self,
        queue: str,
        work: Work,
        *,
        gate: Gate,
        prefetch: int,
        subscriptions: Subscriptions,
        hands: Hands,
        chance: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._work = work
        self._gate = gate
        self._prefetch = prefetch
        self._subscriptions = subscriptions
        self._hands = hands
        self._lost = Backoff(FIRST_WAIT, LONGEST_WAIT, chance)
        self._away = Backoff(FIRST_WAIT, LONGEST_AWAY, chance)
        self._refusals = 0

    async def run(self, link: Link) -> None:
        """Consume until the connection ends, beginning again whenever the channel ends."""
        loop = asyncio.get_running_loop()
        while not link.lost.done():
            began, backoff = loop.time(), self._lost
            try:
                if await self._gate() and await self._consume(link):
                    backoff = self._away
            except BrokerRefusedError as error:
                self._refused(error)
            except BrokerLostError as error:
                log.warning("queue_lost", queue=self._queue, error=str(error))
            if loop.time() - began >= STEADY_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _consume(self, link: Link) -> bool:
        """Consume until the channel ends; return whether that is because the work is away."""
        subscription = await Subscription.open(
            link, self._queue, self._work, prefetch=self._prefetch, hands=self._hands
        )
        self._refusals = 0
        self._subscriptions[self._queue] = subscription
        log.info("queue_consumed", queue=self._queue)
        try:
            reason = await subscription.ended
            log.warning("queue_lost", queue=self._queue, error=reason)
        finally:
            del self._subscriptions[self._queue]
            await subscription.close()
        return subscription.away

    def _refused(self, error: BrokerRefusedError) -> None:
        if self._refusals % REMIND_EVERY == 0:
            remedy = "worker migrate --broker" if error.code == NOT_FOUND else "worker check"
            log.error("queue_refused", queue=self._queue, error=str(error), run=remedy)
        self._refusals += 1
