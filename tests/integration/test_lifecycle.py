"""Whole orders: published by an independent client, worked on by `worker run`, judged by the sandbox's ledger."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support import wire
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker.embedded.service import free_ports
from worker.sandbox import SandboxSettings

SETTLE_AFTER = 0.7  # between two steps of an order at the sandbox: long enough that a query falls between
MARKET = SandboxSettings(
    port=0, settle_after=SETTLE_AFTER, late_seconds=2.5, slow_seconds=0.4, absent_seconds=1, unlisted_seconds=1
)
RFC_3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NEVER = [600]  # a query schedule beyond any test


@dataclass(frozen=True)
class Fault:
    """What an account's last two digits make of an order."""

    ending: str
    state: str  # where the order truly ends
    events: str  # what its producer hears
    reason: str | None = None
    charges: int = 1
    pushes: int = 1


FAULTS = (
    Fault("00", "succeeded", "accepted succeeded"),
    Fault("01", "succeeded", "accepted succeeded"),  # answered too late
    Fault("02", "succeeded", "accepted succeeded"),  # never answered, yet charged
    Fault("03", "succeeded", "accepted succeeded", pushes=2),  # reset before it was read
    Fault("04", "succeeded", "accepted succeeded"),  # HTTP 500, yet charged
    Fault("05", "succeeded", "accepted succeeded"),  # HTML, yet charged
    Fault("06", "failed", "accepted failed", "9527", charges=0),  # an unlisted refusal, later proven
    Fault("07", "succeeded", "accepted succeeded"),  # the same code, yet charged
    Fault("08", "succeeded", "accepted succeeded"),  # an unlisted status for a while
    Fault("09", "succeeded", "accepted succeeded"),  # no callback
    Fault("10", "succeeded", "accepted succeeded"),  # five callbacks
    Fault("11", "succeeded", "accepted succeeded"),  # the callback comes before the answer
    Fault("12", "review", "accepted failed review", "success_after_failure", charges=2),
    Fault("13", "succeeded", "accepted succeeded"),  # "no such order" for a while
    Fault("14", "failed", "accepted failed", "2006", charges=0),  # a definite no
    Fault("15", "refunded", "accepted failed refunded", "4"),
    Fault("16", "succeeded", "accepted succeeded"),  # slow
    Fault("18", "partial", "accepted partial", "11"),
    Fault("19", "refunded", "accepted succeeded refunded", "10"),
    Fault("20", "review", "accepted review", "disputed"),
    Fault("21", "review", "accepted review", "mismatch"),
    Fault("22", "succeeded", "accepted succeeded"),  # the callback lies
    Fault("23", "succeeded", "accepted succeeded"),  # cut in the middle of the answer
)
LANES = 6  # the faults are spread over gateways, so that none sees enough of them in a row to be left alone


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    """A sandbox of short times."""
    with Market(MARKET) as running:
        yield running


