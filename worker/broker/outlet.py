"""Publishes batches on one channel with confirms, each in one write.

aiormq's own `basic_publish` takes every message through a lock, three context managers and a system call of its
own, which was a fifth of the worker's time. Here a whole batch takes them once; what is kept of it (the delivery
tags, the confirmations, which message a return is about) is aiormq's, so that its reader answers as ever.
"""

import asyncio
from collections.abc import Collection, Sequence
from functools import lru_cache, partial
from typing import Any
from uuid import uuid4

from aiormq import Channel
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from worker.broker.connection import UnsendableError
from worker.broker.message import Outgoing, wire_properties

Confirmation = asyncio.Future[Any]
"""Done with the broker's `Basic.Ack`, or the error that `connection.outcome` explains."""


class Outlet:
    """A channel with confirms, its only publisher. A `message_id` is in flight once: it is all that returns name."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._in_flight: dict[str, Confirmation] = {}

    @property
    def open(self) -> bool:
        """Whether its channel takes messages."""
        return not self._channel.is_closed

    @property
    def in_flight(self) -> Collection[Confirmation]:
        """What the broker has not confirmed yet."""
        return self._in_flight.values()

    async def send(self, messages: Sequence[Outgoing]) -> list[Confirmation]:
        """Write messages, in order, and return the confirmation to come of each.

        Raises:
            ChannelInvalidStateError: the channel ended.
        """
        sent: list[Confirmation] = []
        while len(sent) < len(messages):
            async with self._channel.lock:  # looked at and written under it, or two senders could choose one number
                if part := self._distinct(messages[len(sent) :]):
                    sent += await self._write(part)
                    continue
            busy = self._in_flight.get(str(messages[len(sent)].message_id))
            if busy is not None:
                await asyncio.wait({busy})
        return sent

    def _distinct(self, messages: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Return the first of them, as far as no `message_id` is among them twice or in flight."""
        seen: set[str] = set()
        for place, message in enumerate(messages):
            identity = message.message_id
            if identity is not None:
                if identity in seen or identity in self._in_flight:
                    return messages[:place]
                seen.add(identity)
        return messages

    async def _write(self, messages: Sequence[Outgoing]) -> list[Confirmation]:
        channel = self._channel
        before = channel.delivery_tag
        payload = bytearray()
        confirmations = []
        for message in messages:
            identity = message.message_id or uuid4().hex
            try:
                payload += self._encoded(message, identity)
            except Exception as error:  # noqa: BLE001 - one that cannot be encoded must not hold up the rest
                confirmations.append(_refused(f"publish: {type(error).__name__} {error}"))
            else:
                confirmations.append(self._expect(identity))
        try:
            await channel.write_queue.put(ChannelFrame(bytes(payload), should_close=False))
        except BaseException:
            # the broker has not seen them, so it will count on from where it was
            for tag in range(before + 1, channel.delivery_tag + 1):
                channel.confirmations.pop(tag, None)
            channel.delivery_tag = before
            for confirmation in confirmations:
                confirmation.cancel()
            raise
        return confirmations

    def _encoded(self, message: Outgoing, identity: str) -> bytes:
        number, body = self._channel.number, message.body
        most = self._channel.max_content_size
        if most <= 0:  # the broker's `frame_max` is 0: frames of any size
            most = len(body) or 1
        header = ContentHeader(body_size=len(body), properties=wire_properties(message, identity))
        frames = [
            _publish_frame(number, message.exchange, message.routing_key),
            marshal(header, number),
            *(marshal(ContentBody(body[start : start + most]), number) for start in range(0, len(body), most)),
        ]
        return b"".join(frames)

    def _expect(self, identity: str) -> Confirmation:
        """Note that the next delivery tag is this message's."""
        channel = self._channel
        channel.delivery_tag += 1
        confirmation: Confirmation = channel.create_future()
        channel.confirmations[channel.delivery_tag] = confirmation
        channel.message_id_delivery_tag[identity] = channel.delivery_tag
        self._in_flight[identity] = confirmation
        confirmation.add_done_callback(partial(self._forget, identity))
        return confirmation

    def _forget(self, identity: str, _: Confirmation) -> None:
        self._channel.message_id_delivery_tag.pop(identity, None)
        self._in_flight.pop(identity, None)


@lru_cache(maxsize=512)
def _publish_frame(number: int, exchange: str, routing_key: str) -> bytes:
    """Return the bytes of a `Basic.Publish`; a worker uses few exchanges and keys."""
    return marshal(Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True), number)


def _refused(why: str) -> Confirmation:
    confirmation: Confirmation = asyncio.get_running_loop().create_future()
    confirmation.set_exception(UnsendableError(why))
    return confirmation
