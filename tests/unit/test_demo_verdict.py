"""The demo's account: every way in which the two ledgers can differ is found."""

from dataclasses import replace

import pytest

from worker.demo import verdict
from worker.demo.verdict import Charge, Row, Verdict, compare

PUBLISHED = {"A": 10_000}
ROW = Row("A", "succeeded", 3, 10_000)
CHARGE = Charge("A", "succeeded", 1, 10_000, 1, None)


def compared(row: Row | None = ROW, charge: Charge | None = CHARGE, heard: str = "succeeded") -> Verdict:
    rows, charges = [row] if row else [], [charge] if charge else []
    return compare(PUBLISHED, rows, charges, {"A": (3, heard)}, {"A"})


def found(given: Verdict) -> set[str]:
    assert not given.right
    return {kind for kind, orders in given.differences.items() if orders}


def failed(standing: str, kept_fen: int = 0) -> Verdict:
    return compared(replace(ROW, state="failed"), replace(CHARGE, standing=standing, kept_fen=kept_fen), "failed")


def test_agreement() -> None:
    assert compared().right
    assert compared().total.gateway_fen == 10_000
    assert compared(replace(ROW, state="failed"), None, "failed").right
    assert compared(replace(ROW, state="refunded"), replace(CHARGE, standing="refunded", kept_fen=0), "refunded").right


@pytest.mark.parametrize("standing", ["not_taken", "failed", "refunded"])
def test_a_failed_order_cost_nothing(standing: str) -> None:
    assert failed(standing).right
    assert found(failed(standing, 1)) == {verdict.CHARGED_NOT_SUCCEEDED}


def test_a_success_is_paid_once() -> None:
    assert found(compared(charge=None)) == {verdict.SUCCEEDED_NOT_CHARGED}
    assert found(compared(charge=replace(CHARGE, kept_fen=9_999))) == {verdict.SUCCEEDED_NOT_CHARGED}
    twice = {verdict.CHARGED_TWICE, verdict.CHARGED_NOT_SUCCEEDED}
    assert found(compared(charge=replace(CHARGE, charges=2, kept_fen=20_000))) == twice
    assert found(compared(charge=replace(CHARGE, charges=2))) == {verdict.CHARGED_TWICE}


def test_money_that_cancels_out_over_all_orders_is_found() -> None:
    rows = [ROW, replace(ROW, order_no="B", state="failed")]
    charges = [replace(CHARGE, kept_fen=0, standing="refunded"), replace(CHARGE, order_no="B")]
    heard = {"A": (3, "succeeded"), "B": (3, "failed")}
    given = compare(PUBLISHED | {"B": 10_000}, rows, charges, heard, {"A", "B"})
    assert given.total.gateway_fen == given.total.ledger_fen
    assert found(given) == {verdict.CHARGED_NOT_SUCCEEDED, verdict.SUCCEEDED_NOT_CHARGED}


def test_what_is_not_final_or_not_there() -> None:
    assert found(compared(row=None)) == {verdict.LOST}
    assert verdict.OPEN in found(compared(replace(ROW, state="pending")))
    assert verdict.REVIEW in found(compared(replace(ROW, state="review")))
    assert found(compared(charge=replace(CHARGE, standing="failed"))) == {verdict.OTHERWISE}
    foreign = compare(PUBLISHED, [ROW], [CHARGE, replace(CHARGE, order_no="B")], {"A": (3, "succeeded")}, {"A"})
    assert found(foreign) == {verdict.UNASKED}


def test_who_was_not_told() -> None:
    assert found(compared(heard="failed")) == {verdict.EVENTS_MISSING}
    assert found(compare(PUBLISHED, [ROW], [CHARGE], {}, {"A"})) == {verdict.EVENTS_MISSING}
    assert found(compare(PUBLISHED, [ROW], [CHARGE], {"A": (2, "succeeded")}, {"A"})) == {verdict.EVENTS_MISSING}
    assert found(compare(PUBLISHED, [ROW], [CHARGE], {"A": (3, "succeeded")}, set())) == {verdict.EVENTS_MISSING}
