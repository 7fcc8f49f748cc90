"""Publishes with confirms, and says truthfully what became of each message."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from aiormq import Channel, ChannelNotFoundEntity, PublishError
from pamqp.commands import Basic

from worker.broker.connection import BrokerLostError, Link, UnsendableError, close_channel, outcome
from worker.broker.message import Outgoing, wire_properties
from worker.broker.supervisor import Supervised

AWAY_SECONDS = 5.0  # how long a publish waits for a connection
CONFIRM_SECONDS = 8.0  # and then for its confirm

log = structlog.get_logger("worker.broker")


class Publisher(Supervised):
    """One connection, one channel, confirms, `mandatory`, persistent.

    What fails may have been published all the same (its confirm was lost): publish it again with the same
    `message_id`. A message that is published while the broker's alarm is on waits, and fails by time.
    """

    def __init__(
        self,
        url: str,
        *,
        on_stuck: Callable[[str], None],
        name: str = "worker publisher",
        away_seconds: float = AWAY_SECONDS,
        confirm_seconds: float = CONFIRM_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(url, name, chance=chance, on_stuck=on_stuck)
        self._away_seconds = away_seconds
        self._confirm_seconds = confirm_seconds
        self._link: Link | None = None
        self._channel: Channel | None = None
        self._up = asyncio.Event()
        self._suspect = asyncio.Event()
        self._in_flight: dict[str, asyncio.Task[Any]] = {}
        self._sending: set[asyncio.Task[bool]] = set()

    @property
    def ready(self) -> bool:
        """Whether a message could be published now."""
        return self._up.is_set()

    async def publish(self, message: Outgoing) -> bool:
        """Publish one message; return whether a queue took it: False is confirmed too, but unroutable.

        Raises:
            BrokerLostError: not confirmed, so it may or may not have been published.
        """
        (result,) = await self.publish_many((message,))
        if isinstance(result, BrokerLostError):
            raise result
        return result

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[bool | BrokerLostError]:
        """Publish messages together; return for each what `publish` returns or raises. A few hundred are best."""
        if not messages:
            return []
        try:
            link, channel = await self._connected()
        except BrokerLostError as error:
            return [error] * len(messages)
        tasks = [asyncio.create_task(self._send(link, channel, message)) for message in messages]
        self._sending.update(tasks)
        try:
            _, late = await asyncio.wait(tasks, timeout=self._confirm_seconds)
        finally:
            self._sending.difference_update(tasks)
            for task in tasks:
                task.cancel()
        if not late:
            return [_result(task) for task in tasks]
        blocked = not await link.flowing()
        if not blocked and self._channel is channel:
            self._up.clear()
            self._suspect.set()
        lost = BrokerLostError(f"publish: not confirmed in time{', the broker has blocked us' if blocked else ''}")
        return [lost if task in late else _result(task) for task in tasks]

    async def _connected(self) -> tuple[Link, Channel]:
        """Return what is up, or will be in a moment."""
        try:
            async with asyncio.timeout(self._away_seconds):
                while not self._stopping.is_set():
                    await self._up.wait()
                    if self._link is not None and self._channel is not None and not self._channel.is_closed:
                        return self._link, self._channel
                    self._up.clear()  # it has just ended; the supervisor is about to notice
        except TimeoutError:
            raise BrokerLostError("publish: the broker is away") from None
        raise BrokerLostError("publish: the publisher has stopped")

    async def _send(self, link: Link, channel: Channel, message: Outgoing) -> bool:
        """Publish and wait for the confirm. A `message_id` is in flight once: aiormq tells returns apart by it."""
        identity = message.message_id
        if identity is None:
            return await self._confirmed(link, channel, message)
        while (other := self._in_flight.get(identity)) is not None:
            await asyncio.wait({other})
        if (task := asyncio.current_task()) is not None:
            self._in_flight[identity] = task
        try:
            return await self._confirmed(link, channel, message)
        finally:
            self._in_flight.pop(identity, None)

    async def _confirmed(self, link: Link, channel: Channel, message: Outgoing) -> bool:
        await link.flow()  # nothing is poured into a connection that the broker does not read
        try:
            frame = await channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=wire_properties(message),
                mandatory=True,
                wait=False,
            )
        except PublishError:
            return False
        if not isinstance(frame, Basic.Ack):
            raise BrokerLostError("publish: not confirmed")
        return True

    async def _serve(self, link: Link) -> None:
        self._suspect.clear()
        channel = await link.channel(confirms=True)
        self._link, self._channel = link, channel
        self._up.set()
        closing = channel.closing
        waits = {asyncio.create_task(self._stopping.wait()), asyncio.create_task(self._suspect.wait())}
        try:
            await asyncio.wait({closing, link.lost, *waits}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set() and self._sending:
                await asyncio.wait(self._sending, timeout=self._confirm_seconds)
        finally:
            self._up.clear()
            self._link = self._channel = None
            for task in waits:
                task.cancel()
            if self._suspect.is_set():
                log.warning("publisher_stuck", connection=self._name)
                link.abort()
            elif not self._stopping.is_set():
                _explain(self._name, closing)
        await close_channel(channel)


def _explain(name: str, closing: asyncio.Future[None]) -> None:
    error = closing.exception() if closing.done() and not closing.cancelled() else None
    if isinstance(error, ChannelNotFoundEntity):
        log.error("exchange_missing", connection=name, error=str(error), run="worker migrate --broker")
    else:
        log.warning("publisher_lost", connection=name, error=str(error or ""))


def _result(task: asyncio.Task[bool]) -> bool | BrokerLostError:
    try:
        return outcome(task, "publish")
    except BrokerLostError as error:
        return error
    except Exception as error:  # noqa: BLE001 - one message that cannot be encoded must not hide what became of the rest
        return UnsendableError(f"publish: {type(error).__name__} {error}")
