"""Reconciliation's judgement: one attempt as the ledger has it, against what its gateway says of it now.

Pure. What counts is the money: an attempt that we hold to have failed agrees with every answer by which the gateway
keeps nothing of ours. Amounts are fen.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from worker.core.masking import mask
from worker.core.order import TASKS, Order, State
from worker.core.outcome import Report, Status


class Class(StrEnum):
    """How an attempt, or a balance, differs."""

    CHARGED_NOT_SUCCEEDED = "charged_not_succeeded"  # they have the money, and our order has not succeeded by it
    SUCCEEDED_NOT_CHARGED = "succeeded_not_charged"  # our order has succeeded, and they say that it failed
    UNKNOWN_TO_THEM = "unknown_to_them"  # they had it, by our ledger, and say "no such order"
    REFUNDED_THERE = "refunded_there"  # our order has succeeded, and they have given the money back
    NOT_OUR_ORDER = "not_our_order"  # another merchant or number than ours, or a second number of theirs
    ACCOUNT_DIFFERS = "account_differs"
    AMOUNT_DIFFERS = "amount_differs"
    PARTIAL_DIFFERS = "partial_differs"  # all arrived by the one, a part by the other; or not the same part
    COST_DIFFERS = "cost_differs"
    STILL_OPEN = "still_open"  # here, or there
    DISPUTED = "disputed"  # they themselves cannot say
    UNCLEAR_ANSWER = "unclear_answer"  # an answer that no table lists
    NO_ANSWER = "no_answer"
    BALANCE_DIFFERS = "balance_differs"  # what left our balance is not what the orders took


class Difference(NamedTuple):
    """One difference. `ours_fen` and `theirs_fen`: what the gateway keeps by our ledger, and by them; None: unknown."""

    kind: Class
    ours_fen: int | None
    theirs_fen: int | None
    amount_fen: int  # what is in question, 0 or more
    detail: str  # masked


S, C = Status, Class

_NOTHING_KEPT = frozenset({S.FAILED, S.CANCELLED, S.REFUNDED, S.ABSENT, S.PAYMENT_DUE})
"""Answers by which a gateway has nothing of our money."""
_ON_ITS_WAY = frozenset({S.CHARGING, S.PAYMENT_DUE})
_VAGUE: Mapping[Status, Class] = {S.DISPUTED: C.DISPUTED, S.UNCLEAR: C.UNCLEAR_ANSWER, S.SILENT: C.NO_ANSWER}
_DELIVERED = frozenset({State.SUCCEEDED, State.PARTIAL})


def compare(order: Order, attempt: int, report: Report) -> Difference | None:
    """Return how `attempt` of `order`, as the ledger has the order now, differs from `report`; None: they agree."""
    if report.status is S.PARTIAL and not report.arrived_fen:
        report = report._replace(status=S.UNCLEAR)  # how much arrived is what a partial arrival is about
    if attempt != order.attempt:
        then = order.at_attempt(attempt, order.gateway)  # their number for that one is not at hand
        return _nothing_kept(then, report, f"attempt {attempt} was given up, the order went on as {order.attempt}")
    if order.state in _DELIVERED:
        return _delivered(order, report)
    if order.final:
        return _nothing_kept(order, report, f"it is {order.state} here")
    return _open(order, report)


def action(kind: Class, order: Order, attempt: int) -> str:
    """Return what is to be done about a difference, in a line."""
    if attempt == order.attempt and order.state in TASKS:
        return "wait: the worker goes on with it by itself; reconcile again when it is settled"
    if order.state is State.REVIEW and attempt == order.attempt and kind in _DECIDED:
        return f"decide: worker orders resolve {order.order_no} succeeded|failed --note …; {_DECIDED[kind]}"
    if kind is C.CHARGED_NOT_SUCCEEDED and attempt != order.attempt:
        return "claim the money of this attempt back from the gateway; --apply opens a review"
    return _ACTIONS[kind]


_ACTIONS: Mapping[Class, str] = {
    C.CHARGED_NOT_SUCCEEDED: "--apply opens a review; then claim the money back, or resolve the order as succeeded",
    C.SUCCEEDED_NOT_CHARGED: "--apply opens a review; nothing arrived: resolve it as failed, or send a new order",
    C.UNKNOWN_TO_THEM: "ask the gateway with its number for it; until then the order stands as it is",
    C.REFUNDED_THERE: "--apply makes it refunded, and tells the producer",
    C.NOT_OUR_ORDER: "ask the gateway whose order it is; --apply opens a review",
    C.ACCOUNT_DIFFERS: "the money went to somebody else: claim it back; --apply opens a review",
    C.AMOUNT_DIFFERS: "claim the difference, or pay it; --apply opens a review",
    C.PARTIAL_DIFFERS: "settle with the gateway how much arrived; --apply opens a review",
    C.COST_DIFFERS: "check the gateway's prices, and claim what it took too much",
    C.STILL_OPEN: "reconcile again when the gateway has settled it",
    C.DISPUTED: "ask the gateway; it cannot say itself",
    C.UNCLEAR_ANSWER: "find out what the code means, and add it to the gateway's settings",
    C.NO_ANSWER: "run the same command again: it asks those alone",
    C.BALANCE_DIFFERS: "look for top-ups, fees and charges that no order of ours explains",
}
_DECIDED: Mapping[Class, str] = {
    C.CHARGED_NOT_SUCCEEDED: "they say that the money arrived",
    C.AMOUNT_DIFFERS: "they have another amount",
    C.ACCOUNT_DIFFERS: "they have another account",
    C.NOT_OUR_ORDER: "their order is not ours",
    C.STILL_OPEN: "nothing was kept, or nobody can say",
}


def _delivered(order: Order, report: Report) -> Difference | None:
    """Compare an order that has succeeded, wholly or in part."""
    ours = _worth(order)
    if report.status in (S.SUCCEEDED, S.PARTIAL):
        return _identity(order, report) or _arrival(order, report, ours) or _cost(order, report)
    if kind := _VAGUE.get(report.status):
        return Difference(kind, ours, None, ours, _said(report))
    if report.status in _ON_ITS_WAY:
        return Difference(C.STILL_OPEN, ours, None, ours, f"it is {order.state} here; {_said(report)}")
    kinds = {S.REFUNDED: C.REFUNDED_THERE, S.ABSENT: C.UNKNOWN_TO_THEM}
    return Difference(kinds.get(report.status, C.SUCCEEDED_NOT_CHARGED), ours, 0, ours, _said(report))


def _nothing_kept(order: Order, report: Report, why: str) -> Difference | None:
    """Compare an attempt by which, as we know it, the gateway keeps nothing."""
    if report.status in _NOTHING_KEPT:
        return None
    if report.status in (S.SUCCEEDED, S.PARTIAL):
        return _charged(order, report, 0, why)
    kind = _VAGUE.get(report.status, C.STILL_OPEN)
    return Difference(kind, 0, None, order.amount_fen, f"{why}; {_said(report)}")


def _open(order: Order, report: Report) -> Difference:
    """Compare an order that has not ended here."""
    why = f"it is {order.state} here"
    if order.reason is not None:
        why = f"{why} ({order.reason.code})"
    if report.status not in _NOTHING_KEPT and (found := _identity(order, report)):
        return found._replace(ours_fen=None, detail=f"{why}; {found.detail}")
    if report.status in (S.SUCCEEDED, S.PARTIAL):
        return _charged(order, report, None, why)
    if report.status is S.ABSENT and order.state is State.PENDING:
        return Difference(C.UNKNOWN_TO_THEM, None, 0, order.amount_fen, f"{why}; {_said(report)}")
    theirs = 0 if report.status in _NOTHING_KEPT else None
    return Difference(C.STILL_OPEN, None, theirs, order.amount_fen, f"{why}; {_said(report)}")


def _charged(order: Order, report: Report, ours: int | None, why: str) -> Difference:
    theirs = _theirs(order, report)
    others = _identity(order, report)
    detail = f"{why}; {_said(report)}" + (f"; {others.detail}" if others else "")
    return Difference(C.CHARGED_NOT_SUCCEEDED, ours, theirs, theirs, detail)


def _identity(order: Order, report: Report) -> Difference | None:
    """Return how their order is another one than ours."""
    ours, theirs = _worth(order), _theirs(order, report)
    if report.foreign is not None:
        return Difference(C.NOT_OUR_ORDER, ours, theirs, ours, report.foreign)
    if report.renumbered(order, order.attempt):
        told = f"their number: ours {mask(str(order.upstream_no))}, theirs {mask(str(report.upstream_no))}"
        return Difference(C.NOT_OUR_ORDER, ours, theirs, ours, told)
    if report.account is not None and not order.is_for(report.account):
        told = f"account: ours {mask(order.account)}, theirs {mask(report.account)}"
        return Difference(C.ACCOUNT_DIFFERS, ours, theirs, ours, told)
    if report.amount_fen is not None and report.amount_fen != order.amount_fen:
        told = f"amount: ours {order.amount_fen} fen, theirs {report.amount_fen} fen"
        apart = abs(report.amount_fen - order.amount_fen)
        return Difference(C.AMOUNT_DIFFERS, order.amount_fen, report.amount_fen, apart, told)
    return None


def _arrival(order: Order, report: Report, ours: int) -> Difference | None:
    """Return how much more or less has arrived by them than by us."""
    theirs = _theirs(order, report)
    partly = report.status is S.PARTIAL
    if partly == (order.state is State.PARTIAL) and (ours == theirs or not partly):
        return None
    told = f"arrived: ours {ours} fen, theirs {theirs} fen"
    return Difference(C.PARTIAL_DIFFERS, ours, theirs, abs(ours - theirs), told)


def _cost(order: Order, report: Report) -> Difference | None:
    ours, theirs = order.cost_fen, report.cost_fen
    if ours is None or theirs is None or ours == theirs:
        return None
    return Difference(C.COST_DIFFERS, ours, theirs, abs(ours - theirs), f"cost: ours {ours} fen, theirs {theirs} fen")


def _worth(order: Order) -> int:
    """Return what has arrived of the order by our ledger, or would."""
    return order.arrived_fen or 0 if order.state is State.PARTIAL else order.amount_fen


def _theirs(order: Order, report: Report) -> int:
    if report.status is S.PARTIAL and report.arrived_fen is not None:
        return report.arrived_fen
    return order.amount_fen if report.amount_fen is None else report.amount_fen


def _said(report: Report) -> str:
    told = ": ".join(part for part in (report.code, report.message) if part)
    return f"they say {report.status} ({told})" if told else f"they say {report.status}"
