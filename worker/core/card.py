"""What a card is: an electricity account or a fuel card that a gateway wants to know before money goes onto it."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from worker.core.masking import mask


class Card(NamedTuple):
    """One card as its gateway is to have it. Neither its number nor what it says about a person can be read from it."""

    kind: str  # `power`, `oil`
    owner: str  # our own account at the gateway: the gateway's numbers of cards mean nothing outside it
    key: bytes  # digest of its number
    shown: str  # its number, masked
    digest: bytes  # of its fields; empty: any fields, it is to be changed whatever they are


class Known(NamedTuple):
    """What the ledger has of a card."""

    key: bytes
    shown: str
    card_id: str | None  # the gateway's number of it; None: not known, it may or may not be there


class Hold(NamedTuple):
    """A card in our hands. Nobody changes it meanwhile, and while we change it nobody else uses it."""

    token: int  # ours and nobody else's
    card_id: str | None
    current: bool  # the gateway has it just so: we share it; else it is ours alone, to be added or edited
    until: datetime | None = None  # by the book's clock


class CardError(Exception):
    """A card that cannot be had now; `code` is stable, nothing about the card is in the text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def card(kind: str, owner: str, number: str, fields: Mapping[str, str]) -> Card:
    """Return the card `number` of `kind` with `fields`, as they go over the wire."""
    return Card(
        kind, owner, card_key(kind, number), mask(number), _digest(f"{k}={v}" for k, v in sorted(fields.items()))
    )


def card_key(kind: str, number: str) -> bytes:
    """Return what a card is looked up by."""
    return _digest((kind, number))


def _digest(parts: Iterable[str]) -> bytes:
    """Return the SHA-256 of texts, none of which can run into the next."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(4) + raw)
    return digest.digest()
