"""The machine: every state with every event, and what each circumstance makes of them."""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.core.machine import Decision, Ignored, Moment, admit, decide
from worker.core.order import FINAL, TASKS, Event, Fact, Order, Reason, ReviewKind, State
from worker.core.policy import Policy
from worker.core.rules import ENDINGS, MESSAGES, TABLE, transitions

S, E = State, Event
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
POLICY = Policy()
TRANSITIONS = frozenset(transitions())


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def an_order(state: State, **given: Any) -> Order:
    """An order of one gateway whose only call began a minute ago."""
    values: dict[str, Any] = {
        "state": state,
        "version": 5,
        "revision": 9,
        "sending": 1,
        "sent_at": ago(60),
        "unsent": 1 if state is S.QUEUED else 0,
        "review_kind": ReviewKind.CONTRADICTION if state is S.REVIEW else None,
        "delivered": state in (S.SUCCEEDED, S.PARTIAL, S.REFUNDED),
        "arrived_fen": 3000 if state is S.PARTIAL else None,
    }
    values |= {"route": ("a",)} | given
    return Order("T1", "shop", "mobile", 5000, {"mobile": "13800138000"}, gateway="a", **values)


def a_fact(event: Event, **given: Any) -> Fact:
    arrived = 3000 if event is E.ARRIVED_IN_PART else None
    return Fact(event, **{"arrived_fen": arrived, "evidence": {"reply": "…"}} | given)


def step(order: Order, fact: Fact, now: datetime = NOW, policy: Policy = POLICY) -> Decision:
    """What the machine decides, which has to be something."""
    decision = decide(order, fact, Moment(now, policy))
    assert isinstance(decision, Decision)
    return decision


def ignored(order: Order, fact: Fact, policy: Policy = POLICY) -> bool:
    return isinstance(decide(order, fact, Moment(NOW, policy)), Ignored)


# --- every pair --------------------------------------------------------------------------------

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
cancel_requested    CA .  .  .  .  .  .  .  .  .  .
accepted            pe pe pe =  =  =  .  .  re re .
rejected            FA FA FA re re =  re re .  .  .
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


# --- admission ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("sending", "state", "due_in"), [(True, S.SUBMITTING, 60), (False, S.QUEUED, 0)])
def test_admission(sending: bool, state: State, due_in: float) -> None:  # noqa: FBT001 - a parameter of the test
    new = Order("T1", "shop", "mobile", 5000, {}, ("a",), "a")
    decision = admit(new, Moment(NOW, POLICY), sending=sending)
    order = decision.order
    assert (order.state, order.version, order.revision, order.sending) == (state, 1, 1, int(sending))
    assert order.sent_at == (NOW if sending else None)
    assert (decision.due_in, decision.tell, decision.before) == (due_in, "accepted", None)
    assert (None, state, E.ADMITTED) in TRANSITIONS


# --- sending -----------------------------------------------------------------------------------


def test_taking_an_order_begins_a_call_under_a_lease() -> None:
    order = an_order(S.QUEUED, sending=0, sent_at=None, unsent=0)
    decision = step(order, a_fact(E.TAKEN))
    assert (decision.order.sending, decision.order.sent_at, decision.due_in) == (1, NOW, POLICY.lease)


@pytest.mark.parametrize("seconds", [0, 1])
def test_an_expired_order_is_not_sent(seconds: float) -> None:
    decision = step(an_order(S.QUEUED, expires_at=ago(seconds)), a_fact(E.TAKEN))
    assert (decision.order.state, decision.order.reason, decision.tell) == (
        S.CANCELLED,
        Reason("expired", MESSAGES["expired"]),
        "cancelled",
    )
    assert decision.order.sending == 1


def test_the_deadline_counts_from_the_first_sending_that_may_have_arrived() -> None:
    after_absence = step(an_order(S.QUEUED, unsent=0), a_fact(E.TAKEN)).order
    never_left = step(an_order(S.SUBMITTING, sending=1), a_fact(E.NOT_SENT, sending=1)).order
    assert never_left.sent_at is None
    assert (after_absence.sent_at, step(never_left, a_fact(E.TAKEN)).order.sent_at) == (ago(60), NOW)
    resent = step(an_order(S.SUBMITTING, sending=2), a_fact(E.NOT_SENT, sending=2)).order
    assert resent.sent_at == ago(60), "the call before this one may have arrived after all"


