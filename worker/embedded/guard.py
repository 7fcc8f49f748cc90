"""Runs one service so that it never outlives whoever started it: `python guard.py '<plan as JSON>'`.

The starter holds the other end of standard input. A byte on it is a signal number for the service; its end means that
the starter is gone, however it died: then the service is ended and its directory removed. The guard adopts every
process that its service leaves behind (Erlang's port mapper detaches itself), so nothing has to be found by name.

It is a script of its own with nothing but the standard library, so that it costs little time and memory. Linux only.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

_SET_DEATH_SIGNAL = 1  # prctl(2): PR_SET_PDEATHSIG
_SET_CHILD_SUBREAPER = 36  # prctl(2): PR_SET_CHILD_SUBREAPER
_PATIENCE = 5.0  # seconds that the end may take before it is forced


class Plan(TypedDict):
    """What to run, and what to do when the starter is gone."""

    command: list[str]
    owner: tuple[int, int] | None  # (uid, gid) to run as
    end_signal: int  # ends the service at once
    directory: str  # removed
    parent: str  # removed too, once it is empty
    cleanup: list[str]  # a command to run, or nothing


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _children() -> Iterator[int]:
    """Yield the pids of our children; /proc/self/task/*/children is not in every kernel."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                yield int(stat.parent.name)


def _kill_the_rest() -> None:
    """Kill our children, and theirs as they are handed to us, until none is left."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _serve(child: subprocess.Popen[bytes], plan: Plan) -> bool:
    """Pass signals on until the service ends; return whether our starter has gone."""
    starter = sys.stdin.fileno()
    ended = os.pidfd_open(child.pid)
    while True:
        ready, _, _ = select.select([starter, ended], [], [])
        if ended in ready:
            return False
        order = os.read(starter, 1)
        if not order:
            child.send_signal(plan["end_signal"])
            select.select([ended], [], [], _PATIENCE)
            return True
        child.send_signal(order[0])


def main() -> int:
    """Run the plan in the first argument; return the service's exit code."""
    plan: Plan = json.loads(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a handler, since ignoring would be inherited
        signal.signal(number, lambda *_: None)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    uid, gid = plan["owner"] or (None, None)
    child = subprocess.Popen(  # noqa: S603 - our starter's command
        plan["command"],
        stdin=subprocess.DEVNULL,
        user=uid,
        group=gid,
        extra_groups=None if uid is None else [],
        start_new_session=True,
        preexec_fn=lambda: _prctl(_SET_DEATH_SIGNAL, plan["end_signal"]),  # noqa: PLW1509 - there are no threads here
    )
    orphaned = _serve(child, plan)
    if orphaned:
        child.poll()  # before the rest is reaped, so that its exit code is ours
    code = child.wait() if not orphaned else child.returncode
    _kill_the_rest()
    if orphaned:
        if plan["cleanup"]:
            subprocess.run(plan["cleanup"], check=False)  # noqa: S603 - our starter's command
        shutil.rmtree(plan["directory"], ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(plan["parent"]).rmdir()
    return code if code is not None and code >= 0 else 128 - (code or -signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
