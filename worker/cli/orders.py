"""`worker orders list` and `show`: what the ledger knows about orders."""

# ruff: noqa: PLC0415 - the database's client is slow to import, and `worker --help` does not need it

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    Common,
    ConfigOption,
    FailedError,
    JsonOption,
    LevelOption,
    common,
    keep_options,
    parse_age,
    parse_moment,
)
from worker.cli.database import database
from worker.cli.output import Table, moment, write_json
from worker.cli.story import write_story
from worker.core.money import fen_to_text
from worker.core.order import ACCOUNT_FIELDS, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.ledger.paging import Wanted
    from worker.ledger.reading import Reader, Seen

app = typer.Typer(no_args_is_help=True, help="Read orders, and decide about those in review.", callback=keep_options)

_ORDER_NO = re.compile(r"[A-Za-z0-9_-]{1,28}")
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
OrderArgument = Annotated[str, typer.Argument(metavar="ORDER_NO", help="The producer's number")]
_MOMENT_HELP = "RFC 3339 with an offset, a date (UTC), or how long ago: 15m, 2h, 7d"


@app.command("list")
def list_orders(
    context: typer.Context,
    *,
    state: Annotated[list[State] | None, typer.Option(help="In this state; may be given several times")] = None,
    gateway: Annotated[str | None, typer.Option(help="Whose current attempt is at this gateway")] = None,
    product: Annotated[str | None, typer.Option(help="Of this product")] = None,
    source: Annotated[str | None, typer.Option(help="Of this producer")] = None,
    reason: Annotated[str | None, typer.Option(metavar="CODE", help="With this reason's code")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="WHEN", help=f"Admitted since then: {_MOMENT_HELP}")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="WHEN", help="Admitted before then: the same forms")
    ] = None,
    older_than: Annotated[
        timedelta | None,
        typer.Option(parser=parse_age, metavar="AGE", help="In its state for longer than that: 90s, 10m, 2h, 7d"),
    ] = None,
    min_fen: Annotated[int | None, typer.Option(min=1, metavar="FEN", help="Of at least so much")] = None,
    max_fen: Annotated[int | None, typer.Option(min=1, metavar="FEN", help="Of at most so much")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest first; 0: all")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="ORDER_NO", help="Go on after this order, the last of the page before")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """List orders, the newest first; with --json a line of JSON each."""
    for option, name in (("--gateway", gateway), ("--source", source)):
        if name is not None and _NAME.fullmatch(name) is None:
            raise typer.BadParameter("expected a name of [a-z0-9_-]", param_hint=option)
    if product is not None and product not in ACCOUNT_FIELDS:
        raise typer.BadParameter(f"expected one of {', '.join(ACCOUNT_FIELDS)}", param_hint="--product")
    if since is not None and until is not None and since >= until:
        raise typer.BadParameter("expected a time before --until", param_hint="--since")
    if min_fen is not None and max_fen is not None and min_fen > max_fen:
        raise typer.BadParameter("expected at most --max-fen", param_hint="--min-fen")
    from worker.ledger.paging import Wanted

    states = [each.value for each in state] if state else None
    unchanged = None if older_than is None else datetime.now(UTC) - older_than
    wanted = Wanted(states, gateway, product, source, reason, since, until, unchanged, min_fen, max_fen)
    asyncio.run(_list(common(context, config, log_level), wanted, limit or None, after, as_json=as_json))


async def _list(options: Common, wanted: "Wanted", limit: int | None, after: str | None, *, as_json: bool) -> None:
    count, last = 0, ""
    table = Table("order", "created", "state", "product", ">yuan", "gateway", ">attempt", "reason")
    async with _reader(options) as ledger:
        begin = None if after is None else await ledger.seen(after)
        if after is not None and begin is None:
            raise FailedError(f"--after {after}: there is no such order")
        async for page in ledger.pages(wanted, limit, None if begin is None else begin.order.id):
            count, last = count + len(page), page[-1].order.order_no
            if as_json:
                write_json(seen.view() for seen in page)
            else:
                table.write(map(_row, page))
    if not as_json and count in (0, limit):
        shown = f"the newest {count}; --limit 0 lists all" if after is None else f"{count} more"
        typer.echo("no such orders" if count == 0 else f"{shown}; --after {last} goes on", err=True)


def _row(seen: "Seen") -> list[str]:
    order = seen.order
    return [
        order.order_no,
        moment(seen.created_at, "seconds"),
        order.state,
        order.product,
        fen_to_text(order.amount_fen),
        order.gateway,
        str(order.attempt),
        order.reason.code if order.reason else "",
    ]


@app.command("show")
def show_order(
    context: typer.Context,
    order_no: OrderArgument,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Show an order and everything that happened to it; with --json one object."""
    asyncio.run(_show(common(context, config, log_level), order_no, as_json=as_json))


async def _show(options: Common, order_no: str, *, as_json: bool) -> None:
    async with _reader(options) as ledger:
        found = await ledger.story(order_number(order_no))
    if found is None:
        raise FailedError(f"{order_no}: there is no such order")
    if as_json:
        write_json([found.view()])
        return
    write_story(found)


def order_number(text: str) -> str:
    """Return a number that an order may have.

    Raises:
        FailedError: none may have it.
    """
    if _ORDER_NO.fullmatch(text) is None:
        raise FailedError(f"{text}: there is no such order")
    return text


@asynccontextmanager
async def _reader(options: Common) -> "AsyncIterator[Reader]":
    """Give a reader of the ledger that the settings name; raises as `database` does."""
    from worker.ledger.reading import Reader

    settings = options.settings("database.dsn")
    options.log()
    async with database(settings) as pool:
        yield Reader(pool)
