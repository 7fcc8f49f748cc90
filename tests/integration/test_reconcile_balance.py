"""`worker reconcile`: what the orders of a period took, and how the balance moved, to the fen."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from support.ledgers import connected
from support.reconciling import AMOUNT, PERIOD, SETTLED, SINCE, UNTIL, Case, opened

BEFORE, AFTER = SINCE - SETTLED - timedelta(minutes=1), UNTIL - SETTLED + timedelta(minutes=1)
SOLD = [Case(), Case(), Case("failed", theirs="failed"), Case("refunded", theirs="reversed"), Case()]


async def keep_balances(dsn: str, *readings: tuple[timedelta, int]) -> None:
    async with connected(dsn) as connection:
        await connection.executemany(
            "INSERT INTO balances (gateway, at, balance_fen) VALUES ('wikeyun', $1, $2)",
            [(SETTLED + after, fen) for after, fen in readings],
        )


def balance(report: dict[str, object]) -> list[tuple[str, int]]:
    differences = report["differences"]
    assert isinstance(differences, list)
    return [(each["class"], each["amount_fen"]) for each in differences]


@pytest.mark.parametrize(
    ("closing", "arguments", "wanted"),
    [
        (70_000, [], []),
        (69_999, [], [("balance_differs", 1)]),
        (70_001, [], [("balance_differs", 1)]),
        (570_000, ["--topped-up", "wikeyun=5000.00"], []),
        (570_000, [], [("balance_differs", 500_000)]),
    ],
)
def test_the_balance_closes_to_the_fen(
    tmp_path: Path, ledger_dsn: str, closing: int, arguments: list[str], wanted: list[tuple[str, int]]
) -> None:
    with opened(tmp_path, ledger_dsn, SOLD) as (desk, _market):
        asyncio.run(keep_balances(ledger_dsn, (BEFORE, 100_000), (timedelta(0), 1), (AFTER, closing)))
        code, report = desk.report(*arguments)
        assert balance(report) == wanted
        assert code == bool(wanted)
        moved = report["balances"]["wikeyun"]
        assert (moved["taken_least_fen"], moved["taken_most_fen"], moved["doubtful_orders"]) == (30_000, 30_000, 0)
        assert report["balances"]["backup"] is None


def test_an_order_that_is_open_at_an_end_makes_the_balance_a_range(tmp_path: Path, ledger_dsn: str) -> None:
    orders = [*SOLD, Case("pending", theirs="charging", kind="still_open", amount_fen=AMOUNT)]
    with opened(tmp_path, ledger_dsn, orders) as (desk, _market):
        asyncio.run(keep_balances(ledger_dsn, (BEFORE, 100_000), (AFTER, 60_000)))
        code, out, _err = desk("--since", PERIOD[0], "--until", PERIOD[1])
        assert code == 1  # it is still open
        assert "the orders took 300.00 to 400.00 (not exact: 1 orders were open at an end)" in out
        assert "balance_differs" not in out


def test_a_reading_within_the_period_does_not_bracket_it(tmp_path: Path, ledger_dsn: str) -> None:
    with opened(tmp_path, ledger_dsn, SOLD) as (desk, _market):
        asyncio.run(keep_balances(ledger_dsn, (BEFORE, 100_000), (timedelta(minutes=1), 1)))
        code, report = desk.report()
        assert (code, report["balances"]) == (0, {"wikeyun": None, "backup": None})
