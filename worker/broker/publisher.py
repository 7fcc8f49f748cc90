"""Publishes with confirms, and says truthfully what became of each message."""

import asyncio
import random
import re
from collections.abc import Callable, Sequence

import structlog
from aiormq import ChannelInvalidStateError, ChannelNotFoundEntity, PublishError
from pamqp.commands import Basic

from worker.broker.connection import BrokerLostError, Link, close_channel, outcome
from worker.broker.message import Outgoing
from worker.broker.outlet import Confirmation, Outlet
from worker.broker.supervisor import Supervised
from worker.broker.topology import MIGRATE, Topology

AWAY_SECONDS = 5.0  # how long a publish waits for a connection
CONFIRM_SECONDS = 8.0  # and then for its confirm

_NO_EXCHANGE = re.compile(r"no exchange '([^']*)'")

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
        topology: Topology | None = None,
        away_seconds: float = AWAY_SECONDS,
        confirm_seconds: float = CONFIRM_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(url, name, chance=chance, on_stuck=on_stuck)
        self._topology = topology
        self._away_seconds = away_seconds
        self._confirm_seconds = confirm_seconds
        self._link: Link | None = None
        self._outlet: Outlet | None = None
        self._up = asyncio.Event()
        self._suspect = asyncio.Event()

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
            link, outlet = await self._connected()
        except BrokerLostError as error:
            return [error] * len(messages)
        confirmations: list[Confirmation] = []
        try:
            async with asyncio.timeout(self._confirm_seconds):
                await link.flow()  # nothing is poured into a connection that the broker does not read
                confirmations = await outlet.send(messages)
                await asyncio.wait(confirmations)
        except TimeoutError:
            lost: BrokerLostError = await self._late(link, outlet)
        except ChannelInvalidStateError as error:
            lost = BrokerLostError(f"publish: {type(error).__name__} {error}")
        else:
            return [result_of(each) for each in confirmations]
        finally:
            for each in confirmations:
                each.cancel()
        return [lost if each.cancelled() else result_of(each) for each in confirmations] or [lost] * len(messages)

    async def _late(self, link: Link, outlet: Outlet) -> BrokerLostError:
        """Say why confirms do not come; unless the broker's alarm explains it, the connection is given up."""
        blocked = not await link.flowing()
        if not blocked and self._outlet is outlet:
            self._up.clear()
            self._suspect.set()
        return BrokerLostError(f"publish: not confirmed in time{', the broker has blocked us' if blocked else ''}")

    async def _connected(self) -> tuple[Link, Outlet]:
        """Return what is up, or will be in a moment."""
        try:
            async with asyncio.timeout(self._away_seconds):
                while not self._stopping.is_set():
                    await self._up.wait()
                    if self._link is not None and self._outlet is not None and self._outlet.open:
                        return self._link, self._outlet
                    self._up.clear()  # it has just ended; the supervisor is about to notice
        except TimeoutError:
            raise BrokerLostError("publish: the broker is away") from None
        raise BrokerLostError("publish: the publisher has stopped")

    async def _serve(self, link: Link) -> None:
        self._suspect.clear()
        channel = await link.channel(confirms=True)
        outlet = Outlet(channel)
        self._link, self._outlet = link, outlet
        self._up.set()
        closing = channel.closing
        waits = {asyncio.create_task(self._stopping.wait()), asyncio.create_task(self._suspect.wait())}
        try:
            await asyncio.wait({closing, link.lost, *waits}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set() and outlet.in_flight:
                await asyncio.wait(tuple(outlet.in_flight), timeout=self._confirm_seconds)
        finally:
            self._up.clear()
            self._link = self._outlet = None
            for task in waits:
                task.cancel()
            if self._suspect.is_set():
                log.warning("publisher_stuck", connection=self._name)
                link.abort()
            elif not self._stopping.is_set():
                self.trouble = _explain(self._name, closing, self._topology)
        await close_channel(channel)


def _explain(name: str, closing: asyncio.Future[None], topology: Topology | None) -> str:
    """Log why a channel has ended, and return it with what to do."""
    error = closing.exception() if closing.done() and not closing.cancelled() else None
    if isinstance(error, ChannelNotFoundEntity):
        missing = _NO_EXCHANGE.search(str(error))
        remedy = topology.remedy(missing[1]) if topology is not None and missing is not None else MIGRATE
        log.error("exchange_missing", connection=name, error=str(error), what=remedy)
        return f"{error}: {remedy}"
    log.warning("publisher_lost", connection=name, error=str(error or ""))
    return str(error or "connection lost")


def result_of(confirmation: Confirmation) -> bool | BrokerLostError:
    """Return what `publish` returns or raises for a message whose confirmation is over."""
    if not confirmation.cancelled() and isinstance(confirmation.exception(), PublishError):
        return False
    try:
        frame = outcome(confirmation, "publish")
    except BrokerLostError as error:
        return error
    return True if isinstance(frame, Basic.Ack) else BrokerLostError("publish: not confirmed")
