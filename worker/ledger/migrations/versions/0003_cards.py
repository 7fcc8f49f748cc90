"""Cards: what gateways know electricity accounts and fuel cards by."""

from worker.ledger.migrate import run_folder

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0003_cards")
