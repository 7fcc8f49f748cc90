"""`worker reconcile`: whether gateways and ledger agree about a period, to the fen."""

# ruff: noqa: PLC0415 - gateways and the database's client are slow to import, and `worker --help` does not need them

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from worker.cli.common import (
    ConfigOption,
    FailedError,
    LevelOption,
    common,
    parse_moment,
    stop_on_signal,
)
from worker.cli.database import expect_schema

if TYPE_CHECKING:
    from worker.cli.reconciliation import Result
    from worker.config import Settings
    from worker.flows.reconcile import Progress, Reconciler
    from worker.ledger.gateways import GatewayBook
    from worker.ledger.reconciliations import ReconciliationBook, Run

Format = Literal["table", "csv", "json"]

_MOMENT_HELP = "RFC 3339 with an offset, a date (UTC), or how long ago: 15m, 2h, 7d"
_POOL = 3
_LATE = timedelta(seconds=1)  # a step that is just being committed is dated by its beginning
_LONGEST_AHEAD = timedelta(minutes=1)


def reconcile(
    context: typer.Context,
    *,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment, metavar="WHEN", help=f"Settled since then; default: yesterday (UTC). {_MOMENT_HELP}"
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_moment,
            metavar="WHEN",
            help="Settled before then; default: now, and without --since today",
        ),
    ] = None,
    gateway: Annotated[str | None, typer.Option(metavar="NAME", help="Only this gateway; default: all")] = None,
    output_format: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="table, csv (a line a difference) or json")
    ] = "table",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report there")] = None,
    topped_up: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=YUAN", help="What we paid in at a gateway in the period; may be given several times"
        ),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Hand the answers that differ to the machine: refunds, reviews, events")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask about everything again, also where an earlier run was interrupted")
    ] = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Compare a period with the gateways, to the fen.

    Each order that was settled in it is asked about, and balances are compared with what the orders took. The exit code
    is 1 if anything differs. Nothing is changed without --apply. A run that was interrupted goes on where it was.
    """
    begin, end = period(since, until, datetime.now(UTC))
    options = common(context, config, log_level)
    settings = options.settings("database.dsn", "gateways")
    if gateway is not None and gateway not in settings.gateways:
        raise typer.BadParameter(
            f"expected one of {', '.join(settings.gateways)} (from the settings)", param_hint="--gateway"
        )
    paid_in = parse_top_ups(topped_up or [], settings)
    options.log()
    result = asyncio.run(_reconcile(settings, (begin, end, gateway), paid_in, apply=apply, fresh=fresh))
    with _standard_output(output):
        result.write(output_format)
    if output_format != "table" or output is not None:
        typer.echo(result.verdict(), err=True)
    if not result.closes:
        raise typer.Exit(1)


def period(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """Return the period that two options mean: neither is yesterday, in UTC.

    Raises:
        typer.BadParameter: it has not passed yet, or is none.
    """
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if since is None:
        until = until or today
        since = until - timedelta(days=1)
    until = until or now
    if until > now:
        raise typer.BadParameter("expected a time that has passed", param_hint="--until")
    if since >= until:
        told = f"expected a time before the period's end, {until.isoformat(' ', 'seconds')}"
        raise typer.BadParameter(told, param_hint="--since")
    return since, until


def parse_top_ups(given: list[str], settings: "Settings") -> dict[str, int]:
    """Return what was paid in, in fen, by gateway.

    Raises:
        typer.BadParameter: an option is not a configured gateway and an amount.
    """
    from worker.core.money import yuan_to_fen

    paid_in: dict[str, int] = {}
    for text in given:
        name, _, yuan = text.partition("=")
        try:
            fen = yuan_to_fen(yuan)
        except ValueError:
            fen = None
        if fen is None or name not in settings.gateways:
            raise typer.BadParameter(
                f"{text}: expected NAME=YUAN, with a gateway of the settings and an amount such as 5000.00",
                param_hint="--topped-up",
            )
        paid_in[name] = paid_in.get(name, 0) + fen
    return paid_in


async def _reconcile(
    settings: "Settings",
    wanted: tuple[datetime, datetime, str | None],
    paid_in: dict[str, int],
    *,
    apply: bool,
    fresh: bool,
) -> "Result":
    from worker.ledger.trouble import describe

    stop = stop_on_signal()
    try:
        async with _workshop(settings, apply=apply) as shop:
            await _await_end(shop.book, wanted[1])
            run = await shop.book.fill(await shop.book.begin(*wanted, fresh=fresh))
            if run.resumed:
                if apply:
                    await shop.book.reopen(run)
                typer.echo(f"going on with the run that began at {run.started_at.isoformat(' ', 'seconds')}", err=True)
            await _work(shop, run, stop)
            result = None if stop.is_set() else await _result(shop, run, paid_in, list(settings.gateways))
    except FailedError:
        raise
    except Exception as error:
        inner = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        line = describe(inner)
        if line is None:
            raise
        raise FailedError(f"database: {line}", "run the same command again: it goes on where it was") from None
    if result is None:
        raise FailedError("interrupted; to go on where it was, run:", f"  {_command(run, apply=apply)}")
    return result


async def _await_end(book: "ReconciliationBook", until: datetime) -> None:
    """Wait until the period is over by the database's clock too: what is settled in it later would be in no run."""
    while (left := until + _LATE - await book.now()) > timedelta(0):
        if left > _LONGEST_AHEAD:
            raise FailedError("--until: it has not passed yet by the database's clock; set this machine's by the same")
        await asyncio.sleep(left.total_seconds())


