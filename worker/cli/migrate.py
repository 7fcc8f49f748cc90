"""`worker migrate`: the database's schema, then RabbitMQ's exchanges and queues."""

# ruff: noqa: PLC0415 - Alembic and the broker's client are slow to import, and `worker --help` needs neither

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import ConfigOption, FailedError, LevelOption, common

if TYPE_CHECKING:
    from worker.config import Settings


def migrate(
    context: typer.Context,
    *,
    database: Annotated[
        bool, typer.Option("--database", help="Only the database, unless --broker is given too")
    ] = False,
    broker: Annotated[bool, typer.Option("--broker", help="Only RabbitMQ, unless --database is given too")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the database's SQL for a DBA, and do nothing")] = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Bring database and RabbitMQ up to date.

    Safe to repeat, and to run from several places at once. Nothing that exists is deleted or changed in RabbitMQ.
    """
    options = common(context, config, log_level)
    options.log()
    if sql:
        if database or broker:
            raise typer.BadParameter(
                "prints the database's SQL, and goes with neither --database nor --broker", param_hint="--sql"
            )
        from worker.ledger.migrate import sql as all_sql

        typer.echo(all_sql(), nl=False)
        return
    both = database == broker
    settings = options.settings(
        *(["database.dsn"] if database or both else []), *(["amqp.url"] if broker or both else [])
    )
    asyncio.run(_migrate(settings, database=database or both, broker=broker or both))


async def _migrate(settings: "Settings", *, database: bool, broker: bool) -> None:
    if database:
        await _migrate_database(settings.database.dsn.get_secret_value())
    if broker:
        await _migrate_broker(settings)


async def _migrate_database(dsn: str) -> None:
    from worker.ledger import migrate as ledger
    from worker.ledger.trouble import describe

    try:
        applied = await ledger.migrate(dsn)
    except Exception as error:
        line = describe(error)
        if line is None:
            raise
        raise FailedError(f"database: {line}") from None
    typer.echo(
        f"database: brought to schema {applied[-1]}" if applied else f"database: already at schema {ledger.head()}"
    )


async def _migrate_broker(settings: "Settings") -> None:
    from worker.broker.connection import BrokerLostError
    from worker.broker.topology import Topology, TopologyError, declare, lacks_events

    url, topology = settings.amqp.url.get_secret_value(), Topology(settings.amqp.prefix)
    warning: list[str] = []
    try:
        # counted before: a worker that runs sends them to nobody as soon as the exchange is there
        if await lacks_events(url, topology) and (events := await _waiting_events(settings)):
            warning.append(
                f"broker: `{topology.events}` was made while {events} events wait, and no producer's queue is bound to "
                "it: keep the workers stopped until each is bound again (deploy/README.md#eventsunheard)"
            )
        await declare(url, topology)
    except TopologyError as error:
        raise FailedError(*(f"broker: {problem}" for problem in error.problems), *warning) from None
    except BrokerLostError as error:
        raise FailedError(f"broker: {error}") from None
    exchanges, queues, prefix = len(topology.exchanges), len(topology.queues), topology.prefix
    typer.echo(f"broker: {exchanges} exchanges, {queues} queues and their bindings below `{prefix}` are in place")
    for line in warning:
        typer.echo(line, err=True)


async def _waiting_events(settings: "Settings") -> int:
    """Return how many events are in the outbox; 0 where the database cannot tell, which is no reason to stop here."""
    dsn = settings.database.dsn.get_secret_value()
    if not dsn:
        return 0
    from worker.ledger.connection import opened
    from worker.ledger.figures import FigureBook
    from worker.ledger.trouble import describe

    try:
        async with opened(dsn) as pool:
            return (await FigureBook(pool).look()).events
    except Exception as error:
        if describe(error) is None:
            raise
        return 0