@pytest.fixture(scope="module")
def later() -> int:
    """A port where nobody listens yet."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def here(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory, market: Market, later: int
) -> Iterator[Stage]:
    """One deployment for all tests of this file, its worker running, the orders of `FAULTS` under way."""
    directory = tmp_path_factory.mktemp("lifecycle")
    with Relay(amqp_url) as relay, stage(amqp_url, database_server, directory, relay.url) as made:
        made.gateway("wikeyun", market.gateway)
        made.gateway("other", market.gateway)
        made.gateway("patient", market.gateway, query_after_seconds=NEVER)
        made.gateway("trusting", market.gateway, query_after_seconds=NEVER, trust_callbacks=True)
        made.gateway("later", f"http://127.0.0.1:{later}/wikeyun")
        made.gateway("never", f"http://127.0.0.1:{free_ports(1)[0]}/wikeyun")
        for lane in range(LANES):
            made.gateway(f"lane{lane}", market.gateway)
        made.sections["routes"] = {"mobile": ["wikeyun", "other"]}
        made.worker(spawn=True).await_ready()
        made.producer.submit(
            *(
                wire.order(f"F{fault.ending}", mobile=f"138001380{fault.ending}", gateway=f"lane{number % LANES}")
                for number, fault in enumerate(FAULTS)
            )
        )
        yield made
        assert made.workers[0].terminate() == 0, made.workers[0].tail()


def expect(here: Stage, order_no: str, what: str, count: int = 1) -> dict[str, Any]:
    return here.producer.await_event(order_no, what, count).body


# --- the straight way -------------------------------------------------------------------------------


def test_an_order_goes_through_and_its_producer_hears_exactly_that(here: Stage, market: Market) -> None:
    """The events are the contract's, field by field, with its key, type, ids and persistence."""
    here.producer.submit(wire.order("L-1"), message_id="m-1", correlation_id="c-1")
    accepted = here.producer.await_event("L-1", "accepted")
    succeeded = here.producer.await_event("L-1", "succeeded")
    entry = market.entry("L-1")

    always = {
        "order_no": "L-1",
        "source": "shop",
        "product": "mobile",
        "gateway": "wikeyun",
        "attempt": 1,
        "amount_fen": 10000,
        "arrived_fen": None,
        "reason": None,
        "payment": None,
    }
    first = {"event": "order.accepted", "state": "submitting", "version": 1, "upstream_no": None, "cost_fen": None}
    last = {"event": "order.succeeded", "state": "succeeded", "version": 3, "upstream_no": entry["order_number"]}
    assert {name: value for name, value in accepted.body.items() if name != "at"} == always | first
    assert {name: value for name, value in succeeded.body.items() if name != "at"} == always | last | {
        "cost_fen": 10000
    }
    for event, name, version in ((accepted, "accepted", 1), (succeeded, "succeeded", 3)):
        assert event.body.keys() == wire.EVENT_FIELDS
        assert RFC_3339_UTC.fullmatch(event.body["at"])
        assert event.key == f"order.{name}.shop"
        given = event.properties
        assert (given.type, given.message_id, given.correlation_id) == (f"order.{name}", f"L-1:{version}", "c-1")
        assert (given.content_type, given.delivery_mode) == ("application/json", 2)
    assert (entry["charges"], entry["pushes"], entry["amount_fen"]) == (1, 1, 10000)
    assert here.facts.path("L-1") == ["submitting", "pending", "succeeded"]


def test_defaults_may_be_left_out_and_the_message_id_correlates(here: Stage) -> None:
    """`source` defaults to `default`; without a correlation_id the events carry the submit's message_id."""
    message = {"order_no": "L-2", "product": "mobile", "amount_fen": 5000, "target": {"mobile": wire.MOBILE}}
    here.producer.submit(message, message_id="m-2")
    event = here.producer.await_event("L-2", "succeeded")
    assert (event.key, event.properties.correlation_id) == ("order.succeeded.default", "m-2")


def test_the_same_order_again_is_not_sent_again_but_told_again(here: Stage, market: Market) -> None:
    """A repeated submit publishes the current state, under the same message_id, to the one who repeated it."""
    here.producer.submit(wire.order("L-3"), correlation_id="first")
    before = here.producer.await_event("L-3", "succeeded")
    compact = {"order_no": "L-3", "source": "shop", "product": "mobile", "amount_fen": 10000}
    again = compact | {"target": {"mobile": wire.MOBILE}, "expires_at": wire.moment(60)}
    here.producer.submit(again, correlation_id="second")
    after = here.producer.await_event("L-3", "succeeded", count=2)
    assert after.properties.message_id == before.properties.message_id == "L-3:3"
    assert after.body == before.body
    assert (before.properties.correlation_id, after.properties.correlation_id) == ("first", "second")
    assert (market.charges("L-3"), market.pushes("L-3")) == (1, 1)


def test_an_order_under_way_is_told_as_accepted_with_its_true_state(here: Stage, market: Market) -> None:
    """A repetition of an order that is submitting, then pending: `order.accepted`, true state and version."""
    market.force("L-4", "hold")
    message = wire.order("L-4", gateway="patient", mobile="13800138009")
    here.producer.submit(message)
    market.await_held("L-4")
    here.producer.submit(message, correlation_id="again")
    while_submitting = expect(here, "L-4", "accepted", count=2)
    assert (while_submitting["state"], while_submitting["version"]) == ("submitting", 1)
    market.release("L-4")
    here.facts.await_state("L-4", "pending")
    here.producer.submit(message)
    while_pending = expect(here, "L-4", "accepted", count=3)
    assert (while_pending["state"], while_pending["version"]) == ("pending", 2)
    assert while_pending["upstream_no"] == market.entry("L-4")["order_number"]
    assert market.pushes("L-4") == 1


