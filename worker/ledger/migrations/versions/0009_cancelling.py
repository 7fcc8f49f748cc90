"""What its producer asked to cancel goes to no other gateway."""

from worker.ledger.migrate import run_folder

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0009_cancelling")
