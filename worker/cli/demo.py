"""`worker demo`: everything on one machine, with services of its own."""

# ruff: noqa: PLC0415 - the demo starts real services, which nothing else needs

from typing import Annotated

import typer

from worker.cli.common import ConfigOption, FailedError


def demo(
    *,
    orders: Annotated[int, typer.Option(min=1, help="How many orders are sent")] = 1000,
    fault_rate: Annotated[float, typer.Option(min=0, max=1, help="The share of them that meets a fault")] = 0.3,
    seed: Annotated[int, typer.Option(help="Decides which faults; the same seed, the same faults")] = 1,
    kill: Annotated[bool, typer.Option(help="Kill workers while they work")] = True,
    _config: ConfigOption = None,  # accepted everywhere, read where there is something to set
) -> None:
    """Show all of it on this machine.

    With services, workers and simulated gateways of its own, with faults, and with the accounts at the end.
    """
    try:
        from worker.demo import run
        from worker.embedded import ServiceError
    except ModuleNotFoundError as error:
        raise FailedError(f"{error.name} is missing: install order-worker[sandbox]") from None
    try:
        raise typer.Exit(run(orders=orders, fault_rate=fault_rate, seed=seed, kill=kill))
    except ServiceError as error:
        raise FailedError(*str(error).splitlines()) from None
