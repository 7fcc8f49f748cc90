"""Every gateway's orders over real HTTP, before its strict simulator: each case once, for every product there is."""

import pytest
from support.dealing import Opens, products
from support.peers import accepting, free_port, silence

from worker.core.order import Event, State
from worker.core.outcome import Outcome, Report, Status
from worker.gateways.base import Call, Reply, UnreadableReplyError
from worker.gateways.lease import Lease

pytestmark = pytest.mark.parametrize(("name", "product"), products())
S = State
TAKEN = {Outcome.ACCEPTED, Outcome.SUCCEEDED}


async def test_a_success_is_charged_once_and_found_by_asking(open_desk: Opens, name: str, product: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        assert (await dealing.submit()).outcome in TAKEN
        assert await dealing.ask() is S.SUCCEEDED
        (entry,) = dealing.entries()
    assert (entry["charges"], entry["pushes"], entry["status"]) == (1, 1, "succeeded")
    assert entry["product"] == product
    assert (dealing.order.upstream_no or "").startswith(entry["order_number"])
    assert all(fact.evidence for fact in dealing.facts), "each step has what proves it"


async def test_what_goes_on_is_open(open_desk: Opens, name: str, product: str) -> None:
    async with open_desk(name, patient=True) as desk:
        dealing = desk.order(product)
        await dealing.submit()
        for _ in range(2):
            assert (await dealing.query()).status in (Status.CHARGING, Status.PAYMENT_DUE)
        assert dealing.order.state in (S.PENDING, S.AWAITING_PAYMENT)
        due = dealing.order.state is S.AWAITING_PAYMENT
        assert due == (dealing.order.payment is not None) == (dealing.order.payment_expires_at is not None)
        assert dealing.charges() == (0 if due else 1)


async def test_a_gateway_that_cannot_be_reached_was_not_sent_anything(
    open_desk: Opens, name: str, product: str
) -> None:
    async with open_desk(name, base_url=f"http://127.0.0.1:{free_port()}/x") as desk:
        dealing = desk.order(product)
        assert (await dealing.submit()).outcome is Outcome.NOT_SENT
        assert dealing.order.state is S.QUEUED
        assert dealing.order.sent_at is None or desk.gateway.policy.repeat_safe


async def test_a_time_out_before_the_first_byte_is_not_sent(open_desk: Opens, name: str, product: str) -> None:
    async with accepting(silence) as deaf:  # the TLS handshake never ends
        url = f"https://127.0.0.1:{deaf.port}"
        async with open_desk(name, base_url=url, timeout_seconds=0.3) as desk:
            dealing = desk.order(product)
            assert (await dealing.submit()).outcome is Outcome.NOT_SENT
            assert dealing.order.state is S.QUEUED
        assert deaf.connections == 1


async def test_a_call_that_could_outlive_its_lease_is_not_sent(open_desk: Opens, name: str, product: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        outcome = await dealing.submit(Lease.lasting(0))
        assert (outcome.outcome, outcome.code) == (Outcome.NOT_SENT, "lease_over")
        assert dealing.entries() == []


async def test_a_time_out_after_it_is_unknown_and_never_a_failure(open_desk: Opens, name: str, product: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        dealing.force("hold")
        outcome = await dealing.submit()
        assert (outcome.outcome, outcome.code) == (Outcome.UNKNOWN, "timeout")
        assert dealing.order.state is (S.QUEUED if desk.gateway.policy.repeat_safe else S.UNKNOWN)
        (entry,) = dealing.entries()
        desk.market.release(entry["order_no"])
        assert await dealing.follow() is S.SUCCEEDED
        assert dealing.charges() == 1


async def test_a_connection_that_is_reset_unread_is_unknown(open_desk: Opens, name: str, product: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        desk.force("drop_before_read", call="push")
        assert (await dealing.submit()).outcome is Outcome.UNKNOWN
        assert dealing.entries() == []


async def test_an_answer_about_another_order_settles_nothing(open_desk: Opens, name: str, product: str) -> None:
    """The very answer that proves one order's success, given to a question about another."""
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        await dealing.submit()
        assert await dealing.ask() is S.SUCCEEDED
        if not desk.features.order_told:
            return
        adapter, ours = desk.gateway.adapter, dealing.order
        reply = await dealing.reply()
        own = answered(adapter.query(ours, dealing.moment()), reply)
        assert own is not None
        assert own.fact(ours, 1).event is Event.ARRIVED
        other = ours.changed({"order_no": f"{ours.order_no}x"})
        report = answered(adapter.query(other, dealing.moment()), reply)
        assert report is None or report.fact(other, 1).event is Event.MISMATCH


def answered(call: Call[Report], reply: Reply) -> Report | None:
    """Answer the call's one question and return what is read of it; None: nothing."""
    next(call)
    try:
        call.send(reply)
    except StopIteration as done:
        report: Report = done.value
        return report
    except UnreadableReplyError:
        return None
    raise AssertionError("it asks more than one question")
