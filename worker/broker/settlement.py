"""The ack policy: what may be said about a delivery, how that is found, and what follows. Nothing else decides it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import PurePath
from traceback import extract_tb
from typing import Self

import structlog
from structlog.contextvars import bind_contextvars

from worker.broker.connection import Backoff, BrokerLostError
from worker.broker.dead import DETAIL, dead_letter
from worker.broker.message import Delivery, Outgoing

TRIES = 5  # of a handler that raises, before its message is poison
FIRST_RETRY, LONGEST_RETRY = 0.2, 5.0

log = structlog.get_logger("worker.broker")


class Settlement(Enum):
    """What becomes of a delivery."""

    COMMITTED = auto()  # durable here, or proven needless: acknowledge it
    IMPOSSIBLE = auto()  # can never be processed: publish it to the dead letters, confirmed, then acknowledge it
    AWAY = auto()  # the database or the broker is away: do not acknowledge; stop taking, wait, let it be redelivered
    STOPPING = auto()  # we are stopping: do nothing; the broker redelivers it


@dataclass(frozen=True, slots=True)
class Settled:
    """What a handler says about one delivery; `reason` and `detail` are the dead letter's, for `IMPOSSIBLE` only."""

    settlement: Settlement
    reason: str = ""
    detail: str = ""

    @classmethod
    def impossible(cls, reason: str, detail: str) -> Self:
        """Return the verdict that a delivery can never be processed."""
        return cls(Settlement.IMPOSSIBLE, reason, detail)


COMMITTED = Settled(Settlement.COMMITTED)
AWAY = Settled(Settlement.AWAY)
STOPPING = Settled(Settlement.STOPPING)

Handler = Callable[[Delivery], Awaitable[Settled]]
Gate = Callable[[], Awaitable[bool]]
Publish = Callable[[Outgoing], Awaitable[bool]]
Answer = Callable[[Delivery, Settled], Outgoing | None]
"""Makes the answer to whoever sent what can never be processed; None: nobody asked for one."""
Buried = Callable[[str, str], None]
"""Told of each dead letter that was confirmed: its queue and its reason."""


class Settler:
    """Calls the handler, and turns what comes of it into `COMMITTED`, `AWAY` or `STOPPING`.

    A handler that raises is called again, in place, so that its neighbours are not redelivered for it. A message
    that makes it raise every time is poison, unless the gate says that the work as a whole is impossible now.
    """

    def __init__(
        self,
        handle: Handler,
        publish: Publish,
        dead_exchange: str,
        *,
        gate: Gate,
        answer: Answer,
        reply: Publish,
        chance: Callable[[], float],
        buried: Buried,
    ) -> None:
        self._handle = handle
        self._publish = publish
        self._dead_exchange = dead_exchange
        self._gate = gate
        self._answer = answer
        self._reply = reply
        self._buried = buried
        self._chance = chance

    async def settle(self, delivery: Delivery, matters: Callable[[], bool]) -> Settled:
        """Handle one delivery to its end; once it no longer matters, it is somebody else's."""
        if delivery.properties.message_id:  # each delivery has a task of its own, and so its own context
            bind_contextvars(message_id=delivery.properties.message_id)
        settled = await self._handled(delivery, matters)
        if settled.settlement is not Settlement.IMPOSSIBLE:
            return settled
        return await self._bury(delivery, settled) if matters() else STOPPING

    async def _handled(self, delivery: Delivery, matters: Callable[[], bool]) -> Settled:
        backoff: Backoff | None = None
        failure = ""
        for _ in range(TRIES):
            try:
                return await self._handle(delivery)
            except BrokerLostError:
                return AWAY
            except Exception as error:  # noqa: BLE001 - whatever a handler does, its delivery must be settled
                failure = f"{type(error).__name__} at {_place(error)}"
            log.error("handler_failed", queue=delivery.queue, error=failure)
            backoff = backoff or Backoff(FIRST_RETRY, LONGEST_RETRY, self._chance)
            await asyncio.sleep(backoff.next())
            if not matters():
                return STOPPING
        return Settled.impossible("poison", failure) if await self._gate() else AWAY

    async def _bury(self, delivery: Delivery, settled: Settled) -> Settled:
        letter = dead_letter(self._dead_exchange, delivery, settled.reason, settled.detail, datetime.now(UTC))
        answer = self._answer(delivery, settled)
        try:
            if answer is not None:
                await self._reply(answer)  # before the letter: an answer may come twice, a letter need not
            routed = await self._publish(letter)
        except BrokerLostError as error:
            log.warning("dead_letter_failed", queue=delivery.queue, error=f"{type(error).__name__}: {error}")
            return AWAY
        if not routed:
            log.error("dead_letter_unroutable", exchange=self._dead_exchange, run="worker migrate --broker")
            return AWAY
        self._buried(delivery.queue, settled.reason)
        log.warning("dead_lettered", queue=delivery.queue, reason=settled.reason, detail=letter.headers[DETAIL])
        return COMMITTED


def _place(error: Exception) -> str:
    """Return where it was raised; its text may hold the message, so that is never shown."""
    frames = extract_tb(error.__traceback__)
    return f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
