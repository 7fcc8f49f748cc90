"""The table of watched orders: unknown, waiting for a payer, in review."""

from worker.ledger.migrate import run_folder

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0006_watched")
