"""Alembic's entry: runs the revisions on the connection that `migrate.py` hands over, one migrator at a time."""

from alembic import context
from sqlalchemy import text

VERSION_TABLE = "schema_version"


def run() -> None:
    """Migrate the given connection, or print the SQL where there is none."""
    connection = context.config.attributes.get("connection")
    if connection is None:
        context.configure(dialect_name="postgresql", version_table=VERSION_TABLE)
    else:
        context.configure(connection=connection, version_table=VERSION_TABLE)
    with context.begin_transaction():
        if connection is not None:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('worker.migrate'))"))
        context.run_migrations()


run()
