"""`worker check`: whether a worker started now would find all it needs, and what to do where it would not."""

# ruff: noqa: PLC0415 - all that is checked is slow to import, and `worker --help` does not need it

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from worker.cli.common import ConfigOption, JsonOption, LevelOption, common
from worker.cli.output import plain, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.finding import Finding

_LABELS = {"ok": "ok", "warning": "WARNING", "failed": "FAILED"}


def check(
    context: typer.Context,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Check settings, database, broker, gateways.

    A line each: `ok`, `WARNING` or `FAILED`, and how to fix it; the exit code is 1 if one failed. Nothing is changed;
    gateways are asked for our balance.
    """
    from worker.ops.doctor import examine

    options = common(context, config, log_level)
    settings = options.settings("amqp.url", "database.dsn", "gateways")
    options.log()
    findings = asyncio.run(examine(settings))
    if as_json:
        write_json(map(asdict, findings))
    else:
        _write(findings)
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(1)


def _write(findings: "Sequence[Finding]") -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        fix = "" if finding.fix is None else f" -> {finding.fix}"
        typer.echo(f"{_LABELS[finding.status]:<7}  {finding.check:<{width}}  {plain(finding.detail + fix)}")
    found = Counter[str](finding.status for finding in findings)
    counts = [f"{found[status]} {label}" for status, label in _LABELS.items() if found[status] and status != "ok"]
    typer.echo(", ".join(counts) or "nothing is wrong", err=True)
