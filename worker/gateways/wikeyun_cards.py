"""wikeyun's cards: orders for power and oil are paid onto a card that must be there before (power and oil documents).

A card's id comes from addCard alone (`data.id`, public clients); no document tells how to find a card by its
number. So an id is never guessed. Where the answer to addCard was lost the card is added again: that moves no
money, and the id that is heard is the one that is used. Where the gateway will not have it twice, an id in its
refusal is believed only if cardInfo shows our number under it. Where there is none the order waits, until
`card.edit` with the `card_id` from the gateway's console has told the worker.
"""

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from worker.core.card import Card, Hold, Known, card, card_key
from worker.gateways import wikeyun_wire as wire
from worker.gateways.base import CardCall, Request, UnreadableReplyError
from worker.gateways.cards import CardAction, CardAnswer, CardRefusal, FindCard, ForgetCard, HoldCard, KeepCard
from worker.gateways.wikeyun_wire import WikeyunSettings, Wire

AREAS: Mapping[str, str] = {"power": "Power", "oil": "Oil"}
"""The part of the path for each kind of card (power API document, 3; oil API document, 1)."""

NUMBERS: Mapping[str, str] = {"power": "account_no", "oil": "card_no"}
"""The field of a target that is a card's number."""

_GRIDS = {"state": "0", "southern": "1"}  # power API document, `type`
_COMPANIES = {"sinopec": "0", "petrochina": "1"}  # oil API document, `card_type`


class _Named(NamedTuple):
    """The card that a command names."""

    key: bytes | None
    row: Known | None  # what is known of it
    card_id: str


