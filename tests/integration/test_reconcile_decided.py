"""`worker reconcile --apply` and what a person has decided: the same contradiction again does not undo it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.ledgers import House, house
from support.reconciling import AMOUNT, Case, found, opened, order_no, planted, served

from worker.core.order import Event, State

DECIDED = "a person has decided"
OTHER = {"amount_fen": AMOUNT * 2}
PART = {"arrived_fen": 3_000}
YES, NO = Event.RESOLVED_SUCCEEDED, Event.RESOLVED_FAILED

# as the gateway has it at first, what a person decides, as the gateway has it then, and what that comes to
CASES: dict[str, tuple[Case, Event, dict[str, Any], str]] = {
    "the same amount": (Case(book=OTHER), YES, {}, DECIDED),
    "yet another amount": (Case(book=OTHER), YES, {"book": {"amount_fen": AMOUNT * 3}}, "succeeded -> review"),
    "the same failure": (Case(theirs="failed"), YES, {}, DECIDED),
    "paid back since": (Case(theirs="failed"), YES, {"theirs": "reversed"}, "succeeded -> refunded"),
    "the same charge": (Case("failed"), NO, {}, DECIDED),
    "the same charge of another amount": (Case("failed", book=OTHER), NO, {}, DECIDED),
    "charged since": (Case("review", theirs="charging"), NO, {"theirs": "succeeded"}, "failed -> review"),
    "charged since, the amount known": (
        Case("failed", theirs="charging", book=OTHER),
        NO,
        {"theirs": "succeeded"},
        "failed -> review",
    ),
    "paid back since, the amount known": (Case(book=OTHER), YES, {"theirs": "reversed"}, "succeeded -> review"),
    "the same earlier attempt": (Case(earlier="succeeded", attempt=1), YES, {}, DECIDED),
    "the earlier attempt charged since": (
        Case(earlier="charging", attempt=1),
        YES,
        {"earlier": "succeeded"},
        "succeeded -> review",
    ),
    "the same part": (Case(theirs="partial", book=PART), YES, {}, DECIDED),
    "a part, the amount known": (
        Case(book=OTHER),
        YES,
        {"theirs": "partial", "book": OTHER | PART},
        "succeeded -> review",
    ),
    "another part": (Case(theirs="partial", book=PART), YES, {"book": {"arrived_fen": 2_000}}, "succeeded -> review"),
}


async def resolve(home: House, number: str, event: Event) -> None:
    order = await home.ledger.find(number)
    assert order is not None
    assert order.state is State.REVIEW, number
    await home.step(order, event, evidence={"operator": "anna", "note": "their support says so"})


def applied(report: dict[str, Any]) -> dict[str, str]:
    return {each["order_no"]: each["applied"] for each in report["differences"]}


def test_a_contradiction_that_a_person_has_judged_is_listed_and_not_handed_over(
    tmp_path: Path, ledger_dsn: str
) -> None:
    before = [case for case, *_ in CASES.values()]
    after = [replace(case, **changes) for case, _, changes, _ in CASES.values()]
    wanted = {name: told for name, (*_, told) in CASES.items()}

    async def decide() -> None:
        async with house(ledger_dsn) as home:
            for number, (_, event, *_) in enumerate(CASES.values()):
                await resolve(home, order_no(number), event)

    with opened(tmp_path, ledger_dsn, before) as (desk, _market):
        desk.report("--apply")
    asyncio.run(decide())
    with served(tmp_path, ledger_dsn, after) as (desk, _market):
        _, differences = desk.report()
        assert {each["applied"] for each in differences["differences"]} == {None}
        code, report = desk.report("--apply")
        assert code == 1
        told = applied(report)
        assert {name: told[order_no(number)] for number, name in enumerate(CASES)} == wanted
        code, again = desk.report("--apply")
        assert (code, {number for number, said in applied(again).items() if said == DECIDED}) == (
            1,
            {order_no(number) for number, said in enumerate(wanted.values()) if said == DECIDED},
        )


def test_it_is_the_same_contradiction_whoever_told_of_it(tmp_path: Path, ledger_dsn: str) -> None:
    """A callback had told of the amount, or the answer to the submit: their words are other ones than a query's."""
    orders = [Case(book=OTHER, kind="amount_differs", amount_fen=AMOUNT)] * 2

    async def judge(told: str, number: int) -> None:
        async with house(ledger_dsn) as home:
            order = await home.ledger.find(order_no(number))
            assert order is not None
            message = f"amount: ours {AMOUNT} fen, theirs {told} fen"
            await home.step(order, Event.MISMATCH, code="mismatch", message=message)
            await resolve(home, order_no(number), YES)

    with opened(tmp_path, ledger_dsn, orders) as (desk, _market):
        asyncio.run(judge("20000", 0))
        asyncio.run(judge("10001", 1))
        code, report = desk.report("--apply")
        assert (code, found(report)) == (1, planted(orders))
        assert applied(report) == {order_no(0): DECIDED, order_no(1): "succeeded -> review"}


def test_a_decision_holds_until_the_order_goes_on(tmp_path: Path, ledger_dsn: str) -> None:
    """It was paid back since: that they have the money once more is no longer what was decided about."""
    orders = [Case("failed", kind="charged_not_succeeded", amount_fen=AMOUNT)]

    async def go_on() -> None:
        async with house(ledger_dsn) as home:
            await resolve(home, order_no(0), NO)
            order = await home.ledger.find(order_no(0))
            assert order is not None
            await home.step(order, Event.RETURNED)

    with opened(tmp_path, ledger_dsn, orders) as (desk, _market):
        assert applied(desk.report("--apply")[1]) == {order_no(0): "failed -> review"}
        asyncio.run(go_on())
        assert applied(desk.report("--apply")[1]) == {order_no(0): "refunded -> review"}
