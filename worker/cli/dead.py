"""`worker dead …`: what could not be processed: look at it, send it through the same gate again, or drop it."""

# ruff: noqa: PLC0415 - the broker's client and the models are slow to import, and `worker --help` needs neither

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from worker.cli.common import (
    ConfigOption,
    FailedError,
    JsonOption,
    LevelOption,
    OperatorOption,
    cancel_on_sigterm,
    common,
    keep_options,
    operator_name,
)
from worker.cli.dead_choice import (
    DryRunOption,
    IdOption,
    OrderOption,
    ReasonOption,
    Selection,
    YesOption,
    asks,
    batches,
    confirmed,
    letters_in_hand,
    letters_text,
    selection,
    wanted_rows,
    without_known,
)
from worker.cli.dead_output import Row, say_forecast, write_groups, write_letters
from worker.cli.output import write_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.config import Settings

_LONGEST_NOTE = 200

app = typer.Typer(
    no_args_is_help=True, help="List, replay and drop what could not be processed.", callback=keep_options
)


@app.command("list")
def list_letters(
    context: typer.Context,
    *,
    reason: ReasonOption = None,
    order_no: OrderOption = None,
    letter_id: IdOption = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="At most so many letters; 0: all. Default: 50, with --json all")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """List what could not be processed: by reason, gateway and age, then the newest; with --json a line each.

    Looking wears no letter out, however often it is done.
    """
    chosen = selection(reason, order_no, letter_id)
    options = common(context, config, log_level)
    settings = options.settings("amqp.url")
    options.log("error")
    rows, more = asyncio.run(_list(settings, chosen))
    rows.sort(key=Row.age_key)
    if as_json:
        write_json(row.view() for row in (rows[:limit] if limit else rows))
        return
    shown = 50 if limit is None else limit or len(rows)
    if rows:
        write_groups(rows, datetime.now(UTC))
        typer.echo()
        write_letters(rows[:shown])
    notes = ["no such letters"] if not rows else []
    notes += [f"the newest {shown} of {len(rows)}; --limit 0 lists all"] if shown < len(rows) else []
    notes += [f"{more} more lie there: no more can be looked at at once"] if more else []
    for note in notes:
        typer.echo(note, err=True)


async def _list(settings: "Settings", chosen: Selection) -> tuple[list[Row], int]:
    async with letters_in_hand(settings) as (box, rows):
        return [row for row in rows if row in chosen], box.more