class Cards:
    """The calls about cards of one configured gateway."""

    def __init__(self, settings: WikeyunSettings, writer: Wire) -> None:
        self._settings = settings
        self._wire = writer

    def settle(self, kind: str, target: Mapping[str, Any], now: datetime) -> CardCall[str | CardRefusal]:
        """Hold the card of `target` as it is to be, adding or editing it where need be; return its id there."""
        fields = _fields(kind, target)
        wanted = self._card(kind, target, fields)
        hold: Hold = yield HoldCard(wanted)
        if hold.current and hold.card_id is not None:
            return hold.card_id
        settled: str | CardRefusal | None = None
        if hold.card_id is not None:
            settled = yield from self._edit(kind, hold.card_id, fields, now)
        if settled is None:
            settled = yield from self._add(kind, fields, now)
        if isinstance(settled, str):
            yield KeepCard(settled, wanted.digest)
        return settled

    def command(
        self, action: CardAction, kind: str, target: Mapping[str, Any], card_id: str | None, now: datetime
    ) -> CardCall[CardAnswer | CardRefusal]:
        """Carry out a card command; see `Gateway.card`."""
        if card_id is not None and wire.card_id(card_id) is None:
            return CardRefusal("card_id", "card_id: expected a whole number")
        if action == "add":
            settled = yield from self.settle(kind, target, now)
            return CardAnswer(settled) if isinstance(settled, str) else settled
        named = yield from self._named(kind, target.get(NUMBERS[kind]), card_id)
        if isinstance(named, CardRefusal):
            return named
        if action == "edit":
            return (yield from self._change(kind, target, named, now))
        if action == "delete":
            return (yield from self._delete(kind, named, now))
        return (yield from self._show(kind, named, now))

    # --- what commands do ------------------------------------------------------------------------

    def _named(self, kind: str, number: str | None, card_id: str | None) -> CardCall[_Named | CardRefusal]:
        """Return the card that is meant; one id never stands for two of our cards, since money goes by it."""
        key = card_key(kind, number) if number is not None else None
        rows: Sequence[Known] = yield FindCard(kind, self._settings.store_id, key, card_id)
        by_number = next((row for row in rows if key is not None and row.key == key), None)
        by_id = next((row for row in rows if card_id is not None and row.card_id == card_id), None)
        if key is not None and by_id is not None and by_id.key != key:
            return CardRefusal("card_mismatch", f"card_id: known as the card {by_id.shown}: delete that one first")
        known_id = by_number.card_id if by_number is not None else None
        meant = card_id or known_id
        if meant is None:
            return CardRefusal("unknown_card", f"{NUMBERS[kind]}: no such card is known here: give its card_id")
        return _Named(key, by_number or by_id, meant)

    def _change(
        self, kind: str, target: Mapping[str, Any], named: _Named, now: datetime
    ) -> CardCall[CardAnswer | CardRefusal]:
        fields = _fields(kind, target)
        wanted = self._card(kind, target, fields)
        yield HoldCard(wanted._replace(digest=b""))
        edited = yield from self._edit(kind, named.card_id, fields, now)
        if edited is None:
            return CardRefusal("unknown_card", "card_id: the gateway has no such card")
        if isinstance(edited, CardRefusal):
            return edited
        yield KeepCard(edited, wanted.digest)
        return CardAnswer(edited)

    def _delete(self, kind: str, named: _Named, now: datetime) -> CardCall[CardAnswer | CardRefusal]:
        """Delete a card there; whether it is still there is not known from the call to its answer."""
        row = named.row if named.row is not None and named.row.card_id == named.card_id else None
        if row is not None:
            hold: Hold = yield HoldCard(Card(kind, self._settings.store_id, row.key, row.shown, b""))
            if hold.card_id != named.card_id:
                return CardRefusal("card_mismatch", "card_id: the card was changed at this moment: try again")
            yield KeepCard(None, None)
        answer = yield from self._ask("delete_card", kind, "delCard", {"card_id": named.card_id}, now)
        gone = answer.code == wire.OK or answer.code in self._settings.no_such_card_codes
        if row is not None:
            yield ForgetCard() if gone else KeepCard(named.card_id, None)
        return CardAnswer(named.card_id) if gone else self._refusal(answer)

    def _show(self, kind: str, named: _Named, now: datetime) -> CardCall[CardAnswer | CardRefusal]:
        answer = yield from self._ask("show_card", kind, "cardInfo", {"card_id": named.card_id}, now)
        if answer.code != wire.OK:
            return self._refusal(answer)
        if not isinstance(answer.data, dict):
            raise UnreadableReplyError("data: expected an object")
        return CardAnswer(named.card_id, answer.data)

    # --- calls -----------------------------------------------------------------------------------

    def _add(self, kind: str, fields: Mapping[str, str], now: datetime) -> CardCall[str | CardRefusal]:
        business = {"store_id": self._settings.store_id, **fields}
        answer = yield from self._ask("add_card", kind, "addCard", business, now)
        added = wire.card_id(answer.data.get("id")) if isinstance(answer.data, dict) else None
        if answer.code == wire.OK:
            if added is None:
                raise UnreadableReplyError("id: expected a whole number with code 0000")
            return added
        if added is not None and answer.code not in self._settings.refusal_codes:
            shown = yield from self._ask("show_card", kind, "cardInfo", {"card_id": added}, now)
            if shown.code == wire.OK and _number(shown.data) == fields["card_num"]:
                # its other fields may be those of long ago: only an edit makes it the card that is meant
                return (yield from self._edit(kind, added, fields, now)) or self._refusal(answer)
        return self._refusal(answer)

    def _edit(
        self, kind: str, card_id: str, fields: Mapping[str, str], now: datetime
    ) -> CardCall[str | CardRefusal | None]:
        """Give a card all its fields; return its id, or None where the gateway says that there is no such card."""
        business = {"card_id": card_id, "store_id": self._settings.store_id, **fields}
        answer = yield from self._ask("edit_card", kind, "editCard", business, now)
        if answer.code == wire.OK:
            return card_id
        return None if answer.code in self._settings.no_such_card_codes else self._refusal(answer)

    def _ask(
        self, operation: str, kind: str, call: str, business: Mapping[str, str], now: datetime
    ) -> Generator[Request, Any, wire.Answer]:
        reply = yield self._wire.request(operation, f"/rest/{AREAS[kind]}/{call}", business, now)
        return wire.read(reply)

    def _refusal(self, answer: wire.Answer) -> CardRefusal:
        return CardRefusal(answer.code, answer.message, definite=answer.code in self._settings.refusal_codes)

    def _card(self, kind: str, target: Mapping[str, Any], fields: Mapping[str, str]) -> Card:
        return card(kind, self._settings.store_id, target[NUMBERS[kind]], fields)


def _fields(kind: str, target: Mapping[str, Any]) -> dict[str, str]:
    """Return a card as addCard and editCard take it; what they have no parameter for is left out."""
    if kind == "power":  # power API document, 1
        fields = {"card_num": target["account_no"], "province": target["province"], "city": target["city"]}
        if target.get("remark") is not None:
            fields["remark"] = target["remark"]
        fields["type"] = _GRIDS[target["grid"]]
        if target["grid"] == "southern":  # public clients: of an identity card, a licence or a bank card
            fields["user_ext"] = target["holder_id"][-6:]
        return fields
    return {  # oil API document, 1
        "card_num": target["card_no"],
        "name": target["name"],
        "phone": target["phone"],
        "user_num": target["id_number"],
        "card_type": _COMPANIES[target["company"]],
    }


def _number(data: Any) -> str | None:
    """Return the number of a card that cardInfo shows."""
    return wire.text(data, "card_num") if isinstance(data, dict) else None
