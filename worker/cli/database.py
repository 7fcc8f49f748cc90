"""The database that the settings name, for one command: its troubles become one line."""

# ruff: noqa: PLC0415 - the database's client is slow to import, and `worker --help` does not need it

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from worker.cli.common import FailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.config import Settings
    from worker.ledger.connection import Pool


@asynccontextmanager
async def database(settings: "Settings") -> "AsyncIterator[Pool]":
    """Give a connection to the database, whose schema is ours, for as long as the context lasts.

    Raises:
        FailedError: the database is away, refuses us, goes away in between, or has another schema.
    """
    from worker.ledger.connection import opened
    from worker.ledger.trouble import describe

    try:
        async with opened(settings.database.dsn.get_secret_value()) as pool:
            await expect_schema(pool)
            yield pool
    except BrokenPipeError:
        raise  # of whoever reads our output, not of the database
    except Exception as error:
        line = describe(error)
        if line is None:
            raise
        raise FailedError(f"database: {line}") from None


async def expect_schema(pool: "Pool") -> None:
    """Return if the database's schema is ours.

    Raises:
        FailedError: it is another; says what to run.
    """
    from worker.ledger.connection import schema_problem

    if problem := await schema_problem(pool):
        raise FailedError(problem)
