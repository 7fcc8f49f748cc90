"""Watched orders: those in doubt, in front of a person, or waiting for a payer, counted without reading the closed ones."""

from worker.ledger.migrate import run_folder

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0006_watched")
