"""`worker reconcile` against a real ledger and simulated gateways: it finds what was planted, and nothing else."""

import asyncio
import contextlib
import csv
import json
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from support.ledgers import connected, house
from support.reconciling import (
    AMOUNT,
    ANOMALIES,
    HEALTHY,
    PERIOD,
    SETTLED,
    SINCE,
    UNTIL,
    Case,
    Desk,
    cases,
    fill,
    found,
    opened,
    order_no,
    planted,
)

from worker.cli import execute
from worker.cli.common import FailedError
from worker.cli.reconcile import _await_end
from worker.cli.reconciliation import FIELDS
from worker.ledger.reconciliations import ReconciliationBook

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def rows(dsn: str, query: str) -> list[asyncpg.Record]:
    async def fetch() -> list[asyncpg.Record]:
        async with connected(dsn) as connection:
            found: list[asyncpg.Record] = await connection.fetch(query)
            return found

    return asyncio.run(fetch())


STORY = "SELECT order_no, state, version, revision FROM orders ORDER BY id"
TALES = "SELECT order_no, to_state, cause FROM journal JOIN orders o ON o.id = order_id WHERE journal.version > 2"


@pytest.mark.parametrize(
    ("healthy", "anomalies"),
    [(480, 20), pytest.param(9_900, 100, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
    ids=["500 orders", "10k orders"],
)
def test_it_finds_what_was_planted_and_nothing_else(
    tmp_path: Path, ledger_dsn: str, healthy: int, anomalies: int
) -> None:
    orders = cases(healthy, anomalies)
    with opened(tmp_path, ledger_dsn, orders) as (desk, _market):
        before = rows(ledger_dsn, STORY)
        began = time.monotonic()
        code, report = desk.report(seconds=300)
        seconds = time.monotonic() - began
        assert found(report) == planted(orders)
        assert code == 1
        assert (report["closes"], report["complete"]) == (False, True)
        attempts = len(orders) + sum(case.earlier is not None for case in orders)
        assert sum(each["answered"] for each in report["gateways"]) == attempts
        assert sum(each["amount_fen"] for each in report["totals"]) == sum(case.amount_fen for case in orders)
        assert all(each["detail"] and each["action"] for each in report["differences"])
        assert rows(ledger_dsn, STORY) == before
        assert seconds < 120


def test_a_period_in_which_all_agree_closes(tmp_path: Path, ledger_dsn: str) -> None:
    with opened(tmp_path, ledger_dsn, list(HEALTHY)) as (desk, _market):
        code, report = desk.report()
        assert (code, report["closes"], report["differences"]) == (0, True, [])
        code, out, err = desk("--since", PERIOD[0], "--until", PERIOD[1])
        assert (code, err) == (0, "")
        assert out.splitlines()[-1].endswith(f"it closes; {len(HEALTHY) + 1} compared, nothing differs")
        assert "no two readings of the balance bracket the period" in out


def test_what_was_settled_outside_the_period_is_not_asked_about(tmp_path: Path, ledger_dsn: str) -> None:
    with opened(tmp_path, ledger_dsn, list(ANOMALIES)) as (desk, market):
        before = ("--since", "2026-01-01", "--until", SETTLED.isoformat())
        after = ("--since", (SETTLED + timedelta(microseconds=1)).isoformat())
        assert [desk(*period)[0] for period in (before, after)] == [1, 0]  # the open ones were sent before
        asked = sum(entry["calls"].get("query", 0) for entry in market.entries())
        assert asked == sum(case.state == "pending" for case in ANOMALIES)


def test_one_gateway_alone(tmp_path: Path, ledger_dsn: str) -> None:
    orders = list(ANOMALIES)
    with opened(tmp_path, ledger_dsn, orders) as (desk, _market):
        wanted = {key: value for key, value in planted(orders).items() if key[0] == order_no(5)}
        assert set(found(desk.report("--gateway", "backup")[1])) == set()
        at_first = desk.report("--gateway", "wikeyun")[1]
        assert wanted.items() <= found(at_first).items()
        assert {each["gateway"] for each in at_first["differences"]} == {"wikeyun"}


# --- forms -----------------------------------------------------------------------------------------


def test_csv_and_table_say_the_same(tmp_path: Path, ledger_dsn: str) -> None:
    orders = list(ANOMALIES)
    with opened(tmp_path, ledger_dsn, orders) as (desk, _market):
        file = tmp_path / "report.csv"
        code, out, err = desk("--since", PERIOD[0], "--until", PERIOD[1], "--format", "csv", "--output", str(file))
        assert (code, out) == (1, "")
        assert "it does not close" in err
        with file.open(newline="") as lines:
            table = list(csv.DictReader(lines))
        read = {(row["order_no"], int(row["attempt"])): (row["class"], int(row["amount_fen"])) for row in table}
        assert read == planted(orders)
        code, out, err = desk("--since", PERIOD[0], "--until", PERIOD[1])
        assert (code, err) == (1, "")
        assert {number for number, _ in planted(orders)} <= {line.split()[0] for line in out.splitlines() if line}
        assert f"{len(orders)} differ" in out.splitlines()[-1]
        shown = out + file.read_text()
        assert "1380000" not in shown
        assert "13900139000" not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gateway", "other"], "--gateway"),
        (["--until", "2999-01-01"], "--until"),
        (["--since", "2h", "--until", "3h"], "--since"),
        (["--since", "tomorrow"], "--since"),
        (["--format", "xml"], "--format"),
        (["--topped-up", "wikeyun"], "--topped-up"),
        (["--topped-up", "other=1"], "--topped-up"),
        (["--topped-up", "wikeyun=-1"], "--topped-up"),
    ],
)
def test_wrong_usage_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    settings = Desk(tmp_path, NOWHERE, "http://127.0.0.1:1").configure()
    assert execute(["reconcile", "--config", str(settings), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    code, out, err = Desk(tmp_path, NOWHERE, "http://127.0.0.1:1")()
    assert (code, out) == (1, "")
    assert err.startswith("database: ")


def test_a_bar_shows_how_far_it_is_on_a_terminal_only(tmp_path: Path, ledger_dsn: str) -> None:
    with opened(tmp_path, ledger_dsn, list(HEALTHY)) as (desk, _market):
        ours, theirs = os.openpty()
        with desk.start("--since", PERIOD[0], "--until", PERIOD[1], "--format", "csv", stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # the other end is closed
                while some := os.read(ours, 4096):
                    shown += some
            os.close(ours)
            out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert b"20/20" in shown
        assert out.splitlines() == [",".join(FIELDS)]


# --- going on --------------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, ledger_dsn: str) -> None:
    orders = cases(285, 15)
    with opened(tmp_path, ledger_dsn, orders, answer_latency=0.05) as (desk, market):
        slow = desk.changed(concurrency=8)
        with slow.start("--since", PERIOD[0], "--until", PERIOD[1]) as process:
            deadline = time.monotonic() + 30
            while not (some := rows(ledger_dsn, "SELECT FROM reconciled WHERE asked_at IS NOT NULL")):
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert f"worker reconcile --since {PERIOD[0]} --until {PERIOD[1]}" in err.splitlines()[-1]
        assert len(some) < len(orders)
        code, report = desk.report()
        assert code == 1
        assert found(report) == planted(orders)
        asked = [entry["calls"]["query"] for entry in market.entries()]
        assert max(asked) == 1


def test_fresh_asks_about_everything_again(tmp_path: Path, ledger_dsn: str) -> None:
    orders = list(HEALTHY)
    with opened(tmp_path, ledger_dsn, orders) as (desk, market):
        market.force(order_no(0), "error_500_charged", call="query", times=0)
        assert desk.report()[0] == 1  # it is not over: one has no answer
        market.clear()
        code, report = desk.report("--fresh")
        assert (code, report["closes"]) == (0, True)
        assert market.entry(order_no(1))["calls"]["query"] == 2
        assert rows(ledger_dsn, "SELECT FROM reconciled") == []


def test_what_gets_no_answer_is_asked_again_alone(tmp_path: Path, ledger_dsn: str) -> None:
    orders = list(HEALTHY)
    with opened(tmp_path, ledger_dsn, orders) as (desk, market):
        market.force(order_no(3), "error_500_charged", call="query", times=0)
        code, report = desk.report()
        assert (code, report["complete"]) == (1, False)
        assert found(report) == {(order_no(3), 1): ("no_answer", AMOUNT)}
        market.clear()
        code, report = desk.report()
        assert (code, report["closes"]) == (0, True)
        assert market.entry(order_no(1))["calls"]["query"] == 1


def test_a_gateway_that_does_not_answer_is_left_alone(tmp_path: Path, ledger_dsn: str) -> None:
    orders = cases(200, 0)
    with opened(tmp_path, ledger_dsn, orders) as (desk, market):
        market.force("*", "error_500_charged", call="query", times=0)
        code, out, err = desk("--since", PERIOD[0], "--until", PERIOD[1])
        assert code == 1
        assert "wikeyun: it does not answer; run the same command again later" in err
        assert "without an answer" in out.splitlines()[-1]
        assert sum(entry["calls"].get("query", 0) for entry in market.entries()) < 100
        market.clear()
        assert desk.report()[0] == 0


async def test_a_run_that_somebody_else_has_ended_is_told(ledger_dsn: str) -> None:
    """Two at once for the same period: what the second has read may be gone in part."""
    await fill(ledger_dsn, list(HEALTHY))
    async with house(ledger_dsn) as home:
        book = ReconciliationBook(home.pool)
        first, second = [await book.begin(SINCE, UNTIL, None, fresh=False) for _ in range(2)]
        assert (first.id, first.resumed, second.resumed) == (second.id, False, True)
        await book.fill(first)
        assert sum(tally.listed for tally in await book.tally(second)) == len(HEALTHY) + 1
        assert await book.finish(first, 21, 0)
        assert not await book.finish(second, 0, 0)
        assert (await book.begin(SINCE, UNTIL, None, fresh=False)).id != first.id


# --- --apply ---------------------------------------------------------------------------------------


def test_apply_hands_the_answers_to_the_machine(tmp_path: Path, ledger_dsn: str) -> None:
    orders = [
        Case(),
        Case(theirs="reversed", book={"refunded_fen": AMOUNT}, kind="refunded_there", amount_fen=AMOUNT),
        Case("failed", kind="charged_not_succeeded", amount_fen=AMOUNT),
        Case("review", kind="charged_not_succeeded", amount_fen=AMOUNT),
        Case(earlier="succeeded", kind="charged_not_succeeded", amount_fen=AMOUNT, attempt=1),
        Case(book={"amount_fen": AMOUNT * 2}, kind="amount_differs", amount_fen=AMOUNT),
        Case("pending", kind="charged_not_succeeded", amount_fen=AMOUNT),
        Case(theirs="failed", kind="succeeded_not_charged", amount_fen=AMOUNT),
        Case(theirs="charging", kind="still_open", amount_fen=AMOUNT),
    ]
    with opened(tmp_path, ledger_dsn, orders) as (desk, _market):
        code, report = desk.report("--apply")
        assert (code, found(report)) == (1, planted(orders))
        applied = {each["order_no"]: each["applied"] for each in report["differences"]}
        states = {row["order_no"]: row["state"] for row in rows(ledger_dsn, STORY)}
        outcome = {number: (applied[order_no(number)], states[order_no(number)]) for number in range(1, len(orders))}
        assert outcome == {
            1: ("succeeded -> refunded", "refunded"),
            2: ("failed -> review", "review"),
            3: ("review -> succeeded", "succeeded"),
            4: ("succeeded -> review", "review"),
            5: ("succeeded -> review", "review"),
            6: (None, "pending"),  # a worker asks about it by itself
            7: ("succeeded -> review", "review"),
            8: ("it changes nothing", "succeeded"),
        }
        told = rows(ledger_dsn, "SELECT key FROM outbox ORDER BY key")
        assert [row["key"] for row in told] == [
            "order.refunded.shop",
            *["order.review.shop"] * 4,
            "order.succeeded.shop",
        ]
        assert len(rows(ledger_dsn, TALES)) == len(told)
        _, again = desk.report()
        # what the machine has taken over agrees now; what needs a person is in front of one
        assert not {(order_no(1), 1), (order_no(3), 1)} & set(found(again))


def test_apply_reaches_what_an_interrupted_run_without_it_had_found(tmp_path: Path, ledger_dsn: str) -> None:
    orders = [
        Case(),
        Case(theirs="reversed", book={"refunded_fen": AMOUNT}, kind="refunded_there", amount_fen=AMOUNT),
    ]
    with opened(tmp_path, ledger_dsn, orders) as (desk, market):
        market.force(order_no(0), "error_500_charged", call="query", times=0)
        assert found(desk.report()[1]) == planted(orders) | {(order_no(0), 1): ("no_answer", AMOUNT)}
        market.clear()
        _, report = desk.report("--apply")
        assert [each["applied"] for each in report["differences"]] == ["succeeded -> refunded"]
        assert [row["state"] for row in rows(ledger_dsn, STORY)] == ["succeeded", "refunded"]


# --- the period's end ------------------------------------------------------------------------------


async def test_a_period_that_ends_by_this_machines_clock_only_is_waited_for(ledger_dsn: str) -> None:
    """What is settled in it later, by the database's clock, would be in no run."""
    async with house(ledger_dsn) as home:
        book = ReconciliationBook(home.pool)
        until = await book.now() + timedelta(seconds=1)
        await _await_end(book, until)
        assert await book.now() > until
        with pytest.raises(FailedError, match="clock"):
            await _await_end(book, until + timedelta(minutes=5))


def test_the_report_is_one_object(tmp_path: Path, ledger_dsn: str) -> None:
    with opened(tmp_path, ledger_dsn, list(ANOMALIES)) as (desk, _market):
        _, out, _ = desk("--since", PERIOD[0], "--until", PERIOD[1], "--format", "json")
        (line,) = out.splitlines()
        told = json.loads(line)
        assert set(told) == {
            *("since", "until", "gateway", "closes", "complete", "gateways", "balances", "totals", "differences"),
        }
        assert (told["since"], told["until"]) == tuple(f"{moment[:-1]}.000000Z" for moment in PERIOD)
