"""What orders must have taken from a balance between two readings of it. Pure; amounts are fen.

What a gateway had taken of an order that was open at the moment of a reading nobody can tell, so the answer is a range:
exact where no order was open at either.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from worker.core.order import State

_NOTHING = frozenset({None, State.QUEUED, State.FAILED, State.CANCELLED, State.REFUNDED})
_DELIVERED = frozenset({State.SUCCEEDED, State.PARTIAL})


class Reading(NamedTuple):
    """Our balance at a gateway, and when it was asked for."""

    at: datetime
    fen: int


class Held(NamedTuple):
    """One order: what it may have taken, and its state at two readings and now; None: it was not there yet."""

    here: bool  # its latest attempt is at this gateway; else only one that was given up
    amount_fen: int
    cost_fen: int | None
    arrived_fen: int | None
    at_start: str | None
    at_end: str | None
    now: str

    def moved(self) -> tuple[int, int]:
        """Return the least and the most that it took between the readings; less than 0: it gave back."""
        if self.at_start == self.at_end and self.at_start == self.now and self.at_start in _NOTHING | _DELIVERED:
            return 0, 0
        before, after = self._taken(self.at_start), self._taken(self.at_end)
        return after[0] - before[1], after[1] - before[0]

    def _taken(self, state: str | None) -> tuple[int, int]:
        """Return the least and the most that the gateway had of it in a state."""
        most = self.amount_fen if self.cost_fen is None else self.cost_fen
        if state in _NOTHING:
            late = self.here and state is not None and self.now in _DELIVERED and state != State.QUEUED
            return (0, most) if late else (0, 0)
        if not self.here and state in _DELIVERED and state == self.now:
            return 0, 0  # it arrived by a later attempt, elsewhere
        if not self.here or state != self.now or state not in _DELIVERED or self.cost_fen is None:
            return 0, most
        if state == State.PARTIAL:
            arrived = self.arrived_fen or 0
            return min(arrived, most), max(arrived, most)
        return most, most


@dataclass(frozen=True, slots=True)
class Movement:
    """What left a balance between two readings, and what the orders between them took."""

    start: Reading
    end: Reading
    topped_up_fen: int
    least_fen: int
    most_fen: int
    doubtful: int  # orders of which it cannot be told exactly

    @property
    def left_fen(self) -> int:
        """What left the balance; less than 0: more came in."""
        return self.start.fen + self.topped_up_fen - self.end.fen

    @property
    def exact(self) -> bool:
        """Whether it is known to the fen what the orders took."""
        return self.least_fen == self.most_fen

    @property
    def difference_fen(self) -> int:
        """What no order explains: above 0 money is missing, below 0 there is more than there should be."""
        return self.left_fen - min(max(self.left_fen, self.least_fen), self.most_fen)


def movement(start: Reading, end: Reading, orders: Iterable[Held], topped_up_fen: int = 0) -> Movement:
    """Return what left the balance, and what `orders` took of it."""
    least = most = doubtful = 0
    for order in orders:
        low, high = order.moved()
        least, most, doubtful = least + low, most + high, doubtful + (low != high)
    return Movement(start, end, topped_up_fen, least, most, doubtful)


def bracket(readings: Iterable[Reading], since: datetime, until: datetime) -> tuple[Reading, Reading] | None:
    """Return the last reading not after `since` and the first not before `until`; None: there are no such two."""
    known = sorted(readings)
    before = [reading for reading in known if reading.at <= since]
    after = [reading for reading in known if reading.at >= until]
    return (before[-1], after[0]) if before and after else None
