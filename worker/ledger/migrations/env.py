"""Alembic's entry: runs the revisions on the connection that `migrate.py` hands over, one migrator at a time."""

from alembic import context
from sqlalchemy import text

VERSION_TABLE = "schema_version"


def run() -> None:
    """Migrate the given connection, or print the SQL where there is none."""
    attributes = context.config.attributes
    connection = attributes.get("connection")
    if connection is None:
        # "named": with the default style, every % of the SQL would be printed twice
        context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, version_table=VERSION_TABLE)
    else:
        context.configure(
            connection=connection,
            version_table=VERSION_TABLE,
            on_version_apply=lambda *, step, **_: attributes["applied"].append(step.up_revision_id),
        )
    with context.begin_transaction():
        if connection is not None:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('worker.migrate'))"))
        context.run_migrations()


run()
