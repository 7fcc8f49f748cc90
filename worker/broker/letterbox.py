"""All dead letters of one moment, in hand: nobody else gets them until they are given back.

Reading must lose nothing. A letter that is given back counts as returned once more, and a queue without a place for its
own dead letters drops one that was returned too often: on RabbitMQ 4 the twenty-first time, under a policy sooner. So
none is given back twice: one that came back before is laid anew, a confirmed copy first, and then acknowledged. And
nothing is taken in hand while the broker takes no messages, since it could not be laid anew.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import structlog
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from worker.broker.connection import BrokerLostError, BrokerRefusedError, Link, ask, close_channel
from worker.broker.letters import Letter, read_letter, renewed
from worker.broker.message import Outgoing, read_delivery
from worker.broker.publisher import Publisher
from worker.broker.topology import Topology

MOST = 50_000  # letters in hand at once
BATCH = 200  # published at once
TRIES = 3  # of publishing one
LOOK_SECONDS = 0.1
QUIET_LOOKS = 3  # so often nothing more came, and nothing more is there
STUCK_SECONDS = 5.0  # what is there does not come
LONGEST_SECONDS = 30.0  # letters may come faster than they can be counted
BUSY_SECONDS = 3.0
_LOCKED = 405
_IN_MEMORY = 64 * 1024 * 1024

log = structlog.get_logger("worker.dead")


class LettersBusyError(BrokerLostError):
    """Somebody else has the letters in hand."""


class _Place(NamedTuple):
    """Where a letter is: its delivery's tag, and its body in the spool."""

    tag: int
    start: int
    size: int


