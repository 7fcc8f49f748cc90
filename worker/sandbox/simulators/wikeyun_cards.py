"""The cards at the simulated wikeyun: meters (`Power`) and fuel cards (`Oil`) that are added before orders name them.

| code | refused because |
|------|-----------------|
| 2000 | a parameter has a value that cannot be |
| 2007 | there is a card of this number in this store; with `tells_known_card`, `data.id` is its id |
| 2008 | no such card, or not of this store |

The codes are the simulator's own, and so is what an added card's details look like: no document shows them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.sandbox.cards import Card, Cards
from worker.sandbox.simulator import Refused
from worker.sandbox.simulators.wikeyun_wire import Shape, WikeyunSettings

BAD_VALUE = "2000"
CARD_IS_THERE = "2007"
NO_SUCH_CARD = "2008"

_CARD_ID = re.compile(r"[1-9][0-9]{0,17}")
_LAST_SIX = re.compile(r"[0-9A-Za-z]{6}")
_SOUTHERN_GRID = "1"
_Parameters = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CardKind:
    """What cards of one kind consist of."""

    required: frozenset[str]
    optional: frozenset[str]
    values: Mapping[str, re.Pattern[str]]  # of those that are not free text

    @property
    def added(self) -> Shape:
        """Return the parameters of addCard."""
        return Shape(self.required | {"store_id"}, self.optional)

    @property
    def edited(self) -> Shape:
        """Return the parameters of editCard; the documents list no store."""
        return Shape(self.required | {"card_id"}, self.optional | {"store_id"})


NAMED = Shape(frozenset({"card_id"}), frozenset({"store_id"}))
"""The parameters of delCard and cardInfo."""

POWER = CardKind(
    frozenset({"card_num", "province", "city", "type"}),
    frozenset({"remark", "user_ext"}),
    {
        "card_num": re.compile(r"[0-9]{6,20}"),
        "province": re.compile(r"\S+(省|市|自治区)"),  # "with 省"; a few have none in their name
        "city": re.compile(r"\S+(市|州|盟|地区|区|县)"),  # "with 市", the same
        "type": re.compile("[01]"),
    },
)
OIL = CardKind(
    frozenset({"card_num", "name", "phone", "user_num"}),
    frozenset({"card_type"}),
    {
        "card_num": re.compile(r"[0-9]{6,20}"),
        "phone": re.compile(r"1[3-9][0-9]{9}"),
        "user_num": re.compile(r"[0-9]{17}[0-9X]"),
        "card_type": re.compile("[01]"),
    },
)


class CardDesk:
    """Adds, changes, deletes and shows the merchant's cards; counts every call about each."""

    def __init__(self, gateway: str, cards: Cards, settings: WikeyunSettings) -> None:
        self._gateway = gateway
        self._cards = cards
        self._settings = settings

    def add(self, name: str, kind: CardKind, given: _Parameters) -> Mapping[str, Any]:
        """Keep a new card; return its id as the answer's data.

        Raises:
            Refused: a value cannot be, or the card is there.
        """
        _check(kind, given)
        known = self._named(name, given["store_id"], given["card_num"])
        if known is not None:
            self._cards.note(known, "add")
            raise self._is_there(known)
        card = self._cards.add(self._gateway, name, given["card_num"], dict(given))
        self._cards.note(card, "add")
        return {"id": card.card_id}

    def edit(self, name: str, kind: CardKind, given: _Parameters) -> Mapping[str, Any]:
        """Put these fields in the place of the card's; return its id.

        Raises:
            Refused: no such card, a value cannot be, or another card has this number.
        """
        card = self.find(name, given)
        _check(kind, given)
        known = self._named(name, card.fields["store_id"], given["card_num"])
        if known not in (None, card):
            raise self._is_there(known)
        card.number = given["card_num"]
        card.fields = {"store_id": card.fields["store_id"], **given}
        del card.fields["card_id"]
        self._cards.note(card, "edit")
        return {"id": card.card_id}

    def delete(self, name: str, given: _Parameters) -> None:
        """Delete the card.

        Raises:
            Refused: no such card.
        """
        card = self.find(name, given)
        card.deleted = True
        self._cards.note(card, "delete")

    def show(self, name: str, given: _Parameters) -> Mapping[str, Any]:
        """Return the card's fields as the answer's data.

        Raises:
            Refused: no such card.
        """
        card = self.find(name, given)
        self._cards.note(card, "show")
        return {"id": card.card_id, **card.fields}

    def find(self, name: str, given: _Parameters, parameter: str = "card_id") -> Card:
        """Return the card that `parameter` names; where a store is named too, only a card of that store.

        Raises:
            Refused: no such card.
        """
        if not _CARD_ID.fullmatch(given[parameter]):
            raise Refused(BAD_VALUE, f"{parameter}格式错误")
        card = self._cards.find(self._gateway, name, int(given[parameter]))
        if card is None or given.get("store_id", card.fields["store_id"]) != card.fields["store_id"]:
            raise Refused(NO_SUCH_CARD, "充值卡不存在")
        return card

    def _named(self, name: str, store_id: str, number: str) -> Card | None:
        for card in self._cards.of_number(self._gateway, name, number):
            if card.fields["store_id"] == store_id:
                return card
        return None

    def _is_there(self, card: Card | None) -> Refused:
        data = {"id": card.card_id} if card is not None and self._settings.tells_known_card else None
        return Refused(CARD_IS_THERE, "充值卡已存在", data=data)


def _check(kind: CardKind, given: _Parameters) -> None:
    for parameter, pattern in kind.values.items():
        if parameter in given and not pattern.fullmatch(given[parameter]):
            raise Refused(BAD_VALUE, f"{parameter}格式错误")
    if kind is POWER and given["type"] == _SOUTHERN_GRID and not _LAST_SIX.fullmatch(given.get("user_ext", "")):
        raise Refused(BAD_VALUE, "user_ext: 南方电网需要证件后六位")
