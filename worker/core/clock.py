"""The clock that tells how long something took: it cannot be set, and goes on while the machine sleeps."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Return seconds on a clock that never jumps and goes on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)
