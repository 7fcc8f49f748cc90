"""`worker run`: the worker itself, until a signal."""

# ruff: noqa: PLC0415 - the whole worker is slow to import, and `worker --help` does not need it

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import ConfigOption, LevelOption, common, stop_on_signal
from worker.core.order import ACCOUNT_FIELDS

if TYPE_CHECKING:
    from worker.config import Settings


def _products(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in ACCOUNT_FIELDS]
    if unknown or not names:
        said = f"{', '.join(unknown)}: nobody knows that; " if unknown else ""
        raise typer.BadParameter(f"{said}expected some of {','.join(ACCOUNT_FIELDS)}", param_hint="--products")
    return names


def run(
    context: typer.Context,
    *,
    products: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Take up and send only these products; callbacks and events are everybody's"),
    ] = None,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Process orders until SIGTERM or SIGINT.

    The signal lets what is in hand end and exits 0; a second one does not wait. The ops endpoint and the logs tell
    how it is.
    """
    chosen = _products(products)
    options = common(context, config, log_level)
    settings = options.settings("amqp.url", "database.dsn", "gateways")
    options.log("info", sys.stdout)
    import uvloop

    raise typer.Exit(uvloop.run(_run(settings, chosen)))


async def _run(settings: "Settings", products: list[str] | None) -> int:
    from worker.app import Worker

    stop = stop_on_signal()
    return await Worker(settings, products).run(stop)
