"""The account at the end: what the gateway charged against what the ledger says, order by order, to the fen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.core.order import FINAL, State

# Where an order may truly stand at the gateway, by what the ledger says of it. `None`: it never got there.
_AGREES: Mapping[str, frozenset[str | None]] = {
    "succeeded": frozenset({"succeeded"}),
    "failed": frozenset({"failed", "refunded", "not_taken", None}),
    "refunded": frozenset({"refunded", "reversed"}),
    "cancelled": frozenset({"cancelled", "not_taken", None}),
}
_SETTLED = frozenset({"not_taken", "succeeded", "refunded", "cancelled", "partial", "reversed", "timed_out"})
_FINAL = frozenset(state.value for state in FINAL)


@dataclass(frozen=True, slots=True)
class Row:
    """An order as the ledger has it."""

    order_no: str
    state: str
    version: int
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Charge:
    """An order as the gateway has it; only what it keeps of the merchant's money counts."""

    order_no: str
    standing: str
    charges: int
    kept_fen: int
    pushes: int
    fault: str | None

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Charge":
        """Read one order of the sandbox's `GET /ledger`."""
        return cls(
            row["order_no"],
            row["status"],
            row["charges"],
            row["charged_fen"] - row["refunded_fen"],
            row["pushes"],
            row["fault"],
        )

    @property
    def settled(self) -> bool:
        """Whether its life at the gateway is over; what has failed there is still to be refunded."""
        return self.standing in _SETTLED


@dataclass(slots=True)
class Class:
    """The orders that the ledger has in one state."""

    orders: int = 0
    ledger_fen: int = 0  # what they should have cost by the ledger
    gateway_fen: int = 0  # what the gateway has kept for them


@dataclass(slots=True)
class Verdict:
    """The comparison; `differences` has the orders concerned by kind, all empty when everything is right."""

    classes: dict[str, Class] = field(default_factory=dict)
    differences: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> Class:
        """Every order."""
        classes = self.classes.values()
        return Class(
            sum(each.orders for each in classes),
            sum(each.ledger_fen for each in classes),
            sum(each.gateway_fen for each in classes),
        )

    @property
    def right(self) -> bool:
        """Whether nothing differs."""
        total = self.total
        return total.ledger_fen == total.gateway_fen and not any(self.differences.values())


CHARGED_TWICE = "charged twice"
LOST = "lost: published, and not in the ledger"
CHARGED_NOT_SUCCEEDED = "charged, and not succeeded"
SUCCEEDED_NOT_CHARGED = "succeeded, and not charged"
OTHERWISE = "otherwise at the gateway than in the ledger"
UNASKED = "in a ledger, and never published"
EVENTS_MISSING = "told nothing, or not the last of it"
OPEN = "still open"
REVIEW = "in review"
DEAD = "dead letters"


def compare(
    published: Mapping[str, int],
    ledger: Iterable[Row],
    gateway: Iterable[Charge],
    heard: Mapping[str, tuple[int, str]],
    accepted: set[str],
) -> Verdict:
    """Compare what was published (amounts by order number), what became of it on both sides, and what was told."""
    rows = {row.order_no: row for row in ledger}
    charges = {charge.order_no: charge for charge in gateway}
    verdict = Verdict()
    found = verdict.differences
    kinds = (CHARGED_TWICE, LOST, CHARGED_NOT_SUCCEEDED, SUCCEEDED_NOT_CHARGED, OTHERWISE, UNASKED)
    found.update((kind, []) for kind in (*kinds, EVENTS_MISSING, OPEN, REVIEW))
    found[UNASKED] += sorted((rows.keys() | charges.keys()) - published.keys())
    found[CHARGED_TWICE] += [charge.order_no for charge in charges.values() if charge.charges > 1]
    for order_no, amount_fen in published.items():
        row, charge = rows.get(order_no), charges.get(order_no)
        if row is None:
            found[LOST].append(order_no)
            continue
        kept_fen = charge.kept_fen if charge else 0
        due_fen = amount_fen if row.state == State.SUCCEEDED else 0
        of_state = verdict.classes.setdefault(row.state, Class())
        of_state.orders += 1
        of_state.ledger_fen += due_fen
        of_state.gateway_fen += kept_fen
        if row.state == State.REVIEW:
            found[REVIEW].append(order_no)
        elif row.state not in _FINAL:
            found[OPEN].append(order_no)
        if kept_fen > due_fen:
            found[CHARGED_NOT_SUCCEEDED].append(order_no)
        elif kept_fen < due_fen:
            found[SUCCEEDED_NOT_CHARGED].append(order_no)
        elif row.state in _AGREES and (charge and charge.standing) not in _AGREES[row.state]:
            found[OTHERWISE].append(order_no)
        if order_no not in accepted or (row.state in _FINAL and heard.get(order_no) != (row.version, row.state)):
            found[EVENTS_MISSING].append(order_no)
    return verdict
