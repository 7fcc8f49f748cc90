"""The tree of commands. Each module imports what its commands need when they run: `worker --help` must be quick."""

from typing import Annotated

import typer

from worker.cli import (
    check,
    dead,
    decisions,
    demo,
    documents,
    gateways,
    migrate,
    orders,
    recheck,
    reconcile,
    relay,
    run,
    sandbox,
    submit,
)
from worker.cli.common import Common, ConfigOption, LevelOption

app = typer.Typer(
    help="Sends recharge and payment orders from RabbitMQ to upstream gateways: nothing lost, nothing sent twice.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # its help takes twice as long to come, and half as much fits in it
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("migrate")(migrate.migrate)
app.command("run")(run.run)
app.command("relay")(relay.relay)
app.command("check")(check.check)
app.command("submit")(submit.submit)
orders.app.command("resolve")(decisions.resolve)
orders.app.command("resubmit")(decisions.resubmit)
orders.app.command("recheck")(recheck.recheck)
app.add_typer(orders.app, name="orders")
app.add_typer(dead.app, name="dead")
app.add_typer(gateways.app, name="gateways")
app.command("reconcile")(reconcile.reconcile)
app.command("schemas")(documents.schemas)
app.command("sandbox")(sandbox.sandbox)
app.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415 - no other command needs it

        try:
            version = metadata.version("order-worker")
        except metadata.PackageNotFoundError:
            version = "from a source tree that is not installed"
        typer.echo(f"order-worker {version}")
        raise typer.Exit


@app.callback()
def worker(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    log_level: LevelOption = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit")
    ] = False,
) -> None:
    """Keep the common options for the command that follows."""
    context.obj = Common(config, log_level)
