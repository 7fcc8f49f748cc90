"""Waiting for something to become true, with a failure that says what it was."""

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], seconds: float, say: Callable[[], str] = lambda: "not in time") -> None:
    """Wait until `condition` is true; fail with `say()` when it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, say()
        time.sleep(0.03)
