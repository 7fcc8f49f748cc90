"""The lease: a right that ends, on a clock that goes on while the process does not."""

import time

from worker.gateways.lease import Lease, boottime


def test_boottime_is_the_clock_that_counts_sleep() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_call_must_fit_whole() -> None:
    now = [10.0]
    lease = Lease.lasting(60, lambda: now[0])
    assert lease.deadline == 70
    assert lease.allows(60)
    assert not lease.allows(60.001)
    now[0] = 69.0
    assert lease.allows(1)
    now[0] = 70.5
    assert not lease.allows(0)