class Letterbox:
    """The letters that are in hand, the oldest first. `more`: so many lie there that there was no room for."""

    def __init__(self, topology: Topology, channel: Channel, publisher: Publisher, spool: Any) -> None:
        self._topology = topology
        self._channel = channel
        self._publisher = publisher
        self._spool = spool
        self._places: dict[int, _Place] = {}  # by the letter's position
        self.letters: list[Letter] = []
        self.more = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, topology: Topology) -> "AsyncIterator[Letterbox]":
        """Take all letters in hand for as long as the context lasts; what is not acknowledged is given back.

        Raises:
            LettersBusyError: somebody else has them.
            BrokerRefusedError: there is no such queue, or it may not be read.
            BrokerLostError: the broker is away, or takes no messages now.
        """
        publisher = Publisher(url, on_stuck=_told_by_publish, name="worker dead publisher")
        await publisher.start()
        link = None
        try:
            link = await Link.connect(url, "worker dead")
            await _lock(link, f"{topology.dead}.reader")
            channel = await link.channel()
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
                box = cls(topology, channel, publisher, spool)
                # an answer, be it that no queue takes it, proves that messages are taken
                await publisher.publish(Outgoing("", f"{topology.dead}.reader.probe", b""))
                try:
                    await box._collect(link)
                    yield box
                finally:
                    await box._give_back(link)
        finally:
            if link is not None:
                await link.close()
            await publisher.stop()

    def body(self, position: int) -> bytes:
        """Return the body of the letter at a position of `letters`."""
        place = self._places[position]
        self._spool.seek(place.start)
        body: bytes = self._spool.read(place.size)
        return body

    async def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        """Publish messages; return for each whether it is confirmed, and some exchange or queue took it.

        Raises:
            BrokerLostError: some could not be published, or the letters are not in hand any more.
        """
        results: list[bool] = [False] * len(messages)
        left = list(range(len(messages)))
        lost: BrokerLostError | None = None
        for _ in range(TRIES):
            if self._channel.is_closed:
                raise BrokerLostError("the broker has taken the letters back")
            answers = await self._publisher.publish_many([messages[index] for index in left])
            again = []
            for index, answer in zip(left, answers, strict=True):
                if isinstance(answer, BrokerLostError):
                    lost = answer
                    again.append(index)
                else:
                    results[index] = answer
            if not again:
                return results
            left = again
        raise lost or BrokerLostError("publish: not confirmed")

    async def forget(self, positions: Sequence[int]) -> None:
        """Remove letters from their queue; when this returns, the broker has heard it.

        Raises:
            BrokerLostError: it may not have heard all of it: what it has not, lies there again.
        """
        for position in positions:
            await ask(self._channel.basic_ack(self._places[position].tag), "acknowledge a letter")
            del self._places[position]
        # the answer to any question proves that the acks before it were read
        await ask(self._channel.basic_qos(prefetch_count=MOST), "confirm the acks")

    # --- taking in hand, and giving back -----------------------------------------------------------

    async def _collect(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        began = came = loop.time()
        counting = await link.channel()
        expected = ready = await _ready(counting, self._topology.dead)
        await ask(self._channel.basic_qos(prefetch_count=MOST), "qos")
        consumer = await ask(self._channel.basic_consume(self._topology.dead, self._on_message), "read the letters")
        quiet = 0
        while quiet < QUIET_LOOKS and len(self.letters) < MOST:
            before = len(self.letters)
            await asyncio.sleep(LOOK_SECONDS)
            ready = await _ready(counting, self._topology.dead)
            now, some = loop.time(), len(self.letters) > before
            came = now if some else came
            quiet = 0 if some or ready else quiet + 1
            enough = len(self.letters) >= expected and now - began > LONGEST_SECONDS
            if enough or now - came > STUCK_SECONDS or self._channel.is_closed:
                break
        if self._channel.is_closed:
            raise BrokerLostError("the channel ended while the letters were read")
        await ask(self._channel.basic_cancel(consumer.consumer_tag or ""), "stop reading")
        self.more = ready
        await close_channel(counting)

    async def _on_message(self, message: DeliveredMessage) -> None:
        frame = message.delivery
        if not isinstance(frame, Basic.Deliver) or frame.delivery_tag is None:
            return
        delivery = read_delivery(self._topology.dead, frame, message)
        self._spool.seek(0, 2)
        self._places[len(self.letters)] = _Place(frame.delivery_tag, self._spool.tell(), len(delivery.body))
        self._spool.write(delivery.body)
        self.letters.append(read_letter(delivery, self._topology))

    async def _give_back(self, link: Link) -> None:
        """Lay anew what came back before, and return the rest; what the broker does not hear, it does by itself."""
        held = len(self._places)
        with suppress(BrokerLostError):
            try:
                await self._renew()
            finally:
                await ask(self._channel.basic_nack(0, multiple=True, requeue=True), "give the letters back")
            await ask(self._channel.basic_qos(prefetch_count=1), "confirm that")
            await self._await_return(link, held)
        await close_channel(self._channel)

    async def _renew(self) -> None:
        worn = [position for position in self._places if self.letters[position].worn]
        for start in range(0, len(worn), BATCH):
            some = worn[start : start + BATCH]
            copies = [renewed(self.letters[each], self.body(each), self._topology) for each in some]
            try:
                taken = await self.publish(copies)
            except BrokerLostError as error:
                log.warning("letters_not_renewed", count=len(worn) - start, error=str(error))
                raise
            await self.forget([each for each, fine in zip(some, taken, strict=True) if fine])

    async def _await_return(self, link: Link, count: int) -> None:
        """Wait until whoever reads next finds them all; a quorum queue takes a moment."""
        counting = await link.channel()
        for _ in range(int(STUCK_SECONDS / LOOK_SECONDS)):
            if await _ready(counting, self._topology.dead) >= count:
                break
            await asyncio.sleep(LOOK_SECONDS)
        await close_channel(counting)


async def _lock(link: Link, name: str) -> None:
    """Be the only reader: an exclusive queue is its connection's alone, and ends with it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + BUSY_SECONDS
    while True:
        channel = await link.channel()
        try:
            await ask(
                channel.queue_declare(name, exclusive=True, arguments={"x-queue-type": "classic"}),
                "be the only reader of the dead letters",
            )
        except BrokerRefusedError as error:
            if error.code != _LOCKED:
                raise
            if loop.time() >= deadline:
                raise LettersBusyError(
                    "another `worker dead` has the letters in hand: wait for it, or end it"
                ) from None
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return
        finally:
            await close_channel(channel)


async def _ready(channel: Channel, queue: str) -> int:
    answer = await ask(channel.queue_declare(queue, passive=True), f"look at {queue}")
    return answer.message_count or 0


def _told_by_publish(_why: str) -> None:
    """What becomes of each message says it."""
