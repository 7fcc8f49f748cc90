"""The machine: a gateway where our money is used up fails no order; the next one gets it, or it waits."""

import pytest
from support.machine import NOW, POLICY, E, S, a_fact, ago, an_order, step

from worker.core.order import State


@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN, S.QUEUED])
def test_the_next_gateway_of_the_route_gets_it(state: State) -> None:
    decision = step(an_order(state, route=("a", "b")), a_fact(E.UNFUNDED, sending=1))
    order = decision.order
    assert (order.state, order.gateway, order.attempt, order.reference) == (S.QUEUED, "b", 2, "T1R2")
    assert (decision.new_attempt, decision.due_in, order.unsent, order.sent_at) == (True, 0.0, 0, None)


@pytest.mark.parametrize("route", [("a",), ("b", "a")])
@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNKNOWN])
def test_without_another_one_it_waits_longer_and_longer_under_the_same_number(
    state: State, route: tuple[str, ...]
) -> None:
    order = an_order(state, route=route)
    waits = []
    for sending in range(1, 9):
        decision = step(order, a_fact(E.UNFUNDED, sending=sending))
        assert (decision.order.state, decision.order.attempt, decision.new_attempt) == (S.QUEUED, 1, False)
        assert (decision.tell, decision.order.reason) == (None, None), "nobody is told of a failure"
        waits.append(decision.due_in)
        order = step(decision.order, a_fact(E.TAKEN)).order
    assert waits == [1, 2, 5, 10, 30, 60, 60, 60]


def test_the_deadline_counts_from_the_call_that_was_funded() -> None:
    waiting = step(an_order(S.SUBMITTING, sent_at=ago(POLICY.query_deadline + 1)), a_fact(E.UNFUNDED)).order
    assert waiting.sent_at is None
    sent = step(waiting, a_fact(E.TAKEN)).order
    assert sent.sent_at == NOW
    assert step(sent, a_fact(E.CHARGING)).order.state is S.PENDING


def test_an_earlier_call_that_may_have_arrived_still_counts() -> None:
    """The first one was lost and held to be absent: that the second one was unfunded says nothing about it."""
    order = an_order(S.SUBMITTING, sending=2, unsent=0)
    assert step(order, a_fact(E.UNFUNDED, sending=2)).order.sent_at == order.sent_at


def test_a_callback_that_contradicts_it_makes_us_ask() -> None:
    hinted = step(an_order(S.SUBMITTING, route=("a", "b")), a_fact(E.CLAIMED, code="1")).order
    decision = step(hinted, a_fact(E.UNFUNDED))
    assert (decision.order.state, decision.order.attempt, decision.due_in) == (S.UNKNOWN, 1, 0.0)
    assert decision.order.doubt is None, "held to be absent it is sent again, not failed"


def test_it_ends_when_the_order_may_not_wait_any_longer() -> None:
    waiting = step(an_order(S.SUBMITTING, expires_at=NOW), a_fact(E.UNFUNDED)).order
    assert step(waiting, a_fact(E.EXPIRED)).order.state is S.CANCELLED
    assert step(waiting, a_fact(E.CANCEL_REQUESTED)).order.state is S.CANCELLED
