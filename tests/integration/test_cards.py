"""Power and oil through the sandbox: each card is there once before money goes onto it, whoever comes first."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import wire
from support.market import Market
from support.stage import Stage, stage
from support.wikeyun import OIL, POWER, card_order

from worker.core.outcome import Outcome, Status, Submitted
from worker.gateways.base import RefusedError
from worker.gateways.gateway import Gateway, GatewayUnavailableError
from worker.gateways.wikeyun import Wikeyun
from worker.gateways.wikeyun_wire import WikeyunSettings
from worker.ledger.cards import CardBook
from worker.ledger.connection import create_pool
from worker.sandbox import SandboxSettings

CODES = {"refusal_codes": ["2000", "2003"], "no_such_order_codes": ["2002"], "duplicate_codes": ["2001"]}


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    """A sandbox that settles orders quickly."""
    with Market(SandboxSettings(port=0, settle_after=0.3)) as running:
        yield running


@asynccontextmanager
async def process(dsn: str, market: Market, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway with a pool of its own, as each worker process has."""
    values = {
        "adapter": "wikeyun",
        "base_url": market.gateway,
        "notify_url": "http://127.0.0.1:1/callbacks/wikeyun",
        "store_id": "1001",
        "app_key": "2002",
        "app_secret": "sandbox-secret",
        "timeout_seconds": 2,
        "lease_seconds": 4,
    }
    pool = await create_pool(dsn, 2)
    gateway = Gateway.build(Wikeyun, "wikeyun", WikeyunSettings.model_validate(values | CODES | settings))
    gateway.cards = CardBook(pool)
    try:
        yield gateway
    finally:
        await gateway.close()
        pool.terminate()


numbers = iter(range(3_200_000_000_100, 4_000_000_000_000, 100))


def fresh(order_no: str, **target: Any) -> Any:
    """An order for an electricity account that no other test has."""
    return replace(card_order("power", 20_000, **({"account_no": str(next(numbers))} | target)), order_no=order_no)


def now() -> datetime:
    return datetime.now(UTC)


async def until_sent(gateway: Gateway, order: Any) -> Submitted:
    """Send an order as the scheduler would: again while it is proven that it was not sent."""
    async with asyncio.timeout(20):
        while True:
            outcome = await gateway.submit(order, now(), None)
            if outcome.outcome is not Outcome.NOT_SENT:
                return outcome
            assert outcome.code == "card_busy"
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("processes", [1, 2])
async def test_orders_for_the_same_new_card_at_the_same_time_add_it_once(
    ledger_dsn: str, market: Market, processes: int
) -> None:
    first = fresh(f"CA{processes}-0")
    number = first.target["account_no"]
    orders = [first, *(replace(first, order_no=f"CA{processes}-{each}") for each in range(1, 12))]
    async with process(ledger_dsn, market) as one, process(ledger_dsn, market) as two:
        gateways = (one, two)[:processes]
        outcomes = await asyncio.gather(
            *(until_sent(gateways[each % processes], order) for each, order in enumerate(orders))
        )
    assert {outcome.outcome for outcome in outcomes} == {Outcome.ACCEPTED}
    (card,) = market.cards(number)
    assert card["calls"] == {"add": 1}
    assert {market.entry(order.order_no)["account"] for order in orders} == {number}


async def test_orders_that_disagree_about_a_card_each_pay_onto_it_as_they_say(ledger_dsn: str, market: Market) -> None:
    order = fresh("CB-0")
    number = order.target["account_no"]
    async with process(ledger_dsn, market) as gateway:
        for each, city in enumerate(("南京市", "南京市", "苏州市", "苏州市", "南京市")):
            said = replace(order, order_no=f"CB-{each}", target=order.target | {"city": city})
            assert (await until_sent(gateway, said)).outcome is Outcome.ACCEPTED
            (card,) = market.cards(number)
            assert card["fields"]["city"] == city
    assert card["calls"] == {"add": 1, "edit": 2}


