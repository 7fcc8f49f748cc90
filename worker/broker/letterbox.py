"""All dead letters of one moment, in hand: nobody else gets them until they are given back.

Reading must lose nothing. A letter that is given back counts as returned once more, and a queue without a place for its
own dead letters drops one that was returned too often: on RabbitMQ 4 the twenty-first time, under a policy sooner. So
none is given back twice: one that came back before is laid anew, a confirmed copy first, and then acknowledged. And
nothing is taken in hand while the broker takes no messages, since it could not be laid anew.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from io import SEEK_END
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import NamedTuple

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


class LettersUnreadError(BrokerLostError):
    """Some letters could not be kept in hand, so none is: one that nobody has read must not be acknowledged."""


class _Place(NamedTuple):
    """Where a letter is: its delivery's tag, and its body in the spool."""

    tag: int
    start: int
    size: int


class Letterbox:
    """The letters that are in hand, the oldest first. `more`: so many lie there that there was no room for."""

    def __init__(
        self, topology: Topology, link: Link, publisher: Publisher, spool: "SpooledTemporaryFile[bytes]"
    ) -> None:
        self._topology = topology
        self._link = link
        self._publisher = publisher
        self._spool = spool
        self._channel: Channel | None = None
        self._places: dict[int, _Place] = {}  # of what is in hand, by position, which is the order of the tags
        self._gone: set[str] = set()  # ids of what was acknowledged
        self._copies = 0  # that were laid there
        self._unread: Exception | None = None  # why one was not taken in
        self.letters: list[Letter] = []
        self.more = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, topology: Topology) -> "AsyncIterator[Letterbox]":
        """Take all letters in hand for as long as the context lasts; what is not acknowledged is given back.

        Raises:
            LettersBusyError: somebody else has them.
            LettersUnreadError: there is no room for them.
            BrokerRefusedError: there is no such queue, or it may not be read.
            BrokerLostError: the broker is away, or takes no messages now.
        """
        publisher = Publisher(url, on_stuck=_told_by_publish, name="worker dead publisher")
        await publisher.start()
        link = None
        try:
            link = await Link.connect(url, "worker dead")
            await _lock(link, f"{topology.dead}.reader")
            # an answer, be it that no queue takes it, proves that messages are taken; under an alarm the first one
            # still is
            for _ in range(2):
                await publisher.publish(Outgoing("", f"{topology.dead}.reader.probe", b""))
            with SpooledTemporaryFile(_IN_MEMORY) as spool:
                box = cls(topology, link, publisher, spool)
                try:
                    await box._take()
                    yield box
                finally:
                    with suppress(BrokerLostError):  # what the broker does not hear of, it gives back by itself
                        await box._put_back()
        finally:
            if link is not None:
                await link.close()
            await publisher.stop()

    def body(self, position: int) -> bytes:
        """Return the body of the letter at a position of `letters`."""
        place = self._places[position]
        self._spool.seek(place.start)
        return self._spool.read(place.size)

    async def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        """Publish messages; return for each whether some queue took it. All are confirmed.

        Raises:
            BrokerLostError: some could not be published, or the letters are not in hand any more.
        """
        results = [False] * len(messages)
        left = list(range(len(messages)))
        lost = BrokerLostError("publish: not confirmed")
        for _ in range(TRIES):
            if self._held.is_closed:
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
        raise lost

    async def forget(self, positions: Sequence[int]) -> None:
        """Remove letters from their queue.

        Raises:
            BrokerLostError: the broker may not have heard all of it: what it has not, lies there again.
        """
        first = list(islice(self._places, len(positions)))
        if first == sorted(positions):  # nothing that stays comes before: one word is enough for all
            if first:
                await ask(self._held.basic_ack(self._places[first[-1]].tag, multiple=True), "acknowledge letters")
        else:
            for position in positions:
                await ask(self._held.basic_ack(self._places[position].tag), "acknowledge a letter")
        # the answer to any question proves that the acks before it were read
        await ask(self._held.basic_qos(prefetch_count=MOST), "confirm the acks")
        for position in positions:
            del self._places[position]
            self._gone.add(self.letters[position].id)

    @property
    def _held(self) -> Channel:
        """The channel on which the letters are in hand."""
        if self._channel is None:
            raise BrokerLostError("the letters are not in hand")
        return self._channel

    # --- taking in hand, and putting back ----------------------------------------------------------

    async def _take(self) -> None:
        channel = self._channel = await self._link.channel()
        counting = await self._link.channel()
        loop = asyncio.get_running_loop()
        began = came = loop.time()
        expected = ready = await _ready(counting, self._topology.dead)
        await ask(channel.basic_qos(prefetch_count=MOST), "qos")
        consumer = await ask(channel.basic_consume(self._topology.dead, self._on_message), "read the letters")
        quiet = 0
        while quiet < QUIET_LOOKS and len(self.letters) < MOST:
            before = len(self.letters)
            await asyncio.sleep(LOOK_SECONDS)
            ready = await _ready(counting, self._topology.dead)
            now, some = loop.time(), len(self.letters) > before
            came = now if some else came
            quiet = 0 if some or ready else quiet + 1
            enough = len(self.letters) >= expected and now - began > LONGEST_SECONDS
            if enough or now - came > STUCK_SECONDS or channel.is_closed or self._unread is not None:
                break
        await ask(channel.basic_cancel(consumer.consumer_tag or ""), "stop reading")
        await close_channel(counting)
        self.more = ready
        if self._unread is not None:
            why = (self._unread.strerror if isinstance(self._unread, OSError) else "") or type(self._unread).__name__
            raise LettersUnreadError(f"the letters cannot be kept in hand: {why}")

    async def _on_message(self, message: DeliveredMessage) -> None:
        frame = message.delivery
        if not isinstance(frame, Basic.Deliver) or frame.delivery_tag is None:
            return
        delivery = read_delivery(self._topology.dead, frame, message.header.properties, message.body)
        try:
            letter = read_letter(delivery, self._topology)
            start = self._spool.seek(0, SEEK_END)
            self._spool.write(delivery.body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the word for those after it would be for it too
            self._unread = self._unread or error
            return
        self._places[len(self.letters)] = _Place(frame.delivery_tag, start, len(delivery.body))
        self.letters.append(letter)

    async def _put_back(self) -> None:
        """Give back what is in hand. A quorum queue may overlook acks before a channel ends: that is looked into."""
        for left in reversed(range(TRIES)):
            self._copies = 0
            await self._give_back()
            expected = len(self._places) + self._copies + self.more
            if await self._lie_there(expected) <= expected or not self._gone or not left:
                return
            # something is new, or has come back though it was acknowledged
            self._places.clear()
            self.letters = []
            await self._take()
            await self.forget(
                [place for place in self._places if (it := self.letters[place]).returned and it.id in self._gone]
            )

    async def _give_back(self) -> None:
        channel = self._held
        try:
            await self._renew()
        finally:
            # not left to the end of the channel: some brokers count only that
            await ask(channel.basic_nack(0, multiple=True, requeue=True), "give the letters back")
            await ask(channel.basic_qos(prefetch_count=1), "confirm that")
            await close_channel(channel)

    async def _renew(self) -> None:
        """Lay anew what came back before."""
        worn = [position for position in self._places if self.letters[position].worn]
        for start in range(0, len(worn), BATCH):
            some = worn[start : start + BATCH]
            copies = [renewed(self.letters[each], self.body(each), self._topology) for each in some]
            try:
                taken = await self.publish(copies)
            except BrokerLostError as error:
                log.warning("letters_not_renewed", count=len(worn) - start, error=str(error))
                raise
            done = [each for each, fine in zip(some, taken, strict=True) if fine]
            await self.forget(done)
            self._copies += len(done)

    async def _lie_there(self, count: int) -> int:
        """Return how many lie there, once at least `count` do: what is given back takes a moment."""
        counting = await self._link.channel()
        ready = 0
        for _ in range(int(STUCK_SECONDS / LOOK_SECONDS)):
            await asyncio.sleep(LOOK_SECONDS)
            ready = await _ready(counting, self._topology.dead)
            if ready >= count:
                break
        await close_channel(counting)
        return ready


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
