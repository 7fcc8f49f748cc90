"""`worker orders recheck`: orders that wait to be sent, and may have been sent all the same.

A ledger that was restored to an older state does not know what has been sent since. An order that waits in it is
therefore treated like one whose call was never answered: its gateway is asked, and only one that denies the order, for
as long as ever, gets it.
"""

# ruff: noqa: PLC0415 - the database's client is slow to import, and `worker --help` does not need it

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import Common, ConfigOption, FailedError, LevelOption, OperatorOption, common
from worker.cli.database import database
from worker.cli.decisions import NoteOption, desk, fact_of
from worker.core.machine import Decision
from worker.core.order import Event, Fact, Order, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.config import Settings
    from worker.ledger.ledger import Ledger
    from worker.ledger.reading import Reader

CODE = "rechecked"
"""What the journal calls it."""


def recheck(
    context: typer.Context,
    *,
    note: NoteOption,
    gateway: Annotated[str | None, typer.Option(metavar="NAME", help="Only this gateway's; default: all")] = None,
    operator: OperatorOption = None,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Have the gateways asked about orders that wait, before these are sent.

    For a ledger that was restored to an older state: what waits in it may have been sent since. The gateways must be
    paused. Only an order that its gateway denies, again and again, waits to be sent once more.
    """
    fact = fact_of(Event.UNANSWERED, note, operator)._replace(code=CODE)
    options = common(context, config, log_level)
    settings = options.settings("database.dsn", "gateways")
    if gateway is not None and gateway not in settings.gateways:
        names = ", ".join(settings.gateways)
        raise typer.BadParameter(f"expected one of {names} (from the settings)", param_hint="--gateway")
    asyncio.run(_recheck(options, settings, [gateway] if gateway else list(settings.gateways), fact))


async def _recheck(options: Common, settings: "Settings", names: "Sequence[str]", fact: Fact) -> None:
    from worker.gateways.registry import adapters

    kinds = adapters()
    await _expect_paused(settings, names)
    async with desk(options, settings) as (ledger, reader):
        for name in names:
            if kinds[settings.gateways[name].adapter].repeat_safe:
                typer.echo(
                    f"{name}: it cannot be asked about orders that it has not answered; what waits goes on waiting"
                )
                continue
            typer.echo(f"{name}: {await _ask_first(ledger, reader, name, fact)} orders are asked about first")


async def _ask_first(ledger: "Ledger", reader: "Reader", name: str, fact: Fact) -> int:
    """Hand the fact to the machine for each order that waits at a gateway; return how many it has moved."""
    from worker.ledger.paging import Wanted

    def made(order: Order) -> Fact | None:
        return fact._replace(attempt=order.attempt) if order.state is State.QUEUED else None

    moved = 0
    async for page in reader.pages(Wanted([State.QUEUED.value], name)):
        decisions = await asyncio.gather(*(ledger.apply(seen.order, made) for seen in page))
        moved += sum(isinstance(decision, Decision) for decision in decisions)
    return moved


async def _expect_paused(settings: "Settings", names: "Sequence[str]") -> None:
    """Refuse while workers may be sending what is looked at.

    Raises:
        FailedError: one of the gateways is not paused by hand, or the database is away.
    """
    from worker.ledger.gateways import GatewayBook

    async with database(settings) as pool:
        standings = await GatewayBook(pool).standings(names)
    pauses = {name: standing.pause for name, standing in standings.items()}
    going = [name for name in names if (pause := pauses.get(name)) is None or pause.automatic]
    if going:
        raise FailedError(*(f"{name}: it is not paused: run `worker gateways pause {name}` first" for name in going))
