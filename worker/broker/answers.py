"""Publishes answers, which go where strangers want them, on a connection that nothing else needs.

A `reply_to` may make the broker fail: RabbitMQ 3 ends the connection at a direct reply-to of a node that it does not
know, such as that of a message which was moved here from another cluster. On the events' connection one such message,
redelivered for ever, would stop everything.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiormq import ChannelInvalidStateError

from worker.broker.connection import BrokerFailedError, BrokerLostError, Link
from worker.broker.message import Outgoing
from worker.broker.outlet import Confirmation, Outlet
from worker.broker.publisher import Publisher, result_of

log = structlog.get_logger("worker.broker")


class Answers(Publisher):
    """A publisher whose messages nobody may be able to get."""

    def __init__(
        self, url: str, *, on_stuck: Callable[[str], None], name: str = "worker answers", **timing: Any
    ) -> None:
        super().__init__(url, on_stuck=on_stuck, name=name, **timing)
        self._turn = asyncio.Lock()

    async def publish(self, message: Outgoing) -> bool:
        """Publish one answer; return whether a queue took it. False too: the broker fails at it, whoever asks.

        Raises:
            BrokerLostError: not confirmed, so it may or may not have been published.
        """
        try:
            return await super().publish(message)
        except BrokerFailedError:  # at this one, or at another in flight
            self._backoff.reset()  # the broker is not away: nobody else's answer waits longer for it each time
            async with self._turn:
                return await self._alone(message)

    async def _alone(self, message: Outgoing) -> bool:
        """Publish it on a connection of its own, which shows whether the broker fails at it."""
        link = await Link.connect(self._url, f"{self._name} alone")
        confirmations: list[Confirmation] = []
        try:
            async with asyncio.timeout(self._confirm_seconds):
                confirmations = await Outlet(await link.channel(confirms=True)).send((message,))
                await asyncio.wait(confirmations)
        except TimeoutError:
            raise BrokerLostError("publish: not confirmed in time") from None
        except ChannelInvalidStateError as error:
            raise BrokerLostError(f"publish: {type(error).__name__} {error}") from error
        finally:
            for each in confirmations:
                each.cancel()  # what is over already stays as it is
            await link.close()
        result = result_of(confirmations[0])
        if isinstance(result, BrokerFailedError):
            log.warning("answer_impossible", error=str(result))
            return False
        if isinstance(result, BrokerLostError):
            raise result
        return result
