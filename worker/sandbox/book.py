"""The ledger of the simulated gateways: what was really charged, which is what the worker is judged by."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from worker.sandbox.journal import Journal

_ORDER = "order"
_TOP_UP = "top_up"


class Standing(StrEnum):
    """Where an order truly stands at its gateway."""

    NOT_TAKEN = "not_taken"  # a push reached the simulator, but the gateway never knew the order
    AWAITING_PAYMENT = "awaiting_payment"  # taken, and nothing is charged before the payer acts
    CHARGING = "charging"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUNDED = "refunded"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    PARTIAL = "partial"
    REVERSED = "reversed"
    TIMED_OUT = "timed_out"
    UNLISTED = "unlisted"  # what a fault shows: a status that no document lists; no order truly stands so


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a push asks for, as its simulator has read it. Money is fen."""

    order_no: str
    account: str  # who is to be charged or topped up; its last two digits may ask for a fault
    amount_fen: int
    notify_url: str = ""
    product: str = ""
    details: Mapping[str, str] = field(default_factory=dict)  # whatever the simulator wants to find again
    again: bool = False  # only where no number tells: an earlier push asked for the same


@dataclass(slots=True)
class Entry:
    """One order number at one gateway. Amounts are fen, times unix seconds."""

    gateway: str
    order_no: str
    account: str
    amount_fen: int
    notify_url: str
    product: str = ""
    details: dict[str, str] = field(default_factory=dict)
    fault: str | None = None
    status: Standing = Standing.NOT_TAKEN
    order_number: str = ""  # the gateway's own; empty while it has not taken the order
    charges: int = 0  # how often money moved for this number
    charged_fen: int = 0
    refunded_fen: int = 0
    arrived_fen: int = 0
    taken_at: float = 0.0
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def taken(self) -> bool:
        """Whether the gateway has the order."""
        return self.status is not Standing.NOT_TAKEN

    @property
    def kept_fen(self) -> int:
        """Return what the gateway has of the merchant's money for this order."""
        return self.charged_fen - self.refunded_fen

    def row(self) -> dict[str, Any]:
        """Return the entry as `GET /ledger` shows it."""
        return {
            "gateway": self.gateway,
            "order_no": self.order_no,
            "order_number": self.order_number,
            "product": self.product,
            "account": self.account,
            "amount_fen": self.amount_fen,
            "status": self.status,
            "charges": self.charges,
            "pushes": self.calls.get("push", 0),
            "charged_fen": self.charged_fen,
            "refunded_fen": self.refunded_fen,
            "arrived_fen": self.arrived_fen,
            "calls": self.calls,
            "fault": self.fault,
            "details": self.details,
        }


