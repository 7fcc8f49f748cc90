"""The pool, and what an error of it means."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import orjson

from worker.ledger.queries import load

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_AWAY_CLASSES = frozenset({"08", "25", "28", "3D", "40", "53", "55", "57", "58"})
"""SQLSTATE classes that say nothing about the statement: connection, transaction (a standby is read-only), password,
database, rollback, resources, locks, shutdown, system."""

_HELD = frozenset({"55P03", "57014"})
"""Somebody's lock outlasted `lock_timeout`; a statement was cancelled, as whoever looks for what is stuck may do."""

SCHEMA = "0009"
"""The migration that this code is written for."""

LIMITS = {
    "application_name": "order-worker",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "2s",  # longer than `deadlock_timeout`, so that a deadlock is told as one
    "statement_timeout": "20s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "client_connection_check_interval": "5s",
    "jit": "off",
    "random_page_cost": "1.1",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",  # planning a batch costs more than running it
    "timezone": "UTC",
}
"""Session settings: neither a vanished worker nor a stuck server holds the others up, and every join is what ours all
are, a look-up by key, also in plans that were made while the tables were empty."""


def is_away(error: BaseException) -> bool:
    """Whether the error leaves open what the statement did, so that it must run again, unchanged."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in _AWAY_CLASSES
    if isinstance(error, asyncpg.DataError | asyncpg.InterfaceError):
        # a parameter that cannot be encoded is the caller's; every other interface error is a connection's
        return isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError)
    if isinstance(error, asyncpg.InternalClientError):
        return True  # a reply that made no sense, or no host that takes writes
    return isinstance(error, OSError | TimeoutError | asyncio.IncompleteReadError)


def is_held(error: BaseException) -> bool:
    """Whether a statement did nothing because somebody holds one of its rows; about its others that says nothing."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _HELD


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="text", encoder=_already_json, decoder=orjson.loads
    )


def _already_json(text: str) -> str:
    return text


async def _keep_session(_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Skip the pool's reset query: nothing here changes a session."""


async def create_pool(dsn: str, size: int) -> Pool:
    """Return a pool of `size` connections.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError: the database cannot be reached or refuses us.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=size,
        max_size=size,
        max_queries=10_000_000,
        max_inactive_connection_lifetime=0,
        timeout=5,
        command_timeout=15,
        init=_prepare,
        reset=_keep_session,
        server_settings=LIMITS,
    )


@asynccontextmanager
async def opened(dsn: str, size: int = 1) -> AsyncIterator[Pool]:
    """Give a pool for as long as the context lasts; raises as `create_pool` does."""
    pool = await create_pool(dsn, size)
    try:
        yield pool
    finally:
        pool.terminate()


async def schema_problem(pool: Pool) -> str | None:
    """Return what is wrong with the database's schema and what to run; None: nothing."""
    try:
        found = await pool.fetchval(load("schema_version"))
    except asyncpg.UndefinedTableError:
        found = None
    if found is not None and found >= SCHEMA:  # migrations only add, so a worker of before goes on
        return None
    return f"the database's schema is at {found or 'no migration'}, expected {SCHEMA}: run `worker migrate`"
