"""Which acks say that deliveries are finished: few frames, each tag acknowledged once, in order. Pure."""

from typing import NamedTuple


class Ack(NamedTuple):
    """One `basic.ack`."""

    tag: int
    multiple: bool  # True: everything up to this tag


class Frontier:
    """The finished deliveries of one channel, whose tags count up from 1.

    The contiguous prefix of finished tags is acknowledged by one `multiple`. What finished behind an
    unfinished one waits `patience` seconds, or until there are `crowd` of them, and is then acknowledged
    one by one. A `multiple` never names a tag that was acknowledged before: the broker closes the channel for it.
    """

    def __init__(self, patience: float = 0.2, crowd: int = 50) -> None:
        self._patience = patience
        self._crowd = crowd
        self._floor = 0  # every tag up to here is finished and acknowledged
        self._waiting: set[int] = set()  # finished behind an unfinished one, not acknowledged yet
        self._single: set[int] = set()  # the same, acknowledged one by one
        self._since = 0.0  # when something began to wait

    @property
    def waiting(self) -> int:
        """How many finished deliveries have not been acknowledged."""
        return len(self._waiting)

    def finish(self, tag: int, now: float) -> None:
        """Note that the delivery is finished; a tag that is known already changes nothing."""
        if tag <= self._floor or tag in self._single:
            return
        if not self._waiting:
            self._since = now
        self._waiting.add(tag)

    def take(self, now: float, *, flush: bool = False) -> list[Ack]:
        """Return the acks to send now, in order; they count as sent. `flush` leaves nothing waiting."""
        acks = []
        if (last := self._advance()) is not None:
            acks.append(Ack(last, multiple=True))
            self._since = now
        if self._waiting and (flush or now - self._since >= self._patience or len(self._waiting) >= self._crowd):
            acks += [Ack(tag, multiple=False) for tag in sorted(self._waiting)]
            self._single |= self._waiting
            self._waiting.clear()
        return acks

    def _advance(self) -> int | None:
        """Move the floor over the finished prefix; return the highest tag of it that needs an ack."""
        last = None
        tag = self._floor + 1
        while True:
            if tag in self._waiting:
                self._waiting.remove(tag)
                last = tag
            elif tag in self._single:
                self._single.remove(tag)
            else:
                self._floor = tag - 1
                return last
            tag += 1