def test_calls_that_were_not_sent_are_tried_again_later_and_later() -> None:
    order, delays = an_order(S.SUBMITTING), []
    for _ in range(8):
        decision = step(order, a_fact(E.NOT_SENT, sending=order.sending))
        delays.append(decision.due_in)
        order = step(decision.order, a_fact(E.TAKEN)).order
    assert delays == [1, 2, 5, 10, 30, 60, 60, 60]
    assert step(order, a_fact(E.ACCEPTED, sending=order.sending)).order.unsent == 0


def test_a_lost_call_that_may_be_repeated_is_repeated_later_and_later() -> None:
    policy = replace(POLICY, repeat_safe=True)
    order, delays = an_order(S.SUBMITTING), []
    for event in (E.UNANSWERED, E.LEASE_ENDED, E.UNANSWERED):
        decision = step(order, a_fact(event, sending=order.sending), policy=policy)
        assert decision.order.state is S.QUEUED
        delays.append(decision.due_in)
        order = step(decision.order, a_fact(E.TAKEN), policy=policy).order
    assert delays == [1, 2, 5]


def test_a_repeatable_call_that_is_lost_after_its_lease_is_not_asked_about() -> None:
    decision = step(an_order(S.QUEUED), a_fact(E.UNANSWERED, sending=1), policy=replace(POLICY, repeat_safe=True))
    assert decision.order.state is S.QUEUED


@pytest.mark.parametrize("event", [E.UNANSWERED, E.LEASE_ENDED])
def test_a_lost_call_is_asked_about(event: Event) -> None:
    decision = step(an_order(S.SUBMITTING), a_fact(event, sending=1))
    assert (decision.order.state, decision.due_in, decision.tell) == (S.UNKNOWN, 5, "unknown")


@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED])
@pytest.mark.parametrize(
    "event", [E.REJECTED, E.NOT_SENT, E.REFUSED, E.RETURNED, E.CALLED_OFF, E.ABSENT, E.LEASE_ENDED]
)
def test_no_failure_of_an_older_call_is_believed(state: State, event: Event) -> None:
    assert ignored(an_order(state, sending=2), a_fact(event, sending=1))


@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED])
@pytest.mark.parametrize(("event", "then"), [(E.ACCEPTED, S.PENDING), (E.ARRIVED, S.SUCCEEDED)])
def test_that_an_older_call_lives_is_believed(state: State, event: Event, then: State) -> None:
    assert step(an_order(state, sending=2), a_fact(event, sending=1)).order.state is then


@pytest.mark.parametrize("event", [E.NOT_SENT, E.REJECTED])
@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED])
def test_once_an_older_call_turns_out_lost_the_latest_ones_failure_is_not_enough(state: State, event: Event) -> None:
    """Else: call 1 stopped, held absent, call 2 begun, call 1 wakes and is lost, call 2 not sent: a third call."""
    decision = step(an_order(state, sending=2), a_fact(E.UNANSWERED, sending=1))
    assert decision.order.state is (S.UNKNOWN if state is S.QUEUED else state)
    assert decision.order.version == 6
    assert ignored(decision.order, a_fact(event, sending=2))


def test_the_lease_of_the_latest_call_still_ends_after_an_older_one_turned_out_lost() -> None:
    order = step(an_order(S.SUBMITTING, sending=2), a_fact(E.UNANSWERED, sending=1)).order
    assert step(order, a_fact(E.LEASE_ENDED, sending=order.sending)).order.state is S.UNKNOWN


# --- "no such order" ---------------------------------------------------------------------------


def absent(order: Order, seconds: float, asked: float | None = None, policy: Policy = POLICY) -> Decision:
    asked_at = NOW + timedelta(seconds=seconds if asked is None else asked)
    fact = a_fact(E.ABSENT, attempt=order.attempt, sending=order.sending, asked_at=asked_at, code="none")
    return step(order, fact, NOW + timedelta(seconds=seconds), policy)


