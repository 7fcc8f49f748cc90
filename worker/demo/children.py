"""The processes that the demo starts: a worker, a relay and the sandbox, guarded so that none outlives the demo."""

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


class RelayProcess(Service):
    """`python -m worker relay` with a worker's settings file; it counts as started when it is ready.

    Args:
        directory: below it everything is kept.
        settings: the file, with the `[relay]` that it listens on.
    """

    name = "relay"

    def __init__(self, directory: Path, settings: Path) -> None:
        super().__init__(directory)
        self._settings = settings

    @property
    def url(self) -> str:
        """Where its ops endpoint answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it is ready."""
        settings = {"WORKER_CONFIG": str(self._settings), "WORKER_OPS__LISTEN": f"127.0.0.1:{self.port}"}
        self._launch([sys.executable, "-m", "worker", "relay"], _answers("/readyz"), _environment() | settings)


class SandboxProcess(Service):
    """`python -m worker sandbox` with these options: the simulated gateways."""

    name = "sandbox"

    def __init__(self, directory: Path, options: Mapping[str, Any]) -> None:
        super().__init__(directory)
        given = {**options, "port": self.port}.items()
        self._options = [option for name, value in given for option in _options(name, value)]

    @property
    def url(self) -> str:
        """Where the simulators and their ledger are."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it answers."""
        command = [sys.executable, "-m", "worker", "sandbox", *self._options]
        self._launch(command, _answers("/ledger/totals"), _environment())


def _options(name: str, value: Any) -> list[str]:
    """Return an option of the command line; a list is one that is given several times."""
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    return [f"--{dashed}={each}" for each in (value if isinstance(value, list) else [value])]


def as_toml(tables: Tables) -> str:
    """Return tables of texts, numbers, flags, lists and tables as TOML; values are written as in JSON."""
    return "\n".join(line for name, table in tables.items() for line in _lines(name, table))


def _lines(name: str, table: Mapping[str, Any]) -> list[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items() if key not in inner), ""]
    for key, value in inner.items():
        lines += _lines(f"{name}.{json.dumps(key)}", value)
    return lines


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