class Book:
    """All entries, in memory; each change is written to the journal, whose entries are taken up at start."""

    def __init__(self, balance_fen: int, journal: Journal) -> None:
        self._prepaid_fen = balance_fen
        self._journal = journal
        self._began = time.strftime("%y%m%d%H%M%S")  # no number comes twice, also after a restart without a file
        self._entries: dict[tuple[str, str], Entry] = {}
        self._by_number: dict[tuple[str, str], Entry] = {}
        self._kept_fen: Counter[str] = Counter()  # by gateway
        self._refused: Counter[tuple[str, str]] = Counter()  # calls turned away, by gateway and code
        self._numbers = 0
        self._unkept: set[tuple[str, str]] = set()  # entries with calls that the file does not know of
        self._topped_up_fen: Counter[str] = Counter()  # by gateway
        self._crashes: list[str] = []
        self._read_back()

    def find(self, gateway: str, order_no: str) -> Entry | None:
        """Return the entry of our number, also when the gateway never took it."""
        return self._entries.get((gateway, order_no))

    def find_number(self, gateway: str, order_number: str) -> Entry | None:
        """Return the entry of the gateway's number."""
        return self._by_number.get((gateway, order_number))

    def open(self, gateway: str, wanted: Wanted) -> Entry:
        """Return a new entry, or the one that an earlier push left without being taken."""
        key = (gateway, wanted.order_no)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(
                gateway, wanted.order_no, wanted.account, wanted.amount_fen, wanted.notify_url
            )
        else:
            entry.account, entry.amount_fen, entry.notify_url = wanted.account, wanted.amount_fen, wanted.notify_url
        entry.product, entry.details = wanted.product, dict(wanted.details)
        return entry

    def take(self, entry: Entry, standing: Standing = Standing.CHARGING) -> None:
        """Let the gateway have the order: it gets its number, and the money moves unless a payer has to act first."""
        self._numbers += 1
        entry.order_number = f"{self._began}{self._numbers:08d}"
        entry.taken_at = time.time()
        entry.status = standing
        self._by_number[entry.gateway, entry.order_number] = entry
        if standing is Standing.AWAITING_PAYMENT:
            self.keep(entry)
        else:
            self.charge(entry)

    def charge(self, entry: Entry) -> None:
        """Move the order's money from the merchant to the gateway, once more."""
        entry.charges += 1
        entry.charged_fen += entry.amount_fen
        self._kept_fen[entry.gateway] += entry.amount_fen
        self.keep(entry)

    def refund(self, entry: Entry, fen: int) -> None:
        """Move `fen` of it back."""
        entry.refunded_fen += fen
        self._kept_fen[entry.gateway] -= fen
        self.keep(entry)

    def move(self, entry: Entry, status: Standing, arrived_fen: int = 0) -> None:
        """Change where the order stands."""
        entry.status = status
        entry.arrived_fen = arrived_fen
        self.keep(entry)

    def note(self, entry: Entry, call: str) -> None:
        """Count a call about the order; the file learns of it with the order's next change."""
        entry.calls[call] = entry.calls.get(call, 0) + 1
        self._unkept.add((entry.gateway, entry.order_no))

    def keep(self, entry: Entry) -> None:
        """Write the entry as it is now to the journal."""
        self._unkept.discard((entry.gateway, entry.order_no))
        self._journal.write(_ORDER, entry)

    def note_refusal(self, gateway: str, code: str) -> None:
        """Count a call that the gateway turned away."""
        self._refused[gateway, code] += 1

    def note_crash(self, where: str, error: BaseException) -> None:
        """Remember that a simulator itself failed: what it answered then is nothing that a gateway says."""
        self._crashes.append(f"{where}: {type(error).__name__}: {error}")

    def top_up(self, gateway: str, fen: int) -> None:
        """Prepay `fen` more at the gateway; less than 0 takes it out again."""
        self._topped_up_fen[gateway] += fen
        self._journal.write(_TOP_UP, {"gateway": gateway, "fen": fen})

    def balance_fen(self, gateway: str) -> int:
        """Return what the merchant has left at the gateway."""
        return self._prepaid_fen + self._topped_up_fen[gateway] - self._kept_fen[gateway]

    def entries(self, order_no: str | None = None, gateway: str | None = None) -> Iterable[Entry]:
        """Return the entries, oldest first."""
        for entry in self._entries.values():
            if order_no in (None, entry.order_no) and gateway in (None, entry.gateway):
                yield entry

    def totals(self, gateway: str | None = None) -> dict[str, Any]:
        """Return the sums over all gateways or one, and what would be hard to see among many orders."""
        entries = list(self.entries(gateway=gateway))
        refused: dict[str, dict[str, int]] = {}
        for (refuser, code), count in self._refused.items():
            if gateway in (None, refuser):
                refused.setdefault(refuser, {})[code] = count
        return {
            "orders": len(entries),
            "charged_orders": sum(1 for entry in entries if entry.charges),
            "pushes": sum(entry.calls.get("push", 0) for entry in entries),
            "charges": sum(entry.charges for entry in entries),
            "charged_fen": sum(entry.charged_fen for entry in entries),
            "refunded_fen": sum(entry.refunded_fen for entry in entries),
            "net_fen": sum(entry.kept_fen for entry in entries),
            "by_status": Counter(entry.status.value for entry in entries),
            "charged_more_than_once": [entry.order_no for entry in entries if entry.charges > 1],
            "pushed_more_than_once": [entry.order_no for entry in entries if entry.calls.get("push", 0) > 1],
            "refused_calls": refused,
            "crashes": list(self._crashes),
        }

    def reset(self) -> None:
        """Forget everything but the file, which is the journal's."""
        for kept in (
            self._entries,
            self._by_number,
            self._kept_fen,
            self._topped_up_fen,
            self._refused,
            self._unkept,
            self._crashes,
        ):
            kept.clear()

    def close(self) -> None:
        """Write what the journal has not got yet."""
        for key in list(self._unkept):
            self.keep(self._entries[key])

    def _read_back(self) -> None:
        for row in self._journal.found(_ORDER):
            row["status"] = Standing(row["status"])
            entry = Entry(**row)
            self._entries[entry.gateway, entry.order_no] = entry
        for entry in self._entries.values():
            self._kept_fen[entry.gateway] += entry.kept_fen
            if entry.taken:
                self._by_number[entry.gateway, entry.order_number] = entry
        for row in self._journal.found(_TOP_UP):
            self._topped_up_fen[row["gateway"]] += row["fen"]
        self._numbers = len(self._by_number)
