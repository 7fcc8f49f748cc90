"""What a gateway's adapter can say: six outcomes of a submit, and a report from a query or a callback."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from worker.core.masking import mask
from worker.core.order import NOTHING, Event, Fact, Order


class Outcome(StrEnum):
    """What became of a submit call, by phase."""

    ACCEPTED = "accepted"  # the gateway has it
    SUCCEEDED = "succeeded"  # some gateways answer at once
    REJECTED = "rejected"  # a definite no: this attempt is dead
    UNFUNDED = "unfunded"  # a definite no that is not the order's fault: our money at the gateway is used up
    NOT_SENT = "not_sent"  # proven: no byte that moves money has left
    UNKNOWN = "unknown"  # anything else


class Submitted(NamedTuple):
    """The outcome of one submit, as the adapter or the sender makes it."""

    outcome: Outcome
    code: str | None = None
    message: str | None = None  # masked
    upstream_no: str | None = None
    cost_fen: int | None = None
    payment: Mapping[str, Any] | None = None  # ACCEPTED with it: the payer must act
    payment_expires_at: datetime | None = None
    doubt: bool = False  # UNKNOWN, or not sent, because of a refusal code that no table lists
    evidence: Mapping[str, Any] = NOTHING
    mismatch: str | None = None  # what it took is not what we asked for, masked: whatever the outcome, a person looks

    def fact(self, order: Order) -> Fact:
        """Return this outcome as a fact about the call that `order`'s current sending is."""
        event, code, message = _OUTCOME_EVENTS[self.outcome], self.code, self.message
        if event is Event.ACCEPTED and self.payment is not None:
            event = Event.PAYMENT_DUE
        if self.mismatch is not None:
            event, code, message = Event.MISMATCH, "mismatch", self.mismatch
        return Fact(
            event=event,
            attempt=order.attempt,
            sending=order.sending,
            code=code,
            message=message,
            upstream_no=self.upstream_no,
            cost_fen=self.cost_fen,
            payment=self.payment,
            payment_expires_at=self.payment_expires_at,
            doubt=self.doubt,
            evidence=self.evidence,
        )


class Status(StrEnum):
    """Where the gateway says that an order stands."""

    CHARGING = "charging"
    PAYMENT_DUE = "payment_due"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    DISPUTED = "disputed"  # the gateway itself cannot say: a person must look
    ABSENT = "absent"  # "no such order"
    UNCLEAR = "unclear"  # a status that the adapter's table does not list
    SILENT = "silent"  # no readable answer


class Report(NamedTuple):
    """What a query's answer or a callback says about one attempt.

    `amount_fen`, `account` and `merchant` are compared with ours where they are given, so an
    adapter sets them only from fields that its evidence really covers.
    """

    status: Status
    code: str | None = None
    message: str | None = None  # masked
    upstream_no: str | None = None
    amount_fen: int | None = None
    account: str | None = None
    foreign: str | None = None  # a merchant or reference that is not ours, masked
    arrived_fen: int | None = None
    cost_fen: int | None = None
    payment_expires_at: datetime | None = None
    proven: bool = True
    evidence: Mapping[str, Any] = NOTHING

    def outdated(self, order: Order, attempt: int) -> bool:
        """Return whether it says that an attempt is on its way which was given up: that may have been so before."""
        return attempt != order.attempt and self.status in _ON_ITS_WAY

    def renumbered(self, order: Order, attempt: int) -> bool:
        """Return whether it has another number of theirs for the latest attempt than the one that is known."""
        known = order.upstream_no if attempt == order.attempt else None
        return known is not None and self.upstream_no is not None and self.upstream_no != known

    def hints(self, order: Order, attempt: int) -> bool:
        """Return whether it, come by itself, is only a reason to ask.

        That money moved under another number is more than that: no answer about the known one undoes it.
        """
        another = self.renumbered(order, attempt) and self.status not in _MONEY_MOVED
        return not self.proven or self.outdated(order, attempt) or another

    def fact(self, order: Order, attempt: int, *, fresh: bool = False) -> Fact:
        """Return this report as a fact about `attempt` of `order`; a mismatch outweighs the status.

        What may be outdated, or about another order of theirs, is a hint, as an unproven report is, unless it is
        `fresh`: asked for since.
        """
        event, message = _STATUS_EVENTS[self.status], self.message
        code = self.code
        if not self.proven or (not fresh and self.outdated(order, attempt)):
            event = Event.CLAIMED
        elif self.status is Status.PARTIAL and not self.arrived_fen:
            event = Event.UNCLEAR  # how much arrived is what a partial arrival is about
        elif difference := self._difference(order):
            event, code, message = Event.MISMATCH, "mismatch", difference
        elif not fresh and self.hints(order, attempt):
            event = Event.CLAIMED
        return Fact(
            event=event,
            attempt=attempt,
            code=code,
            message=message,
            upstream_no=self.upstream_no,
            arrived_fen=self.arrived_fen,
            cost_fen=self.cost_fen,
            payment_expires_at=self.payment_expires_at,
            evidence=self.evidence,
        )

    def answer(self, order: Order, asked: Order, at: datetime, attempt: int | None = None) -> Fact:
        """Return this report, about `order` as it is now, as the answer to what was asked at `at`.

        `asked` is the order as it was then, `attempt` the one of its attempts in question, if not the latest.
        A question that is older than the latest call cannot tell that the call failed.
        """
        about = attempt or asked.attempt
        given_up_since = about == asked.attempt != order.attempt
        fact = self.fact(order, about, fresh=not given_up_since)
        return fact._replace(sending=asked.sending, asked_at=at)

    def _difference(self, order: Order) -> str | None:
        if self.foreign is not None:
            return self.foreign
        if self.amount_fen is not None and self.amount_fen != order.amount_fen:
            return f"amount: ours {order.amount_fen} fen, theirs {self.amount_fen} fen"
        if self.account is not None and not order.is_for(self.account):
            return f"account: ours {mask(order.account)}, theirs {mask(self.account)}"
        if self.status is Status.PARTIAL and self.arrived_fen is not None and self.arrived_fen >= order.amount_fen:
            return f"arrived: {self.arrived_fen} fen of {order.amount_fen}, and yet in part"
        return None


_ON_ITS_WAY = frozenset({Status.CHARGING, Status.PAYMENT_DUE})
_MONEY_MOVED = frozenset({Status.SUCCEEDED, Status.PARTIAL})
_OUTCOME_EVENTS = {
    Outcome.ACCEPTED: Event.ACCEPTED,
    Outcome.SUCCEEDED: Event.ARRIVED,
    Outcome.REJECTED: Event.REJECTED,
    Outcome.UNFUNDED: Event.UNFUNDED,
    Outcome.NOT_SENT: Event.NOT_SENT,
    Outcome.UNKNOWN: Event.UNANSWERED,
}
_STATUS_EVENTS = {
    Status.CHARGING: Event.CHARGING,
    Status.PAYMENT_DUE: Event.PAYMENT_DUE,
    Status.SUCCEEDED: Event.ARRIVED,
    Status.PARTIAL: Event.ARRIVED_IN_PART,
    Status.FAILED: Event.REFUSED,
    Status.REFUNDED: Event.RETURNED,
    Status.CANCELLED: Event.CALLED_OFF,
    Status.DISPUTED: Event.DISPUTED,
    Status.ABSENT: Event.ABSENT,
    Status.UNCLEAR: Event.UNCLEAR,
    Status.SILENT: Event.SILENT,
}
