"""The account at the end: what each gateway charged against what the ledger says, order by order, to the fen."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.core.order import FINAL, State, candidates
from worker.demo.wares import Wish, owner

# Where an order may truly stand at the gateway, by what the ledger says of it. `None`: it never got there.
_AGREES: Mapping[str, frozenset[str | None]] = {
    "succeeded": frozenset({"succeeded"}),
    "failed": frozenset({"failed", "refunded", "not_taken", "awaiting_payment", None}),
    "refunded": frozenset({"refunded", "reversed"}),
    "cancelled": frozenset({"cancelled", "not_taken", "awaiting_payment", None}),
}
_SETTLED = frozenset(
    {"not_taken", "awaiting_payment", "succeeded", "refunded", "cancelled", "partial", "reversed", "timed_out"}
)
_FINAL = frozenset(state.value for state in FINAL)
_HAS_NO_NUMBER_OF_OURS = "zjzdy"


@dataclass(frozen=True, slots=True)
class Row:
    """An order as the ledger has it."""

    order_no: str
    product: str
    gateway: str
    attempt: int
    state: str
    version: int
    amount_fen: int
    cost_fen: int | None

    @property
    def due_fen(self) -> int:
        """What the gateway should have charged by the ledger: the cost that it told, else the order's amount."""
        if self.state != State.SUCCEEDED:
            return 0
        return self.amount_fen if self.cost_fen is None else self.cost_fen


@dataclass(frozen=True, slots=True)
class Charge:
    """One number at a gateway: an attempt of an order. Only what the gateway keeps of the merchant's money counts."""

    order_no: str  # of the order
    gateway: str
    product: str
    standing: str
    charges: int
    kept_fen: int
    pushes: int
    fault: str | None
    account: str  # whom the money is for
    amount_fen: int

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Charge":
        """Read one entry of the sandbox's `GET /ledger`."""
        if row["gateway"] == _HAS_NO_NUMBER_OF_OURS:
            order_no = owner(row["account"])
        else:
            order_no, _attempt = candidates(row["order_no"])[-1]
        return cls(
            order_no,
            row["gateway"],
            row["product"],
            row["status"],
            row["charges"],
            row["charged_fen"] - row["refunded_fen"],
            row["pushes"],
            row["fault"],
            row["account"],
            row["amount_fen"],
        )

    @property
    def settled(self) -> bool:
        """Whether its life at the gateway is over by itself; what has failed there is still to be refunded."""
        return self.standing in _SETTLED or (self.standing == "failed" and not self.kept_fen)


@dataclass(slots=True)
class Class:
    """The orders of one product at one gateway."""

    orders: int = 0
    ledger_fen: int = 0  # what they should have cost by the ledger
    gateway_fen: int = 0  # what the gateway has kept for them

    def add(self, other: "Class") -> None:
        """Add another class to this one."""
        self.orders += other.orders
        self.ledger_fen += other.ledger_fen
        self.gateway_fen += other.gateway_fen


@dataclass(slots=True)
class Verdict:
    """The comparison; `differences` has the orders concerned by kind, all empty when everything is right."""

    classes: dict[tuple[str, str], Class] = field(default_factory=lambda: defaultdict(Class))  # by gateway and product
    differences: dict[str, list[str]] = field(default_factory=dict)

    def total(self, gateway: str | None = None) -> Class:
        """Return every order, or those at one gateway."""
        added = Class()
        for (name, _product), each in self.classes.items():
            if gateway in (None, name):
                added.add(each)
        return added

    @property
    def right(self) -> bool:
        """Whether nothing differs."""
        agree = all(each.ledger_fen == each.gateway_fen for each in self.classes.values())
        return agree and not any(self.differences.values())


CHARGED_TWICE = "charged twice"
LOST = "lost: published, and not in the ledger"
CHARGED_NOT_SUCCEEDED = "charged, and not succeeded"
SUCCEEDED_NOT_CHARGED = "succeeded, and not charged"
OTHERWISE = "otherwise at the gateway than in the ledger"
NOT_AS_ORDERED = "another product, account or amount than was published"
UNASKED = "in a ledger, and never published"
EVENTS_MISSING = "told nothing, or not the last of it"
OPEN = "still open"
REVIEW = "in review"
DEAD = "dead letters"


def compare(
    published: Mapping[str, Wish],
    ledger: Iterable[Row],
    gateways: Iterable[Charge],
    heard: Mapping[str, tuple[int, str]],
    accepted: set[str],
) -> Verdict:
    """Compare what was published (by order number), what became of it on both sides, and what was told."""
    rows = {row.order_no: row for row in ledger}
    charges: dict[str, list[Charge]] = defaultdict(list)
    verdict = Verdict()
    found = verdict.differences
    kinds = (CHARGED_TWICE, LOST, CHARGED_NOT_SUCCEEDED, SUCCEEDED_NOT_CHARGED, OTHERWISE, NOT_AS_ORDERED, UNASKED)
    found.update((kind, []) for kind in (*kinds, EVENTS_MISSING, OPEN, REVIEW))
    for charge in gateways:
        charges[charge.order_no].append(charge)
        verdict.classes[charge.gateway, charge.product].gateway_fen += charge.kept_fen
    found[UNASKED] += sorted((rows.keys() | charges.keys()) - published.keys())
    for order_no, wish in published.items():
        row, own = rows.get(order_no), charges.get(order_no, [])
        if _charged_twice(own):
            found[CHARGED_TWICE].append(order_no)
        if any(
            (each.product, each.account, each.amount_fen) != (wish.product, wish.account, wish.amount_fen)
            for each in own
        ):
            found[NOT_AS_ORDERED].append(order_no)
        if row is None:
            found[LOST].append(order_no)
            continue
        at_gateway = verdict.classes[row.gateway, row.product]
        at_gateway.orders += 1
        at_gateway.ledger_fen += row.due_fen
        if (kind := _difference(row, own)) is not None:
            found[kind].append(order_no)
        if row.state == State.REVIEW:
            found[REVIEW].append(order_no)
        elif row.state not in _FINAL:
            found[OPEN].append(order_no)
        if order_no not in accepted or (row.state in _FINAL and heard.get(order_no) != (row.version, row.state)):
            found[EVENTS_MISSING].append(order_no)
    return verdict


def _charged_twice(charges: Sequence[Charge]) -> bool:
    """Return whether one number of an order was charged more than once, or more than one number keeps money."""
    return any(each.charges > 1 for each in charges) or sum(each.kept_fen > 0 for each in charges) > 1


def _difference(row: Row, charges: Sequence[Charge]) -> str | None:
    """Return how the order stands otherwise at its gateways than in the ledger."""
    kept_fen = sum(charge.kept_fen for charge in charges)
    if kept_fen > row.due_fen:
        return CHARGED_NOT_SUCCEEDED
    if kept_fen < row.due_fen:
        return SUCCEEDED_NOT_CHARGED
    # the attempt that has its money, else the last one
    standing = next((each.standing for each in charges if each.kept_fen), charges[-1].standing if charges else None)
    return OTHERWISE if row.state in _AGREES and standing not in _AGREES[row.state] else None
