"""The machine's table: every state with every event, and what holds of every step."""

from collections.abc import Iterator
from dataclasses import fields, replace

import pytest
from support.machine import NOW, POLICY, TRANSITIONS, E, S, a_fact, ago, an_order

from worker.core.machine import Decision, Ignored, Moment, decide
from worker.core.order import FINAL, TASKS, Event, Fact, Order, Reason, ReviewKind, State
from worker.core.policy import Policy
from worker.core.rules import ENDINGS, MESSAGES, TABLE

COLUMNS = (
    S.QUEUED, S.SUBMITTING, S.UNKNOWN, S.PENDING, S.AWAITING_PAYMENT, S.REVIEW,
    S.SUCCEEDED, S.PARTIAL, S.FAILED, S.CANCELLED, S.REFUNDED,
)  # fmt: skip
SHORT = dict(zip(("qu", "su", "un", "pe", "aw", "re", "SU", "PA", "FA", "CA", "RF"), COLUMNS, strict=True))
MATRIX = """
                    qu su un pe aw re SU PA FA CA RF
admitted            .  .  .  .  .  .  .  .  .  .  .
taken               su .  .  .  .  .  .  .  .  .  .
expired             CA .  .  .  .  .  .  .  .  .  .
cancel_requested    CA .  .  =  =  .  .  .  .  .  .
accepted            pe pe pe =  =  =  .  .  re re .
rejected            FA FA FA re re =  re re .  .  .
unfunded            qu qu qu re re =  re re .  .  .
not_sent            .  qu qu .  .  =  .  .  .  .  .
unanswered          un un =  .  .  =  .  .  .  .  .
lease_ended         .  un .  .  .  .  .  .  .  .  .
charging            pe pe pe ~  pe =  .  .  =  =  .
payment_due         aw aw aw aw ~  =  .  .  =  =  .
arrived             SU SU SU SU SU =  .  re re re =
arrived_in_part     PA PA PA PA PA =  re .  re re =
refused             FA FA FA FA FA =  re re .  .  .
returned            RF RF RF RF RF =  RF RF RF =  .
called_off          CA CA CA CA CA =  re re .  .  .
disputed            re re re re re =  =  =  =  =  =
mismatch            re re re re re =  re re re re re
absent              .  =  =  =  =  =  =  =  =  =  =
unclear             =  =  =  =  =  =  =  =  =  =  =
silent              .  =  ~  ~  ~  .  .  .  .  .  .
claimed             un =  =  =  =  =  =  =  =  =  =
ghost               re re re re re =  re re re re re
old_news            =  =  =  =  =  =  =  =  =  =  =
resolved_succeeded  .  .  .  .  .  SU .  .  .  .  .
resolved_failed     .  .  .  .  .  FA .  .  .  .  .
resubmitted         .  .  .  .  .  qu .  .  .  .  .
"""
"""What each event does to `an_order`: another state, `.` nothing, `=` a note, `~` only counters and the alarm."""


def pairs() -> Iterator[tuple[State, Event, str]]:
    for line in MATRIX.strip().splitlines()[1:]:
        name, *marks = line.split()
        for state, mark in zip(COLUMNS, marks, strict=True):
            yield state, Event(name), mark


def test_the_matrix_has_every_pair() -> None:
    assert {(state, event) for state, event, _mark in pairs()} == {(state, event) for state in State for event in Event}


@pytest.mark.parametrize(("state", "event", "mark"), list(pairs()))
def test_every_pair(state: State, event: Event, mark: str) -> None:
    order = an_order(state)
    decision = decide(order, a_fact(event), Moment(NOW, POLICY))
    if mark == ".":
        assert isinstance(decision, Ignored)
        assert decision.order is order
    else:
        assert isinstance(decision, Decision)
        assert decision.order.state is SHORT.get(mark, state)
        assert decision.journal == (mark != "~")
        assert decision.order.version - order.version == (mark in SHORT)


