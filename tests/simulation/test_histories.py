"""Random histories: workers that stop, wake and die, gateways that lose answers, and what must never come of it.

`pytest tests/simulation --hypothesis-profile=long` tells far more of them.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from gateway_model import NEXT, PROOF, Entry, GatewayModel
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from worker.core.machine import Decision, Ignored, Moment, admit, decide
from worker.core.order import FINAL, TASKS, Event, Fact, Order, ReviewKind, State, Task
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.core.policy import Policy
from worker.core.rules import transitions

S, E = State, Event
START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TIMEOUT = 15.0
LAG = 100.0  # below `settle_seconds`: what the gateway does not know of after that, it has not got
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
FAILURE = frozenset({E.REJECTED, E.REFUSED, E.RESUBMITTED})
"""Events after which there may be another attempt."""

SOME = st.integers(0, 50)
SOON = st.booleans()
FATES = st.sampled_from(["taken", "lost", "never arrived", "refused", "doubt", "doubt yet taken", "unreachable"])
LAGS = st.sampled_from([0.0, 30.0, LAG])
RARELY = st.sampled_from([False] * 9 + [True])


@dataclass
class Call:
    """One sending in the hands of a worker, which may stop at any point."""

    order: Order
    deadline: datetime  # of its lease
    outcome: Submitted | None = None  # what it came to, not yet written


@dataclass
class Question:
    """A query whose answer is not yet written."""

    order: Order
    at: datetime
    report: Report


class Histories(RuleBasedStateMachine):
    """One order, any number of workers, two gateways that are honest once their lag is over."""

    honest: ClassVar[bool] = True

    @initialize(
        gateways=st.integers(1, 3),
        sending=SOON,
        expires=st.sampled_from([None, None, 30, 400]),
        deadline=st.sampled_from([600, 86_400]),
    )
    def begin(self, gateways: int, sending: bool, expires: int | None, deadline: float) -> None:  # noqa: FBT001 - a rule's parameter
        """An order is admitted."""
        self.now = START
        self.policy = self.make_policy(deadline)
        names = tuple("abc"[:gateways])
        self.gateways = {name: GatewayModel(strict=self.honest) for name in names}
        self.calls: list[Call] = []
        self.questions: list[Question] = []
        self.callbacks: list[tuple[str, Report, int]] = []
        self.loose: set[int] = set()  # sendings of this attempt whose outcome nobody knows
        self.absences: list[tuple[datetime, datetime]] = []  # asked and written, since anything else was heard
        self.decided_by_person = False
        expires_at = None if expires is None else START + timedelta(seconds=expires)
        new = Order("T1", "shop", "mobile", 5000, {"mobile": "1"}, names, names[0], expires_at=expires_at)
        decision = admit(new, self.moment(), sending=sending)
        self.order = decision.order
        self.alarm: datetime | None = self.now + timedelta(seconds=decision.due_in or 0)
        if sending:
            self.calls.append(Call(self.order, self.now + timedelta(seconds=self.policy.lease)))

    def make_policy(self, deadline: float) -> Policy:
        """How patient the gateways are treated."""
        return Policy(query_deadline=deadline)

    def moment(self) -> Moment:
        """The circumstances of a decision made now."""
        return Moment(self.now, self.policy)

    # --- writing a fact, and what must hold of it --------------------------------------------------

    def apply(self, fact: Fact) -> None:
        """Write what a fact makes of the order, as the ledger does."""
        before = self.order
        decision = decide(before, fact, self.moment())
        self.hear(before, fact, decision)
        if fact.attempt != before.attempt and fact.event in LIVING:
            kind = decision.order.review_kind
            assert kind is ReviewKind.CONTRADICTION, "an attempt that was given up and lives is left to a person"
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
        elif fact.event in (E.NOT_SENT, E.REJECTED) and about_this and fact.sending is not None:
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
            assert event is not E.REJECTED or not self.loose or self.policy.repeat_safe, "no other call may live"
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

    # --- workers -----------------------------------------------------------------------------------

    def begin_call(self) -> None:
        """Commit the order as `submitting`; its call follows, now or later or never."""
        lease_from = self.now
        self.apply(Fact(E.TAKEN, evidence=PROOF))
        if self.order.state is S.SUBMITTING:
            self.calls.append(Call(self.order, lease_from + timedelta(seconds=self.policy.lease)))

    @precondition(lambda self: self.order.state is S.QUEUED)
    @rule()
    def take(self) -> None:
        """A worker takes the order up; another may have done so."""
        self.begin_call()

    @precondition(lambda self: self.order.state is S.QUEUED)
    @rule(fate=FATES, lag=LAGS, payer=RARELY, soon=SOON)
    def send(self, fate: str, lag: float, payer: bool, soon: bool) -> None:  # noqa: FBT001 - a rule's parameters
        """A worker takes the order up and calls at once."""
        self.begin_call()
        if self.order.state is S.SUBMITTING:
            self.call_now(self.calls[-1], fate, lag, payer=payer, soon=soon)

    @precondition(lambda self: any(call.outcome is None for call in self.calls))
    @rule(which=SOME, fate=FATES, lag=LAGS, payer=RARELY, soon=SOON)
    def call(self, which: int, fate: str, lag: float, payer: bool, soon: bool) -> None:  # noqa: FBT001 - a rule's parameters
        """A worker that was stopped before its call goes on."""
        waiting = [call for call in self.calls if call.outcome is None]
        self.call_now(waiting[which % len(waiting)], fate, lag, payer=payer, soon=soon)

    def call_now(self, call: Call, fate: str, lag: float, *, payer: bool, soon: bool) -> None:
        """Call if the lease allows, and write the outcome now or later."""
        if self.may_call(call):
            call.outcome = self.outcome(call, fate, lag, payer=payer)
        else:
            call.outcome = Submitted(Outcome.NOT_SENT, "lease_over")
        if soon:
            self.write(call)

    def may_call(self, call: Call) -> bool:
        """The last look at the lease."""
        return self.now + timedelta(seconds=TIMEOUT) <= call.deadline

    def outcome(self, call: Call, fate: str, lag: float, *, payer: bool) -> Submitted:
        """What becomes of a call."""
        gateway = self.gateways[call.order.gateway]
        unknown = Submitted(Outcome.UNKNOWN, "timeout")
        doubt = Submitted(Outcome.UNKNOWN, "77", "?", doubt=True, evidence=PROOF)
        if fate in ("refused", "doubt") and any(entry.number == call.order.reference for entry in gateway.books):
            fate = "taken"  # it has this number: an honest refusal would be of the duplicate
        if fate in ("taken", "lost", "doubt yet taken"):
            answer = gateway.take(call.order, self.now, lag=lag, payer=payer)
            self.check_money()
            return {"taken": answer, "lost": unknown}.get(fate, doubt)
        return {
            "never arrived": unknown,
            "refused": Submitted(Outcome.REJECTED, "1003", evidence=PROOF),
            "doubt": doubt,
        }.get(fate, Submitted(Outcome.NOT_SENT, "connect"))

    def write(self, call: Call) -> None:
        """Write a call's outcome, whatever the order is by now."""
        assert call.outcome is not None
        self.calls.remove(call)
        self.apply(call.outcome.fact(call.order))

    @precondition(lambda self: any(call.outcome for call in self.calls))
    @rule(which=SOME)
    def wake(self, which: int) -> None:
        """A worker that was stopped with an outcome in its hand goes on."""
        waiting = [call for call in self.calls if call.outcome]
        self.write(waiting[which % len(waiting)])

    @precondition(lambda self: self.calls)
    @rule(which=SOME)
    def die(self, which: int) -> None:
        """A worker dies."""
        self.calls.pop(which % len(self.calls))

    # --- the scheduler -----------------------------------------------------------------------------

    @precondition(lambda self: self.alarm)
    @rule(soon=SOON, silent=RARELY, late=st.sampled_from([0, 0, 40]), times=st.sampled_from([1, 1, 3, 6]))
    def ring(self, soon: bool, silent: bool, late: float, times: int) -> None:  # noqa: FBT001 - a rule's parameters
        """The alarm rings, and what is due is done."""
        for _ in range(times):
            if self.alarm is not None:
                self.now = max(self.now, self.alarm) + timedelta(seconds=late)
                self.work(soon=soon, silent=silent)

    def work(self, *, soon: bool, silent: bool) -> None:
        """Do what is due."""
        task = TASKS[self.order.state]
        if task is Task.SUBMIT:
            self.begin_call()
        elif task is Task.LEASE:
            self.apply(Fact(E.LEASE_ENDED, attempt=self.order.attempt, sending=self.order.sending))
        else:
            self.alarm = self.now + timedelta(seconds=TIMEOUT + 15)  # claimed
            self.ask(soon=soon, silent=silent)

    @rule(soon=SOON, silent=SOON)
    def command(self, soon: bool, silent: bool) -> None:  # noqa: FBT001 - a rule's parameters
        """Somebody asks the gateway, whatever the order's state."""
        self.ask(soon=soon, silent=silent)

    def ask(self, *, soon: bool, silent: bool) -> None:
        """Ask the gateway; the answer is written now or later."""
        report = Report(Status.SILENT) if silent else self.gateways[self.order.gateway].ask(self.order, self.now)
        self.questions.append(Question(self.order, self.now, report))
        if soon:
            self.answer(-1)

    @precondition(lambda self: self.questions)
    @rule(which=SOME)
    def answer(self, which: int) -> None:
        """Write an answer, which may be old."""
        question = self.questions.pop(which % len(self.questions))
        self.apply(question.report.answer(self.order, question.order, question.at))

    @rule(seconds=st.sampled_from([1, 20, 70, 130, 700]))
    def wait(self, seconds: float) -> None:
        """Time passes, and nobody looks."""
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.order.expires_at is not None and self.now >= self.order.expires_at)
    @rule()
    def expire(self) -> None:
        """The scheduler finds that it waited too long."""
        self.apply(Fact(E.EXPIRED, evidence=PROOF))

    # --- the gateways and people -------------------------------------------------------------------

    @precondition(lambda self: any(gateway.books for gateway in self.gateways.values()))
    @rule(which=SOME, then=SOME, told=SOON)
    def progress(self, which: int, then: int, told: bool) -> None:  # noqa: FBT001 - a rule's parameter
        """A gateway gets on with an order, and may tell."""
        name, entry = self.entries()[which % len(self.entries())]
        choices = () if entry.unpaid(self.now) else NEXT.get(entry.status, ())
        if told:
            self.callbacks.append((name, self.gateways[name].report(entry), self.attempt(entry)))
        if choices:
            entry.status = choices[then % len(choices)]
        if told:
            self.callbacks.append((name, self.gateways[name].report(entry), self.attempt(entry)))

    def entries(self) -> list[tuple[str, Entry]]:
        """Every order in any gateway's books."""
        return [(name, entry) for name, gateway in self.gateways.items() for entry in gateway.books]

    def attempt(self, entry: Entry) -> int:
        """Which attempt a number stands for."""
        return int(entry.number.partition("R")[2] or 1)

    @precondition(lambda self: self.callbacks)
    @rule(which=SOME, proven=SOON)
    def callback(self, which: int, proven: bool) -> None:  # noqa: FBT001 - a rule's parameter
        """A callback comes, in any order and any number of times."""
        _name, report, attempt = self.callbacks[which % len(self.callbacks)]
        self.apply(replace(report, proven=proven).fact(self.order, attempt))

    @rule(code=st.sampled_from(["1", "2"]))
    def hint(self, code: str) -> None:
        """Somebody forges a callback."""
        self.apply(Report(Status.SUCCEEDED, code, upstream_no="FORGED", proven=False).fact(self.order, 1))
        assert self.order.upstream_no != "FORGED"

    @rule(really=RARELY)
    def cancel(self, really: bool) -> None:  # noqa: FBT001 - a rule's parameter
        """The producer would rather not."""
        if really:
            self.apply(Fact(E.CANCEL_REQUESTED, evidence=PROOF))

    @precondition(lambda self: self.order.state is S.REVIEW)
    @rule(event=st.sampled_from(sorted(OPERATOR)))
    def decide_by_hand(self, event: Event) -> None:
        """An operator decides."""
        self.apply(Fact(event, message="looked", evidence={"operator": "li"}))


