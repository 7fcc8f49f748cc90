"""`worker orders …`: what the ledger knows about orders."""

# ruff: noqa: PLC0415 - the database's client is slow to import, and `worker --help` does not need it

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import datetime
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
    parse_moment,
)
from worker.cli.output import Table, moment, write_fields, write_json
from worker.core.masking import mask
from worker.core.money import fen_to_text
from worker.core.order import ACCOUNT_FIELDS, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.ledger.reading import Reader, Seen, Step, Wanted

app = typer.Typer(no_args_is_help=True, help="Read orders.", callback=keep_options)

_ORDER_NO = re.compile(r"[A-Za-z0-9_-]{1,28}")
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_MOMENT_HELP = "RFC 3339 with an offset, a date (UTC), or how long ago: 15m, 2h, 7d"


@app.command("list")
def list_orders(
    context: typer.Context,
    *,
    state: Annotated[list[State] | None, typer.Option(help="In this state; may be given several times")] = None,
    gateway: Annotated[str | None, typer.Option(help="Whose current attempt is at this gateway")] = None,
    product: Annotated[str | None, typer.Option(help="Of this product")] = None,
    source: Annotated[str | None, typer.Option(help="Of this producer")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="WHEN", help=f"Admitted since then: {_MOMENT_HELP}")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="WHEN", help="Admitted before then: the same forms")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest first; 0: all")] = 50,
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
    from worker.ledger.reading import Wanted

    states = [each.value for each in state] if state else None
    wanted = Wanted(states, gateway, product, source, since, until)
    asyncio.run(_list(common(context, config, log_level), wanted, limit or None, as_json=as_json))


async def _list(options: Common, wanted: "Wanted", limit: int | None, *, as_json: bool) -> None:
    count = 0
    table = Table("order", "created", "state", "product", ">yuan", "gateway", ">attempt", "reason")
    async with reader(options) as ledger:
        async for page in ledger.pages(wanted, limit):
            count += len(page)
            if as_json:
                write_json(seen.view() for seen in page)
            else:
                table.write(map(_row, page))
    if not as_json and count in (0, limit):
        typer.echo("no such orders" if count == 0 else f"the newest {count}; --limit 0 lists all", err=True)


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
    order_no: Annotated[str, typer.Argument(metavar="ORDER_NO", help="The producer's number")],
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Show an order and everything that happened to it; with --json one object."""
    asyncio.run(_show(common(context, config, log_level), order_no, as_json=as_json))


async def _show(options: Common, order_no: str, *, as_json: bool) -> None:
    async with reader(options) as ledger:
        found = await ledger.story(order_no) if _ORDER_NO.fullmatch(order_no) else None
    if found is None:
        raise FailedError(f"{order_no}: there is no such order")
    seen, steps = found
    if as_json:
        write_json([{**seen.view(), "journal": [step.view() for step in steps]}])
        return
    write_fields(_fields(seen))
    typer.echo()
    table = Table("when", "from", "to", "cause", ">attempt", "code", "message")
    table.write(map(_line, steps))


def _fields(seen: "Seen") -> list[tuple[str, str]]:
    order = seen.order
    account = str(order.target.get(ACCOUNT_FIELDS.get(order.product, ""), ""))
    reason = order.reason
    return [
        ("order", order.order_no),
        ("source", order.source),
        ("product", order.product),
        ("account", mask(account) if account else ""),
        ("state", f"{order.state} (version {order.version})"),
        ("reason", f"{reason.code}: {reason.message}" if reason else ""),
        ("gateway", f"{order.gateway}, attempt {order.attempt} as {order.reference}"),
        ("upstream", order.upstream_no or ""),
        ("amount", f"{fen_to_text(order.amount_fen)} yuan"),
        ("arrived", _yuan(order.arrived_fen)),
        ("cost", _yuan(order.cost_fen)),
        ("created", moment(seen.created_at)),
        ("updated", moment(seen.updated_at)),
        ("due", moment(seen.due_at)),
    ]


def _yuan(fen: int | None) -> str:
    return "" if fen is None else f"{fen_to_text(fen)} yuan"


def _line(step: "Step") -> list[str]:
    return [
        moment(step.at),
        step.from_state or "(new)",
        step.to_state,
        step.cause,
        str(step.attempt),
        step.code or "",
        step.message or "",
    ]


@asynccontextmanager
async def reader(options: Common) -> "AsyncIterator[Reader]":
    """Give a reader of the ledger that the settings name, whose schema is ours.

    Raises:
        FailedError: the database is away, refuses us, or has another schema.
        SettingsError: the settings cannot be used.
    """
    from worker.ledger.reading import Reader
    from worker.ledger.trouble import describe

    settings = options.settings("database.dsn")
    options.log()
    try:
        async with Reader.connect(settings.database.dsn.get_secret_value()) as ledger:
            await _expect_schema(ledger)
            yield ledger
    except BrokenPipeError:
        raise  # of whoever reads our output, not of the database
    except Exception as error:
        line = describe(error)
        if line is None:
            raise
        raise FailedError(f"database: {line}") from None


async def _expect_schema(ledger: "Reader") -> None:
    problem = await ledger.schema_problem()
    if problem is not None:
        raise FailedError(problem)
