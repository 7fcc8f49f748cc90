"""What an order is: its states, the facts about it, and the number under which a gateway knows it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""No evidence, no changes."""


class State(StrEnum):
    """Where an order stands; journal and `worker orders show` use these names."""

    __hash__ = str.__hash__  # the table is read for every step, and an enum's own hash is Python code

    QUEUED = "queued"  # admitted; not sent yet, or proven not sent
    SUBMITTING = "submitting"  # committed before the call; the call is in flight, or its worker died
    UNKNOWN = "unknown"  # the call was made and nobody knows what became of it
    PENDING = "pending"  # the gateway has it
    AWAITING_PAYMENT = "awaiting_payment"  # the payer must act
    REVIEW = "review"  # a person must decide
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"  # less arrived than was asked for
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


FINAL = frozenset({State.SUCCEEDED, State.PARTIAL, State.FAILED, State.CANCELLED, State.REFUNDED})


class Task(StrEnum):
    """What has to be done when an order's alarm rings."""

    SUBMIT = "submit"  # send it
    LEASE = "lease"  # its worker did not come back: it is unknown now
    QUERY = "query"  # ask the gateway


TASKS: Mapping[State, Task] = MappingProxyType(
    {
        State.QUEUED: Task.SUBMIT,
        State.SUBMITTING: Task.LEASE,
        State.UNKNOWN: Task.QUERY,
        State.PENDING: Task.QUERY,
        State.AWAITING_PAYMENT: Task.QUERY,
    }
)
"""The task of each state that has an alarm; every other state has none."""


class ReviewKind(StrEnum):
    """Why an order is in review, which decides how the review may end."""

    OVERDUE = "overdue"  # nobody answered in time: a proven answer ends it, and so does a person
    CONTRADICTION = "contradiction"  # the facts disagree: only a person ends it


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an order is where it is: a stable code, and a masked line for people."""

    code: str
    message: str


ACCOUNT_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "mobile": "mobile",
        "power": "account_no",
        "oil": "card_no",
        "game": "account",
        "douyin": "account",
        "campus": "user_id",
        "ebike": "charging_token",
    }
)
"""The field of each product's target that names whom the money is for."""


@dataclass(frozen=True)
class Order:
    """One order as its row in the ledger has it. Amounts are fen, times aware UTC."""

    order_no: str
    source: str
    product: str
    amount_fen: int
    target: Mapping[str, Any]
    route: tuple[str, ...]  # gateways in order of preference, fixed when admitted
    gateway: str  # the one of the current attempt
    expires_at: datetime | None = None
    correlation_id: str | None = None

    state: State = State.QUEUED
    version: int = 0  # raised by every transition
    attempt: int = 1  # raised by a failover or a resubmission: a new number at the gateway
    sending: int = 0  # raised whenever a call begins: no failure that an older one reports is believed
    upstream_no: str | None = None
    arrived_fen: int | None = None
    cost_fen: int | None = None
    reason: Reason | None = None
    payment: Mapping[str, Any] | None = None
    payment_expires_at: datetime | None = None

    sent_at: datetime | None = None  # first sending of this attempt that may have arrived; the deadline counts from it
    queries: int = 0  # queries since the state was entered
    unsent: int = 0  # calls in a row that were proven not sent, lost where a repetition costs nothing, or unfunded
    absent_count: int = 0  # "no such order" in a row
    absent_since: datetime | None = None
    doubt: Reason | None = None  # a refusal that no table lists, believed only with a settled absence
    review_kind: ReviewKind | None = None
    noted: str | None = None  # the last unlisted code in the journal, so that each is noted once
    delivered: bool = False  # the gateway has once proven that money arrived
    cancelling: bool = False  # its producer asked its gateway to cancel it: no other gateway gets it

    trace: str | None = None  # the W3C context that it came with, as `core.trace` writes it
    id: int = 0  # the ledger's key
    revision: int = 0  # raised by every write of the row, transition or not: what a compare-and-set compares

    def changed(self, changes: Mapping[str, Any]) -> "Order":
        """Return this order with some fields changed; `dataclasses.replace` costs ten times as much at every step."""
        order = object.__new__(Order)
        order.__dict__.update(self.__dict__)
        order.__dict__.update(changes)
        return order

    def at_attempt(self, attempt: int, gateway: str) -> "Order":
        """Return this order as `gateway` knows it from an attempt that was given up, to ask about that."""
        return self.changed({"attempt": attempt, "gateway": gateway, "upstream_no": None})

    @property
    def reference(self) -> str:
        """The number under which the gateway of the current attempt knows this order."""
        return reference(self.order_no, self.attempt)

    @property
    def account(self) -> str:
        """Whom the money is for; compare with what a gateway says, never log unmasked."""
        return str(self.target.get(ACCOUNT_FIELDS.get(self.product, ""), ""))

    def is_for(self, told: str) -> bool:
        """Return whether `told` names whom the money is for: the account's own number, or its holder's phone."""
        return told in (self.account, self.target.get("phone"))

    @property
    def hinted(self) -> bool:
        """Whether the last that was noted is a callback which nobody has looked into yet."""
        return self.noted is not None and self.noted.startswith(_HINTS)

    @property
    def final(self) -> bool:
        """Whether nothing but a proven refund or a contradiction can move the order."""
        return self.state in FINAL