def test_absence_settles_when_it_was_said_often_enough_for_long_enough() -> None:
    order = an_order(S.UNKNOWN)
    for seconds in (0, 60, 119.9):
        decision = absent(order, seconds)
        order = decision.order
        assert order.state is S.UNKNOWN
        assert decision.journal, "each of them is evidence"
    decision = absent(order, 120)
    assert (decision.order.state, decision.due_in, decision.tell) == (S.QUEUED, 0.0, None)
    assert (decision.order.attempt, decision.new_attempt) == (1, False)


def test_absence_needs_its_number_of_answers_however_long_it_takes() -> None:
    order = absent(absent(an_order(S.UNKNOWN), 0).order, 500).order
    assert (order.state, order.absent_count) == (S.UNKNOWN, 2)
    assert absent(order, 501).order.state is S.QUEUED


def test_an_answer_that_was_held_back_proves_nothing_about_the_time_since_it_was_asked() -> None:
    """A worker stopped with an answer in its hand."""
    order = absent(absent(an_order(S.UNKNOWN), 0).order, 60).order
    assert absent(order, 130, asked=61).order.state is S.UNKNOWN
    assert absent(order, 130, asked=120).order.state is S.QUEUED


@pytest.mark.parametrize("event", [E.UNCLEAR, E.UNANSWERED, E.CLAIMED])
def test_whatever_else_is_heard_breaks_the_row_of_absences(event: Event) -> None:
    order = absent(absent(an_order(S.UNKNOWN), 0).order, 60).order
    order = step(order, a_fact(event)).order
    assert (order.absent_count, order.absent_since) == (0, None)


def test_silence_neither_counts_nor_breaks_the_row() -> None:
    order = absent(absent(an_order(S.UNKNOWN), 0).order, 60).order
    order = step(order, a_fact(E.SILENT)).order
    assert order.absent_count == 2
    assert absent(order, 120).order.state is S.QUEUED


def test_absence_is_counted_anew_after_each_sending() -> None:
    order = step(an_order(S.SUBMITTING, absent_count=2, absent_since=ago(500)), a_fact(E.UNANSWERED)).order
    assert (order.absent_count, order.absent_since) == (0, None)


def test_an_unlisted_refusal_is_believed_only_with_a_settled_absence() -> None:
    order = step(an_order(S.SUBMITTING), a_fact(E.UNANSWERED, doubt=True, code="77", message="no")).order
    assert (order.state, order.doubt) == (S.UNKNOWN, Reason("77", "no"))
    order = absent(absent(order, 0).order, 60).order
    decision = absent(order, 120)
    assert (decision.order.state, decision.order.reason, decision.tell) == (S.FAILED, Reason("77", "no"), "failed")


def test_a_new_call_forgets_what_the_old_one_was_told() -> None:
    assert step(an_order(S.QUEUED, doubt=Reason("77", "no")), a_fact(E.TAKEN)).order.doubt is None


@pytest.mark.parametrize("state", [S.PENDING, S.AWAITING_PAYMENT])
def test_an_order_that_the_gateway_took_is_never_sent_again_however_absent(state: State) -> None:
    order = an_order(state)
    for seconds in range(0, 600, 10):
        order = absent(order, seconds, policy=replace(POLICY, settle_seconds=1)).order if seconds % 20 == 0 else order
    assert order.state is state


def test_after_the_deadline_a_person_decides_instead_of_another_sending() -> None:
    order = an_order(S.UNKNOWN, sent_at=ago(POLICY.query_deadline), absent_count=2, absent_since=ago(200))
    decision = absent(order, 0)
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.OVERDUE)