@pytest.mark.parametrize(
    "change", [{"amount_fen": 5000}, {"source": "web"}, {"target": {"mobile": "13800138000", "speed": "slow"}}]
)
def test_other_content_under_the_same_number_is_a_conflict(here: Stage, market: Market, change: dict[str, Any]) -> None:
    """The conflicting message is a dead letter, and the first order goes on as if nothing had been."""
    order_no = f"L-5-{next(iter(change))}"
    here.producer.submit(wire.order(order_no), wire.order(order_no, **change))
    expect(here, order_no, "succeeded")
    until(lambda: any(_of(dead, order_no) for dead in here.producer.letters()), 10)
    (dead,) = (dead for dead in here.producer.dead if _of(dead, order_no))
    assert (dead.properties.headers or {})["x-dead-reason"] == "order_conflict"
    assert dead.body == wire.order(order_no, **change)
    assert market.charges(order_no) == 1


def _of(dead: wire.Message, order_no: str) -> bool:
    return order_no.encode() in dead.raw


# --- callbacks ----------------------------------------------------------------------------------------


def test_an_unproven_callback_makes_the_worker_ask_at_once(here: Stage, market: Market) -> None:
    """A gateway that is asked only after ten minutes: its callback proves nothing, the query that it causes does."""
    here.producer.submit(wire.order("L-6", gateway="patient"))
    expect(here, "L-6", "succeeded")
    assert market.entry("L-6")["calls"]["query"] == 1
    assert "claimed" in here.facts.causes("L-6")


def test_a_trusted_callback_settles_the_order_without_a_query(here: Stage, market: Market) -> None:
    """With `trust_callbacks` the callback itself is the evidence."""
    here.producer.submit(wire.order("L-7", gateway="trusting"))
    expect(here, "L-7", "succeeded")
    assert "query" not in market.entry("L-7")["calls"]


def test_a_forged_callback_moves_nothing(here: Stage, market: Market) -> None:
    """Whoever posts "succeeded" for an order that still charges only causes a question."""
    here.producer.submit(wire.order("L-8", gateway="patient", mobile="13800138015"))
    here.facts.await_state("L-8", "pending")
    here.producer.call_back(wire.callback("patient", b"order_no=L-8&order_number=1&status=2"))
    assert expect(here, "L-8", "failed")["reason"]["code"] == "3"
    assert "succeeded" not in here.producer.names("L-8")


def test_a_hint_about_a_final_order_is_not_lost_when_the_gateway_does_not_answer(here: Stage, market: Market) -> None:
    """The money came back, the callback says so once, and the question about it fails once: still refunded."""
    here.producer.submit(wire.order("L-9", gateway="patient", mobile="13800138019"))
    expect(here, "L-9", "succeeded")
    market.force("L-9", "error_500_charged", call="query")
    assert here.producer.await_event("L-9", "refunded", seconds=20).body["reason"]["code"] == "10"


# --- gateways that are away, refuse, or cannot take it ----------------------------------------------------


def test_a_gateway_that_is_down_at_first_gets_the_order_later(here: Stage, later: int) -> None:
    """Nothing was sent, which is proven, so it is tried again until the gateway is there."""
    here.producer.submit(wire.order("L-10", gateway="later"))
    until(lambda: "not_sent" in here.facts.causes("L-10"), 10)
    with Market(SandboxSettings(port=later, settle_after=0.2)) as late:
        expect(here, "L-10", "succeeded")
        assert (late.charges("L-10"), late.pushes("L-10")) == (1, 1)


