"""When to leave a gateway alone: after calls in a row, for several orders, that got no readable answer.

Each of those calls may be an order of unknown outcome, so a gateway that is down must not be
offered all that wait.
"""

from enum import StrEnum

_OPENS_AFTER = 5
_COOL_DOWN_SECONDS = 5.0
_LONGEST_SECONDS = 60.0


class BreakerState(StrEnum):
    """Whether submits may pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # one may, to see


class Breaker:
    """Opens when calls for `opens_after` orders failed in a row; every moment is the caller's, in monotonic seconds.

    One order that never gets an answer, however often it is sent, does not stop the others.

    When the cool-down is over, one call may try. If nothing is heard of it for as long as the
    cool-down was (its task was cancelled), another may.
    """

    __slots__ = ("_cool_down", "_failed", "_first", "_longest", "_opens_after", "_retry_at", "_trying")

    def __init__(
        self,
        opens_after: int = _OPENS_AFTER,
        cool_down: float = _COOL_DOWN_SECONDS,
        longest: float = _LONGEST_SECONDS,
    ) -> None:
        self._opens_after = opens_after
        self._first = self._cool_down = cool_down
        self._longest = longest
        self._failed: set[str] = set()
        self._retry_at: float | None = None  # None: closed
        self._trying = False

    def allows(self, now: float) -> bool:
        """Return whether a call may begin."""
        return self._retry_at is None or now >= self._retry_at

    def entered(self, now: float) -> None:
        """Note that a call begins; one that `allows` let through while not closed is the one that tries."""
        if self._retry_at is not None:
            self._trying = True
            self._retry_at = now + self._cool_down

    def record(self, now: float, order_no: str, *, ok: bool) -> None:
        """Note how a call for an order ended: `ok` is a readable answer, also one that refuses."""
        if ok:
            self._failed.clear()
            self._retry_at = None
            self._trying = False
            self._cool_down = self._first
            return
        if self._retry_at is None:
            self._failed.add(order_no)
            if len(self._failed) >= self._opens_after:
                self._retry_at = now + self._cool_down
        elif self._trying:
            self._trying = False
            self._cool_down = min(2 * self._cool_down, self._longest)
            self._retry_at = now + self._cool_down

    def retry_at(self) -> float | None:
        """Return when a call may begin again; None: now, it is closed."""
        return self._retry_at

    def state(self, now: float) -> BreakerState:
        """Return how it stands."""
        if self._retry_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._trying or now >= self._retry_at else BreakerState.OPEN
