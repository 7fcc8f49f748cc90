"""`worker sandbox`: simulated gateways, with faults on demand."""

# ruff: noqa: PLC0415 - the simulators' server is slow to import, and `worker --help` does not need it

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import ConfigOption, FailedError, LevelOption, common, stop_on_signal

if TYPE_CHECKING:
    from worker.sandbox import SandboxSettings

_FIELD = re.compile(r"([a-z_]+): (.*)", re.DOTALL)


def sandbox(
    context: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="The forced faults have no password: keep it on loopback")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: a free one")] = 9180,
    fault_rate: Annotated[float, typer.Option(help="The share of orders that gets a fault, 0 to 1")] = 0.0,
    seed: Annotated[int, typer.Option(help="Decides which orders get which fault")] = 1,
    answer_latency: Annotated[float, typer.Option(metavar="SECONDS", help="Before every good answer")] = 0.0,
    settle_after: Annotated[float, typer.Option(metavar="SECONDS", help="From one step of an order to the next")] = 1.0,
    late_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How late a late answer is: longer than the worker waits")
    ] = 20.0,
    slow_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How late a slow answer is: shorter than the worker waits")
    ] = 1.0,
    absent_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long an order that is there is denied")
    ] = 5.0,
    unlisted_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long a status that no document lists is told")
    ] = 5.0,
    payer_late_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How late a payer is who pays late")
    ] = 10.0,
    callback_repeats: Annotated[int, typer.Option(help="Repeats of a callback that nobody acknowledges")] = 5,
    callback_repeat_after: Annotated[float, typer.Option(metavar="SECONDS", help="Between two of them")] = 1.0,
    callback_timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long one may take")] = 5.0,
    balance_fen: Annotated[int, typer.Option(help="What the merchant has prepaid at each gateway")] = 10_000_000_000,
    endings: Annotated[bool, typer.Option(help="An account's last two digits may ask for a fault")] = True,
    accept_duplicates: Annotated[
        bool, typer.Option("--accept-duplicates", help="Charge a repeated order number again instead of refusing it")
    ] = False,
    ledger_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Keep what was charged there, as JSON Lines, and read it at start"),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SIMULATOR.SETTING=VALUE", help="Such as wikeyun.app_secret=…; repeatable"),
    ] = None,
    log_level: LevelOption = None,
    _config: ConfigOption = None,  # accepted everywhere, read where there is something to set
) -> None:
    """Simulate the gateways until a signal.

    All on one port; the URL is printed when they answer, and its page lists the faults.
    """
    common(context, None, log_level).log("warning")
    from worker.sandbox import SandboxSettings
    from worker.sandbox.discovery import parse

    try:
        simulators = parse(overrides or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from None
    try:
        settings = SandboxSettings(
            simulators=simulators,
            host=host,
            port=port,
            fault_rate=fault_rate,
            seed=seed,
            answer_latency=answer_latency,
            settle_after=settle_after,
            late_seconds=late_seconds,
            slow_seconds=slow_seconds,
            absent_seconds=absent_seconds,
            unlisted_seconds=unlisted_seconds,
            payer_late_seconds=payer_late_seconds,
            callback_repeats=callback_repeats,
            callback_repeat_after=callback_repeat_after,
            callback_timeout=callback_timeout,
            balance_fen=balance_fen,
            by_ending=endings,
            accept_duplicates=accept_duplicates,
            ledger_file=ledger_file,
        )
    except ValueError as error:
        raise _bad_option(str(error)) from None
    asyncio.run(_serve(settings))


def _bad_option(text: str) -> typer.BadParameter:
    found = _FIELD.fullmatch(text)
    if found is None:
        return typer.BadParameter(text)
    return typer.BadParameter(found[2], param_hint=f"--{found[1].replace('_', '-')}")


async def _serve(settings: "SandboxSettings") -> None:
    from worker.sandbox import Sandbox

    stop = stop_on_signal()
    try:
        server = Sandbox(settings)
    except (OSError, ValueError) as error:
        raise FailedError(f"--ledger-file {settings.ledger_file}: {error}") from None
    started = False
    try:
        async with server:
            started = True
            typer.echo(server.url)
            await stop.wait()
    except OSError as error:
        if started:
            raise
        raise FailedError(f"--host {settings.host} --port {settings.port}: {error.strerror or error}") from None
