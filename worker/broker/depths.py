"""How full the queues are, as the broker says."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from worker.broker.connection import BrokerRefusedError, Link, ask, close_channel
from worker.broker.supervisor import Supervised

LOOK_SECONDS = 15.0
FRESH_SECONDS = 4 * LOOK_SECONDS
"""What was seen longer ago is not shown: nothing is better than something wrong."""


class Depth(NamedTuple):
    """What a queue holds; messages in somebody's hands are not among them."""

    messages: int
    consumers: int


class Depths(Supervised):
    """Looks at the queues every few seconds; one that is missing, or may not be looked at, is not shown.

    It has a connection of its own: one that publishes is blocked by the broker's memory alarm, one that consumes is
    torn down when its consumers are stuck, and these are the moments at which somebody wants to know.
    """

    def __init__(
        self,
        url: str,
        queues: Iterable[str],
        *,
        on_stuck: Callable[[str], None],
        every: float = LOOK_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(url, "worker depths", chance=chance, on_stuck=on_stuck)
        self._queues = tuple(queues)
        self._every = every
        self._seen: Mapping[str, Depth] = {}
        self._seen_at: float | None = None
        self._looking = False

    @property
    def ready(self) -> bool:
        """Whether it is connected, and has looked lately."""
        return self._looking and self._fresh

    @property
    def age(self) -> float | None:
        """Seconds since the last look; None: there was none."""
        return None if self._seen_at is None else time.monotonic() - self._seen_at

    @property
    def latest(self) -> Mapping[str, Depth]:
        """What was seen last, by queue; nothing when that is too long ago."""
        return self._seen if self._fresh else {}

    @property
    def _fresh(self) -> bool:
        return self.age is not None and self.age < FRESH_SECONDS

    async def _serve(self, link: Link) -> None:
        stop = asyncio.create_task(self._stopping.wait())
        try:
            while not (link.lost.done() or self._stopping.is_set()):
                self._seen = await look(link, self._queues)
                self._seen_at = time.monotonic()
                self._looking = True
                await asyncio.wait({link.lost, stop}, timeout=self._every, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._looking = False
            stop.cancel()


async def look(link: Link, queues: Iterable[str]) -> Mapping[str, Depth]:
    """Return what these queues hold; those that are missing or may not be looked at are left out.

    Raises:
        BrokerLostError: the broker is away.
    """
    seen: dict[str, Depth] = {}
    channel = await link.channel()
    for queue in queues:
        if channel.is_closed:  # a refusal ends it
            channel = await link.channel()
        try:
            answer = await ask(channel.queue_declare(queue, passive=True), f"look at {queue}")
        except BrokerRefusedError:
            continue
        seen[queue] = Depth(answer.message_count or 0, answer.consumer_count or 0)
    await close_channel(channel)
    return seen
