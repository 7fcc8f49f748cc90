"""What a person decides about an order in review: written with name and note, told by a running worker, or refused."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import wire
from support.cli import Cli
from support.ledgers import house
from support.market import Market
from support.stage import Stage, stage

from schemas.documents import model_of
from worker.core.order import Event
from worker.sandbox import SandboxSettings


@pytest.fixture(scope="module")
def here(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, Market]]:
    """A worker, a gateway that charges at once, and a ledger."""
    directory = tmp_path_factory.mktemp("decisions")
    with (
        Market(SandboxSettings(port=0, settle_after=0.1)) as market,
        stage(amqp_url, database_server, directory, "http://127.0.0.1:1") as made,
    ):
        made.gateway("wikeyun", market.gateway)
        made.worker().await_ready()
        yield made, market


@pytest.fixture
def cli(here: tuple[Stage, Market], tmp_path: Path) -> Cli:
    """The program on that ledger, with the broker's URL left out: decisions need only the database."""
    made, _ = here
    return Cli(tmp_path, made.amqp_url, made.prefix, made.dsn)


def reviewed(here: tuple[Stage, Market], number: str) -> None:
    """Bring an order into review: it has failed, and a callback about it is not about it as it is."""
    made, market = here
    made.producer.submit(wire.order(number))
    made.producer.await_event(number, "succeeded")

    async def doubt() -> None:
        async with house(made.dsn, rendered=lambda _order, _what, _at: None) as home:
            order = await home.ledger.find(number)
            assert order is not None
            await home.step(order, Event.MISMATCH, attempt=1, code="mismatch", message="amount: ours 1, theirs 2")

    asyncio.run(doubt())
    assert (made.facts.state(number), market.charges(number)) == ("review", 1)


def test_a_decision_is_written_and_told(here: tuple[Stage, Market], cli: Cli) -> None:
    made, _ = here
    for number, ending in (("V-yes", "succeeded"), ("V-no", "failed")):
        reviewed(here, number)
        before = len(made.producer.events(number))
        note = "asked 13912345678 at the gateway"
        code, out, err = cli("orders", "resolve", number, ending, "--note", note, "--operator", "anna", "--json")
        assert (code, err) == (0, [])
        model_of("orders.show").validate_json(out[0])
        shown = json.loads(out[0])
        assert (shown["state"], shown["due_at"]) == (ending, None)
        assert shown["journal"][-1]["cause"] == f"resolved_{ending}"
        assert shown["journal"][-1]["message"] == "asked 139****5678 at the gateway"
        event = made.producer.await_event(number, ending, 2 if ending == "succeeded" else 1).body
        assert event["version"] == shown["version"]
        assert (event["reason"] or {}).get("code") == (None if ending == "succeeded" else "resolved_by_operator")
        assert len(made.producer.events(number)) > before
        (row,) = made.facts.rows(
            "SELECT evidence FROM journal j JOIN orders o ON o.id = order_id WHERE order_no = $1 AND j.version = $2",
            number,
            shown["version"],
        )
        assert json.loads(row["evidence"]) == {"operator": "anna", "note": "asked 139****5678 at the gateway"}
        code, out, _ = cli("orders", "show", number)
        assert code == 0
        assert out[-1].strip() == "evidence: note asked 139****5678 at the gateway, operator anna"
        assert out[-3].strip().startswith(f"resolved_{ending}: an operator decided")
        code, out, err = cli("orders", "resolve", number, ending, "--note", "again")
        assert (code, out) == (1, [])
        assert err == [f"{number}: it is {ending}; only an order in review is decided by a person"]


