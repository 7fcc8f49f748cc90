"""`worker gateways …`: how the gateways stand for all workers, and pauses by hand."""

# ruff: noqa: PLC0415 - the database's client is slow to import, and `worker --help` does not need it

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import (
    Common,
    ConfigOption,
    JsonOption,
    LevelOption,
    OperatorOption,
    common,
    keep_options,
    operator_name,
)
from worker.cli.database import database
from worker.cli.output import Table, moment, write_json
from worker.core.money import fen_to_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.config import Settings
    from worker.ledger.gateways import GatewayBook, Live, Standing

app = typer.Typer(no_args_is_help=True, help="See, pause and resume gateways.", callback=keep_options)

GatewayArgument = Annotated[str, typer.Argument(metavar="GATEWAY", help="Its name in the settings")]
_LONGEST_NOTE = 200


def _known(settings: "Settings", gateway: str) -> None:
    if gateway not in settings.gateways:
        names = ", ".join(settings.gateways)
        raise typer.BadParameter(f"{gateway} is not configured; expected one of {names}", param_hint="GATEWAY")


@app.command("list")
def list_gateways(
    context: typer.Context,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """List the gateways: pause, breaker, calls in flight, waiting orders, balance; with --json a line of JSON each.

    Breaker and calls are what the workers said in the last ten seconds; the balance is the last that was read.
    """
    options = common(context, config, log_level)
    asyncio.run(_list(options, options.settings("database.dsn", "gateways"), as_json=as_json))


async def _list(options: Common, settings: "Settings", *, as_json: bool) -> None:
    async with _book(options, settings) as book:
        standings, live = await book.standings(settings.gateways), await book.live(settings.gateways)
    if as_json:
        write_json(_view(standing, live[name]) for name, standing in standings.items())
        return
    table = Table(
        "gateway", "state", "breaker", ">workers", ">in flight", ">waiting", ">yuan", "asked", ">hours left", "pause"
    )
    table.write(_row(standing, live[name]) for name, standing in standings.items())


def _view(standing: "Standing", live: "Live") -> dict[str, Any]:
    from worker.ledger.reading import instant

    pause = standing.pause
    hours = standing.hours_left
    return {
        "gateway": standing.gateway,
        "state": "active" if pause is None else "paused",
        "pause": None
        if pause is None
        else {"since": instant(pause.since), "by": pause.by, "note": pause.note, "automatic": pause.automatic},
        "breaker": live.breaker,
        "workers": live.workers,
        "in_flight": live.in_flight,
        "waiting": live.waiting,
        "balance_fen": standing.balance_fen,
        "balance_at": None if standing.balance_at is None else instant(standing.balance_at),
        "hours_left": None if hours is None else round(hours, 1),
    }


def _row(standing: "Standing", live: "Live") -> list[str]:
    pause, hours = standing.pause, standing.hours_left
    why = "" if pause is None else f"since {moment(pause.since, 'seconds')} by {pause.by}: {pause.note}"
    return [
        standing.gateway,
        "active" if pause is None else "paused (automatic)" if pause.automatic else "paused",
        live.breaker or "no worker",
        str(live.workers),
        str(live.in_flight),
        str(live.waiting),
        "" if standing.balance_fen is None else fen_to_text(standing.balance_fen),
        moment(standing.balance_at, "seconds"),
        "" if hours is None else f"{hours:.1f}",
        why.removesuffix(": "),
    ]


@app.command("pause")
def pause_gateway(
    context: typer.Context,
    gateway: GatewayArgument,
    *,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever finds it paused")] = "",
    operator: OperatorOption = None,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Let no worker send orders to a gateway until it is resumed.

    Its orders wait and expire when they must; queries and callbacks go on; calls in flight end. An automatic pause
    becomes one by hand.
    """
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        raise typer.BadParameter("expected at most 200 printable characters", param_hint="--note")
    options = common(context, config, log_level)
    settings = options.settings("database.dsn", "gateways")
    _known(settings, gateway)
    in_flight = asyncio.run(_pause(options, settings, gateway, operator_name(operator), note.strip()))
    typer.echo(f"{gateway}: paused; workers obey within seconds, {in_flight} calls were in flight")


async def _pause(options: Common, settings: "Settings", gateway: str, operator: str, note: str) -> int:
    async with _book(options, settings) as book:
        await book.pause(gateway, operator, note)
        return (await book.live([gateway]))[gateway].in_flight


@app.command("resume")
def resume_gateway(
    context: typer.Context, gateway: GatewayArgument, *, config: ConfigOption = None, log_level: LevelOption = None
) -> None:
    """Let the workers send orders to a gateway again; the orders that wait go out at once."""
    options = common(context, config, log_level)
    settings = options.settings("database.dsn", "gateways")
    _known(settings, gateway)
    lifted, waiting = asyncio.run(_resume(options, settings, gateway))
    typer.echo(f"{gateway}: {lifted}; {waiting} orders wait to be sent")


async def _resume(options: Common, settings: "Settings", gateway: str) -> tuple[str, int]:
    async with _book(options, settings) as book:
        lifted = await book.resume(gateway)
        waiting = (await book.live([gateway]))[gateway].waiting
    if lifted is None:
        return "it was not paused", waiting
    return f"resumed; it was paused since {moment(lifted.since, 'seconds')} by {lifted.by}", waiting


@asynccontextmanager
async def _book(options: Common, settings: "Settings") -> "AsyncIterator[GatewayBook]":
    """Give what the ledger that the settings name knows of gateways.

    Raises:
        FailedError: the database is away, refuses us, or has another schema.
    """
    from worker.ledger.gateways import GatewayBook

    options.log()
    async with database(settings) as pool:
        yield GatewayBook(pool)
