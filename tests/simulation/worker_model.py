"""Workers as they may be: they send, ask and write, and stop, wake and die between any two of these."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway_model import PROOF
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from ledger_model import E, LedgerModel, S

from worker.core.order import TASKS, Fact, Order, Task
from worker.core.outcome import Outcome, Report, Status, Submitted

TIMEOUT = 15.0
LAG = 100.0  # below `settle_seconds`: what the gateway does not know of after that, it has not got

SOME = st.integers(0, 50)
SOON = st.booleans()
FATES = st.sampled_from(
    ["taken", "lost", "never arrived", "refused", "unfunded", "doubt", "doubt yet taken", "unreachable"]
)
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


class WorkerModel(LedgerModel):
    """Any number of workers, which share one order."""

    calls: list[Call]
    questions: list[Question]

    # --- sending -----------------------------------------------------------------------------------

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
        if fate in ("refused", "unfunded", "doubt") and any(
            entry.number == call.order.reference for entry in gateway.books
        ):
            fate = "taken"  # it has this number: an honest refusal would be of the duplicate
        if fate in ("taken", "lost", "doubt yet taken"):
            answer = gateway.take(call.order, self.now, lag=lag, payer=payer)
            self.check_money()
            return {"taken": answer, "lost": unknown}.get(fate, doubt)
        return {
            "never arrived": unknown,
            "refused": Submitted(Outcome.REJECTED, "1003", evidence=PROOF),
            "unfunded": Submitted(Outcome.UNFUNDED, "5002", evidence=PROOF),
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