async def test_no_card_is_changed_while_money_goes_onto_it(ledger_dsn: str, market: Market) -> None:
    order = fresh("CC-0")
    moved = replace(order, order_no="CC-1", target=order.target | {"city": "苏州市"})
    async with process(ledger_dsn, market) as gateway:
        market.force("CC-0", "hold")
        paying = asyncio.create_task(gateway.submit(order, now(), None))
        await asyncio.to_thread(market.await_held, "CC-0")
        outcome = await gateway.submit(moved, now(), None)
        assert (outcome.outcome, outcome.code) == (Outcome.NOT_SENT, "card_busy")
        market.release("CC-0")
        assert (await paying).outcome is Outcome.ACCEPTED
        assert (await gateway.submit(moved, now(), None)).outcome is Outcome.ACCEPTED


async def test_an_add_whose_answer_was_lost_moves_no_money_and_is_made_good(ledger_dsn: str, market: Market) -> None:
    order = fresh("CD-1")
    number = order.target["account_no"]
    async with process(ledger_dsn, market) as gateway:
        market.force(number, "cut_answer", call="add_card")
        outcome = await gateway.submit(order, now(), None)
        assert (outcome.outcome, market.pushes("CD-1")) == (Outcome.NOT_SENT, 0)
        assert outcome.evidence["operation"] == "add_card"
        assert number not in str(outcome.evidence)
        assert (await gateway.submit(order, now(), None)).outcome is Outcome.ACCEPTED
    (card,) = market.cards(number)
    assert (card["calls"]["add"], market.charges("CD-1")) == (2, 1)


async def test_a_refused_card_refuses_the_order(ledger_dsn: str, market: Market) -> None:
    async with process(ledger_dsn, market) as gateway:
        outcome = await gateway.submit(fresh("CE-1", province="nowhere"), now(), None)
        assert (outcome.outcome, outcome.code, market.pushes("CE-1")) == (Outcome.REJECTED, "2000", 0)
    async with process(ledger_dsn, market, refusal_codes=["1003"]) as gateway:
        outcome = await gateway.submit(fresh("CE-2", province="nowhere"), now(), None)
        assert (outcome.outcome, outcome.code, market.pushes("CE-2")) == (Outcome.NOT_SENT, "2000", 0)


async def test_commands(ledger_dsn: str, market: Market) -> None:
    fields = dict(OIL) | {"card_no": "1000111100099"}
    number = {"card_no": fields["card_no"]}
    async with process(ledger_dsn, market) as gateway:
        added = await gateway.card("add", "oil", fields, None, now())
        assert added == await gateway.card("add", "oil", fields, None, now())
        card_id = added["card_id"]
        await gateway.card("edit", "oil", fields | {"name": "李四"}, None, now())
        shown = await gateway.card("show", "oil", number, None, now())
        assert (shown["card_id"], shown["name"]) == (card_id, "李四")
        assert fields["card_no"] not in str(shown)
        assert fields["id_number"] not in str(shown)
        with pytest.raises(RefusedError, match="card_mismatch"):
            await gateway.card("edit", "oil", dict(OIL), card_id, now())
        assert await gateway.card("delete", "oil", number, None, now()) == {"card_id": card_id}
        for action in ("delete", "show"):
            with pytest.raises(RefusedError, match="unknown_card"):
                await gateway.card(action, "oil", number, None, now())
        with pytest.raises(RefusedError, match="2008"):
            await gateway.card("show", "oil", {}, card_id, now())
        with pytest.raises(GatewayUnavailableError, match="not_supported"):
            await gateway.card("show", "mobile", {}, card_id, now())
        assert (await gateway.card("add", "oil", fields, None, now()))["card_id"] != card_id
        assert gateway.gate.in_flight == 0
    (gone, there) = market.cards(fields["card_no"])
    assert (gone["calls"], there["calls"]) == ({"add": 1, "edit": 1, "show": 1, "delete": 1}, {"add": 1})


async def test_cancel_of_an_order_that_is_charging(ledger_dsn: str) -> None:
    order = fresh("CF-1")
    with Market(SandboxSettings(port=0, settle_after=600)) as market:
        async with process(ledger_dsn, market) as gateway:
            outcome = await gateway.submit(order, now(), None)
            assert outcome.outcome is Outcome.ACCEPTED
            report = await gateway.cancel(order.changed({"upstream_no": outcome.upstream_no}), now())
    assert report is not None
    assert report.status in (Status.CANCELLED, Status.CHARGING)
    assert [each["operation"] for each in report.evidence["earlier"]] == ["cancel"]


