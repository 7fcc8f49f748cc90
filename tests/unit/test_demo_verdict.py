"""The demo's account: every way in which the ledgers can differ is found."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from worker.demo import verdict
from worker.demo.verdict import Charge, Row, Verdict, compare
from worker.demo.wares import Wish

PUBLISHED = {"A": Wish("A", "power", 10_000, "32", b"")}
ROW = Row("A", "power", "wikeyun", 1, "succeeded", 3, 10_000, None)
CHARGE = Charge("A", "wikeyun", "power", "succeeded", 1, 10_000, 1, None, "32", 10_000)
REFUSED = replace(CHARGE, standing="not_taken", charges=0, kept_fen=0)
SECOND = replace(CHARGE, gateway="dingyin")


def compared(row: Row | None = ROW, *charges: Charge, heard: str = "succeeded") -> Verdict:
    return compare(PUBLISHED, [row] if row else [], charges, {"A": (3, heard)}, {"A"})


def found(given: Verdict) -> set[str]:
    assert not given.right
    return {kind for kind, orders in given.differences.items() if orders}


def ended(state: str, *charges: Charge) -> Verdict:
    return compared(replace(ROW, state=state), *charges, heard=state)


def test_agreement() -> None:
    given = compared(ROW, CHARGE)
    assert given.right
    assert given.total("wikeyun").gateway_fen == given.total().ledger_fen == 10_000
    assert given.total("dingyin").gateway_fen == 0
    assert ended("failed").right
    assert ended("refunded", replace(CHARGE, standing="refunded", kept_fen=0)).right
    assert ended("cancelled", replace(REFUSED, standing="awaiting_payment")).right


def test_what_the_gateway_told_as_its_price_is_what_the_ledger_says() -> None:
    told = replace(ROW, cost_fen=9_850)
    assert compared(told, replace(CHARGE, kept_fen=9_850)).right
    assert found(compared(told, CHARGE)) == {verdict.CHARGED_NOT_SUCCEEDED}


def test_an_order_that_went_over_is_paid_for_where_it_went() -> None:
    moved = replace(ROW, gateway="dingyin", attempt=2)
    refunded = replace(CHARGE, standing="refunded", kept_fen=0)
    for first in ([], [REFUSED], [refunded]):
        given = compared(moved, *first, SECOND)
        assert given.right
        assert (given.total("wikeyun").gateway_fen, given.total("dingyin").gateway_fen) == (0, 10_000)
    assert found(compared(moved, CHARGE, SECOND)) == {verdict.CHARGED_TWICE, verdict.CHARGED_NOT_SUCCEEDED}
    assert not compared(moved, CHARGE).right, "the sums of the gateways differ, though the order was paid for once"


@pytest.mark.parametrize("standing", ["not_taken", "failed", "refunded"])
def test_a_failed_order_cost_nothing(standing: str) -> None:
    charge = replace(CHARGE, standing=standing, kept_fen=0)
    assert ended("failed", charge).right
    assert found(ended("failed", replace(charge, kept_fen=1))) == {verdict.CHARGED_NOT_SUCCEEDED}


@pytest.mark.parametrize(
    ("charges", "kinds"),
    [
        ([], {verdict.SUCCEEDED_NOT_CHARGED}),
        ([replace(CHARGE, kept_fen=9_999)], {verdict.SUCCEEDED_NOT_CHARGED}),
        (
            [replace(CHARGE, charges=2, kept_fen=20_000)],
            {verdict.CHARGED_TWICE, verdict.CHARGED_NOT_SUCCEEDED},
        ),
        ([replace(CHARGE, charges=2)], {verdict.CHARGED_TWICE}),
    ],
)
def test_a_success_is_paid_once(charges: Sequence[Charge], kinds: set[str]) -> None:
    assert found(compared(ROW, *charges)) == kinds


def test_money_that_cancels_out_over_all_orders_is_found() -> None:
    published = PUBLISHED | {"B": Wish("B", "power", 10_000, "32", b"")}
    rows = [ROW, replace(ROW, order_no="B", state="failed")]
    charges = [replace(CHARGE, kept_fen=0, standing="refunded"), replace(CHARGE, order_no="B")]
    heard = {"A": (3, "succeeded"), "B": (3, "failed")}
    given = compare(published, rows, charges, heard, {"A", "B"})
    assert given.total().gateway_fen == given.total().ledger_fen
    assert found(given) == {verdict.CHARGED_NOT_SUCCEEDED, verdict.SUCCEEDED_NOT_CHARGED}


def test_what_is_not_final_or_not_there() -> None:
    assert found(compared(None, CHARGE)) == {verdict.LOST}
    assert found(compared(None, replace(CHARGE, charges=2))) == {verdict.LOST, verdict.CHARGED_TWICE}
    assert verdict.OPEN in found(compared(replace(ROW, state="pending"), CHARGE))
    assert verdict.REVIEW in found(compared(replace(ROW, state="review"), CHARGE))
    assert found(compared(ROW, replace(CHARGE, standing="failed"))) == {verdict.OTHERWISE}
    assert verdict.UNASKED in found(compared(ROW, CHARGE, replace(CHARGE, order_no="B")))


@pytest.mark.parametrize("wrong", [{"account": "33"}, {"amount_fen": 9_999}, {"product": "oil"}])
def test_money_for_somebody_else_or_for_something_else_is_found(wrong: Mapping[str, Any]) -> None:
    other = replace(CHARGE, **wrong)
    assert verdict.NOT_AS_ORDERED in found(compared(ROW, other))
    assert verdict.NOT_AS_ORDERED in found(ended("failed", replace(other, standing="refunded", kept_fen=0)))
    taken_so = replace(ROW, amount_fen=20_000)  # the ledger's own mistake, on both sides
    assert verdict.NOT_AS_ORDERED in found(compared(taken_so, replace(CHARGE, kept_fen=20_000, amount_fen=20_000)))


def test_who_was_not_told() -> None:
    assert found(compared(ROW, CHARGE, heard="failed")) == {verdict.EVENTS_MISSING}
    missing = {verdict.EVENTS_MISSING}
    assert found(compare(PUBLISHED, [ROW], [CHARGE], {}, {"A"})) == missing
    assert found(compare(PUBLISHED, [ROW], [CHARGE], {"A": (2, "succeeded")}, {"A"})) == missing
    assert found(compare(PUBLISHED, [ROW], [CHARGE], {"A": (3, "succeeded")}, set())) == missing


@pytest.mark.parametrize(
    ("gateway", "number", "account"),
    [("wikeyun", "D7", "13800138000"), ("dingyin", "D7R2", "32"), ("zjzdy", "1795229820", "user-D7")],
)
def test_whose_number_it_is(gateway: str, number: str, account: str) -> None:
    sums = {"charges": 1, "charged_fen": 10, "refunded_fen": 3, "pushes": 1, "status": "succeeded", "fault": None}
    own = {"account": account, "product": "game", "amount_fen": 11}
    read = Charge.read({"gateway": gateway, "order_no": number, **own, **sums})
    assert (read.order_no, read.kept_fen, read.account, read.amount_fen) == ("D7", 7, account, 11)
