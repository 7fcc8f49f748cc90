"""The program as an operator runs it: a process of its own, with settings of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = [sys.executable, "-m", "worker"]
ROOT = Path(__file__).parents[2]


class Cli:
    """Runs the program with settings of its own."""

    def __init__(self, directory: Path, amqp_url: str, prefix: str, dsn: str) -> None:
        self.amqp_url, self.prefix = amqp_url, prefix
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        self.environment |= {"WORKER_AMQP__URL": amqp_url, "WORKER_DATABASE__DSN": dsn, "PYTHONPATH": str(ROOT)}
        self.directory = directory
        self.configure("http://127.0.0.1:1")

    def configure(self, sandbox: str) -> None:
        """Write the settings: one gateway, at a sandbox."""
        (self.directory / "worker.toml").write_text(f"""
[amqp]
prefix = "{self.prefix}"
[ops]
listen = ""
[gateways.wikeyun]
adapter = "wikeyun"
base_url = "{sandbox}/wikeyun"
notify_url = "https://relay.example.com/callbacks/wikeyun"
store_id = "1001"
app_key = "2002"
app_secret = "sandbox-secret"
client_ip = "127.0.0.1"
query_after_seconds = [0.2]
""")

    def start(self, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
        """Start a command, with further environment variables."""
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.directory,
            env={**self.environment, **changes},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, given: str = "", **changes: str) -> tuple[int, list[str], list[str]]:
        """Run a command to its end; return exit code and the lines of both outputs."""
        with self.start(*arguments, **changes) as process:
            out, err = process.communicate(given, timeout=30)
        assert "Traceback" not in err
        return process.returncode, out.splitlines(), err.splitlines()


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """End a process at last, should the test not have done so."""
    with process:
        try:
            yield process
        finally:
            process.kill()
