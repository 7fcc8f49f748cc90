"""Hints that are kept: what callbacks without proof say of attempts that no alarm rings for."""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from worker.ledger.queries import load

if TYPE_CHECKING:
    from worker.core.order import Order
    from worker.ledger.connection import Pool


class Hint(NamedTuple):
    """An attempt that its gateway is to be asked about."""

    order_id: int
    order_no: str
    attempt: int
    gateway: str
    heard_at: datetime  # tells it from the same hint, heard again while the question was under way
    asked: int  # how often, this time included


class HintBook:
    """The hints in PostgreSQL. Claiming is leasing: whoever dies with a hint in hand leaves it due again."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def keep(self, order: "Order", attempt: int, gateway: str, seconds: float = 0) -> None:
        """Write a hint down, due in so many seconds."""
        await self._pool.execute(load("keep_hint"), order.id, attempt, gateway, seconds)

    async def claim(self, gateway: str, limit: int, lease: float) -> list[Hint]:
        """Take up to `limit` hints that are due; they are ours for `lease` seconds."""
        return [Hint(*row) for row in await self._pool.fetch(load("claim_hints"), gateway, limit, lease)]

    async def postpone(self, hint: Hint, seconds: float) -> None:
        """Let a hint that got no answer be due again so much later."""
        await self._pool.execute(load("postpone_hint"), *_key(hint), seconds)

    async def forget(self, hint: Hint) -> None:
        """Remove a hint that got its answer."""
        await self._pool.execute(load("forget_hint"), *_key(hint))


def _key(hint: Hint) -> tuple[int, int, str, datetime]:
    return hint.order_id, hint.attempt, hint.gateway, hint.heard_at
