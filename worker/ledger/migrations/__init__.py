"""The road to the present schema: Alembic revisions, each a folder of SQL files run in order."""
