"""The system of compose.yaml without containers: its commands and its settings, on this machine's loopback."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.deployment import DEPLOY, ROOT, compose, one_of_each_product, without_worker_variables
from support.waiting import until
from support.wire import Producer

from worker.embedded.service import free_ports

pytestmark = pytest.mark.timeout(180)

SETTINGS = DEPLOY / "compose" / "worker.toml"
STATE = "/var/lib/worker"


class House:
    """The containers as processes: every service gets ports of its own on loopback, and the broker's prefix."""

    def __init__(self, directory: Path, amqp_url: str, dsn: str, prefix: str) -> None:
        self._directory = directory
        self._services = compose()["services"]
        self._numbers = itertools.count(1)
        self._sandbox, self._relay = free_ports(2)
        text = SETTINGS.read_text()
        for old, new in {
            "amqp://worker:worker@rabbitmq:5672/": amqp_url,
            "postgresql://worker:worker@postgres:5432/worker": dsn,
            "sandbox:9180": f"127.0.0.1:{self._sandbox}",
            "relay:8080": f"127.0.0.1:{self._relay}",
            STATE: str(directory),
        }.items():
            assert old in text
            text = text.replace(old, new)
        self._settings = directory / "worker.toml"
        self._settings.write_text(text)
        self._environment = without_worker_variables() | {
            "WORKER_CONFIG": str(self._settings),
            "WORKER_AMQP__PREFIX": prefix,
        }

    def command(self, name: str) -> list[str]:
        """The command of a service, with this machine's address and folder in it."""
        given = [part.replace(STATE, str(self._directory)) for part in self._services[name]["command"]]
        if name == "sandbox":
            # no faults: the examples' account numbers are anybody's
            given = [
                *(part for part in given if not part.startswith("--host")),
                f"--port={self._sandbox}",
                "--no-endings",
            ]
        return given

    def environment(self, name: str, ops: int) -> dict[str, str]:
        """The environment of a service, with loopback addresses in it."""
        own = {
            "WORKER_OPS__LISTEN": f"127.0.0.1:{ops}",
            "WORKER_RELAY__LISTEN": f"127.0.0.1:{self._relay}",
        }
        given = self._services[name]["environment"]
        assert set(given) <= set(own)
        return self._environment | {key: own[key] for key in given}

    def run(self, *arguments: str) -> str:
        """Run a command to its end, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def logs(self) -> str:
        """The ends of the services' logs."""
        return "\n".join(f"{path.name}\n{path.read_text()[-3000:]}" for path in sorted(self._directory.glob("*.log")))

    @contextlib.contextmanager
    def up(self, name: str) -> Iterator[Callable[[], int]]:
        """Start a service and wait until its healthcheck says so; gives what ends it, and returns its exit code."""
        (ops,) = free_ports(1)
        log = self._directory / f"{name}-{next(self._numbers)}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", *self.command(name)],
                cwd=ROOT,
                env=self.environment(name, ops),
                stdout=sink,
                stderr=sink,
            )

        def stop() -> int:
            process.send_signal(signal.SIGTERM)
            return process.wait(60)

        try:
            until(lambda: process.poll() is not None or self._healthy(name, ops), 40, log.read_text)
            assert process.poll() is None, log.read_text()
            yield stop
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()

    def _healthy(self, name: str, ops: int) -> bool:
        kind, program, *arguments = self._services[name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        asked = [part.replace(":9108/", f":{ops}/").replace(":9180/", f":{self._sandbox}/") for part in arguments]
        return subprocess.run([sys.executable, *asked], capture_output=True, check=False).returncode == 0


@pytest.fixture
def house(tmp_path: Path, amqp_url: str, amqp_prefix: str, database_dsn: str) -> House:
    return House(tmp_path, amqp_url, database_dsn, amqp_prefix)


def test_an_order_of_every_product_succeeds(house: House, amqp_url: str, amqp_prefix: str, tmp_path: Path) -> None:
    orders = one_of_each_product()
    assert len(orders) == 7
    lines = tmp_path / "orders.jsonl"
    lines.write_text("".join(json.dumps(each) + "\n" for each in orders))
    with contextlib.ExitStack() as stack:
        stack.enter_context(house.up("sandbox"))
        house.run(*house.command("migrate"))
        producer = stack.enter_context(Producer(amqp_url, amqp_prefix))
        ends = [stack.enter_context(house.up(name)) for name in ("relay", "worker")]
        house.run("submit", str(lines))

        def ended() -> bool:
            producer.look()
            return sum(message.body["event"] == "order.succeeded" for message in producer.seen) == len(orders)

        until(ended, 60, house.logs)
        listed = [json.loads(line) for line in house.run("orders", "list", "--json").splitlines()]
        assert {each["state"] for each in listed} == {"succeeded"}
        assert {each["gateway"] for each in listed} == {"wikeyun", "dingyin", "campus", "ebike"}
        assert [end() for end in ends] == [0, 0]
