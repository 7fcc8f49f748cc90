"""Brings the database up to date: numbered migrations, then the machine's transitions, then the journal's months."""

import io
from importlib import resources
from typing import Any

import asyncpg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from worker.core.rules import transitions
from worker.ledger.queries import load

MONTHS_AHEAD = 12
"""How many months of the journal have their partition beforehand; the default partition is the net behind."""

_FILES = resources.files("worker.ledger.migrations")


def run_folder(name: str) -> None:
    """Execute every SQL file of one migration's folder, by name; called by the revisions."""
    folder = _FILES.joinpath(name)
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        op.execute(text(file.read_text(encoding="utf-8").rstrip().removesuffix(";")))


async def migrate(dsn: str) -> list[str]:
    """Bring the schema up to date and return the revisions that this call applied; safe to repeat and to race.

    Raises:
        OSError, sqlalchemy.exc.SQLAlchemyError: the database cannot be reached or refuses a statement.
    """

    async def connect() -> Any:
        # by the very text that every other command connects with: SQLAlchemy would read its options otherwise
        return await asyncpg.connect(dsn)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def sql() -> str:
    """Return the whole road to the present schema as SQL, for a DBA to run."""
    buffer = io.StringIO()
    command.upgrade(_config(buffer), "head", sql=True)
    rows = ",\n".join(f"    ({_literal(start)}, '{to}', '{cause}')" for start, to, cause in transitions())
    insert = f"INSERT INTO transitions (from_state, to_state, cause) VALUES\n{rows}\nON CONFLICT DO NOTHING;\n"
    return f"{buffer.getvalue()}\n{insert}\nSELECT ensure_journal_months({MONTHS_AHEAD});\n"


def head() -> str:
    """Return the newest revision, which a database must be at."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise RuntimeError("the package holds no migrations")
    return newest


def _upgrade(connection: Connection) -> list[str]:
    config = _config()
    applied: list[str] = []
    config.attributes.update(connection=connection, applied=applied)
    command.upgrade(config, "head")
    connection.commit()
    connection.execute(
        text(load("add_transition")),
        [
            {"from_state": start and start.value, "to_state": to.value, "cause": cause.value}
            for start, to, cause in transitions()
        ],
    )
    connection.execute(text(load("ensure_months")), {"ahead": MONTHS_AHEAD})
    connection.commit()
    return applied


def _config(buffer: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=buffer) if buffer is not None else Config()
    config.set_main_option("script_location", str(_FILES))
    config.set_main_option("path_separator", "os")
    return config


def _literal(value: str | None) -> str:
    return "NULL" if value is None else f"'{value}'"
