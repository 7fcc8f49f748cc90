"""What dead letters are about, and what may come of replaying them: nothing is asked but their own bodies."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from schemas.decode import CALLBACK_LIMIT, check_properties, decode_submit
from schemas.errors import InvalidMessageError
from worker.broker.letters import Letter, goes_to

if TYPE_CHECKING:
    from worker.broker.topology import Topology

_ORDER_NO = re.compile(r"[A-Za-z0-9_-]{1,28}")
_NAME = re.compile(r"(?!.*[0-9]{7})[a-z0-9_]{1,64}")  # what could be a phone or card number is not shown as a name


class Kind(StrEnum):
    """What a letter's message is."""

    ORDER = "order"
    CALLBACK = "callback"
    COMMAND = "command"
    STRAY = "stray"  # no queue of ours takes its key


class Subject(NamedTuple):
    """What a letter is about, as far as its key and body tell. `amount_fen`: of an order that could be taken in."""

    kind: Kind
    order_no: str | None = None
    gateway: str | None = None
    amount_fen: int | None = None


def subject(letter: Letter, body: bytes, topology: "Topology", now: datetime) -> Subject:
    """Return what a letter is about. A body of any kind may lie there."""
    queue = goes_to(letter, topology)
    fields = _fields(body)
    order_no, gateway = _matching(fields, "order_no", _ORDER_NO), _matching(fields, "gateway", _NAME)
    if queue == topology.callbacks:
        named = letter.key.removeprefix("callback.")
        return Subject(Kind.CALLBACK, None, gateway or (named if _NAME.fullmatch(named) else None))
    if queue == topology.commands:
        return Subject(Kind.COMMAND, order_no, gateway)
    if queue is None:
        return Subject(Kind.STRAY, order_no, gateway)
    return Subject(Kind.ORDER, order_no, gateway, _amount(letter, body, queue.rpartition(".")[2], now))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What replaying letters could come to, at most.

    `amounts` are those of orders that could be taken in and sent, in fen by order number; of several under one number
    only the dearest. The other counts are letters.
    """

    kinds: Mapping[str, int] = field(default_factory=dict)
    amounts: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0  # orders that will be refused again as they are

    @property
    def fen(self) -> int:
        """The most that could be submitted."""
        return sum(self.amounts.values())

    def without(self, known: Collection[str]) -> "Forecast":
        """Return the forecast when orders of these numbers are in the ledger: they are never submitted again."""
        return Forecast(
            self.kinds, {number: fen for number, fen in self.amounts.items() if number not in known}, self.refused
        )


def forecast(subjects: Iterable[Subject]) -> Forecast:
    """Return what replaying the letters with these subjects could come to."""
    kinds: dict[str, int] = {}
    amounts: dict[str, int] = {}
    refused = 0
    for each in subjects:
        kinds[each.kind.value] = kinds.get(each.kind, 0) + 1
        if each.amount_fen is not None and each.order_no is not None:
            amounts[each.order_no] = max(each.amount_fen, amounts.get(each.order_no, 0))
        elif each.kind is Kind.ORDER:
            refused += 1
    return Forecast(kinds, amounts, refused)


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(body) if len(body) <= CALLBACK_LIMIT else None
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _matching(fields: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _amount(letter: Letter, body: bytes, product: str, now: datetime) -> int | None:
    """Return the amount of an order that the gate could let in; None: it is refused whatever else is so."""
    given = letter.properties
    try:
        check_properties(given.content_type, given.content_encoding, given.type, "order.submit")
        order = decode_submit(body, product)
    except InvalidMessageError:
        return None
    return None if order.expires_at is not None and order.expires_at <= now else order.amount_fen
