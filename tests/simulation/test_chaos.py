"""Everything at once: gateways that misbehave, callbacks that come or not, workers that are killed again and again."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from support import wire
from support.facts import FINAL
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.street import HOUSES, Street, products, street

from worker.core.order import ACCOUNT_FIELDS
from worker.gateways.registry import adapters
from worker.sandbox import SandboxSettings

MISBEHAVIOUR: Mapping[str, Any] = {
    "by_ending": False,
    "fault_rate": 0.3,
    "accept_duplicates": True,  # a second push would be charged: nobody but the worker prevents it
    "settle_after": 0.3,
    "late_seconds": 3,
    "slow_seconds": 0.5,
    "absent_seconds": 1,
    "unlisted_seconds": 1,
}
WORKERS = 2
KILL_EVERY = 1.5
TRUTH = {"succeeded": {"succeeded"}, "refunded": {"refunded"}, "not_taken": {"failed"}}
"""Where an order ends that ends so at the gateway: what is drawn there succeeds, is refunded, or is refused."""
TRUTH_ANYWHERE = TRUTH | {"refunded": {"refunded", "failed"}, "awaiting_payment": {"failed"}}
"""The same where a gateway has one code for both, and where a charge that is in nobody's hands was made before a no."""


@pytest.fixture
def market() -> Iterator[Market]:
    """A sandbox that gives three of ten orders a fault."""
    with Market(SandboxSettings(port=0, **MISBEHAVIOUR)) as running:
        yield running


@pytest.fixture
def here(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory, market: Market
) -> Iterator[Stage]:
    """A deployment whose relay passes on the callbacks."""
    directory = tmp_path_factory.mktemp("chaos")
    with Relay(amqp_url) as relay, stage(amqp_url, database_server, directory, relay.url) as made:
        made.gateway("wikeyun", market.gateway)
        yield made


class Chaos:
    """Publishes orders while it kills workers, the oldest first, and starts others in their place.

    `meanwhile` is called again and again.
    """

    def __init__(self, here: Stage, orders: list[dict[str, Any]], meanwhile: Callable[[], None]) -> None:
        self._here = here
        self._orders = orders
        self._meanwhile = meanwhile
        self._chance = random.Random(20261121)  # noqa: S311 - repeatable, nothing secret
        self._alive = [here.worker() for _ in range(WORKERS)]
        self._next_kill = time.monotonic() + KILL_EVERY
        self.kills = 0

    def run(self, per_second: float) -> None:
        """Publish the orders, then go on until all but the last few are final."""
        for number, order in enumerate(self._orders):
            self._here.producer.submit(order)
            if self._chance.random() < 0.05:  # a producer that did not hear the confirm
                self._here.producer.submit(self._orders[self._chance.randrange(number + 1)])
            time.sleep(self._chance.expovariate(per_second))
            self._kill_in_time()
        while sum(self._here.facts.states()[state] for state in FINAL) < len(self._orders) * 0.9:
            time.sleep(0.1)
            self._kill_in_time()

    def calm(self) -> list[int]:
        """End it, and return the exit codes of the workers that are left."""
        return [worker.terminate() for worker in self._alive]

    def _kill_in_time(self) -> None:
        self._meanwhile()
        if time.monotonic() < self._next_kill:
            return
        self._alive.pop(0).kill()
        self._alive.append(self._here.worker())
        self.kills += 1
        self._next_kill = time.monotonic() + KILL_EVERY * self._chance.uniform(0.5, 1.5)


Entries = Mapping[str, list[dict[str, Any]]]

SOLD_BY_THE_PIECE = frozenset({"game", "douyin"})
"""What a gateway takes for them is its own price, not the order's amount."""


def differences(here: Stage, entries: Entries, truth: Mapping[str, set[str]]) -> Mapping[str, Any]:
    """The orders whose state is not what the sandbox's ledger says, each with both."""
    states = {row["order_no"]: row["state"] for row in here.facts.rows("SELECT order_no, state FROM orders")}
    standings = {number: _standing(found) for number, found in entries.items()}
    return {
        number: (states.get(number), standing)
        for number, standing in standings.items()
        if states.get(number) not in truth.get(standing, set())
    }


def _standing(entries: list[dict[str, Any]]) -> str:
    """Where an order stands: by the number that its money is at, else the last one."""
    kept = [entry for entry in entries if entry["charged_fen"] > entry["refunded_fen"]]
    return str((kept or entries or [{"status": "it never came"}])[-1]["status"])