def test_an_order_is_sent_again_under_a_new_number(here: tuple[Stage, Market], cli: Cli) -> None:
    made, market = here
    reviewed(here, "V-again")
    code, out, err = cli("orders", "resubmit", "V-again", "--note", "the gateway has deleted it", "--operator", "anna")
    assert (code, out) == (
        0,
        ["V-again: queued, to be sent to wikeyun as V-againR2; a running worker tells its producer"],
    )
    assert err[0] == "V-again: 100.00 yuan at wikeyun, in review: mismatch"
    assert err[1].startswith("WARNING: the gateway has once proven that the money arrived: 100.00 yuan")
    made.producer.await_event("V-again", "succeeded", 2)
    assert (market.charges("V-again"), market.charges("V-againR2")) == (1, 1)
    assert "before    wikeyun, attempt 1 as V-again" in cli("orders", "show", "V-again")[1]
    (told,) = map(json.loads, cli("orders", "show", "V-again", "--json")[1])
    assert told["earlier_attempts"] == [{"attempt": 1, "gateway": "wikeyun", "reference": "V-again"}]
    code, _, err = cli("orders", "resubmit", "V-again", "--note", "once more")
    assert (code, err) == (1, ["V-again: it is succeeded; only an order in review is decided by a person"])


def test_what_is_refused(here: tuple[Stage, Market], cli: Cli) -> None:
    assert cli("orders", "resolve", "nobody", "failed", "--note", "x")[::2] == (1, ["nobody: there is no such order"])
    assert cli("orders", "resubmit", "no such", "--note", "x")[::2] == (1, ["no such: there is no such order"])
    for wrong in (["nobody", "failed"], ["nobody", "partial", "--note", "x"], ["nobody", "failed", "--note", " "]):
        assert cli("orders", "resolve", *wrong)[0] == 2
    assert cli("orders", "resubmit", "nobody", "--note", "x", "--operator", " ")[0] == 2
    away = "postgresql://w@127.0.0.1:1/w"
    assert cli("orders", "resolve", "nobody", "failed", "--note", "x", WORKER_DATABASE__DSN=away)[0] == 1


def test_lists_by_age_amount_and_page(here: tuple[Stage, Market], cli: Cli) -> None:
    made, _ = here
    numbers = [f"L{n}" for n in range(5)]
    made.producer.submit(*(wire.order(number, amount_fen=5000, source="pages") for number in numbers))
    for number in numbers:
        made.producer.await_event(number, "succeeded")

    def listed(*options: str) -> list[str]:
        code, out, err = cli("orders", "list", "--json", "--source", "pages", *options)
        assert (code, err) == (0, [])
        return [json.loads(line)["order_no"] for line in out]

    everything = listed()
    assert sorted(everything) == numbers
    pages = [listed("--limit", "2"), listed("--limit", "2", "--after", everything[1])]
    pages.append(listed("--limit", "2", "--after", everything[3]))
    assert pages == [everything[:2], everything[2:4], everything[4:]]
    assert listed("--min-fen", "5000", "--max-fen", "5000") == everything
    assert listed("--min-fen", "5001") == listed("--max-fen", "4999") == listed("--older-than", "1h") == []
    assert listed("--older-than", "0s") == everything
    assert cli("orders", "list", "--older-than", "soon")[0] == 2
    assert cli("orders", "list", "--since", "1h", "--until", "2h")[0] == 2
    assert cli("orders", "list", "--min-fen", "100", "--max-fen", "99")[0] == 2
    assert cli("orders", "list", "--after", "nobody")[::2] == (1, ["--after nobody: there is no such order"])
    reviewed(here, "V-list")
    code, out, _ = cli("orders", "list", "--json", "--state", "review", "--state", "queued")
    assert (code, [json.loads(line)["order_no"] for line in out]) == (0, ["V-list"])
    mismatched = ("--reason", "mismatch")
    for options, found in (
        (mismatched, ["V-list"]),
        (("--state", "review", *mismatched), ["V-list"]),
        (("--reason", "no_answer"), []),
    ):
        code, out, _ = cli("orders", "list", "--json", *options)
        assert (code, [json.loads(line)["order_no"] for line in out]) == (0, found)
