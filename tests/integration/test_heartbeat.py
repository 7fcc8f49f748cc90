"""A loop that is stuck is told, and ends its process; a process that was stopped is not."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys, time
from worker.ops.heartbeat import Heartbeat
from worker.ops.logging import configure

async def main(blocked, then):
    lags = []
    heart = Heartbeat(lags.append, told_after=1.0, stuck_after=3.0)
    heart.start()
    await asyncio.sleep(0.8)
    assert heart.alive and lags
    print("beats", flush=True)
    time.sleep(blocked)
    late = heart.alive
    await asyncio.sleep(then)
    print("late", late, max(lags) > 1, heart.alive, flush=True)
    heart.stop()

configure("info", sys.stdout)
asyncio.run(main(float(sys.argv[1]), float(sys.argv[2])))
"""


@contextmanager
def beating(blocked: float, then: float, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a loop that blocks for some seconds, and then turns for some."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(blocked), str(then)], cwd=ROOT, stdout=sink, stderr=sink
        )
    try:
        until(lambda: "beats" in log.read_text() or process.poll() is not None, 20, log.read_text)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_loop_that_stays_stuck_ends_the_process(tmp_path: Path) -> None:
    """With exit code 1, long before it would have come back, and with the place in the log."""
    log = tmp_path / "log"
    with beating(60, 1, log) as process:
        assert process.wait(20) == 1, log.read_text()
    said = log.read_text()
    assert '"event":"loop_stuck"' in said
    assert '"event":"process_ended"' in said
    assert f"<string>:{PROGRAM.splitlines().index('    time.sleep(blocked)') + 1}" in said  # where it is


def test_a_loop_that_was_stuck_for_a_moment_goes_on(tmp_path: Path) -> None:
    """It is not alive until its next beat, and then it is."""
    log = tmp_path / "log"
    with beating(2, 1, log) as process:
        assert process.wait(20) == 0, log.read_text()
    said = log.read_text()
    assert "late False True True" in said
    assert '"event":"loop_stuck"' in said
    assert '"event":"loop_turns_again"' in said


def test_a_process_that_was_stopped_is_not_stuck(tmp_path: Path) -> None:
    """Longer than a loop may be stuck, since nobody turns in a stopped process, the watcher included."""
    log = tmp_path / "log"
    with beating(0, 2, log) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        process.send_signal(signal.SIGCONT)
        assert process.wait(20) == 0, log.read_text()
    assert '"event":"process_ended"' not in log.read_text()
