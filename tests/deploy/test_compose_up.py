"""compose.yaml in a container engine, by the one command of deploy/README.md: `pytest -m long tests/deploy`."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from support.deployment import DEPLOY, ROOT, one_of_each_product, skip_unless_there
from support.waiting import until
from support.wire import Producer

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]  # the first time, the images are fetched

PROJECT = "order-worker-test"
ROUNDS = 20
"""So many orders there are of each product."""
KILL = "import os, signal; os.kill(-1, signal.SIGKILL)"
"""Ends everything in a container but its first process, which ends with it."""


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Docker's client to its end."""
    client = skip_unless_there("docker", "compose.yaml is not tried in containers")
    return subprocess.run([client, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def orders() -> list[dict[str, Any]]:
    """Return orders of every product; each campus user wants one package, as nobody pays twice for the same."""
    made = [
        each | {"order_no": f"UP-{each['product']}-{number}", "target": each["target"].copy()}
        for number in range(ROUNDS)
        for each in one_of_each_product()
    ]
    for number, each in enumerate(each for each in made if each["product"] == "campus"):
        each["target"]["user_id"] = f"101{number:02}80"
    return made


class System:
    """The running containers."""

    def compose(self, *arguments: str) -> str:
        """Return what a command of Docker Compose prints."""
        done = docker("compose", "--file", str(DEPLOY / "compose.yaml"), "--project-name", PROJECT, *arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout

    def worker(self, *arguments: str) -> str:
        """Return what a command of the worker prints, as deploy/README.md says to run it."""
        return self.compose("run", "--rm", "--no-deps", "--no-TTY", "worker", *arguments)

    def state(self, service: str) -> list[dict[str, Any]]:
        """Return what the engine knows of a service's containers, one that has ended too."""
        found: list[dict[str, Any]] = json.loads(
            docker("inspect", *self.compose("ps", "--all", "--quiet", service).split()).stdout
        )
        return found


def answer(url: str) -> Any:
    """Return the JSON that a published port of this machine answers with."""
    with urlopen(f"http://127.0.0.1:{url}", timeout=10) as got:
        return json.load(got)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    if docker("info").returncode or docker("compose", "version").returncode:
        pytest.skip("no container engine here: `docker info` and `docker compose version` must both answer")
    it = System()
    try:
        it.compose("up", "--detach", "--wait")
        yield it
    finally:
        it.compose("down", "--volumes", "--timeout", "5")


@pytest.mark.parametrize("service", ["worker", "relay", "sandbox"])
def test_a_container_is_nobody_and_writes_nothing(system: System, service: str) -> None:
    assert system.compose("exec", "--no-TTY", service, "id", "--user").strip() == "65532"
    with pytest.raises(AssertionError, match="Read-only file system"):
        system.compose("exec", "--no-TTY", service, "touch", "/opt/worker/here")


def test_the_doctor_finds_nothing_broken(system: System) -> None:
    found = [json.loads(line) for line in system.worker("check", "--json").splitlines()]
    assert {each["status"] for each in found} <= {"ok", "warning"}, found


def test_prometheus_reads_every_process_and_knows_the_rules(system: System) -> None:
    def targets() -> list[tuple[str, str]]:
        found = answer("9090/api/v1/targets")["data"]["activeTargets"]
        return sorted((each["labels"]["job"], each["health"]) for each in found)

    wanted = [("rabbitmq", "up"), ("relay", "up"), ("worker", "up"), ("worker", "up")]
    until(lambda: targets() == wanted, 60, lambda: str(targets()))

    def rules() -> set[str]:
        groups = answer("9090/api/v1/rules")["data"]["groups"]
        return {f"{each['name']} {each['health']}" for group in groups for each in group["rules"]}

    until(lambda: rules() and all(each.endswith(" ok") for each in rules()), 60, lambda: str(rules()))


def test_every_order_is_charged_once_whatever_dies(system: System) -> None:
    url = "amqp://worker:worker@127.0.0.1:5672/"
    wanted = orders()
    half = len(wanted) // 2
    with Producer(url, "orders") as producer:
        producer.submit(*wanted[:half])
        docker("exec", system.state("worker")[0]["Id"], "python", "-c", KILL)
        system.compose("restart", "--timeout", "5", "rabbitmq")
        system.compose("up", "--detach", "--wait")  # until all are healthy again
        producer.reconnect()
        producer.submit(*wanted[half:])
        system.compose("restart", "--timeout", "5", "postgres")

        def succeeded() -> int:
            producer.look()
            return len({each.body["order_no"] for each in producer.seen if each.body["event"] == "order.succeeded"})

        until(lambda: succeeded() == len(wanted), 120, lambda: system.worker("orders", "list", "--limit", "0"))
        assert producer.dead == []
    assert {each["RestartCount"] for each in system.state("worker")} == {0, 1}
    totals = answer("9180/ledger/totals")
    assert totals["charged_orders"] == totals["charges"] == len(wanted)
    assert totals["charged_more_than_once"] == []
    system.worker("reconcile", "--since", "1h")  # exit code 1 if anything differs


def test_a_stop_is_in_peace(system: System) -> None:
    """The last: `worker` and `relay` are not started again."""
    system.compose("stop", "worker", "relay")
    ended = {(name, each["State"]["ExitCode"]) for name in ("worker", "relay") for each in system.state(name)}
    assert ended == {("worker", 0), ("relay", 0)}
    assert "wikeyun" in system.worker("gateways", "list"), "commands run without them"
