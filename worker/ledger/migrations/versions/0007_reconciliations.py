"""Reconciliations: how far each has come, and the index that finds what was settled in a period."""

from worker.ledger.migrate import run_folder

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0007_reconciliations")
