"""Callbacks without proof about orders that are closed, while nobody can check them: kept, asked about, and never lost.

The gateway reverses many orders and says so once; its query interface is down.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import wire
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

PREFETCH = 4  # fewer than there are questions, so that one that held its message would hold the queue
REVERSED = [f"R-{number}" for number in range(2 * PREFETCH)]
NEVER = [600]  # a query schedule beyond any test


@pytest.fixture
def market() -> Iterator[Market]:
    """A sandbox whose late answers nobody waits for."""
    with Market(SandboxSettings(port=0, settle_after=0.6, late_seconds=30)) as running:
        yield running


@pytest.fixture
def here(amqp_url: str, database_server: str, tmp_path: Path, market: Market) -> Iterator[Stage]:
    """A deployment on which no callback comes but those that a test publishes."""
    with stage(amqp_url, database_server, tmp_path, "http://127.0.0.1:1") as made:
        made.sections["amqp"] = {"url": amqp_url, "prefix": made.prefix, "prefetch": PREFETCH}
        made.gateway("wikeyun", market.gateway, query_after_seconds=[0.2])
        made.gateway("other", market.gateway, query_after_seconds=[0.2])
        made.gateway("trusting", market.gateway, query_after_seconds=NEVER, trust_callbacks=True)
        made.sections["routes"] = {"mobile": ["wikeyun", "other"]}
        yield made


def say(here: Stage, gateway: str, order_no: str, status: int) -> None:
    """Let a callback say that an order stands so."""
    raw = f"order_no={order_no}&status={status}".encode()
    here.producer.call_back(wire.callback(gateway, raw))


def hints(here: Stage) -> dict[str, int]:
    """How often the gateway was asked about each hint that is kept."""
    rows = here.facts.rows("SELECT order_no, asked FROM hints JOIN orders ON id = order_id")
    return {row["order_no"]: row["asked"] for row in rows}


def reverse_all(here: Stage, market: Market) -> None:
    """Let orders succeed, and then be reversed while queries get no answer; say so once about each."""
    here.producer.submit(*(wire.order(order_no, mobile="13800138019") for order_no in REVERSED))
    for order_no in REVERSED:
        here.facts.await_state(order_no, "succeeded")
    market.force("*", "late_answer", call="query", times=0)
    until(lambda: {market.entry(order_no)["status"] for order_no in REVERSED} == {"reversed"}, 10)
    for order_no in REVERSED:
        say(here, "wikeyun", order_no, 10)


def all_refunded(here: Stage) -> None:
    """Every refund is found, told, and no question is left."""
    for order_no in REVERSED:
        assert here.producer.await_event(order_no, "refunded", seconds=40).body["reason"]["code"] == "10"
    until(lambda: not hints(here), 10, lambda: str(hints(here)))
    assert here.producer.letters() == []


def test_a_proven_callback_that_has_another_number_of_theirs_is_asked_about(here: Stage, market: Market) -> None:
    """It may be about another order of theirs: the answer says what became of ours, and only that is believed."""
    here.worker().await_ready()
    here.producer.submit(wire.order("T-2", gateway="trusting"))
    here.facts.await_state("T-2", "pending")
    until(lambda: market.entry("T-2")["status"] == "succeeded", 10)
    here.producer.call_back(wire.callback("trusting", b"order_no=T-2&order_number=1&status=3"))
    assert here.producer.await_event("T-2", "succeeded").body["upstream_no"] == market.entry("T-2")["order_number"]
    assert "claimed" in here.facts.causes("T-2")
    here.producer.call_back(wire.callback("trusting", b"order_no=T-2&order_number=1&status=3"))
    until(lambda: here.facts.causes("T-2").count("claimed") == 2 and not hints(here), 10)
    assert here.facts.state("T-2") == "succeeded"


def test_a_mass_reversal_with_queries_down_holds_no_other_callback_up(here: Stage, market: Market) -> None:
    """The questions wait in the database, not in the queue; each is asked again until it is answered."""
    worker = here.worker().await_ready()
    here.producer.submit(wire.order("T-1", gateway="trusting"))
    here.facts.await_state("T-1", "pending")
    reverse_all(here, market)
    began = time.monotonic()
    say(here, "trusting", "T-1", 2)
    here.facts.await_state("T-1", "succeeded", seconds=3)
    assert time.monotonic() - began < 3
    assert len(hints(here)) == len(REVERSED)
    until(lambda: here.producer.ready("callbacks") == {"callbacks": 0}, 3)
    until(lambda: max(hints(here).values()) >= 3, 40, lambda: str(hints(here)))
    assert here.facts.states() == {"succeeded": len(REVERSED) + 1}
    market.clear()
    all_refunded(here)
    assert worker.terminate() == 0


def test_a_hint_outlives_the_worker_that_heard_it(here: Stage, market: Market) -> None:
    """Its callback is acknowledged, its worker is killed in the middle of the question: another one asks."""
    first = here.worker().await_ready()
    reverse_all(here, market)
    until(lambda: len(hints(here)) == len(REVERSED), 10)
    until(lambda: here.producer.ready("callbacks") == {"callbacks": 0}, 3)
    first.kill()
    market.clear()
    here.worker().await_ready()
    all_refunded(here)


def test_an_attempt_that_was_given_up_is_asked_about_where_it_was_made(here: Stage, market: Market) -> None:
    """It was refused there, the order has succeeded elsewhere; whoever says that it lives after all is not believed."""
    here.worker().await_ready()
    market.force("G-1", "refused")
    here.producer.submit(wire.order("G-1"))
    here.facts.await_state("G-1", "succeeded")
    market.force("G-1", "error_500_charged", call="query")
    say(here, "wikeyun", "G-1", 2)
    until(lambda: hints(here) == {"G-1": 1}, 10, lambda: str(hints(here)))
    until(lambda: not hints(here), 10, lambda: str(hints(here)))
    assert market.entry("G-1")["calls"]["query"] == 3, "once without an answer, then until the denial is believed"
    found = here.facts.order("G-1")
    assert found is not None
    assert (found["state"], found["attempt"], found["gateway"]) == ("succeeded", 2, "other")
