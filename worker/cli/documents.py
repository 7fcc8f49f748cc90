"""`worker schemas`: the contract as files."""

# ruff: noqa: PLC0415 - the models are slow to import, and `worker --help` does not need them

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common import ConfigOption, FailedError


def schemas(
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where to write them")] = Path("schemas"),
    _config: ConfigOption = None,  # accepted everywhere, read where there is something to set
) -> None:
    """Write JSON Schema and AsyncAPI files.

    One for every message, and for what `orders list`, `orders show` and `dead list` print as JSON.
    """
    from schemas.documents import write

    try:
        paths = write(output)
    except OSError as error:
        raise FailedError(f"{error.filename or output}: {error.strerror or type(error).__name__}") from None
    for path in paths:
        typer.echo(path)
