"""Cards in PostgreSQL: which id each has at its gateway, and in whose hands it is.

A hold is a lease in the card's row, not a lock: nothing is held in the database while a gateway is called, and
what a dead worker held is free again when its lease ends. Every statement may run twice.
"""

import asyncio
import random
from typing import TYPE_CHECKING, Any

import structlog

from worker.core.card import Card, CardError, Hold, Known
from worker.ledger.connection import is_away, is_held
from worker.ledger.queries import load

if TYPE_CHECKING:
    import asyncpg

    from worker.ledger.connection import Pool

log = structlog.get_logger("worker.ledger")

PATIENCE_SECONDS = 5.0
"""How long a database that is away is waited for: an id that was just heard is not thrown away for a blink."""
PAUSE_SECONDS = 0.2


class CardBook:
    """Keeps cards for every gateway; `worker.gateways.cards` says what its methods promise."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._random = random.SystemRandom()

    async def find(self, gateway: str, asked: tuple[str, str], key: bytes | None, card_id: str | None) -> list[Known]:
        """Return what is known of the cards with that key or id; `asked` is their kind and owner."""
        kind, owner = asked
        return [Known(*row) for row in await self._fetch("find_card", gateway, owner, kind, key, card_id)]

    async def hold(self, gateway: str, card: Card, seconds: float) -> Hold | None:
        """Take a card in hand for so long at most; None: somebody else has it."""
        token = self._random.getrandbits(62)
        values = (*_row(gateway, card), card.shown, card.digest, token, seconds)
        rows = await self._fetch("hold_card", *values)
        return Hold(token, *rows[0]) if rows else None

    async def keep(self, gateway: str, card: Card, token: int, card_id: str | None, digest: bytes | None) -> bool:
        """Write a held card's id and digest; False: it is not ours any more."""
        return bool(await self._fetch("keep_card", *_row(gateway, card), token, card_id, digest))

    async def forget(self, gateway: str, card: Card, token: int) -> None:
        """Remove a held card."""
        await self._fetch("forget_card", *_row(gateway, card), token)

    async def release(self, gateway: str, card: Card, hold: Hold) -> None:
        """Let go of a card."""
        await self._fetch("release_card", *_row(gateway, card), hold.token, hold.current, hold.until)

    async def _fetch(self, name: str, *values: Any) -> "list[asyncpg.Record]":
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    try:
                        return await self._pool.fetch(load(name), *values)
                    except Exception as error:
                        if not (is_away(error) or is_held(error)):
                            raise
                        log.warning("database_away", statement=name, error=type(error).__name__)
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise CardError("database_away", "the database does not answer") from None


def _row(gateway: str, card: Card) -> tuple[str, str, str, bytes]:
    return gateway, card.owner, card.kind, card.key
