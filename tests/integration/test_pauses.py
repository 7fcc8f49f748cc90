"""Pauses, by hand and for want of money: two real workers, broker and database, and simulators as the judge."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support import wire
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker.cli import execute
from worker.cli.common import Common
from worker.flows.pauses import LOOK_SECONDS
from worker.sandbox import SandboxSettings

METER = "3201234567800"
OBEY_SECONDS = 6.0
PRICE = 10_000


def market_with(balance_fen: int) -> Market:
    return Market(SandboxSettings(port=0, settle_after=0.2, balance_fen=balance_fen))


@dataclass
class Town:
    """Two workers and four gateways: `blind` is never asked for a balance, `quiet` is never called back."""

    stage: Stage
    rich: Market
    poor: Market
    blind: Market
    capsys: pytest.CaptureFixture[str] | None = None

    def cli(self, *arguments: str) -> tuple[int, list[str]]:
        """Run `worker gateways …` with the first worker's settings; return exit code and output."""
        assert self.capsys is not None
        self.capsys.readouterr()
        config = self.stage.workers[0].log.with_suffix(".toml")
        code = execute(["--config", str(config), "gateways", *arguments])
        return code, self.capsys.readouterr().out.splitlines()

    def listed(self, gateway: str) -> dict[str, Any]:
        """What `gateways list --json` says of one."""
        code, lines = self.cli("list", "--json")
        assert code == 0
        (found,) = [each for each in map(json.loads, lines) if each["gateway"] == gateway]
        assert isinstance(found, dict)
        return found

    def await_obeyed(self, event: str, gateway: str, workers: int = 2) -> None:
        """Wait until so many workers have logged that they obey a change since the last call for it."""

        def told() -> int:
            lines = [json.loads(line) for line in self.stage.log().splitlines() if f'"{event}"' in line]
            return sum(line["gateway"] == gateway for line in lines)

        until(lambda: told() >= workers, OBEY_SECONDS, lambda: f"{event} {gateway}: {told()}")

    def submit(self, *orders: dict[str, Any]) -> list[str]:
        """Submit orders; wait until they are admitted, and return their numbers."""
        self.stage.producer.submit(*orders)
        numbers = [each["order_no"] for each in orders]
        until(lambda: all(self.stage.facts.state(number) for number in numbers), 20)
        return numbers

    def states(self, numbers: list[str]) -> set[str | None]:
        """Where these orders stand."""
        return {self.stage.facts.state(number) for number in numbers}