@app.command("replay")
def replay(
    context: typer.Context,
    *,
    reason: ReasonOption = None,
    order_no: OrderOption = None,
    letter_id: IdOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Send letters through the same gate again: those that are named, or all.

    Says first what it would come to. What is replayed is what lies there at that moment. An order that is known
    already is not sent again. To interrupt and to repeat it is safe.
    """
    chosen = selection(reason, order_no, letter_id)
    options = common(context, config, log_level)
    settings = options.settings("amqp.url")
    options.log("error")
    asyncio.run(_replay(settings, chosen, dry_run=dry_run, ask=asks(yes=yes), as_json=as_json))


async def _replay(settings: "Settings", chosen: Selection, *, dry_run: bool, ask: bool, as_json: bool) -> None:
    from worker.broker.letters import replayed
    from worker.broker.topology import Topology
    from worker.flows.dead_letters import forecast

    topology = Topology(settings.amqp.prefix)
    async with letters_in_hand(settings) as (box, rows):
        wanted = wanted_rows(chosen, rows)
        expected, asked = await without_known(settings, forecast(row.subject for row in wanted))
        if not as_json:
            say_forecast(len(wanted), len(rows), expected, ledger_asked=asked)

        async def publish(batch: list[Row]) -> tuple[int, str | None]:
            now = datetime.now(UTC)
            taken = await box.publish([replayed(row.letter, box.body(row.position), topology, now) for row in batch])
            gone = [row.position for row, fine in zip(batch, taken, strict=True) if fine]
            await box.forget(gone)
            if len(gone) == len(batch):
                return len(gone), None
            return len(gone), (
                f"broker: no queue takes {letters_text(len(batch) - len(gone))}, and the exchange "
                f"`{topology.main}` has no alternate: run `worker migrate --broker`"
            )

        told = {"orders": len(expected.amounts), "amount_fen": expected.fen, "ledger_asked": asked}
        deed = _Deed("replayed", f"replay {letters_text(len(wanted))}?", publish, told)
        await _do(deed, wanted, dry_run=dry_run, ask=ask, as_json=as_json)


@app.command("drop")
def drop(
    context: typer.Context,
    *,
    reason: ReasonOption = None,
    order_no: OrderOption = None,
    letter_id: IdOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Every letter that lies there")] = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the log")] = "",
    operator: OperatorOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Remove letters for good: those that are named.

    The log, on standard error, has a line for each: what it was, who dropped it, and why.
    """
    chosen = selection(reason, order_no, letter_id)
    if chosen.everything == (not everything):
        raise typer.BadParameter(
            "name what is to be dropped: --reason, --order-no or --id, or all of it: --all", param_hint="drop"
        )
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        raise typer.BadParameter("expected at most 200 printable characters", param_hint="--note")
    name = operator_name(operator)
    options = common(context, config, log_level)
    settings = options.settings("amqp.url")
    options.log("warning")
    asyncio.run(_drop(settings, chosen, (name, note.strip()), dry_run=dry_run, ask=asks(yes=yes), as_json=as_json))


async def _drop(
    settings: "Settings", chosen: Selection, why: tuple[str, str], *, dry_run: bool, ask: bool, as_json: bool
) -> None:
    import structlog

    log = structlog.get_logger("worker.dead")
    operator, note = why
    async with letters_in_hand(settings) as (box, rows):
        wanted = wanted_rows(chosen, rows)
        if not as_json:
            typer.echo(f"{letters_text(len(wanted))} of {len(rows)}")

        async def forget(batch: list[Row]) -> tuple[int, str | None]:
            for row in batch:
                log.warning("dead_letter_dropped", **row.log(), operator=operator, note=note or None)
            await box.forget([row.position for row in batch])
            return len(batch), None

        deed = _Deed("dropped", f"drop {letters_text(len(wanted))} for good?", forget, {})
        await _do(deed, wanted, dry_run=dry_run, ask=ask, as_json=as_json)


class _Deed(NamedTuple):
    """What is done with letters, a batch at a time: `act` returns how many it was done with, and what went wrong."""

    done: str
    question: str
    act: "Callable[[list[Row]], Awaitable[tuple[int, str | None]]]"
    told: dict[str, Any]


async def _do(deed: _Deed, wanted: list[Row], *, dry_run: bool, ask: bool, as_json: bool) -> None:
    """Do it, or say that it was not done; what is interrupted leaves the rest where it lies."""
    told = {"letters": [row.letter.id for row in wanted], **deed.told}
    if dry_run or not wanted:
        _tell(
            f"{'nothing was' if dry_run else 'there is nothing to be'} {deed.done}",
            told | {deed.done: 0},
            as_json=as_json,
        )
        return
    if ask and not await confirmed(deed.question):
        raise FailedError(f"nothing was {deed.done}")
    done = 0
    cancel_on_sigterm()
    try:
        for batch in batches(wanted):
            work = asyncio.ensure_future(deed.act(batch))
            try:
                count, problem = await asyncio.shield(work)
            except asyncio.CancelledError:
                done += await _in_the_end(work)  # what has begun ends first, so that what is told of it is true
                if done < len(wanted):
                    raise
                break
            done += count
            if problem:
                raise FailedError(problem)
    finally:
        if done < len(wanted):
            typer.echo(f"{done} of {letters_text(len(wanted))} are {deed.done}; the others lie there still", err=True)
    _tell(f"{deed.done} {letters_text(done)}", told | {deed.done: done}, as_json=as_json)


async def _in_the_end(work: "asyncio.Future[tuple[int, str | None]]") -> int:
    """Return how many letters it was done with, however often we are told to end."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({work})
    return work.result()[0]


def _tell(line: str, told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json([told])
    else:
        typer.echo(line)