# --- waiting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.UNKNOWN, S.PENDING, S.AWAITING_PAYMENT])
@pytest.mark.parametrize("event", [E.CHARGING, E.SILENT, E.UNCLEAR, E.ABSENT])
def test_without_a_conclusive_answer_by_the_deadline_a_person_must_look(state: State, event: Event) -> None:
    late = an_order(state, sent_at=ago(POLICY.query_deadline))
    decision = step(late, a_fact(event))
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.OVERDUE)
    assert (decision.order.reason, decision.tell, decision.due_in) == (
        Reason("no_answer", MESSAGES["no_answer"]),
        "review",
        None,
    )
    just_in_time = an_order(state, sent_at=ago(POLICY.query_deadline - 1))
    assert step(just_in_time, a_fact(event)).order.state is not S.REVIEW


def test_queries_become_rarer() -> None:
    order, delays = an_order(S.PENDING), []
    for _ in range(7):
        decision = step(order, a_fact(E.CHARGING))
        delays.append(decision.due_in)
        order = decision.order
    assert delays == [10, 20, 40, 60, 60, 60, 60]


@pytest.mark.parametrize("state", [S.UNKNOWN, S.PENDING, S.AWAITING_PAYMENT])
def test_a_hint_makes_us_ask_at_once_and_nothing_of_it_is_taken_over(state: State) -> None:
    decision = step(an_order(state), a_fact(E.CLAIMED, upstream_no="FORGED", cost_fen=1, code="2"))
    assert (decision.due_in, decision.order.upstream_no, decision.order.queries) == (0.0, None, 0)
    assert ignored(decision.order, a_fact(E.CLAIMED, code="2")), "the same hint again, before anything was heard"
    asked = step(decision.order, a_fact(E.CHARGING)).order
    assert step(asked, a_fact(E.CLAIMED, code="2")).due_in == 0.0 or state is not S.PENDING


def test_a_hint_about_an_order_that_was_sent_and_held_absent_is_asked_about_before_it_is_sent_again() -> None:
    hint = a_fact(E.CLAIMED, code="2")
    decision = step(an_order(S.QUEUED, unsent=0), hint)
    assert (decision.order.state, decision.due_in) == (S.UNKNOWN, 0.0)
    resend_not_sent = an_order(S.QUEUED, sending=2, unsent=1)
    assert step(resend_not_sent, hint).order.state is S.UNKNOWN, (
        "that the second call never left says nothing of the first"
    )
    for proven_unsent in (an_order(S.QUEUED, unsent=1, sent_at=None), an_order(S.QUEUED, unsent=0, sent_at=None)):
        assert step(proven_unsent, hint).order.state is S.QUEUED


def test_a_hint_that_came_before_the_answer_outweighs_a_refusal_and_is_asked_about_at_once() -> None:
    """Else double payment would be seen or not, by which of the two was faster."""
    hinted = step(an_order(S.SUBMITTING, route=("a", "b")), a_fact(E.CLAIMED, code="2")).order
    refused = step(hinted, a_fact(E.REJECTED, sending=1, code="1003", message="no"))
    assert (refused.order.state, refused.order.attempt, refused.due_in) == (S.UNKNOWN, 1, 0.0)
    assert refused.order.doubt == Reason("1003", "no")
    accepted = step(hinted, a_fact(E.ACCEPTED, sending=1))
    assert (accepted.order.state, accepted.due_in) == (S.PENDING, 0.0)


def test_an_unlisted_status_is_journalled_once_for_each_code() -> None:
    order = step(an_order(S.PENDING), a_fact(E.UNCLEAR, code="42")).order
    again = step(order, a_fact(E.UNCLEAR, code="42"))
    assert not again.journal
    assert step(again.order, a_fact(E.UNCLEAR, code="43")).journal


def test_what_a_mismatch_says_is_not_taken_over() -> None:
    decision = step(an_order(S.UNKNOWN), a_fact(E.MISMATCH, upstream_no="THEIRS", cost_fen=1, message="amount"))
    order = decision.order
    assert (order.upstream_no, order.cost_fen, order.reason) == (None, None, Reason("mismatch", "amount"))


# --- payment -----------------------------------------------------------------------------------


def test_a_charge_is_told_and_looked_at_when_it_expires() -> None:
    due = a_fact(E.PAYMENT_DUE, sending=1, payment={"id": "ch"}, payment_expires_at=NOW + timedelta(seconds=3))
    decision = step(an_order(S.SUBMITTING), due)
    assert (decision.order.payment, decision.due_in, decision.tell) == ({"id": "ch"}, 3, "awaiting_payment")


