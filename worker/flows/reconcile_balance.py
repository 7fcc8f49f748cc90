"""Whether what left our balance at a gateway is what the orders between two readings of it took."""

from typing import TYPE_CHECKING

from worker.core.movement import Movement, Reading, bracket, movement

if TYPE_CHECKING:
    from worker.ledger.gateways import GatewayBook
    from worker.ledger.reconciliations import ReconciliationBook, Run


async def balance_moved(
    balances: "GatewayBook", book: "ReconciliationBook", run: "Run", gateway: str, topped_up_fen: int
) -> Movement | None:
    """Return how our balance at a gateway moved around the period of `run`; None: no two readings bracket it."""
    told = await balances.balances(gateway, run.since, run.until)
    found = bracket([Reading(*each) for each in told], run.since, run.until)
    if found is None:
        return None
    start, end = found
    orders = [each async for each in book.held(run, gateway, start.at, end.at)]
    return movement(start, end, orders, topped_up_fen)
