"""One attempt alive: a new one needs a step that ends the one before."""

from worker.ledger.migrate import run_folder

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0008_one_attempt")