def test_a_charge_that_nobody_paid_in_time_is_cancelled() -> None:
    order = an_order(S.AWAITING_PAYMENT, payment_expires_at=NOW)
    decision = step(order, a_fact(E.PAYMENT_DUE, asked_at=NOW))
    assert (decision.order.state, decision.order.reason) == (
        S.CANCELLED,
        Reason("payment_expired", MESSAGES["payment_expired"]),
    )


def test_a_charge_may_have_been_paid_between_the_last_question_and_its_expiry() -> None:
    order = an_order(S.AWAITING_PAYMENT, payment_expires_at=NOW)
    assert step(order, a_fact(E.PAYMENT_DUE, asked_at=ago(0.1))).order.state is S.AWAITING_PAYMENT


def test_a_silent_gateway_is_not_asked_every_second_after_the_expiry() -> None:
    order = an_order(S.AWAITING_PAYMENT, payment_expires_at=ago(1))
    assert step(order, a_fact(E.SILENT)).due_in == 10


def test_an_expiry_that_only_the_query_tells_counts() -> None:
    decision = step(an_order(S.UNKNOWN), a_fact(E.PAYMENT_DUE, payment_expires_at=NOW + timedelta(seconds=2)))
    assert decision.due_in == 2


# --- failover ----------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [E.REJECTED, E.REFUSED])
@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED])
def test_a_definite_failure_gives_the_next_gateway_a_number_of_its_own(state: State, event: Event) -> None:
    old = an_order(
        state, route=("a", "b"), upstream_no="U1", cost_fen=1, payment={}, payment_expires_at=NOW, unsent=0,
        arrived_fen=7, delivered=True, doubt=Reason("1", "?"),
    )  # fmt: skip
    decision = step(old, a_fact(event, sending=1))
    order = decision.order
    assert (order.state, order.gateway, order.attempt, order.reference) == (S.QUEUED, "b", 2, "T1R2")
    assert (decision.new_attempt, decision.due_in, decision.tell, order.version) == (True, 0.0, None, 6)
    assert (order.upstream_no, order.cost_fen, order.payment, order.payment_expires_at) == (None, None, None, None)
    assert (order.arrived_fen, order.delivered, order.doubt, order.sent_at) == (None, False, None, None)


def test_without_another_gateway_it_has_failed_in_the_gateways_words() -> None:
    decision = step(an_order(S.PENDING, route=("b", "a")), a_fact(E.REFUSED, code="3", message="empty number"))
    assert (decision.order.state, decision.order.reason) == (S.FAILED, Reason("3", "empty number"))


@pytest.mark.parametrize("route", [("a",), ("a", "b")])
@pytest.mark.parametrize("event", [E.REJECTED, E.REFUSED])
def test_a_failure_of_an_attempt_that_was_never_sent_is_only_noted(route: tuple[str, ...], event: Event) -> None:
    order = an_order(S.QUEUED, route=route, sent_at=None, unsent=0)
    decision = step(order, a_fact(event))
    assert (decision.order.state, decision.order.attempt, decision.new_attempt) == (S.QUEUED, 1, False)


@pytest.mark.parametrize(
    "event", [E.ACCEPTED, E.CHARGING, E.PAYMENT_DUE, E.ARRIVED, E.ARRIVED_IN_PART, E.RETURNED, E.CALLED_OFF]
)
def test_news_of_an_attempt_that_was_never_sent_is_a_contradiction(event: Event) -> None:
    decision = step(an_order(S.QUEUED, sent_at=None, unsent=0), a_fact(event))
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.CONTRADICTION)
    assert decision.order.reason == Reason("never_sent", MESSAGES["never_sent"])