async def _result(shop: "_Shop", run: "Run", paid_in: dict[str, int], gateways: list[str]) -> "Result":
    """Return what a run came to, and end it where every question was answered."""
    from worker.cli.reconciliation import Result
    from worker.flows.reconcile_balance import balance_moved

    names = [name for name in ([run.gateway] if run.gateway else gateways) if name in shop.keeping]
    moved = {name: await balance_moved(shop.balances, shop.book, run, name, paid_in.get(name, 0)) for name in names}
    found = [each async for each in shop.book.differences(run)]
    result = Result(run, await shop.book.tally(run), found, moved)
    if result.complete and not await shop.book.finish(run, result.compared, len(result.differences)):
        raise FailedError("somebody else has reconciled the same period meanwhile: run it again")
    return result


def _command(run: "Run", *, apply: bool) -> str:
    moments = [moment.isoformat().replace("+00:00", "Z") for moment in (run.since, run.until)]
    gateway = f" --gateway {run.gateway}" if run.gateway else ""
    return f"worker reconcile --since {moments[0]} --until {moments[1]}{gateway}{' --apply' if apply else ''}"


class _Shop(NamedTuple):
    """What a reconciliation works with."""

    book: "ReconciliationBook"
    balances: "GatewayBook"
    keeping: Collection[str]  # the gateways that keep a balance for us
    reconciler: "Callable[[Progress], Reconciler]"


@asynccontextmanager
async def _workshop(settings: "Settings", *, apply: bool) -> "AsyncIterator[_Shop]":
    """Give what the work needs; everything is closed afterwards."""
    from worker.app import build_gateways
    from worker.flows.events import Renderer
    from worker.flows.reconcile import Reconciler, gentle
    from worker.ledger.connection import opened
    from worker.ledger.gateways import GatewayBook
    from worker.ledger.ledger import Ledger
    from worker.ledger.reconciliations import ReconciliationBook

    slower = {name: gentle(given) for name, given in settings.gateways.items()}
    gateways = build_gateways(replace(settings, gateways=slower))
    try:
        async with opened(settings.database.dsn.get_secret_value(), _POOL) as pool:
            await expect_schema(pool)
            ledger = Ledger(
                pool,
                policies={name: gateway.policy for name, gateway in gateways.items()},
                render=Renderer(settings.events.publish),
                tell=lambda _events: None,  # a worker publishes them from the outbox
                chance=random.random,
            )
            book = ReconciliationBook(pool)
            await ledger.start()
            await book.start()
            try:
                yield _Shop(
                    book,
                    GatewayBook(pool),
                    {name for name, gateway in gateways.items() if gateway.keeps_balance},
                    lambda progress: Reconciler(ledger, book, gateways, apply=apply, progress=progress),
                )
            finally:
                await book.stop()
                await ledger.stop()
    finally:
        for gateway in gateways.values():
            await gateway.close()


async def _work(shop: "_Shop", run: "Run", stop: asyncio.Event) -> None:
    """Compare what has no answer yet."""
    tallies = await shop.book.tally(run)
    names = [tally.gateway for tally in tallies]
    with progress_bar({tally.gateway: (tally.answered, tally.listed) for tally in tallies}) as progress:
        worker = shop.reconciler(progress)
        await worker.run(run, names, stop)
    for name in names:
        if worker.gave_up(name):
            typer.echo(f"{name}: it does not answer; run the same command again later, for the rest", err=True)


@contextmanager
def progress_bar(totals: dict[str, tuple[int, int]]) -> Iterator[Callable[[str, int], None]]:
    """Show a bar for each gateway on the terminal that standard error is; anywhere else nothing."""
    if not sys.stderr.isatty():
        yield lambda _gateway, _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks = {name: progress.add_task(name, total=total, completed=done) for name, (done, total) in totals.items()}
        yield lambda gateway, count: progress.advance(tasks[gateway], count)


@contextmanager
def _standard_output(path: Path | None) -> Iterator[None]:
    """Write to this file instead, where one is named."""
    if path is None:
        yield
        return
    try:
        with path.open("w", encoding="utf-8", newline="") as file, redirect_stdout(file):
            yield
    except OSError as error:
        raise FailedError(f"--output {path}: {error.strerror or type(error).__name__}") from None
