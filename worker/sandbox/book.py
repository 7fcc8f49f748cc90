"""The ledger of the simulated gateways: what was really charged, which is what the worker is judged by."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson


class Standing(StrEnum):
    """Where an order truly stands at its gateway."""

    NOT_TAKEN = "not_taken"  # a push reached the simulator, but the gateway never knew the order
    CHARGING = "charging"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUNDED = "refunded"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    PARTIAL = "partial"
    REVERSED = "reversed"
    TIMED_OUT = "timed_out"


@dataclass(slots=True)
class Entry:
    """One order number at one gateway. Amounts are fen, times unix seconds."""

    gateway: str
    order_no: str
    account: str
    amount_fen: int
    notify_url: str
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
        }


class Book:
    """All entries, in memory; with a file, each change is appended to it as one line and read back at start."""

    def __init__(self, balance_fen: int, file: Path | None) -> None:
        self._prepaid_fen = balance_fen
        self._began = time.strftime("%y%m%d%H%M%S")  # no number comes twice, also after a restart without a file
        self._entries: dict[tuple[str, str], Entry] = {}
        self._by_number: dict[tuple[str, str], Entry] = {}
        self._kept_fen: Counter[str] = Counter()  # by gateway
        self._refused: Counter[tuple[str, str]] = Counter()  # calls turned away, by gateway and code
        self._numbers = 0
        self._unkept: set[tuple[str, str]] = set()  # entries with calls that the file does not know of
        if file is not None and file.exists():
            self._read_back(file)
        self._file = None if file is None else file.open("ab")

    def find(self, gateway: str, order_no: str) -> Entry | None:
        """Return the entry of our number, also when the gateway never took it."""
        return self._entries.get((gateway, order_no))

    def find_number(self, gateway: str, order_number: str) -> Entry | None:
        """Return the entry of the gateway's number."""
        return self._by_number.get((gateway, order_number))

    def open(self, gateway: str, order_no: str, account: str, amount_fen: int, notify_url: str) -> Entry:
        """Return a new entry, or the one that an earlier push left without being taken."""
        entry = self._entries.get((gateway, order_no))
        if entry is None:
            entry = self._entries[gateway, order_no] = Entry(gateway, order_no, account, amount_fen, notify_url)
        else:
            entry.account, entry.amount_fen, entry.notify_url = account, amount_fen, notify_url
        return entry

    def take(self, entry: Entry) -> None:
        """Let the gateway have the order: it gets its number and the money moves."""
        self._numbers += 1
        entry.order_number = f"{self._began}{self._numbers:08d}"
        entry.taken_at = time.time()
        entry.status = Standing.CHARGING
        self._by_number[entry.gateway, entry.order_number] = entry
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
        """Append the entry as it is now to the file."""
        self._unkept.discard((entry.gateway, entry.order_no))
        if self._file is not None:
            self._file.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
            self._file.flush()

    def note_refusal(self, gateway: str, code: str) -> None:
        """Count a call that the gateway turned away."""
        self._refused[gateway, code] += 1

    def balance_fen(self, gateway: str) -> int:
        """Return what the merchant has left at the gateway."""
        return self._prepaid_fen - self._kept_fen[gateway]

    def entries(self, order_no: str | None = None, gateway: str | None = None) -> Iterable[Entry]:
        """Return the entries, oldest first."""
        for entry in self._entries.values():
            if order_no in (None, entry.order_no) and gateway in (None, entry.gateway):
                yield entry

    def totals(self) -> dict[str, Any]:
        """Return the sums over all gateways, and what would be hard to see among many orders."""
        entries = self._entries.values()
        refused: dict[str, dict[str, int]] = {}
        for (gateway, code), count in self._refused.items():
            refused.setdefault(gateway, {})[code] = count
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
        }

    def reset(self) -> None:
        """Forget everything, in the file too."""
        for kept in (self._entries, self._by_number, self._kept_fen, self._refused, self._unkept):
            kept.clear()
        if self._file is not None:
            self._file.truncate(0)

    def close(self) -> None:
        """Write what the file has not got yet and close it."""
        if self._file is not None:
            for key in list(self._unkept):
                self.keep(self._entries[key])
            self._file.close()
            self._file = None

    def _read_back(self, file: Path) -> None:
        *lines, last = file.read_bytes().split(b"\n")
        if last:  # killed while it wrote: drop the torn line, or the next one would be glued to it
            with file.open("r+b") as torn:
                torn.truncate(file.stat().st_size - len(last))
        for line in lines:
            row = orjson.loads(line)
            row["status"] = Standing(row["status"])
            entry = Entry(**row)
            self._entries[entry.gateway, entry.order_no] = entry
        for entry in self._entries.values():
            self._kept_fen[entry.gateway] += entry.kept_fen
            if entry.taken:
                self._by_number[entry.gateway, entry.order_number] = entry
        self._numbers = len(self._by_number)
