"""Whether the event loop turns: measured from inside, watched from a thread of its own.

A loop that is stuck can answer no probe, so nobody hears from it what is wrong. The thread says where it is stuck, and
ends the process when that lasts: its orders are then others', as after any crash.
"""

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

import structlog

log = structlog.get_logger("worker.ops")

BEAT_SECONDS = 0.5
TOLD_AFTER_SECONDS = 5.0
STUCK_SECONDS = 60.0
EXIT_CODE = 1
_MOST_FRAMES = 12


class Heartbeat:
    """Beats from `start` to `stop`.

    The thread counts its own ticks without a beat, not time: a process that was stopped, or a machine that slept, is
    not stuck when it wakes.

    Args:
        observe: told how late each beat came, in seconds.
        told_after: seconds without a beat until the log says where the loop is.
        stuck_after: seconds without a beat until the process is ended, with `EXIT_CODE`.
    """

    def __init__(
        self,
        observe: Callable[[float], None],
        *,
        told_after: float = TOLD_AFTER_SECONDS,
        stuck_after: float = STUCK_SECONDS,
    ) -> None:
        self._observe = observe
        self._told_after = told_after
        self._stuck_after = stuck_after
        self._beats = 0
        self._last = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._over = threading.Event()

    @property
    def silence(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._last

    @property
    def alive(self) -> bool:
        """Whether it beats: it may have been late, but it came."""
        return self._task is not None and not self._task.done() and self.silence < self._told_after

    def start(self) -> None:
        """Begin; needs the running loop that is to be watched."""
        self._last = time.monotonic()
        self._task = asyncio.create_task(self._beat(), name="heartbeat")
        thread = threading.get_ident()
        threading.Thread(target=self._watch, args=(thread,), name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """End; nobody is watched any more."""
        self._over.set()
        if self._task is not None:
            self._task.cancel()

    async def _beat(self) -> None:
        while True:
            due = time.monotonic() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self._last = time.monotonic()
            self._beats += 1
            self._observe(max(0.0, self._last - due))

    def _watch(self, thread: int) -> None:
        seen, silent, told = self._beats, 0.0, False
        while not self._over.wait(BEAT_SECONDS):
            if self._beats != seen:
                if told:
                    log.warning("loop_turns_again", seconds=silent)
                seen, silent, told = self._beats, 0.0, False
                continue
            silent += BEAT_SECONDS
            if silent >= self._told_after and not told:
                told = True
                log.error("loop_stuck", seconds=silent, where=_place(thread))
            if silent >= self._stuck_after:
                log.critical("process_ended", seconds=silent, what="the event loop is stuck", where=_place(thread))
                sys.stdout.flush()
                os._exit(EXIT_CODE)  # nothing gentler can be had from a loop that does not turn


def _place(thread: int) -> str:
    """Return where a thread is, innermost last, as `file:line`."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the only way to see another thread
    frames = traceback.extract_stack(frame)[-_MOST_FRAMES:] if frame is not None else []
    return " > ".join(f"{os.path.basename(each.filename)}:{each.lineno}" for each in frames[-4:])  # noqa: PTH119 - text
