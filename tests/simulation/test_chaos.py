"""Everything at once: gateways that misbehave, callbacks that come or not, workers that are killed again and again."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from support import wire
from support.facts import FINAL
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage

from worker.sandbox import SandboxSettings

MARKET = SandboxSettings(
    port=0,
    by_ending=False,
    fault_rate=0.3,
    accept_duplicates=True,  # a second push would be charged: nobody but the worker prevents it
    settle_after=0.3,
    late_seconds=3,
    slow_seconds=0.5,
    absent_seconds=1,
    unlisted_seconds=1,
)
WORKERS = 2
KILL_EVERY = 1.5
TRUTH = {"succeeded": "succeeded", "refunded": "refunded", "not_taken": "failed"}
"""Where an order ends that ends so at the gateway: what is drawn there succeeds, is refunded, or is refused."""


@pytest.fixture
def market() -> Iterator[Market]:
    """A sandbox that gives three of ten orders a fault."""
    with Market(MARKET) as running:
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
    """Publishes orders while it kills workers, the oldest first, and starts others in their place."""

    def __init__(self, here: Stage) -> None:
        self._here = here
        self._chance = random.Random(20261121)  # noqa: S311 - repeatable, nothing secret
        self._alive = [here.worker() for _ in range(WORKERS)]
        self._next_kill = time.monotonic() + KILL_EVERY
        self.kills = 0

    def run(self, count: int, per_second: float) -> None:
        """Publish `count` orders, then go on until all but the last few are final."""
        for number in range(count):
            self._here.producer.submit(wire.order(f"Z-{number}"))
            if self._chance.random() < 0.05:  # a producer that did not hear the confirm
                self._here.producer.submit(wire.order(f"Z-{self._chance.randrange(number + 1)}"))
            time.sleep(self._chance.expovariate(per_second))
            self._kill_in_time()
        while sum(self._here.facts.states()[state] for state in FINAL) < count * 0.9:
            time.sleep(0.1)
            self._kill_in_time()

    def calm(self) -> list[int]:
        """End it, and return the exit codes of the workers that are left."""
        return [worker.terminate() for worker in self._alive]

    def _kill_in_time(self) -> None:
        if time.monotonic() < self._next_kill:
            return
        self._alive.pop(0).kill()
        self._alive.append(self._here.worker())
        self.kills += 1
        self._next_kill = time.monotonic() + KILL_EVERY * self._chance.uniform(0.5, 1.5)


def settle(here: Stage, market: Market, count: int, seconds: float) -> None:
    """Wait until every order stands where it stands at the gateway."""
    deadline = time.monotonic() + seconds
    while wrong := differences(here, market, count):
        assert time.monotonic() < deadline, f"{len(wrong)} differ: {dict(list(wrong.items())[:5])}"
        time.sleep(0.3)


def differences(here: Stage, market: Market, count: int) -> Mapping[str, Any]:
    """The orders whose state is not what the sandbox's ledger says, each with both."""
    states = {row["order_no"]: row["state"] for row in here.facts.rows("SELECT order_no, state FROM orders")}
    truth = {entry["order_no"]: TRUTH.get(entry["status"]) for entry in market.entries()}
    return {
        number: (states.get(number), truth.get(number))
        for number in (f"Z-{each}" for each in range(count))
        if states.get(number) != truth.get(number) or number not in states
    }


def judge(here: Stage, market: Market, count: int) -> None:
    """Assert the promises: none charged twice, none lost, none mistaken, each event told."""
    assert [entry["order_no"] for entry in market.entries() if entry["charges"] > 1] == []
    assert here.facts.rows("SELECT count(*) AS n FROM orders") == [{"n": count}]
    assert here.facts.rows("SELECT count(*) AS n FROM alarms") == [{"n": 0}]
    final = {
        row["order_no"]: row for row in here.facts.rows("SELECT order_no, state, version, upstream_no FROM orders")
    }
    for entry in market.entries():
        assert entry["order_number"] in ("", final[entry["order_no"]]["upstream_no"])

    here.producer.look()
    told: dict[str, dict[str, wire.Message]] = defaultdict(dict)
    for event in here.producer.seen:
        told[event.body["order_no"]][event.properties.message_id or ""] = event
    for number, row in final.items():
        names = [event.body["event"] for event in told[number].values()]
        assert f"{number}:1" in told[number], f"{number}: its admission was not told: {names}"
        last = told[number].get(f"{number}:{row['version']}")
        assert last is not None, f"{number}: its end was not told: {names}"
        assert (last.body["event"], last.body["state"]) == (f"order.{row['state']}", row["state"])
    assert here.producer.dead == []
    assert here.producer.ready("submit.mobile", "callbacks") == {"submit.mobile": 0, "callbacks": 0}
    assert here.facts.outbox() == 0


def play(here: Stage, market: Market, count: int, per_second: float) -> Chaos:
    """Let it happen, wait for the truth, and judge."""
    chaos = Chaos(here)
    chaos.run(count, per_second)
    settle(here, market, count, 60)
    deadline = time.monotonic() + 30
    while here.facts.outbox() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert chaos.calm() == [0] * WORKERS
    judge(here, market, count)
    return chaos


def test_nothing_is_lost_and_nothing_charged_twice(here: Stage, market: Market) -> None:
    """200 orders, faults on three of ten, a worker killed every other second: each ends in its true state."""
    chaos = play(here, market, 200, 25)
    assert chaos.kills >= 4
    assert Counter(entry["fault"] for entry in market.entries()).keys() > {"late_answer", "drop_after_read", None}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_charged_twice_for_long(here: Stage, market: Market) -> None:
    """The same with 2,000 orders."""
    chaos = play(here, market, 2000, 25)
    assert chaos.kills >= 25
