"""The cards that the simulated gateways keep for a merchant: meters and fuel cards that orders are pushed for."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from worker.sandbox.journal import Journal

_CARD = "card"


@dataclass(slots=True)
class Card:
    """One card at one gateway. `number` is the merchant's, `card_id` the gateway's."""

    gateway: str
    kind: str
    number: str
    card_id: int
    fields: dict[str, str]
    deleted: bool = False
    calls: dict[str, int] = field(default_factory=dict)  # how often it was added (once more: refused), edited…


class Cards:
    """All of them, in memory and in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._cards: dict[int, Card] = {}
        self._last_id = 0
        for row in journal.found(_CARD):
            self._put(Card(**row))

    def find(self, gateway: str, kind: str, card_id: int) -> Card | None:
        """Return the card of this id, unless it was deleted."""
        card = self._cards.get(card_id)
        return card if card is not None and (card.gateway, card.kind) == (gateway, kind) and not card.deleted else None

    def of_number(self, gateway: str, kind: str, number: str) -> Iterable[Card]:
        """Return the cards with the merchant's number that were not deleted."""
        for card in self._cards.values():
            if (card.gateway, card.kind, card.number) == (gateway, kind, number) and not card.deleted:
                yield card

    def add(self, gateway: str, kind: str, number: str, fields: dict[str, str]) -> Card:
        """Keep a new card."""
        card = Card(gateway, kind, number, self._last_id + 1, fields)
        self._put(card)
        return card

    def note(self, card: Card, call: str) -> None:
        """Count a call about the card and write it, with whatever else changed, to the journal."""
        card.calls[call] = card.calls.get(call, 0) + 1
        self._journal.write(_CARD, card)

    def rows(self, gateway: str | None = None, number: str | None = None) -> Iterable[dict[str, Any]]:
        """Return the cards as `GET /ledger/cards` shows them, oldest first."""
        for card in self._cards.values():
            if gateway in (None, card.gateway) and number in (None, card.number):
                yield asdict(card)

    def reset(self) -> None:
        """Forget them; an id never comes twice."""
        self._cards.clear()

    def _put(self, card: Card) -> None:
        self._cards[card.card_id] = card
        self._last_id = max(self._last_id, card.card_id)
