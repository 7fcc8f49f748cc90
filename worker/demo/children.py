"""The processes that the demo starts: a worker and the sandbox, guarded so that neither outlives the demo."""

import http.client
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import worker
from worker.embedded import Service
from worker.embedded.probe import Probe

_HTTP_OK = 200
_PROBE_SECONDS = 2.0

Tables = Mapping[str, Mapping[str, Any]]


class WorkerProcess(Service):
    """`python -m worker run` with a settings file of its own; it counts as started when it is ready.

    Args:
        directory: below it everything is kept.
        tables: the settings by section, `gateways.<name>` included; the ops endpoint is added.
    """

    name = "worker"

    def __init__(self, directory: Path, tables: Tables) -> None:
        super().__init__(directory)
        self.settings = self.directory / "worker.toml"
        self.settings.write_text(as_toml({**tables, "ops": {"listen": f"127.0.0.1:{self.port}"}}), encoding="utf-8")

    @property
    def url(self) -> str:
        """Where its ops endpoint answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it is ready."""
        environment = _environment() | {"WORKER_CONFIG": str(self.settings)}
        self._launch([sys.executable, "-m", "worker", "run"], _answers("/readyz"), environment)


class SandboxProcess(Service):
    """`python -m worker sandbox` with these options: the simulated gateways."""

    name = "sandbox"

    def __init__(self, directory: Path, options: Mapping[str, Any]) -> None:
        super().__init__(directory)
        self._options = [_option(name, value) for name, value in {**options, "port": self.port}.items()]

    @property
    def url(self) -> str:
        """Where the simulators and their ledger are."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it answers."""
        command = [sys.executable, "-m", "worker", "sandbox", *self._options]
        self._launch(command, _answers("/ledger/totals"), _environment())


def _option(name: str, value: Any) -> str:
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{dashed}" if value else f"--no-{dashed}"
    return f"--{dashed}={value}"


def as_toml(tables: Tables) -> str:
    """Return tables of texts, numbers, flags and lists as TOML, of which JSON's way to write those is a part."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )


def _environment() -> dict[str, str]:
    """Return ours, so that the very same code runs, without any setting of a real worker."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("WORKER_")}
    root = str(Path(worker.__file__).parent.parent)
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH")))), "PYTHONUNBUFFERED": "1"}


def _answers(path: str) -> Probe:
    def probe(port: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == _HTTP_OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return probe
