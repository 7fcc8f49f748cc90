"""`worker check`: whether a worker started now would find all it needs."""

# ruff: noqa: PLC0415 - all that is checked is slow to import, and `worker --help` does not need it

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer

from worker.cli.common import ConfigOption, JsonOption, LevelOption, common
from worker.cli.output import plain, write_json
from worker.core.money import fen_to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.config import Settings
    from worker.gateways.gateway import Gateway

MOST_SKEW = timedelta(seconds=2)
_NO_BALANCE = "not_supported"
_LABELS = {"ok": "ok", "warning": "WARNING", "failed": "FAILED"}


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found; `status` is `ok`, `warning` or `failed`."""

    check: str
    status: str
    detail: str


def check(
    context: typer.Context,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Check settings, database, broker, gateways.

    A line each: `ok`, `WARNING` or `FAILED`; the exit code is 1 if one failed. Gateways are asked for our balance.
    """
    options = common(context, config, log_level)
    settings = options.settings("amqp.url", "database.dsn", "gateways")
    options.log()
    results = asyncio.run(_check(settings))
    if as_json:
        write_json(map(asdict, results))
    else:
        width = max(len(result.check) for result in results)
        for result in results:
            typer.echo(f"{_LABELS[result.status]:<7}  {result.check:<{width}}  {plain(result.detail)}")
    if any(result.status == "failed" for result in results):
        raise typer.Exit(1)


async def _check(settings: "Settings") -> list[Result]:
    from worker.app import build_gateways

    gateways = build_gateways(settings)
    results = [
        Result("configuration", "ok", f"gateways {', '.join(gateways)}; products {', '.join(sorted(settings.routes))}")
    ]
    try:
        groups: Sequence[list[Result]] = await asyncio.gather(
            check_database(settings), check_broker(settings), *map(check_gateway, gateways.values())
        )
    finally:
        for gateway in gateways.values():
            await gateway.close()
    return results + [result for group in groups for result in group]


async def check_database(settings: "Settings") -> list[Result]:
    """Return what there is to say about the database."""
    from worker.ledger.reading import Reader
    from worker.ledger.trouble import describe

    try:
        async with Reader.connect(settings.database.dsn.get_secret_value()) as reader:
            health = await reader.health()
    except Exception as error:
        line = describe(error)
        if line is None:
            raise
        return [Result("database", "failed", line)]
    lossy = [
        name
        for name, value in (("synchronous_commit", health.synchronous_commit), ("fsync", health.fsync))
        if value == "off"
    ]
    skew = health.skew.total_seconds()
    far = abs(health.skew) > MOST_SKEW
    return [
        Result("database", "ok", f"PostgreSQL {health.version}"),
        Result(
            "database.schema", *(("failed", health.schema_problem) if health.schema_problem else ("ok", "up to date"))
        ),
        Result(
            "database.durability",
            "failed" if lossy else "ok",
            f"{' and '.join(lossy)} off: a crash would lose what was committed"
            if lossy
            else f"synchronous_commit {health.synchronous_commit}, fsync {health.fsync}",
        ),
        Result(
            "database.clock",
            "warning" if far else "ok",
            f"{abs(skew):.3f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
            f"{': set both by NTP' if far else ''}",
        ),
    ]


async def check_broker(settings: "Settings") -> list[Result]:
    """Return what there is to say about the broker."""
    from worker.broker.connection import BrokerLostError
    from worker.broker.topology import Topology
    from worker.broker.topology import check as look

    topology = Topology(settings.amqp.prefix)
    try:
        problems = await look(settings.amqp.url.get_secret_value(), topology)
    except BrokerLostError as error:
        return [Result("broker", "failed", str(error))]
    if problems:
        return [Result("broker", "failed", problem) for problem in problems]
    count = f"{len(topology.exchanges)} exchanges, {len(topology.queues)} queues"
    return [Result("broker", "ok", f"{count} below `{topology.prefix}`")]


async def check_gateway(gateway: "Gateway") -> list[Result]:
    """Return a gateway's balance, or why it cannot be had."""
    from worker.gateways.gateway import GatewayUnavailableError

    name = f"gateways.{gateway.name}"
    try:
        balance = await gateway.balance(datetime.now(UTC))
    except GatewayUnavailableError as error:
        status = "ok" if error.code == _NO_BALANCE else "failed"
        return [Result(name, status, str(error))]
    return [Result(name, "ok", f"balance {fen_to_text(balance)} yuan")]
