"""Orders, alarms, journal, outbox, attempts and the rules that the database itself keeps."""

from worker.ledger.migrate import run_folder

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0001_spine")