class RepeatableHistories(Histories):
    """The same with gateways where a submit may be repeated."""

    def make_policy(self, deadline: float) -> Policy:
        """A submit may be repeated."""
        return Policy(query_deadline=deadline, repeat_safe=True)

    def check_money(self) -> None:
        """What a lost call leaves there costs nothing: nobody can pay it."""


class WildHistories(Histories):
    """The same with gateways that lie and take numbers twice, workers that call too late, and facts from nowhere."""

    honest = False

    def may_call(self, call: Call) -> bool:
        """It was stopped just after its last look at the lease."""
        return call.deadline is not None

    @rule(lie=st.sampled_from([Status.ABSENT, Status.UNCLEAR, Status.DISPUTED, Status.FAILED, Status.CHARGING]))
    def lied_to(self, lie: Status) -> None:
        """The gateway answers what is not so."""
        report = Report(lie, lie.value, evidence=PROOF)
        self.apply(report.answer(self.order, self.order, self.now))

    @rule(
        event=st.sampled_from(sorted(set(Event) - OPERATOR - {E.TAKEN, E.LEASE_ENDED})),
        attempt=st.integers(0, 1),
        sending=st.sampled_from([None, 0, 1, 2]),
    )
    def rumour(self, event: Event, attempt: int, sending: int | None) -> None:
        """Anything at all is reported."""
        outcome = event in (E.ACCEPTED, E.REJECTED, E.NOT_SENT, E.UNANSWERED)
        details: dict[str, Any] = {"arrived_fen": 3000} if event is E.ARRIVED_IN_PART else {}
        # only a call that was made can report; each reports one thing, yet here it may say several
        known = max(1, self.order.sending - (sending or 0)) if outcome else None
        about = max(1, self.order.attempt - attempt)
        if outcome and self.order.sent_at is None and about == self.order.attempt:
            return
        self.apply(Fact(event, attempt=about, sending=known, code="1", evidence=PROOF, **details))


LENGTH = settings(stateful_step_count=50, deadline=None, max_examples=max(300, settings().max_examples))

TestHistories = Histories.TestCase
TestHistories.settings = LENGTH
TestRepeatableHistories = RepeatableHistories.TestCase
TestRepeatableHistories.settings = LENGTH
TestWildHistories = WildHistories.TestCase
TestWildHistories.settings = LENGTH