async def test_without_a_ledger_no_card_is_touched(ledger_dsn: str, market: Market) -> None:
    order = fresh("CG-1")
    async with process(ledger_dsn, market) as gateway:
        gateway.cards = None
        outcome = await gateway.submit(order, now(), None)
    assert (outcome.outcome, outcome.code) == (Outcome.NOT_SENT, "no_card_book")
    assert market.cards(order.target["account_no"]) == []


# --- whole workers -------------------------------------------------------------------------------


@pytest.fixture
def here(amqp_url: str, database_server: str, tmp_path: Path, market: Market) -> Iterator[Stage]:
    """A deployment on which no callback comes."""
    with stage(amqp_url, database_server, tmp_path, "http://127.0.0.1:1") as made:
        made.gateway("wikeyun", market.gateway)
        yield made


def message(order_no: str, product: str, amount_fen: int, target: dict[str, Any]) -> dict[str, Any]:
    """A submit message for power or oil."""
    return wire.order(order_no, product=product, amount_fen=amount_fen, target=target)


def test_two_workers_bring_power_and_oil_to_success(here: Stage, market: Market) -> None:
    """Ten orders for one new electricity account and ten for one new fuel card, published at once."""
    power, oil = POWER | {"account_no": "3301234567800"}, OIL | {"card_no": "1000111100011100"}
    power = {name: value for name, value in power.items() if value is not None}
    for _ in range(2):
        here.worker().await_ready()
    names = [f"CP-{each}" for each in range(10)], [f"CO-{each}" for each in range(10)]
    here.producer.submit(
        *(message(name, "power", 20_000, power) for name in names[0]),
        *(message(name, "oil", 50_000, oil) for name in names[1]),
    )
    for name in (*names[0], *names[1]):
        here.facts.await_state(name, "succeeded")
        assert market.charges(name) == 1
    for target in (power["account_no"], oil["card_no"]):
        (card,) = market.cards(target)
        assert card["calls"]["add"] == 1
    log = here.log()
    for private in (power["account_no"], oil["card_no"], oil["id_number"], oil["name"]):
        assert private not in log
        assert not here.facts.rows("SELECT 1 FROM journal WHERE evidence::text LIKE '%' || $1 || '%'", private)


def test_an_amount_that_is_not_sold_fails_without_a_call(here: Stage, market: Market) -> None:
    here.worker().await_ready()
    target = {name: value for name, value in POWER.items() if value is not None} | {"account_no": "3309999999900"}
    here.producer.submit(message("CQ-1", "power", 15_000, target))
    event = here.producer.await_event("CQ-1", "failed")
    assert event.body["reason"]["code"] == "amount_not_supported"
    assert (market.entries("CQ-1"), market.cards(target["account_no"])) == ([], [])


def test_a_worker_that_dies_while_it_adds_a_card_leaves_it_to_another(here: Stage, market: Market) -> None:
    """Its hold ends with its lease; what it had asked for is done all the same, and is found again."""
    target = {name: value for name, value in POWER.items() if value is not None} | {"account_no": "3305555555500"}
    market.force(target["account_no"], "hold_uncharged", call="add_card")
    first = here.worker().await_ready()
    here.producer.submit(message("CR-1", "power", 20_000, target))
    market.await_held(target["account_no"])
    first.kill()
    market.release(target["account_no"])
    here.worker().await_ready()
    here.facts.await_state("CR-1", "succeeded")
    (card,) = market.cards(target["account_no"])
    assert card["calls"] == {"add": 2, "show": 1, "edit": 1}, "the second was refused, and told of the first"
    assert market.charges("CR-1") == 1


@pytest.mark.parametrize("fault", ["drop_before_read", "error_500_charged", "garbage", "late_answer", "unknown_code"])
def test_no_fault_of_a_cards_call_charges_twice_or_fails_an_order(here: Stage, market: Market, fault: str) -> None:
    number = str(next(numbers))
    target = {name: value for name, value in POWER.items() if value is not None} | {"account_no": number}
    market.force(number, fault, call="add_card")
    here.worker().await_ready()
    here.producer.submit(message(f"CS-{fault}", "power", 20_000, target))
    here.facts.await_state(f"CS-{fault}", "succeeded")
    assert "not_sent" in here.facts.causes(f"CS-{fault}")
    assert (market.charges(f"CS-{fault}"), len(market.cards(number))) == (1, 1)
