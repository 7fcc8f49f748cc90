"""Gateways: pauses, balances with their history, and what each worker says of them."""

from worker.ledger.migrate import run_folder

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0004_gateways")
