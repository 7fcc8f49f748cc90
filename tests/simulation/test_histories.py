"""Random histories: workers that stop, wake and die, gateways that lose answers, and what must never come of it.

`pytest tests/simulation --hypothesis-profile=long` tells far more of them.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway_model import NEXT, PROOF, Entry, GatewayModel
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from ledger_model import OPERATOR, E, S
from worker_model import RARELY, SOME, SOON, Call, WorkerModel

from worker.core.machine import admit
from worker.core.order import Event, Fact, Order
from worker.core.outcome import Report, Status
from worker.core.policy import Policy

pytestmark = pytest.mark.timeout(480)  # what is found is made short first: Hypothesis takes up to five minutes for it

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Histories(WorkerModel):
    """One order, any number of workers, two gateways that are honest once their lag is over."""

    callbacks: list[tuple[str, Report, int]]

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
        self.calls = []
        self.questions = []
        self.callbacks = []
        self.loose = set()
        self.absences = []
        self.decided_by_person = False
        expires_at = None if expires is None else START + timedelta(seconds=expires)
        new = Order("T1", "shop", "mobile", 5000, {"mobile": "1"}, names, names[0], expires_at=expires_at)
        decision = admit(new, self.moment(), sending=sending)
        self.order = decision.order
        self.alarm = self.now + timedelta(seconds=decision.due_in or 0)
        if sending:
            self.calls.append(Call(self.order, self.now + timedelta(seconds=self.policy.lease)))

    def make_policy(self, deadline: float) -> Policy:
        """How patient the gateways are treated."""
        return Policy(query_deadline=deadline)

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
        self.apply(report._replace(proven=proven).fact(self.order, attempt))

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
        outcome = event in (E.ACCEPTED, E.REJECTED, E.UNFUNDED, E.NOT_SENT, E.UNANSWERED)
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