def reference(order_no: str, attempt: int) -> str:
    """Return the number of an attempt at its gateway: `T1` for the first, then `T1R2`, `T1R3` and so on."""
    return order_no if attempt == 1 else f"{order_no}R{attempt}"


_LATER_ATTEMPT = re.compile(r"(.+)R([2-9]|[1-9][0-9]+)")


def candidates(reference: str) -> list[tuple[str, int]]:
    """Return the (order_no, attempt) pairs that `reference` may stand for, the literal reading first."""
    found = _LATER_ATTEMPT.fullmatch(reference)
    literal = [(reference, 1)]
    return literal if found is None else [*literal, (found.group(1), int(found.group(2)))]


class Event(StrEnum):
    """What can happen to an order; the journal's `cause`."""

    __hash__ = str.__hash__

    ADMITTED = "admitted"  # its message was taken in
    TAKEN = "taken"  # a free slot: the call is about to be made
    EXPIRED = "expired"  # `expires_at` passed while it waited
    CANCEL_REQUESTED = "cancel_requested"
    # what became of a submit call
    ACCEPTED = "accepted"
    REJECTED = "rejected"  # a definite no
    UNFUNDED = "unfunded"  # a definite no for now: our money at the gateway is used up
    NOT_SENT = "not_sent"  # proven
    UNANSWERED = "unanswered"  # the outcome is unknown
    LEASE_ENDED = "lease_ended"  # its worker is gone
    # what a query or a proven callback says
    CHARGING = "charging"
    PAYMENT_DUE = "payment_due"
    ARRIVED = "arrived"
    ARRIVED_IN_PART = "arrived_in_part"
    REFUSED = "refused"
    RETURNED = "returned"  # the money came back
    CALLED_OFF = "called_off"
    DISPUTED = "disputed"  # the gateway itself cannot say
    MISMATCH = "mismatch"  # another number, amount, account or merchant than ours
    ABSENT = "absent"  # "no such order"
    UNCLEAR = "unclear"  # a status that no table lists
    SILENT = "silent"  # the query itself got no readable answer
    CLAIMED = "claimed"  # an unproven callback: a hint, never a proof
    # an attempt that was given up
    GHOST = "ghost"  # it lives, or has succeeded
    OLD_NEWS = "old_news"  # its end is confirmed
    # a named operator
    RESOLVED_SUCCEEDED = "resolved_succeeded"
    RESOLVED_FAILED = "resolved_failed"
    RESUBMITTED = "resubmitted"


_HINTS = (f"{Event.CLAIMED}:", f"{Event.REFUSED}:")
"""What `noted` begins with after an unproven callback, and after a refusal that came while its call was in flight."""


class Fact(NamedTuple):
    """One thing that happened, with what proves it. `evidence` is masked by whoever made it."""

    event: Event
    attempt: int = 1
    sending: int | None = None  # of submit outcomes and leases: which call; of a query's answer: the latest when asked
    asked_at: datetime | None = None  # of a query's answer: when the question was put
    code: str | None = None
    message: str | None = None
    upstream_no: str | None = None
    arrived_fen: int | None = None
    cost_fen: int | None = None
    payment: Mapping[str, Any] | None = None
    payment_expires_at: datetime | None = None
    doubt: bool = False  # UNANSWERED because of a refusal code that no table lists
    evidence: Mapping[str, Any] = NOTHING
