"""The files of `deploy/` as the tools that use them see them, and what the worker itself says of them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from schemas.examples import EXAMPLES
from worker.cli.program import app
from worker.config import Settings, load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DRAIN_SECONDS = 45
"""How much longer than the longest time-out of a gateway a worker may take to end, as deploy/README.md says."""
NEEDS = {"run": ("amqp.url", "database.dsn", "gateways"), "relay": ("amqp.url", "gateways"), "migrate": ()}
"""The settings that each command cannot do without."""
GOODS = {"game": "3312", "douyin": "880"}
"""What the simulated dingyin sells."""


def tool(name: str) -> str:
    """Return the program that the environment holds, else the machine's own."""
    place = Path(sysconfig.get_path("scripts")) / name
    found = str(place) if place.exists() else shutil.which(name)
    assert found, f"{name} is missing: deploy/test makes an environment with it"
    return found


def ask(*command: str) -> str:
    """Run a tool, and return what it prints."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def compose() -> dict[str, Any]:
    """Return compose.yaml as Docker Compose reads it: merged, with long forms and absolute paths."""
    command = (tool("docker-compose"), "--file", str(DEPLOY / "compose.yaml"), "config", "--format", "json")
    read: dict[str, Any] = json.loads(ask(*command))
    return read


def one_of_each_product() -> list[dict[str, Any]]:
    """Return an order of each product, for the gateway that its route says, and of goods that are sold there."""
    by_product = {each["product"]: each | {"gateway": None, "expires_at": None} for each in EXAMPLES["order.submit"]}
    for product, goods in GOODS.items():
        by_product[product]["target"] = by_product[product]["target"] | {"product_id": goods}
    return list(by_product.values())


def kustomized(folder: str) -> list[dict[str, Any]]:
    """Return the objects of a kustomization below deploy/kubernetes."""
    text = ask(tool("kubectl"), "kustomize", str(DEPLOY / "kubernetes" / folder))
    return [each for each in yaml.safe_load_all(text) if each]


def unit(name: str) -> dict[str, list[tuple[str, str]]]:
    """Return the sections of a systemd unit, each with its settings in their order."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if line.startswith("["):
            settings = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            settings.append((key, value))
    return sections


def parse_command(arguments: Sequence[str]) -> typer.Context:
    """Let the worker's command line parse `worker ARGUMENTS…` without running it.

    Raises:
        typer.TyperException: it has no such command or option.
    """
    name, *rest = arguments
    command: Any = typer.main.get_command(app)
    found = command.commands.get(name)
    assert found is not None, f"there is no `worker {name}`"
    context: typer.Context = found.make_context(name, rest)
    return context


def settings_of(
    path: Path, environ: Mapping[str, str], command: str, files: Mapping[str, Path], copy: Path
) -> Settings:
    """Load a settings file as `worker <command>` does, in an environment.

    What the file names below a folder of `files` is looked for in that other folder; `copy` takes the changed text.
    """
    text = path.read_text()
    for folder, other in files.items():
        text = text.replace(f'"{folder}/', f'"{other}/')
    copy.write_text(text)
    return load(copy, environ, required=NEEDS[command])


def named_files(path: Path) -> list[Path]:
    """Return the files that a settings file names as secrets."""
    return [Path(found) for found in re.findall(r'\{\s*file\s*=\s*"([^"]+)"', path.read_text())]


def longest_stop(settings: Settings) -> float:
    """Return how many seconds a worker with these settings may take to end."""
    return max(gateway.timeout_seconds for gateway in settings.gateways.values()) + DRAIN_SECONDS


def instructions() -> Iterator[tuple[str, str]]:
    """Yield the Dockerfile's instructions with their arguments, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE))
    for line in text.splitlines():
        if line.strip():
            name, _, arguments = line.strip().partition(" ")
            yield name, arguments.strip()


def without_worker_variables() -> dict[str, str]:
    """Return the environment without any setting of a worker."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}


def skip_unless_there(name: str, why: str) -> str:
    """Return the machine's own program, or skip the test and say why."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: {why}")
    return found
