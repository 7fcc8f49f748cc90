"""The database's time, which all workers share, told between two looks at it by a clock that nobody can set."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf

from worker.core.clock import boottime

DRIFT = 1e-4
"""How many seconds two machines' clocks may part in a second; those of bad crystals do."""


class SharedClock:
    """Tells the time by the last good measurement of the database's clock.

    A measurement is as good as its round trip was short, and grows worse with age. A better one replaces it, and so
    does one that both cannot be true with: then the database's clock was set, or another server has taken over.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._epoch = time.time() - clock()  # the database's time when our clock was at zero, as Unix time
        self._doubt = inf  # how far off that may have been when it was measured
        self._measured_at = 0.0

    def now(self) -> datetime:
        """Return the database's time."""
        return datetime.fromtimestamp(self._epoch + self._clock(), UTC)

    def measured(self, asked_at: float, theirs: datetime, answered_at: float) -> None:
        """Note that the database's clock was at `theirs` at some moment between these two of ours."""
        epoch = theirs.timestamp() - (asked_at + answered_at) / 2
        doubt = (answered_at - asked_at) / 2
        present = self._doubt + DRIFT * (answered_at - self._measured_at)
        if doubt <= present or abs(epoch - self._epoch) > doubt + present:
            self._epoch, self._doubt, self._measured_at = epoch, doubt, answered_at
