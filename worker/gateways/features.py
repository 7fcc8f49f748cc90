"""What a gateway's interface can say, as its adapter declares it.

The contract tests derive from it what has to happen, and the table in `worker/README.md` is drawn from it; nothing
else reads it. What can be read off the adapter itself (products, methods that it overrides) is not declared again.
"""

from dataclasses import dataclass
from enum import StrEnum


class Callbacks(StrEnum):
    """What a callback of this gateway is worth."""

    NONE = "none"  # it sends none
    HINTS = "hints"  # they prove nothing: each makes the worker ask at once
    SIGNED = "signed"  # they prove what they sign


class Codes(StrEnum):
    """Where it is known from by which answers this gateway says a certain thing."""

    NONE = "no"  # it never says that
    SETTINGS = "by settings"  # no document lists them: an operator may
    LISTED = "yes"  # in the adapter's table, with the document they come from


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """One gateway's interface."""

    query_by: str  # the number that an order is asked about by, for people
    signing: str  # how requests prove who sends them, for people
    callbacks: Callbacks = Callbacks.NONE
    refusal: Codes = Codes.LISTED  # a submit's definite no
    no_such_order: Codes = Codes.LISTED  # a query's "no such order"
    duplicate: Codes = Codes.LISTED  # a submit's "I have this number already"
    unfunded: Codes = Codes.NONE  # a submit's "our money here is used up"
    order_told: bool = True  # a query's answer names the order that it is about
    amount_told: frozenset[str] = frozenset()  # products of which an answer names the amount, in money or pieces
    account_told: frozenset[str] = frozenset()  # products of which a query's answer names the account
    callback_amount: bool = False  # callbacks prove the amount, too
    callback_account: bool = False  # callbacks prove the account, too
    cards: frozenset[str] = frozenset()  # kinds of cards that `Adapter.card` knows
