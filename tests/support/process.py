"""The worker as a process of its own, which can be killed, stopped, continued and asked to end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from support import launcher
from support.waiting import until

_ROOT = Path(__file__).parents[2]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["uvloop", "worker.app", "worker.cli.program", "worker.config"])

_LOOKING = threading.Lock()
"""To start one looks after all that were started; of two threads that look after one at once, one is told 255."""


class _Process(Protocol):
    """What is common to the processes of the two ways to start one."""

    @property
    def pid(self) -> int | None:
        """Its number."""

    def exit_code(self) -> int | None:
        """Return its exit code, below 0 for a signal; None while it is there."""


class _Spawned:
    """`python -m worker …`, as an operator starts it."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker", *arguments],
                cwd=_ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll()


class _Forked:
    """The same command line in a fork of a process that has imported it already: there at once, and it can be armed."""

    def __init__(self, arguments: list[str], log: Path, ends_at: str | None) -> None:
        self._process = _FORKS.Process(target=launcher.run, args=(arguments, str(log), ends_at), daemon=True)
        with _LOOKING:
            self._process.start()
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        with _LOOKING:
            return self._process.exitcode


class WorkerProcess:
    """`worker run` with a settings file; everything it logs goes to `log`.

    Args:
        config: its settings.
        ops_port: where it answers probes.
        log: a file, appended to.
        ends_at: the point of its code, see `launcher.py`, at which it sends itself a signal.
        spawn: start it as an operator would, which takes a second longer.
        command: another one than `run` that answers probes and ends by a signal.
    """

    def __init__(
        self,
        config: Path,
        ops_port: int,
        log: Path,
        *,
        ends_at: str | None = None,
        spawn: bool = False,
        command: str = "run",
    ) -> None:
        self._port = ops_port
        self.log = log
        log.touch()
        arguments = ["--config", str(config), command]
        self._process: _Process = _Spawned(arguments, log) if spawn else _Forked(arguments, log, ends_at)

    @property
    def running(self) -> bool:
        """Whether it is there, stopped or not."""
        return self._process.exit_code() is None

    def probe(self, path: str) -> int:
        """Return the status that the ops endpoint answers; 0: nobody answers."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()

    def page(self, path: str, accept: str = "*/*") -> tuple[int, str]:
        """Return the status and the text of a page of the ops endpoint.

        Raises:
            OSError, HTTPException: nobody answers.
        """
        connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def await_ready(self, seconds: float = 30) -> Self:
        """Wait until it works."""
        until(lambda: not self.running or self.probe("/readyz") == 200, seconds, self.tail)
        assert self.running, self.tail()
        return self

    def await_end(self, seconds: float = 30) -> int:
        """Wait until it has ended; return its exit code, below 0 for a signal."""
        until(lambda: not self.running, seconds, self.tail)
        code = self._process.exit_code()
        assert code is not None
        return code

    def await_stopped(self, seconds: float = 30) -> None:
        """Wait until it is stopped, as by SIGSTOP."""
        stat = Path(f"/proc/{self._process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", seconds, self.tail)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        if self.running and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.send(signal.SIGKILL)
        self.await_end()

    def terminate(self, seconds: float = 30) -> int:
        """Ask it to end and return its exit code."""
        self.send(signal.SIGTERM)
        return self.await_end(seconds)

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
