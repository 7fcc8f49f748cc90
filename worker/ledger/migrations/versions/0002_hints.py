"""Hints: what callbacks without proof say of orders that are not asked about any more."""

from worker.ledger.migrate import run_folder

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0002_hints")
