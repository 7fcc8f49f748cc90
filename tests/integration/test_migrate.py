"""The road to the schema: repeatable, safe to race, printable for a DBA, and equal to the schema as written."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import asyncpg
import pytest
from support.ledgers import connected, house

from worker.core.order import Event, State
from worker.core.rules import transitions
from worker.ledger.connection import SCHEMA, create_pool, schema_problem
from worker.ledger.migrate import MONTHS_AHEAD, head, migrate, sql

# everything that PostgreSQL knows about a schema, without what differs from one database to the next (oids)
CATALOGS = {
    "relations": """
        SELECT c.relname, c.relkind, c.relpersistence, c.reloptions, c.relispartition,
               pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid)
          FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace""",
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
               pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation::text, a.attstorage, a.attnum
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid), convalidated, condeferrable
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "functions": "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(t.oid), encode(tgargs, 'escape')
          FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
         WHERE c.relnamespace = 'public'::regnamespace AND NOT tgisinternal""",
    "sequences": """
        SELECT sequencename, data_type::text, start_value, increment_by, cycle, cache_size
          FROM pg_sequences WHERE schemaname = 'public'""",
}


async def catalog(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, list[str]]:
    """Return everything that is known about the schema, in order."""
    return {name: sorted(repr(tuple(row)) for row in await connection.fetch(query)) for name, query in CATALOGS.items()}


async def snapshot(dsn: str) -> tuple[dict[str, list[str]], set[tuple[Any, ...]]]:
    """Return the schema and the allowed transitions of a database."""
    async with connected(dsn) as connection:
        rows = await connection.fetch("SELECT from_state, to_state, cause FROM transitions")
        return await catalog(connection), {tuple(row) for row in rows}