def judge(here: Stage, orders: list[dict[str, Any]], entries: Entries) -> None:
    """Assert the promises: none charged twice, none lost, none mistaken for another, each event told."""
    for order in orders:
        number, product = order["order_no"], order["product"]
        found = entries[number]
        assert {(entry["product"], entry["account"]) for entry in found} == {
            (product, order["target"][ACCOUNT_FIELDS[product]])
        }, number
        if product not in SOLD_BY_THE_PIECE:
            assert {entry["amount_fen"] for entry in found} == {order["amount_fen"]}, number
        assert [entry["order_no"] for entry in found if entry["charges"] > 1] == [], number
        assert sum(entry["charged_fen"] > entry["refunded_fen"] for entry in found) <= 1, number
    assert here.facts.rows("SELECT count(*) AS n FROM orders") == [{"n": len(entries)}]
    assert here.facts.rows("SELECT count(*) AS n FROM alarms") == [{"n": 0}]

    here.producer.look()
    told: dict[str, dict[str, wire.Message]] = defaultdict(dict)
    for event in here.producer.seen:
        told[event.body["order_no"]][event.properties.message_id or ""] = event
    for row in here.facts.rows("SELECT order_no, state, version FROM orders"):
        number = row["order_no"]
        names = [event.body["event"] for event in told[number].values()]
        assert f"{number}:1" in told[number], f"{number}: its admission was not told: {names}"
        last = told[number].get(f"{number}:{row['version']}")
        assert last is not None, f"{number}: its end was not told: {names}"
        assert (last.body["event"], last.body["state"]) == (f"order.{row['state']}", row["state"])
    assert here.producer.dead == []
    waiting = here.producer.ready("callbacks", *(f"submit.{product}" for _, product in products()))
    assert set(waiting.values()) == {0}, waiting
    assert here.facts.outbox() == 0


def play(
    here: Stage,
    orders: list[dict[str, Any]],
    per_second: float,
    entries: Callable[[], Entries],
    truth: Mapping[str, set[str]],
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> Chaos:
    """Let it happen, wait for the truth, and judge; `entries` tells what the gateways know of each order."""
    chaos = Chaos(here, orders, meanwhile)
    chaos.run(per_second)
    deadline = time.monotonic() + 60
    while wrong := differences(here, entries(), truth):
        assert time.monotonic() < deadline, f"{len(wrong)} differ: {dict(list(wrong.items())[:5])}"
        meanwhile()
        time.sleep(0.3)
    deadline = time.monotonic() + 30
    while here.facts.outbox() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert chaos.calm() == [0] * WORKERS
    judge(here, orders, entries())
    return chaos


# --- one product -----------------------------------------------------------------------------------


def play_mobile(here: Stage, market: Market, count: int) -> Chaos:
    """Play with orders for mobile phones, whose numbers the gateway knows."""
    orders = [wire.order(f"Z-{number}") for number in range(count)]

    def entries() -> Entries:
        found: dict[str, list[dict[str, Any]]] = {order["order_no"]: [] for order in orders}
        for entry in market.entries():
            found[entry["order_no"]].append(entry)
        return found

    chaos = play(here, orders, 25, entries, TRUTH)
    upstream = {row["order_no"]: row["upstream_no"] for row in here.facts.rows("SELECT * FROM orders")}
    for entry in market.entries():
        assert entry["order_number"] in ("", upstream[entry["order_no"]])
    return chaos


def test_nothing_is_lost_and_nothing_charged_twice(here: Stage, market: Market) -> None:
    """200 orders, faults on three of ten, a worker killed every other second: each ends in its true state."""
    chaos = play_mobile(here, market, 200)
    assert chaos.kills >= 4
    assert Counter(entry["fault"] for entry in market.entries()).keys() > {"late_answer", "drop_after_read", None}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_charged_twice_for_long(here: Stage, market: Market) -> None:
    """The same with 2,000 orders."""
    chaos = play_mobile(here, market, 2000)
    assert chaos.kills >= 25


# --- all of them -----------------------------------------------------------------------------------


@pytest.fixture
def everywhere(amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """A deployment before all gateways; what several sell goes from one to the next."""
    gateways = {name: {"adapter": name} for name in HOUSES}
    payer = {"zjzdy": {"pay_seconds": 300}}  # an event is told late when its worker has died
    with street(
        amqp_url, database_server, tmp_path_factory.mktemp("chaos"), gateways, **MISBEHAVIOUR, simulators=payer
    ) as made:
        yield made


def play_everywhere(here: Street, count: int) -> Chaos:
    """Play with orders of all products in turn."""
    wares = [(adapter, product) for adapter, product in products() if product not in _sold_before(adapter)]
    orders = [here.order(f"Z-{number}", *wares[number % len(wares)]) for number in range(count)]
    return play(here.stage, orders, 25, here.entries, TRUTH_ANYWHERE, meanwhile=here.pay)


def _sold_before(adapter: str) -> set[str]:
    """The products that a gateway sells whose orders are another's in the first place."""
    names = list(HOUSES)
    return {product for name in names[: names.index(adapter)] for product in adapters()[name].products}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_charged_twice_at_any_gateway(everywhere: Street) -> None:
    """1,500 orders of all products at all gateways, faults on three of ten, workers killed, a payer who pays."""
    chaos = play_everywhere(everywhere, 1500)
    assert chaos.kills >= 20
    found = [entry for entries in everywhere.entries().values() for entry in entries]
    assert {(entry["gateway"], entry["product"]) for entry in found} == {
        (HOUSES[adapter].simulator, product) for adapter, product in products()
    }