@pytest.mark.parametrize("state", [state for state in State if state is not S.REVIEW])
@pytest.mark.parametrize("event", [E.ACCEPTED, E.CHARGING, E.ARRIVED, E.ARRIVED_IN_PART, E.DISPUTED, E.MISMATCH])
def test_an_attempt_that_was_given_up_and_lives_is_a_contradiction(state: State, event: Event) -> None:
    decision = step(an_order(state, attempt=2, sending=2), a_fact(event, attempt=1, sending=1, upstream_no="OLD"))
    assert (decision.order.state, decision.event, decision.order.upstream_no) == (S.REVIEW, E.GHOST, None)
    assert decision.order.review_kind is ReviewKind.CONTRADICTION


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", [E.REJECTED, E.REFUSED, E.RETURNED, E.CALLED_OFF])
def test_the_end_of_an_attempt_that_was_given_up_is_only_noted(state: State, event: Event) -> None:
    decision = step(an_order(state, attempt=2), a_fact(event, attempt=1))
    assert (decision.order.state, decision.event, decision.order.version) == (state, E.OLD_NEWS, 5)


@pytest.mark.parametrize("event", [E.NOT_SENT, E.UNANSWERED, E.LEASE_ENDED, E.ABSENT, E.SILENT, E.UNCLEAR, E.CLAIMED])
def test_what_proves_nothing_about_an_attempt_that_was_given_up_changes_nothing(event: Event) -> None:
    for state in State:
        assert ignored(an_order(state, attempt=2), a_fact(event, attempt=1))


# --- contradictions, reviews and their ends ----------------------------------------------------


@pytest.mark.parametrize(
    ("state", "event", "reason"),
    [
        (S.PENDING, E.REJECTED, "refusal_after_acceptance"),
        (S.AWAITING_PAYMENT, E.REJECTED, "refusal_after_acceptance"),
        (S.FAILED, E.ARRIVED, "success_after_failure"),
        (S.CANCELLED, E.ARRIVED, "success_after_failure"),
        (S.FAILED, E.ARRIVED_IN_PART, "success_after_failure"),
        (S.SUCCEEDED, E.REFUSED, "failure_after_success"),
        (S.SUCCEEDED, E.REJECTED, "failure_after_success"),
        (S.PARTIAL, E.CALLED_OFF, "failure_after_success"),
        (S.SUCCEEDED, E.ARRIVED_IN_PART, "partial_after_success"),
        (S.PARTIAL, E.ARRIVED, "success_after_partial"),
        (S.UNKNOWN, E.DISPUTED, "disputed"),
        (S.SUCCEEDED, E.MISMATCH, "mismatch"),
        (S.FAILED, E.ACCEPTED, "acceptance_after_failure"),
        (S.CANCELLED, E.ACCEPTED, "acceptance_after_failure"),
    ],
)
def test_a_contradiction_goes_to_a_person(state: State, event: Event, reason: str) -> None:
    decision = step(an_order(state), a_fact(event))
    assert (decision.order.state, decision.order.review_kind) == (S.REVIEW, ReviewKind.CONTRADICTION)
    assert decision.order.reason == Reason(reason, MESSAGES[reason])
    assert (decision.tell, decision.due_in) == ("review", None)


@pytest.mark.parametrize("state", [S.FAILED, S.CANCELLED])
@pytest.mark.parametrize("number", [None, "U1"])
def test_a_late_acceptance_is_no_news_where_the_gateway_itself_has_reported_the_end(
    state: State, number: str | None
) -> None:
    """A stopped worker wakes with the answer `accepted`; the query has long said `failed` about that very order."""
    order = an_order(state, upstream_no="U1")
    assert step(order, a_fact(E.ACCEPTED, sending=1, upstream_no=number)).order.state is state
    assert step(order, a_fact(E.ACCEPTED, sending=1, upstream_no="U2")).order.state is S.REVIEW


