"""What the embedded services share: a guarded process in a directory of its own, on a loopback port."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from worker.embedded import guard
from worker.embedded.probe import Probe

_PORTS = range(15_000, 30_000)
_POLL_SECONDS = 0.01
_TAIL_LINES = 25


class ServiceError(RuntimeError):
    """A service could not be found, installed, started or asked; the text says what to do."""


def free_ports(count: int) -> list[int]:
    """Return `count` different loopback ports that nobody listens on now.

    They lie below those that systems give to outgoing connections: between this look and the service's own start,
    any connection of anybody could take one of those.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = _PORTS[secrets.randbelow(len(_PORTS))]
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def reachable_by_all(path: Path) -> bool:
    """Return whether any user can pass through every directory above `path`."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def temporary_directory() -> Path:
    """Make a short-named directory that another user can pass through when we are root, whatever TMPDIR says."""
    places = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - mkdtemp makes it ours
    root = os.geteuid() == 0
    usable = (place for place in places if not root or reachable_by_all(place / "x"))
    made = Path(tempfile.mkdtemp(prefix="order-worker-", dir=next(usable, places[0])))
    made.chmod(0o711 if root else 0o700)
    return made


class Service(ABC):
    """A server that lives in `directory` and on `port`; it may be started again after it was stopped or killed.

    Attributes:
        port: the loopback port, chosen once, so that a restarted service is found again.
        log: what the server printed.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM  # an orderly stop
    end_signal: ClassVar[signal.Signals] = signal.SIGKILL  # an immediate one
    start_seconds: ClassVar[float] = 60.0
    stop_seconds: ClassVar[float] = 30.0

    def __init__(self, directory: Path | None = None) -> None:
        self._parent = directory or temporary_directory()
        self._owns_parent = directory is None
        self.directory = self._parent / self.name
        self.directory.mkdir()
        if os.geteuid() == 0:
            self.directory.chmod(0o711)
        (self.port,) = free_ports(1)
        self.log = self.directory / "log"
        self.cleanup: list[str] = []  # a command that removes what is not in the directory
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where a client connects."""

    @abstractmethod
    def start(self) -> None:
        """Start, on the same port and data as before; return when clients are let in."""

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def pid(self) -> int:
        """The process above all of the service's processes (their CPU is its descendants')."""
        if self._guard is None:
            raise ServiceError(f"{self.name} is not running")
        return self._guard.pid

    def stop(self) -> None:
        """Stop in an orderly way; the data stay."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End with SIGKILL, as a crash does; the data stay as they are."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in an orderly way and start again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End without ceremony and remove every trace."""
        self._end(self.end_signal)
        if self.cleanup:
            subprocess.run(self.cleanup, check=False, capture_output=True)  # noqa: S603 - our own command
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._owns_parent:
            shutil.rmtree(self._parent, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _launch(
        self, command: list[str], probe: Probe, env: dict[str, str], owner: tuple[int, int] | None = None
    ) -> None:
        """Run `command` under a guard and wait until `probe` says that it answers."""
        if self.running:
            return
        self._end(self.end_signal)  # a guard whose service ended by itself is let go
        plan: guard.Plan = {
            "command": command,
            "owner": owner,
            "end_signal": self.end_signal,
            "directory": str(self.directory),
            "parent": str(self._parent),
            "cleanup": self.cleanup,
        }
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(  # noqa: S603 - our own guard
                [sys.executable, "-I", "-S", guard.__file__, json.dumps(plan)],
                stdin=subprocess.PIPE,
                bufsize=0,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=env,
                start_new_session=True,
            )
        deadline = time.monotonic() + self.start_seconds
        while not probe(self.port):
            if self._guard.poll() is not None:
                raise ServiceError(f"{self.name} ended with {self._guard.returncode} while starting\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"{self.name} takes no clients after {self.start_seconds:.0f} s\n{self.tail()}")
            time.sleep(_POLL_SECONDS)

    def _end(self, number: signal.Signals) -> None:
        guarded, self._guard = self._guard, None
        if guarded is None or guarded.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            guarded.stdin.write(bytes([number]))
        try:
            guarded.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(BrokenPipeError):
                guarded.stdin.write(bytes([signal.SIGKILL]))
            guarded.wait(self.stop_seconds)
        finally:
            guarded.stdin.close()

    def tail(self) -> str:
        """Return the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-_TAIL_LINES:])
