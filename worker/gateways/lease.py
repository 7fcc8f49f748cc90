"""How long a worker may still begin the call that it has committed to.

A worker can be stopped (SIGSTOP, a suspended machine, a long pause) after it has committed
`submitting` and before the bytes leave. By the time it goes on, others may have settled the order
and sent it again. So whoever sends looks at the lease last of all, on a clock that did not stop.
"""

from collections.abc import Callable
from dataclasses import dataclass

from worker.core.clock import boottime

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make one call until `deadline`, in seconds on `clock`.

    Take it before the transaction that grants it begins, so that it never ends later than the one
    in the database.
    """

    deadline: float
    clock: Clock = boottime

    @classmethod
    def lasting(cls, seconds: float, clock: Clock = boottime) -> "Lease":
        """Return a lease that ends `seconds` from now."""
        return cls(clock() + seconds, clock)

    def allows(self, seconds: float) -> bool:
        """Return whether a call that takes `seconds`, begun now, ends within the lease."""
        return self.clock() + seconds <= self.deadline