@pytest.mark.parametrize(("delivered", "state"), [(True, S.REFUNDED), (False, S.REVIEW)])
def test_success_after_a_refund_is_old_only_where_it_was_known(delivered: bool, state: State) -> None:  # noqa: FBT001 - a parameter of the test
    assert step(an_order(S.REFUNDED, delivered=delivered), a_fact(E.ARRIVED)).order.state is state


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (E.ARRIVED, S.SUCCEEDED, None),
        (E.ARRIVED_IN_PART, S.PARTIAL, "7"),
        (E.REFUSED, S.FAILED, "7"),
        (E.RETURNED, S.REFUNDED, "7"),
        (E.CALLED_OFF, S.CANCELLED, "cancelled_by_gateway"),
    ],
)
def test_a_proven_answer_ends_a_review_that_was_only_overdue(event: Event, state: State, reason: str | None) -> None:
    overdue = an_order(S.REVIEW, review_kind=ReviewKind.OVERDUE)
    decision = step(overdue, a_fact(event, code="7"))
    assert (decision.order.state, decision.order.review_kind) == (state, None)
    assert (decision.order.reason.code if decision.order.reason else None) == reason
    assert step(an_order(S.REVIEW), a_fact(event, code="7")).order.state is S.REVIEW


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (a_fact(E.MISMATCH), "mismatch"),
        (a_fact(E.DISPUTED), "disputed"),
        (a_fact(E.ARRIVED, attempt=1), "earlier_attempt_lives"),
    ],
)
def test_a_contradiction_during_an_overdue_review_leaves_it_to_a_person(fact: Fact, reason: str) -> None:
    """Else: overdue, then the given-up attempt lives, then this one succeeds, and nobody looks at the double charge."""
    attempt = 2 if fact.event is E.ARRIVED else 1
    overdue = an_order(S.REVIEW, review_kind=ReviewKind.OVERDUE, attempt=attempt, reason=Reason("no_answer", ""))
    decision = step(overdue, fact)
    order = decision.order
    assert (order.state, order.review_kind, order.version) == (S.REVIEW, ReviewKind.CONTRADICTION, 6)
    assert (order.reason, decision.tell) == (Reason(reason, MESSAGES[reason]), "review")
    assert step(order, a_fact(E.ARRIVED, attempt=attempt)).order.state is S.REVIEW


@pytest.mark.parametrize(
    ("state", "event", "then", "code"),
    [
        (S.QUEUED, E.ARRIVED_IN_PART, S.PARTIAL, "11"),
        (S.QUEUED, E.RETURNED, S.REFUNDED, "11"),
        (S.QUEUED, E.CALLED_OFF, S.CANCELLED, "cancelled_by_gateway"),
        (S.QUEUED, E.EXPIRED, S.CANCELLED, "expired"),
        (S.QUEUED, E.CANCEL_REQUESTED, S.CANCELLED, "cancelled_by_request"),
        (S.PENDING, E.CALLED_OFF, S.CANCELLED, "cancelled_by_gateway"),
        (S.PENDING, E.RETURNED, S.REFUNDED, "11"),
        (S.SUCCEEDED, E.RETURNED, S.REFUNDED, "11"),
        (S.REVIEW, E.RESOLVED_FAILED, S.FAILED, "resolved_by_operator"),
    ],
)
def test_the_reason_of_an_end_is_true(state: State, event: Event, then: State, code: str) -> None:
    decision = step(an_order(state), a_fact(event, code="11"))
    assert (decision.order.state, decision.tell) == (then, then.value)
    assert decision.order.reason is not None
    assert decision.order.reason.code == code


def test_an_operators_note_is_the_message() -> None:
    decision = step(an_order(S.REVIEW), a_fact(E.RESOLVED_FAILED, message="called them"))
    assert decision.order.reason == Reason("resolved_by_operator", "called them")


def test_full_success_carries_no_partial_amount() -> None:
    order = step(an_order(S.PARTIAL), a_fact(E.ARRIVED)).order
    assert step(order, a_fact(E.RESOLVED_SUCCEEDED)).order.arrived_fen is None


def test_an_operator_may_send_again_under_a_new_number_at_the_same_gateway() -> None:
    decision = step(an_order(S.REVIEW, route=("a", "b"), delivered=True, arrived_fen=3), a_fact(E.RESUBMITTED))
    order = decision.order
    assert (order.state, order.attempt, order.gateway, decision.new_attempt) == (S.QUEUED, 2, "a", True)
    assert (order.delivered, order.arrived_fen, order.sent_at, decision.due_in) == (False, None, None, 0.0)
