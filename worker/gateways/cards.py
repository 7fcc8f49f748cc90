"""Cards at a gateway: what an adapter asks of our book of them, and how one call holds on to a card.

Adding, editing and deleting cards moves no money; paying onto a card does. So the book lets any number of
calls pay onto a card as it is, or one alone change it, never both. A hold ends with its call; that of a
worker that died, or whose payment got no answer, ends by itself.

An adapter that needs cards yields `CardStep`s among its requests, and `Gateway` answers them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from worker.core.card import Card, CardError, Hold, Known
from worker.gateways.lease import Lease

CardAction = Literal["add", "edit", "delete", "show"]


class FindCard(NamedTuple):
    """Ask what is known of the cards with that key or that number at the gateway; answered by `Sequence[Known]`."""

    kind: str
    owner: str
    key: bytes | None
    card_id: str | None


class HoldCard(NamedTuple):
    """Take a card in hand, once a call; answered by a `Hold`. Where somebody else has it the call ends as not sent."""

    card: Card


class KeepCard(NamedTuple):
    """Write down what is known of the card in hand now; with its digest it is shared, without it still ours alone."""

    card_id: str | None
    digest: bytes | None


class ForgetCard(NamedTuple):
    """Remove the card in hand from the book: it is not at the gateway any more."""


CardStep = FindCard | HoldCard | KeepCard | ForgetCard


class CardAnswer(NamedTuple):
    """A card after a command: the gateway's number of it, and what the gateway says about it where it was asked."""

    card_id: str
    data: Mapping[str, Any] | None = None


class CardRefusal(NamedTuple):
    """Why a card cannot be added, edited, deleted or shown."""

    code: str  # the gateway's; or ours: `unknown_card`, `card_mismatch`, `card_id`
    message: str | None  # masked
    definite: bool = False  # settings list the code as a refusal: an order for this card is refused as well


class CardBook(Protocol):
    """Where cards are kept; every method raises `CardError` where that place cannot be reached."""

    async def find(self, gateway: str, asked: tuple[str, str], key: bytes | None, card_id: str | None) -> list[Known]:
        """Return what is known of the cards with that key or number; `asked` is their kind and owner."""

    async def hold(self, gateway: str, card: Card, seconds: float) -> Hold | None:
        """Take a card in hand for so long at most; None: somebody else has it."""

    async def keep(self, gateway: str, card: Card, token: int, card_id: str | None, digest: bytes | None) -> bool:
        """Write a held card's number and digest; False: it is not ours any more."""

    async def forget(self, gateway: str, card: Card, token: int) -> None:
        """Remove a held card."""

    async def release(self, gateway: str, card: Card, hold: Hold) -> None:
        """Let go of a card."""


class CardHand:
    """Carries out the card steps of one call, and holds at most one card for it, `seconds` at most."""

    def __init__(self, gateway: str, book: CardBook | None, seconds: float) -> None:
        self._gateway = gateway
        self._book = book
        self._seconds = seconds
        self._card: Card | None = None
        self._hold: Hold | None = None
        self.lease: Lease | None = None
        """How long requests may be begun that rely on the hold; None: there is none."""

    async def do(self, step: CardStep) -> Sequence[Known] | Hold | None:
        """Carry out one step and return its answer.

        Raises:
            CardError: the card is in other hands (`card_busy`), or the book cannot be reached.
        """
        match step:
            case FindCard(kind, owner, key, card_id):
                return await self._open().find(self._gateway, (kind, owner), key, card_id)
            case HoldCard(card):
                return await self._take(card)
            case KeepCard(card_id, digest):
                card, hold = self._held()
                if not await self._open().keep(self._gateway, card, hold.token, card_id, digest):
                    raise CardError("card_busy", "the card was held for too long, and others have taken it")
                self._hold = hold._replace(card_id=card_id, current=digest is not None)
            case ForgetCard():
                card, hold = self._held()
                await self._open().forget(self._gateway, card, hold.token)
                self._hold = None
        return None

    async def let_go(self) -> None:
        """End the hold, if there is one."""
        if self._hold is not None and self._card is not None:
            hold, self._hold = self._hold, None
            await self._open().release(self._gateway, self._card, hold)

    async def _take(self, card: Card) -> Hold:
        if self._hold is not None:
            raise RuntimeError("one call holds one card")
        lease = Lease.lasting(self._seconds)  # before the book's own begins, so that it never ends later
        hold = await self._open().hold(self._gateway, card, self._seconds)
        if hold is None:
            raise CardError("card_busy", "the card is just being added, changed or paid onto")
        self._card, self._hold, self.lease = card, hold, lease
        return hold

    def _held(self) -> tuple[Card, Hold]:
        if self._card is None or self._hold is None:
            raise RuntimeError("no card is in hand")
        return self._card, self._hold

    def _open(self) -> CardBook:
        if self._book is None:
            raise CardError("no_card_book", "cards can be used only where the ledger is at hand")
        return self._book
