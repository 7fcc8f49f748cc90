"""Traces: the W3C context that an order came with, handed on with its events."""

from worker.ledger.migrate import run_folder

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the folder's files in order."""
    run_folder("0005_traces")
