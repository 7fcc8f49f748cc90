"""Settings for the doctor: everything in order, until a test changes something."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from support.house import find

from worker.config import Settings, load
from worker.core.finding import Finding

HOUSES = find()
NOTIFY = "https://relay.shop.cn/callbacks/"
TINY: Mapping[str, Any] = {"adapter": "zjzdy", "base_url": "http://127.0.0.1:1"}
"""A gateway that nobody answers for, and about which there is nothing else to say."""


def gateway(adapter: str, base_url: str, directory: Path, **changes: Any) -> dict[str, Any]:
    """Return what configures a gateway before a simulator that has left its keys in `directory`."""
    house = HOUSES[adapter]
    given = {**house.settings(directory), **house.codes, "adapter": adapter}
    if adapter != "zjzdy":
        given["notify_url"] = f"{NOTIFY}{adapter}"
    return {**given, "base_url": f"{base_url}/{house.simulator}", **changes}


def settings(path: Path, gateways: Mapping[str, Mapping[str, Any]], **sections: Mapping[str, Any]) -> Settings:
    """Read settings from the file `path`, in which all this is written; nobody but its owner may read it."""
    given = {
        "amqp": {"url": "amqp://guest:guest@127.0.0.1:1/"},
        "database": {"dsn": "postgresql://worker@127.0.0.1:1/worker"},
    }
    tables = {name: {**given.get(name, {}), **sections.get(name, {})} for name in {**given, **sections}}
    tables |= {f"gateways.{name}": dict(values) for name, values in gateways.items()}
    path.touch(mode=0o600)
    path.write_text("".join(f"[{name}]\n{_lines(values)}" for name, values in tables.items()), encoding="utf-8")
    return load(path, {})


async def collect(findings: AsyncGenerator[Finding, None]) -> list[Finding]:
    """Return everything that is found."""
    return [finding async for finding in findings]


def trouble(findings: Iterable[Finding]) -> dict[str, str]:
    """Return the status of each check that is not well; each has its fix in one line."""
    bad = [finding for finding in findings if finding.status != "ok"]
    for finding in findings:
        assert (finding.fix is None) == (finding.status == "ok"), finding
        assert "\n" not in f"{finding.detail}{finding.fix}", finding
    assert all(finding.fix for finding in bad)
    return {finding.check: finding.status for finding in bad}


def about(findings: Iterable[Finding], check: str) -> Finding:
    """Return the one finding of a check."""
    (found,) = [finding for finding in findings if finding.check == check]
    return found


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_toml(key)} = {_toml(inner)}' for key, inner in value.items())}}}"
    return orjson.dumps(value).decode()  # of text, numbers, flags and lists, TOML's own form