@pytest.fixture(scope="module")
def running(amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    directory = tmp_path_factory.mktemp("pauses")
    with (
        market_with(10**9) as rich,
        market_with(15_000) as poor,
        market_with(0) as blind,
        Relay(amqp_url) as relay,
        stage(amqp_url, database_server, directory, relay.url) as made,
    ):
        for name, market, changes in (
            ("rich", rich, {"timeout_seconds": 8, "lease_seconds": 12}),
            ("quiet", rich, {"notify_url": "http://127.0.0.1:1/", "query_after_seconds": [3, 1]}),
            ("poor", poor, {"balance_every_seconds": 0.5, "unfunded_pause_seconds": 2}),
            ("blind", blind, {"balance_every_seconds": 0, "unfunded_pause_seconds": 1}),
        ):
            made.gateways[name] = {
                "adapter": "dingyin",
                "base_url": market.base("dingyin"),
                "notify_url": f"{relay.url}/{made.prefix}/{name}",
                "userid": "10086",
                "key": "sandbox-key",
                "timeout_seconds": 1.5,
                "lease_seconds": 4,
                "query_after_seconds": [0.3, 0.5, 1],
            } | changes
        for _ in range(2):
            made.worker().await_ready()
        yield Town(made, rich, poor, blind)
        for each in made.workers[:2]:
            assert each.terminate() == 0, each.tail()
        assert made.facts.rows("SELECT * FROM heartbeats") == [], "workers that end say so"
        assert made.facts.rows("SELECT 1 FROM orders WHERE state = 'failed'") == [], "no pause fails an order"


@pytest.fixture
def town(running: Town, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Town:
    monkeypatch.setattr(Common, "log", lambda _: None)  # or no later test of this process could look at logs
    running.capsys = capsys
    return running


def power(order_no: str, gateway: str, **changes: Any) -> dict[str, Any]:
    target = {"account_no": METER, "province": "江苏省", "city": "南京市", "grid": "state"}
    return wire.order(order_no, product="power", gateway=gateway, amount_fen=PRICE, target=target) | changes


def test_a_pause_by_hand_holds_for_all_workers_until_it_is_lifted(town: Town) -> None:
    before = town.submit(power("H-0", "quiet"))
    town.stage.facts.await_state("H-0", "pending")
    assert town.cli("pause", "quiet", "--note", "their maintenance", "--operator", "ada")[0] == 0
    town.await_obeyed("gateway_paused", "quiet")
    shown = town.listed("quiet")
    assert (shown["state"], shown["breaker"], shown["workers"]) == ("paused", "closed", 2)
    pause = shown["pause"]
    assert (pause["by"], pause["note"], pause["automatic"]) == ("ada", "their maintenance", False)

    waiting = town.submit(*(power(f"H-{number}", "quiet") for number in range(1, 31)))
    (expiring,) = town.submit(power("H-X", "quiet", expires_at=wire.moment(2)))
    others = town.submit(power("H-R", "rich"))
    with town.stage.worker().await_ready() as third:  # one that comes later obeys from the first
        waiting += town.submit(*(power(f"H-{number}", "quiet") for number in range(31, 61)))
        town.stage.facts.await_state("H-R", "succeeded")
        town.stage.facts.await_state("H-0", "succeeded")  # by a query: queries go on
        assert town.stage.facts.await_state(expiring, "cancelled") == "cancelled"
        time.sleep(2)
        assert town.states(waiting) == {"queued"}
        assert [entry for number in [*waiting, expiring] for entry in town.rich.entries(number)] == []
        assert town.listed("quiet")["waiting"] == len(waiting)
        assert (town.listed("rich")["state"], town.rich.charges(before[0]), town.rich.charges(others[0])) == (
            "active",
            1,
            1,
        )
        assert third.terminate() == 0

    assert town.cli("resume", "quiet")[0] == 0
    town.await_obeyed("gateway_resumed", "quiet")
    until(lambda: town.states(waiting) == {"succeeded"}, 30, lambda: str(town.states(waiting)))
    assert {town.rich.charges(number) for number in waiting} == {1}


def test_the_gateway_whose_money_is_used_up_waits_for_a_top_up(town: Town) -> None:
    until(lambda: town.listed("poor")["balance_fen"] == 15_000, OBEY_SECONDS)
    paid = town.submit(power("P-0", "poor"))
    town.stage.facts.await_state("P-0", "succeeded")
    waiting = town.submit(*(power(f"P-{number}", "poor") for number in range(1, 11)))
    until(lambda: town.listed("poor")["state"] == "paused", OBEY_SECONDS)
    town.await_obeyed("gateway_paused", "poor")
    until(lambda: town.states(waiting) == {"queued"}, 20)
    shown = town.listed("poor")
    assert shown["pause"]["automatic"]
    assert "5002" in shown["pause"]["note"]
    refused = sum(town.stage.facts.causes(number).count("unfunded") for number in waiting)
    town.poor.top_up("dingyin", 2_000)  # not enough for any order
    until(lambda: town.listed("poor")["balance_fen"] == 7_000, OBEY_SECONDS)
    time.sleep(4)  # longer than `unfunded_pause_seconds`, yet nothing is tried: it would be in vain
    assert town.states(waiting) == {"queued"}
    assert sum(town.stage.facts.causes(number).count("unfunded") for number in waiting) == refused

    town.poor.top_up("dingyin", 200_000)
    until(lambda: town.states(waiting) == {"succeeded"}, 30, lambda: str(town.states(waiting)))
    assert {town.poor.charges(number) for number in [*paid, *waiting]} == {1}
    assert town.listed("poor")["state"] == "active"
    kept = [row["balance_fen"] for row in town.stage.facts.rows("SELECT * FROM balances ORDER BY gateway, at")]
    assert {15_000, 5_000, 7_000} <= set(kept)


def test_without_a_balance_one_order_is_tried_from_time_to_time(town: Town) -> None:
    waiting = town.submit(*(power(f"B-{number}", "blind") for number in range(1, 11)))
    until(lambda: town.listed("blind")["state"] == "paused", OBEY_SECONDS)
    town.await_obeyed("gateway_paused", "blind")
    until(lambda: town.states(waiting) <= {"queued"}, 20)

    def refused() -> int:
        return sum(town.stage.facts.causes(number).count("unfunded") for number in waiting)

    first, began = refused(), time.monotonic()
    until(lambda: refused() >= first + 2, 20, lambda: f"{refused()} of {first}")
    assert refused() - first <= 1 + (time.monotonic() - began) / 1, "one a second, of all workers together"
    assert town.listed("blind")["state"] == "paused"
    town.blind.top_up("dingyin", 200_000)
    until(lambda: town.states(waiting) == {"succeeded"}, 30, lambda: str(town.states(waiting)))
    assert {town.blind.charges(number) for number in waiting} == {1}
    assert town.listed("blind")["balance_fen"] is None


def test_an_automatic_pause_that_a_person_takes_over_is_not_lifted_by_a_top_up(town: Town) -> None:
    town.blind.top_up("dingyin", -100_000)
    (number,) = town.submit(power("A-1", "blind"))
    until(lambda: town.listed("blind")["state"] == "paused", OBEY_SECONDS)
    assert town.cli("pause", "blind", "--operator", "ada")[0] == 0
    time.sleep(LOOK_SECONDS + 0.5)  # the one try that the automatic pause allows may have been under way
    town.blind.top_up("dingyin", 200_000)
    time.sleep(4)
    assert town.stage.facts.state(number) == "queued"
    assert town.listed("blind")["pause"]["automatic"] is False
    code, said = town.cli("resume", "blind")
    assert code == 0
    assert said[0].startswith("blind: resumed; it was paused since ")
    assert "by ada" in said[0]
    town.stage.facts.await_state(number, "succeeded")
    assert town.cli("resume", "blind") == (0, ["blind: it was not paused; 0 orders wait to be sent"])


def test_calls_in_flight_are_listed(town: Town) -> None:
    town.rich.force("L-1", "hold")
    town.submit(power("L-1", "rich"))
    town.rich.await_held("L-1")
    until(lambda: town.listed("rich")["in_flight"] == 1, OBEY_SECONDS)
    town.rich.release("L-1")
    town.stage.facts.await_state("L-1", "succeeded")


def test_the_log_says_when_a_breaker_opens_and_when_it_closes(town: Town) -> None:
    numbers = [f"K-{n}" for n in range(12)]  # one of the two workers has five of them, whoever takes which
    for number in numbers:
        town.rich.force(number, "error_500_charged")
    town.submit(*(power(number, "rich") for number in numbers))
    town.await_obeyed("breaker_open", "rich", 1)
    (one,) = town.submit(power("K-next", "rich"))  # whoever tries it hears that the gateway answers again
    until(lambda: town.states([*numbers, one]) == {"succeeded"}, 60, lambda: str(town.states(numbers)))
    town.await_obeyed("breaker_closed", "rich", 1)


def test_people_read_a_table(town: Town) -> None:
    code, lines = town.cli("list")
    assert code == 0
    assert lines[0].split()[:3] == ["gateway", "state", "breaker"]
    assert [line.split()[0] for line in lines[1:]] == ["rich", "quiet", "poor", "blind"]


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_gateway_that_is_not_configured_is_wrong_usage(town: Town, command: str) -> None:
    assert town.cli(command, "nobody")[0] == 2