def circumstances() -> Iterator[tuple[Order, Policy]]:
    """Orders of every state as histories may leave them, under both kinds of gateway."""
    for state in State:
        for more in (
            {},
            {"route": ("a", "b")},
            {"sent_at": ago(100_000), "expires_at": ago(1), "payment_expires_at": ago(1), "upstream_no": "U1"},
            {"absent_count": 2, "absent_since": ago(200), "delivered": False, "unsent": 0},
            {"absent_count": 2, "absent_since": ago(200), "doubt": Reason("77", "?"), "attempt": 2, "sending": 3},
        ):
            yield an_order(state, **more), POLICY
            yield an_order(state, **more), replace(POLICY, repeat_safe=True)
    yield an_order(S.QUEUED, sending=0, sent_at=None, unsent=0), POLICY
    yield an_order(S.QUEUED, sending=0, sent_at=None, unsent=0, route=("a", "b")), POLICY
    yield an_order(S.REVIEW, review_kind=ReviewKind.OVERDUE), POLICY


def facts(order: Order) -> Iterator[Fact]:
    """Every event: about this call, an older one, another attempt, nothing in particular."""
    for event in Event:
        for attempt in {order.attempt, 1, order.attempt + 1}:
            for sending in (None, order.sending, order.sending - 1):
                yield a_fact(event, attempt=attempt, sending=sending, code="1", upstream_no="U2")


@pytest.mark.parametrize(("order", "policy"), list(circumstances()))
def test_what_holds_of_every_step(order: Order, policy: Policy) -> None:
    """A step raises the version by one, any write the revision by one; what the database refuses is never decided."""
    before = {field.name: getattr(order, field.name) for field in fields(order)}
    for fact in facts(order):
        decision = decide(order, fact, Moment(NOW, policy))
        assert {field.name: getattr(order, field.name) for field in fields(order)} == before
        if isinstance(decision, Ignored):
            assert decision.order is order
            continue
        after, rule = decision.order, TABLE[order.state, decision.event]
        assert decision.before is order.state
        assert after.state is order.state or after.state in rule.to
        assert after.revision == order.revision + 1
        assert after == order.changed(decision.changes) == replace(order, **decision.changes)
        stepped = after.version == order.version + 1
        assert stepped or after.version == order.version
        assert not decision.journal or (order.state, after.state, decision.event) in TRANSITIONS
        if stepped:
            assert decision.journal
            assert (decision.due_in is None) == (after.state not in TASKS), "an open order has its alarm"
        else:
            kept = ("state", "attempt", "gateway", "sending", "sent_at", "arrived_fen", "cost_fen", "delivered")
            assert not decision.changes.keys() & set(kept)
            assert decision.tell is None
        assert decision.due_in is None or (decision.due_in >= 0 and after.state in TASKS)
        assert decision.new_attempt == (after.attempt == order.attempt + 1)
        assert decision.new_attempt or (after.attempt, after.gateway) == (order.attempt, order.gateway)
        assert (after.review_kind is not None) == (after.state is S.REVIEW)
        assert after.sent_at is not None or after.state in (S.QUEUED, S.REVIEW, *FINAL)
        assert after.state is not S.PARTIAL or after.arrived_fen is not None


def test_an_event_that_is_not_in_the_table_changes_nothing() -> None:
    for order, policy in circumstances():
        for event in Event:
            if (order.state, event) not in TABLE:
                fact = a_fact(event, attempt=order.attempt, sending=order.sending)
                assert decide(order, fact, Moment(NOW, policy)) == Ignored(order, event)


def test_every_reason_of_ours_has_its_words() -> None:
    codes = {rule.reason for rule in TABLE.values() if rule.reason} | set(ENDINGS.values())
    assert codes == set(MESSAGES)
    for (state, _event), rule in TABLE.items():
        assert rule.reason or state is S.REVIEW or S.REVIEW not in rule.to


def test_an_end_is_never_reached_without_an_event_that_proves_it() -> None:
    silent = {E.NOT_SENT, E.UNANSWERED, E.LEASE_ENDED, E.SILENT, E.UNCLEAR, E.CLAIMED, E.CHARGING, E.ACCEPTED}
    for (state, event), rule in TABLE.items():
        if event in silent:
            assert not FINAL & set(rule.to) - {state}
