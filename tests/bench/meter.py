"""CPU of processes, with what they have started: read before and after, and subtracted."""

import contextlib
from collections.abc import Mapping

import psutil


class Meter:
    """CPU seconds of some process trees, by name."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = roots
        self._before = self._read()

    def restart(self) -> None:
        """Count from now on."""
        self._before = self._read()

    def read(self) -> dict[str, float]:
        """Return the CPU seconds since the start."""
        return {name: used - self._before[name] for name, used in self._read().items()}

    def _read(self) -> dict[str, float]:
        return {name: _used(pid) for name, pid in self._roots.items()}


def _used(pid: int) -> float:
    """Return what a process and its descendants have used; children that have ended count with their parent."""
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