def without_version(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the schema without the table that only the migrations keep."""
    return {name: [row for row in rows if "schema_version" not in row] for name, rows in found.items()}


def allowed() -> set[tuple[Any, ...]]:
    """Return the machine's own transitions."""
    return {(start and start.value, to.value, cause.value) for start, to, cause in transitions()}


async def test_migrations_make_the_schema_that_is_written_down(database_dsn: str, ledger_dsn: str) -> None:
    """Columns, constraints, indexes, functions with their source, triggers and storage options, not names alone."""
    written = resources.files("worker.ledger").joinpath("schema.sql").read_text(encoding="utf-8")
    async with connected(database_dsn) as connection:
        await connection.execute(written)
        await connection.execute("SELECT ensure_journal_months($1)", MONTHS_AHEAD)
        by_hand = await catalog(connection)
    by_migrations, _ = await snapshot(ledger_dsn)
    assert by_hand == without_version(by_migrations)
    assert {name for name, rows in by_hand.items() if not rows} == set()


async def test_migrating_twice_changes_nothing(database_dsn: str) -> None:
    assert (await migrate(database_dsn))[-1] == head()
    first = await snapshot(database_dsn)
    assert await migrate(database_dsn) == []
    assert await snapshot(database_dsn) == first
    assert first[1] == allowed()


def test_three_migrators_at_once_leave_one_schema(database_dsn: str, ledger_dsn: str) -> None:
    """Each ends well, and exactly one of them says that it did the work."""
    call = "import asyncio, sys; from worker.ledger.migrate import migrate; print(asyncio.run(migrate(sys.argv[1])))"
    racers = [
        subprocess.Popen([sys.executable, "-c", call, database_dsn], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = sorted(racer.communicate(timeout=60)[0].strip() for racer in racers)
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert said[1:] == ["[]", "[]"]
    assert said[0].endswith(f"'{head()}']")
    assert asyncio.run(snapshot(database_dsn)) == asyncio.run(snapshot(ledger_dsn))


async def test_the_printed_sql_makes_the_same_database(database_dsn: str, ledger_dsn: str) -> None:
    async with connected(database_dsn) as connection:
        await connection.execute(sql())
        assert await connection.fetchval("SELECT version_num FROM schema_version") == SCHEMA
    assert await snapshot(database_dsn) == await snapshot(ledger_dsn)
    assert await migrate(database_dsn) == []


def test_the_code_is_written_for_the_newest_migration() -> None:
    assert head() == SCHEMA


async def test_an_empty_database_is_told_apart_from_a_migrated_one(database_dsn: str, ledger_dsn: str) -> None:
    found = []
    for dsn in (database_dsn, ledger_dsn):
        pool = await create_pool(dsn, 1)
        found.append(await schema_problem(pool))
        pool.terminate()
    assert found == [f"the database's schema is at no migration, expected {SCHEMA}: run `worker migrate`", None]


async def test_transitions_of_an_older_machine_stay_allowed(ledger_dsn: str) -> None:
    """Workers that are not upgraded yet go on; a second `worker migrate` takes nothing away."""
    async with connected(ledger_dsn) as connection:
        await connection.execute("INSERT INTO transitions VALUES ('queued', 'failed', 'of_old')")
    await migrate(ledger_dsn)
    assert (await snapshot(ledger_dsn))[1] == allowed() | {("queued", "failed", "of_old")}


# --- the journal's months --------------------------------------------------------------------------


def month(ahead: int) -> str:
    """Return the name of the partition of a coming month."""
    now = datetime.now(UTC)
    year, index = divmod(now.year * 12 + now.month - 1 + ahead, 12)
    return f"journal_{year}_{index + 1:02d}"


PARTITIONS = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'journal'::regclass"


async def test_the_coming_months_have_their_partitions(ledger_dsn: str) -> None:
    async with connected(ledger_dsn) as connection:
        names = {row["name"] for row in await connection.fetch(PARTITIONS)}
    assert names == {month(ahead) for ahead in range(MONTHS_AHEAD + 1)} | {"journal_default"}


async def test_a_line_lands_in_its_month_and_one_without_a_month_in_the_default(ledger_dsn: str) -> None:
    """The last microsecond of a month in UTC is still that month's, whatever the session's time zone."""
    line = "INSERT INTO journal (order_id, version, at, to_state, cause, attempt)"
    value = " SELECT id, 1, $1, 'submitting', 'admitted', 1 FROM orders"
    now = datetime.now(UTC)
    first = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    async with house(ledger_dsn) as home, connected(ledger_dsn) as connection:
        await home.admit("T1")
        await connection.execute("SET timezone = 'Asia/Shanghai'")
        for at in (first, first.replace(year=first.year + 3), datetime(2001, 1, 1, tzinfo=UTC)):
            await connection.execute(line + value, at)
        await connection.execute(line + value.replace("$1", "$1::timestamptz - interval '1 microsecond'"), first)
        rows = await connection.fetch("SELECT tableoid::regclass::text AS part, count(*) FROM journal GROUP BY 1")
    assert {row["part"]: row["count"] for row in rows} == {month(0): 2, month(1): 1, "journal_default": 2}


async def test_months_that_were_made_too_late_do_not_stop_the_migration(ledger_dsn: str) -> None:
    """Lines that the default partition caught stay there; the other months are made, and orders go on."""
    async with house(ledger_dsn) as home, connected(ledger_dsn) as connection:
        for ahead in (0, 1, 2):
            await connection.execute(f"DROP TABLE {month(ahead)}")
        order = await home.admit("T1")
        assert await connection.fetchval("SELECT count(*) FROM journal_default") == 1
        await migrate(ledger_dsn)
        names = {row["name"] for row in await connection.fetch(PARTITIONS)}
        assert month(0) not in names
        assert {month(1), month(2)} <= names
        assert (await home.step(order, Event.ARRIVED)).state is State.SUCCEEDED
        assert await connection.fetchval("SELECT count(*) FROM journal_default") == 2


async def test_months_may_be_made_while_orders_are_written(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home, connected(ledger_dsn) as connection:
        for ahead in range(4, MONTHS_AHEAD + 1):
            await connection.execute(f"DROP TABLE {month(ahead)}")
        async with asyncio.timeout(20):
            await asyncio.gather(migrate(ledger_dsn), *(home.admit(f"T{number}") for number in range(500)))
        assert len(await connection.fetch(PARTITIONS)) == MONTHS_AHEAD + 2


@pytest.mark.parametrize("partition", [month(0), month(MONTHS_AHEAD), "journal_default"])
async def test_no_partition_is_written_behind_the_journals_back(ledger_dsn: str, partition: str) -> None:
    async with connected(ledger_dsn) as connection:
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(f"INSERT INTO {partition} DEFAULT VALUES")


async def test_the_options_of_a_dsn_mean_what_they_mean_to_the_worker(database_dsn: str) -> None:
    """A database that demands TLS says so in its DSN, and must be migrated by that very DSN."""
    dsn = f"{database_dsn}?sslmode=prefer&application_name=migration"
    assert (await migrate(dsn))[-1] == SCHEMA
    pool = await create_pool(dsn, 1)
    assert await schema_problem(pool) is None
    await pool.close()
