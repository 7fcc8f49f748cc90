"""`worker relay`: takes callbacks over HTTP, until a signal."""

# ruff: noqa: PLC0415 - the relay is slow to import, and `worker --help` does not need it

import sys
from typing import TYPE_CHECKING

import typer

from worker.cli.common import ConfigOption, LevelOption, common, stop_on_signal

if TYPE_CHECKING:
    from worker.config import Settings


def relay(context: typer.Context, *, config: ConfigOption = None, log_level: LevelOption = None) -> None:
    """Relay the gateways' callbacks to RabbitMQ until SIGTERM or SIGINT.

    It takes POST /callbacks/<gateway> on [relay] listen, and acknowledges what the broker has confirmed. It needs no
    database. The signal lets what is in hand end and exits 0; a second one does not wait.
    """
    options = common(context, config, log_level)
    settings = options.settings("amqp.url", "gateways")
    options.log("info", sys.stdout)
    import uvloop

    raise typer.Exit(uvloop.run(_run(settings)))


async def _run(settings: "Settings") -> int:
    from worker.app import build_gateways
    from worker.relay import RelayProcess

    stop = stop_on_signal()
    gateways = build_gateways(settings)
    try:
        return await RelayProcess(settings, gateways).run(stop)
    finally:
        for gateway in gateways.values():
            await gateway.close()
