"""`worker reconcile` where a gateway can hardly be asked: its charges have its own numbers, and it has no balance."""

import asyncio
from pathlib import Path

from support.ledgers import connected
from support.reconciling import AMOUNT, PERIOD, Case, Desk, fill, found, opened, order_no, planted

NOWHERE = "http://127.0.0.1:1"
CAMPUS = {"campus": {"adapter": "zjzdy", "base_url": NOWHERE}}
OPEN = [
    Case("review", theirs=None, kind="still_open", amount_fen=AMOUNT),
    Case("queued", theirs=None, kind="still_open", amount_fen=AMOUNT),
    Case("unknown", theirs=None, kind="still_open", amount_fen=AMOUNT),
]
ENDED = [Case("failed", theirs=None), Case("cancelled", theirs=None)]


def school(directory: Path, dsn: str, orders: list[Case]) -> Desk:
    """The command, with orders at a campus gateway that has told no record ids; nobody is at its address."""
    asyncio.run(fill(dsn, orders, "campus"))
    return Desk(directory, dsn, NOWHERE, more=CAMPUS)


def test_an_open_order_that_cannot_be_asked_about_keeps_the_period_open(tmp_path: Path, ledger_dsn: str) -> None:
    orders = OPEN + ENDED
    desk = school(tmp_path, ledger_dsn, orders)
    for arguments in (["--gateway", "campus"], ["--apply"]):
        code, report = desk.report(*arguments)
        assert (code, report["closes"], report["complete"]) == (1, False, True)
        assert found(report) == planted(orders)
        review, queued, unknown = report["differences"]
        assert review["action"].startswith(f"decide: worker orders resolve {order_no(0)} succeeded|failed --note …")
        assert (
            queued["action"]
            == unknown["action"]
            == ("wait: the worker goes on with it by itself; reconcile again when it is settled")
        )
        for each in report["differences"]:
            assert (each["answer"], each["ours_fen"], each["theirs_fen"], each["applied"]) == ("not asked", *[None] * 3)
            assert each["detail"].startswith(f"it is {each['state']} here; they say silent (not_asked: ")


def test_one_that_ended_and_cannot_be_asked_about_does_not(tmp_path: Path, ledger_dsn: str) -> None:
    code, report = school(tmp_path, ledger_dsn, ENDED).report()
    assert (code, report["closes"], report["gateways"][0]["answered"]) == (0, True, len(ENDED))


def test_a_review_of_what_was_never_sent_keeps_the_period_open(tmp_path: Path, ledger_dsn: str) -> None:
    """They report an order that, by us, never left: it is asked about like any other in review."""
    orders = [Case("review", kind="charged_not_succeeded", amount_fen=AMOUNT)]

    async def unsend() -> None:
        async with connected(ledger_dsn) as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute("UPDATE orders SET sent_at = NULL")

    with opened(tmp_path, ledger_dsn, orders) as (desk, _market):
        asyncio.run(unsend())
        code, report = desk.report()
        assert (code, found(report)) == (1, planted(orders))


def test_nothing_is_said_of_a_balance_that_nobody_keeps(tmp_path: Path, ledger_dsn: str) -> None:
    desk = school(tmp_path, ledger_dsn, ENDED)
    assert desk.report()[1]["balances"] == {"wikeyun": None, "backup": None}
    assert desk.report("--gateway", "campus")[1]["balances"] == {}
    _, out, _ = desk("--since", PERIOD[0], "--until", PERIOD[1])
    named = [line.partition(":")[0] for line in out.splitlines() if "bracket the period" in line]
    assert named == ["wikeyun", "backup"]
