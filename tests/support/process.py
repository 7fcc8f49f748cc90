"""The worker as a process of its own, which can be killed, stopped, continued and asked to end."""

import os
import signal
import subprocess
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from support.waiting import until

_ROOT = Path(__file__).parents[2]
_LAUNCHER = Path(__file__).with_name("launcher.py")


class WorkerProcess:
    """`worker run` with a settings file; everything it logs goes to `log`.

    `ends_at`: the point of the code, see `launcher.py`, at which it sends itself a signal.
    """

    def __init__(self, config: Path, ops_port: int, log: Path, ends_at: str | None = None) -> None:
        self._port = ops_port
        self.log = log
        command = [sys.executable, "-m", "worker"] if ends_at is None else [sys.executable, str(_LAUNCHER), ends_at]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [*command, "--config", str(config), "run"],
                cwd=_ROOT,
                env=environ | {"PYTHONPATH": str(_ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )

    @property
    def running(self) -> bool:
        """Whether it is there, stopped or not."""
        return self._process.poll() is None

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

    def await_ready(self, seconds: float = 30) -> Self:
        """Wait until it works."""
        until(lambda: not self.running or self.probe("/readyz") == 200, seconds, self.tail)
        assert self.running, self.tail()
        return self

    def await_end(self, seconds: float = 30) -> int:
        """Wait until it has ended; return its exit code, below 0 for a signal."""
        until(lambda: not self.running, seconds, self.tail)
        return self._process.wait()

    def await_stopped(self, seconds: float = 30) -> None:
        """Wait until it is stopped, as by SIGSTOP."""
        stat = Path(f"/proc/{self._process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", seconds, self.tail)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait()

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
