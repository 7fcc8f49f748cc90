"""A gateway as it may be: it really decides what it charges, and tells the truth after a while."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted

NEXT = {
    Status.PAYMENT_DUE: (Status.SUCCEEDED, Status.CANCELLED),
    Status.CHARGING: (Status.SUCCEEDED, Status.PARTIAL, Status.FAILED, Status.REFUNDED, Status.CANCELLED),
    Status.SUCCEEDED: (Status.REFUNDED,),
    Status.PARTIAL: (Status.REFUNDED,),
}
"""What may become of an order that it has; any other status is the end."""
PROOF = {"reply": "…"}
PAYER_HAS = timedelta(seconds=900)


@dataclass
class Entry:
    """An order in the gateway's own books."""

    number: str
    status: Status
    visible_at: datetime
    expires_at: datetime | None

    def unpaid(self, now: datetime) -> bool:
        """Whether nobody will ever pay it."""
        return self.status is Status.PAYMENT_DUE and self.expires_at is not None and now >= self.expires_at

    def costs(self, now: datetime) -> bool:
        """Whether it has cost money, or still may."""
        ended = self.status in (Status.FAILED, Status.REFUNDED, Status.CANCELLED)
        return not ended and not self.unpaid(now)


@dataclass
class GatewayModel:
    """One gateway. Where it is `strict`, it refuses a number that it has seen."""

    strict: bool = True
    books: list[Entry] = field(default_factory=list)

    def take(self, order: Order, now: datetime, *, lag: float, payer: bool) -> Submitted:
        """Take an order that has arrived, and answer; queries see it after `lag` seconds."""
        number = order.reference
        if self.strict and any(entry.number == number for entry in self.books):
            return Submitted(Outcome.ACCEPTED, "duplicate", evidence=PROOF)
        status = Status.PAYMENT_DUE if payer else Status.CHARGING
        entry = Entry(number, status, now + timedelta(seconds=lag), now + PAYER_HAS if payer else None)
        self.books.append(entry)
        due: dict[str, Any] = {"payment": {"id": number}, "payment_expires_at": entry.expires_at} if payer else {}
        return Submitted(Outcome.ACCEPTED, upstream_no=f"U-{number}", evidence=PROOF, **due)

    def ask(self, order: Order, now: datetime) -> Report:
        """Say where an order stands: of several under one number, one that costs money."""
        found = [entry for entry in self.books if entry.number == order.reference and entry.visible_at <= now]
        if not found:
            return Report(Status.ABSENT, "none", evidence=PROOF)
        return self.report(max(found, key=lambda entry: entry.costs(now)))

    def report(self, entry: Entry, *, proven: bool = True) -> Report:
        """Say where an entry stands."""
        return Report(
            entry.status,
            entry.status.value,
            upstream_no=f"U-{entry.number}",
            arrived_fen=3000 if entry.status is Status.PARTIAL else None,
            proven=proven,
            evidence=PROOF,
        )
