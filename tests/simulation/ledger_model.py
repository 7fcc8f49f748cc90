"""A ledger as it has to be: it writes what the machine decides, and checks what must hold of every step."""

from datetime import datetime, timedelta
from typing import ClassVar

from gateway_model import GatewayModel
from hypothesis.stateful import RuleBasedStateMachine

from worker.core.machine import Decision, Ignored, Moment, decide
from worker.core.order import FINAL, TASKS, Event, Fact, Order, ReviewKind, State
from worker.core.policy import Policy
from worker.core.rules import transitions

S, E = State, Event
TRANSITIONS = frozenset(transitions())
PROVING = frozenset(
    {
        E.ARRIVED, E.ARRIVED_IN_PART, E.REJECTED, E.REFUSED, E.RETURNED, E.CALLED_OFF,
        E.ABSENT,  # settled, and refused with a code that no table lists
        E.PAYMENT_DUE,  # asked after its expiry
        E.TAKEN, E.EXPIRED, E.CANCEL_REQUESTED,  # of a queued order: it is not sent
        E.RESOLVED_SUCCEEDED, E.RESOLVED_FAILED,
    }
)  # fmt: skip
"""Events that may end an order."""
LIVING = frozenset({E.ACCEPTED, E.CHARGING, E.PAYMENT_DUE, E.ARRIVED, E.ARRIVED_IN_PART, E.DISPUTED, E.MISMATCH})
OPERATOR = frozenset({E.RESOLVED_SUCCEEDED, E.RESOLVED_FAILED, E.RESUBMITTED})
FAILURE = frozenset({E.REJECTED, E.UNFUNDED, E.REFUSED, E.RESUBMITTED})
"""Events after which there may be another attempt."""


class LedgerModel(RuleBasedStateMachine):
    """One order as it was written last, and books of our own about what the gateways were asked and told."""

    honest: ClassVar[bool] = True
    now: datetime
    policy: Policy
    order: Order
    alarm: datetime | None
    gateways: dict[str, GatewayModel]
    loose: set[int]
    """Sendings of this attempt whose outcome nobody knows."""
    absences: list[tuple[datetime, datetime]]
    """Asked and written, since anything else was heard."""
    decided_by_person: bool

    def moment(self) -> Moment:
        """The circumstances of a decision made now."""
        return Moment(self.now, self.policy)

    def apply(self, fact: Fact) -> None:
        """Write what a fact makes of the order, as the ledger does."""
        before = self.order
        decision = decide(before, fact, self.moment())
        self.hear(before, fact, decision)
        if fact.attempt != before.attempt and fact.event in LIVING:
            if fact.payment is None:
                kind = decision.order.review_kind
                assert kind is ReviewKind.CONTRADICTION, "an attempt that was given up and lives is left to a person"
            else:
                assert decision.event is E.OLD_NEWS, "a charge that no payer is told of is never paid"
                assert decision.order.payment == before.payment
        if isinstance(decision, Ignored):
            assert decision.order is before
            return
        after = self.order = decision.order
        assert after == before.changed(decision.changes)
        assert after.revision == before.revision + 1
        if after.version == before.version:
            kept = ("state", "attempt", "gateway", "sending", "sent_at", "arrived_fen", "cost_fen", "delivered")
            assert all(getattr(after, name) == getattr(before, name) for name in kept)
        else:
            assert after.version == before.version + 1, "versions only grow, by one"
            self.check_step(before, decision)
        if after.state not in TASKS:
            assert decision.due_in is None
            self.alarm = None
        elif decision.due_in is not None:
            self.alarm = self.now + timedelta(seconds=decision.due_in)
        assert (self.alarm is not None) == (after.state in TASKS), "an open order has an alarm"

    def hear(self, before: Order, fact: Fact, decision: Decision | Ignored) -> None:
        """Keep books of our own about which calls are loose, and how long absence has held."""
        about_this = fact.attempt == before.attempt
        if fact.event is E.UNANSWERED and about_this and fact.sending is not None:
            self.loose.add(fact.sending)
            self.absences.clear()
        elif fact.event in (E.NOT_SENT, E.REJECTED, E.UNFUNDED) and about_this and fact.sending is not None:
            self.loose.discard(fact.sending)
        if isinstance(decision, Ignored):
            return
        if decision.event is E.LEASE_ENDED:
            self.loose.add(before.sending)
        if decision.event is E.ABSENT and before.state is S.UNKNOWN:
            self.absences.append((fact.asked_at or self.now, self.now))
        elif decision.event not in (E.SILENT, E.OLD_NEWS, E.GHOST):
            self.absences.clear()

    def check_step(self, before: Order, decision: Decision) -> None:
        """What must hold of every transition."""
        after, event = decision.order, decision.event
        assert decision.journal
        assert (before.state, after.state, event) in TRANSITIONS
        assert (decision.due_in is not None) == (after.state in TASKS)
        assert (after.review_kind is not None) == (after.state is S.REVIEW)
        assert after.sent_at is not None or after.state in (S.QUEUED, S.REVIEW, *FINAL)
        if after.state in FINAL:
            assert event in PROVING, "an end needs an event that proves it"
            assert decision.fact.evidence
        if before.review_kind is ReviewKind.CONTRADICTION:
            assert event in OPERATOR, "a person decides about contradictions"
        if event is E.ABSENT and after.state in (S.QUEUED, S.FAILED):
            asked, written = self.absences[-1][0], self.absences[0][1]
            assert len(self.absences) >= self.policy.settle_queries
            assert asked - written >= timedelta(seconds=self.policy.settle_seconds)
            self.loose.clear()
        if after.state is S.SUBMITTING and before.state is S.QUEUED and not self.policy.repeat_safe:
            assert not self.loose, "nothing is sent again while it is unknown what became of it"
        if decision.new_attempt:
            assert event in FAILURE, "another attempt only after a definite failure"
            assert event is E.RESUBMITTED or not before.cancelling, "nor of what its producer asked to cancel"
            assert event not in (E.REJECTED, E.UNFUNDED) or not self.loose or self.policy.repeat_safe, (
                "no other call may live"
            )
            self.loose.clear()
        assert decision.new_attempt == (after.attempt != before.attempt)
        self.decided_by_person |= event in OPERATOR
        self.check_money()

    def check_money(self) -> None:
        """With gateways that are honest once their lag is over, nothing is paid twice or behind an end."""
        if not self.honest or self.decided_by_person:
            return
        costing = [entry for gateway in self.gateways.values() for entry in gateway.books if entry.costs(self.now)]
        assert len(costing) <= 1, "one order, one charge"
        if self.order.state in (S.FAILED, S.CANCELLED):
            assert not costing, "an order that has failed costs nothing"