def test_an_order_that_expires_while_it_waits_is_cancelled(here: Stage) -> None:
    """`expires_at` is kept: cancelled with the reason `expired`, and never sent afterwards."""
    here.producer.submit(wire.order("L-11", gateway="never", expires_at=wire.moment(2)))
    event = expect(here, "L-11", "cancelled")
    assert event["reason"]["code"] == "expired"
    assert here.facts.state("L-11") == "cancelled"


def test_pushes_that_never_arrive_are_repeated_under_one_number_until_the_order_expires(
    here: Stage, market: Market
) -> None:
    """Each loss is settled by "no such order" before the same number goes out again; in the end it is cancelled."""
    here.producer.submit(wire.order("L-12", mobile="13800138017", expires_at=wire.moment(6)))
    assert expect(here, "L-12", "cancelled")["reason"]["code"] == "expired"
    assert market.charges("L-12") == 0
    assert market.pushes("L-12") >= 2
    assert [entry["order_no"] for entry in market.entries() if entry["order_no"].startswith("L-12")] == ["L-12"]


@pytest.mark.parametrize("fen", [10050, 3000])
def test_an_amount_that_no_gateway_takes_fails_without_a_call(here: Stage, market: Market, fen: int) -> None:
    """Neither part of a yuan nor a face value that is not sold is rounded or tried."""
    here.producer.submit(wire.order(f"L-13-{fen}", amount_fen=fen))
    event = expect(here, f"L-13-{fen}", "failed")
    assert event["reason"]["code"] == "amount_not_supported"
    assert not [entry for entry in market.entries() if entry["order_no"].startswith(f"L-13-{fen}")]


def test_a_definite_refusal_moves_on_to_the_next_gateway_under_a_new_number(here: Stage, market: Market) -> None:
    """Failover: attempt 2 goes out as `<order_no>R2` at the next gateway of the route."""
    market.force("L-14", "refused")
    here.producer.submit(wire.order("L-14"))
    event = expect(here, "L-14", "succeeded")
    assert (event["attempt"], event["gateway"]) == (2, "other")
    assert (market.charges("L-14"), market.charges("L-14R2")) == (0, 1)
    assert here.producer.names("L-14") == ["accepted", "succeeded"]


# --- each way to misbehave ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.ending)
def test_whatever_the_gateway_does_the_order_ends_where_it_truly_stands(
    here: Stage, market: Market, fault: Fault
) -> None:
    """For every fault of the sandbox: the true state, told exactly so, and no order number charged twice by us."""
    order_no = f"F{fault.ending}"
    expected = fault.events.split()
    last = here.producer.await_event(order_no, expected[-1], seconds=30).body
    told = here.producer.names(order_no)
    # a state that lasted no longer than the worker's own answer took may have been passed over
    assert {expected[0], expected[-1]} <= set(told)
    assert [name for name in expected if name in told] == told
    assert here.facts.await_state(order_no, fault.state) == fault.state
    assert last["state"] == fault.state
    assert (last["reason"] or {}).get("code") == fault.reason
    assert last["arrived_fen"] == (5000 if fault.state == "partial" else None)
    entry = market.entry(order_no)
    assert (entry["charges"], entry["pushes"]) == (fault.charges, fault.pushes)


def test_only_the_listed_events_are_published(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory, market: Market
) -> None:
    """`[events] publish` is the list of what leaves, `pending` and `unknown` included; the rest is silent."""
    directory = tmp_path_factory.mktemp("events")
    with stage(amqp_url, database_server, directory, "http://127.0.0.1:1") as quiet:
        quiet.gateway("wikeyun", market.gateway)
        quiet.sections["events"] = {"publish": ["pending", "unknown", "failed"]}
        worker = quiet.worker().await_ready()
        quiet.producer.submit(wire.order("E-1", mobile="13800138002"), wire.order("E-2", mobile="13800138014"))
        assert quiet.producer.await_event("E-1", "unknown").body["state"] == "unknown"
        quiet.producer.await_event("E-2", "failed")
        quiet.facts.await_state("E-1", "succeeded")
        assert worker.terminate() == 0
        assert quiet.producer.names("E-1") in (["unknown"], ["unknown", "pending"])
        assert quiet.producer.names("E-2") == ["failed"]
        assert quiet.facts.outbox() == 0
