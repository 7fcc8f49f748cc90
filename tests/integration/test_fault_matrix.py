"""Every fault of every simulator, for every product and kind of call, all at once before one real worker.

What has to come of an order is read in the simulator's ledger, which is what truly happened: no case says its own end.
The simulators charge a repeated number again, so that nobody but the worker keeps an order from being charged twice.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from support import wire
from support.facts import FINAL
from support.street import HOUSES, Street, products, street

from worker.sandbox.discovery import find
from worker.sandbox.faults import FAULTS, FOR_ANY_CALL, Answer, Callbacks, Course, Fault, Reason, View

EXPIRE_SECONDS = 6  # an order that no push brings to anything waits no longer
DEADLINE_SECONDS = 20  # nor is a gateway asked for longer that cannot say
PAID_AFTER: Mapping[Course, float | None] = {Course.PAYS_LATE: 1.5, Course.NEVER_PAYS: None}  # else at once
SETTLE_SECONDS = 4
HELD_SECONDS = 3.5  # longer than a call and the first questions after it, shorter than an absence takes to settle
REST_SECONDS = 2  # nothing has moved for so long: nothing will
AT_MOST_SECONDS = 75
AT_A_TIME = 4  # unanswered calls in a row that do not make the worker leave a gateway alone

ANSWERED = frozenset({Answer.GOOD, Answer.SLOW})
OTHERS = {View.OTHER_AMOUNT, View.OTHER_ACCOUNT, Callbacks.OTHER_AMOUNT, Callbacks.OTHER_ACCOUNT}

TRUE: Mapping[str, set[str]] = {
    "succeeded": {"succeeded"},
    "partial": {"partial"},
    "refunded": {"refunded", "failed"},  # some gateways have one code for both
    "reversed": {"refunded"},
    "timed_out": set(),
    "not_taken": {"failed", "cancelled"},
    "awaiting_payment": {"cancelled"},
    "failed": set(),  # not the end: it is going to be refunded
}
"""Where an order may end that stands so at its gateway; a person may have to look at it only where `for_a_person`."""


@dataclass(frozen=True)
class Case:
    """One call about an order of a product gets one fault."""

    adapter: str
    product: str
    call: str
    fault: Fault

    @property
    def name(self) -> str:
        """What the test is called."""
        return f"{self.adapter}-{self.product}-{self.call}-{self.fault.name}"

    @property
    def comes_to_nothing(self) -> bool:
        """Whether nothing is ever taken: no push of the order, or not the card that it needs."""
        if self.call == "push":
            return not self.fault.taken and not self.fault.once
        return self.call == "add_card" and self.fault.says is Reason.NOT_POSSIBLE

    @property
    def for_a_person(self) -> bool:
        """Whether what the gateway says contradicts itself, or our order."""
        courses = {Course.REVIVES, Course.TIMES_OUT, Course.IS_REVERSED}  # some call a reversal a failure
        return self.call == "push" and (
            self.fault.course in courses or not OTHERS.isdisjoint({self.fault.view, self.fault.callbacks})
        )


def _cases() -> Iterator[Case]:
    simulators = find()
    for adapter, product in products():
        simulator = simulators[HOUSES[adapter].simulator]
        cards = {"add_card"} if product in {"power", "oil"} else set()
        for fault in FAULTS.values():
            if fault.name in simulator.lacks:
                continue
            yield Case(adapter, product, "push", fault)
            if fault.name in FOR_ANY_CALL:
                yield from (Case(adapter, product, call, fault) for call in ({"query"} | cards) & simulator.calls)


CASES = {f"M{number}": case for number, case in enumerate(sorted(_cases(), key=lambda case: case.name))}
"""By the number of the order."""


@dataclass
class End:
    """What became of one order, on both sides."""

    row: dict[str, Any] | None
    entries: list[dict[str, Any]]
    told: set[tuple[int, str]]


def _lane(case: Case, counts: dict[str, int]) -> str:
    """Return the gateway for a case: few unanswered calls each, and what stops a gateway for a while apart."""
    fault = case.fault
    if case.call == "push" and fault.says is Reason.BALANCE_TOO_LOW:
        return f"{case.adapter}_unfunded"
    if case.call != "push" or fault.answer in ANSWERED:
        return case.adapter
    if case.comes_to_nothing:  # its pushes fail again and again
        return f"{case.adapter}_lost"
    counts[case.adapter] = counts.get(case.adapter, 0) + 1
    return f"{case.adapter}_{counts[case.adapter] // AT_A_TIME}"


def _lanes() -> dict[str, str]:
    counts: dict[str, int] = {}
    return {order_no: _lane(case, counts) for order_no, case in CASES.items()}


LANES = _lanes()
"""Each order's gateway."""


def _publish(here: Street) -> None:
    here.stage.worker(spawn=True).await_ready()
    for order_no, case in CASES.items():
        ending = case.fault.ending if case.call == "push" and case.fault.ending else "00"
        order = here.order(order_no, case.adapter, case.product, ending, gateway=LANES[order_no])
        if case.comes_to_nothing:  # or it would be sent for ever
            order["expires_at"] = wire.moment(EXPIRE_SECONDS)
        if ending == "00":
            account, simulator = here.accounts[order_no], HOUSES[case.adapter].simulator
            here.market.force(account, case.fault.name, case.call, gateway=simulator)
        here.stage.producer.submit(order)


def _look(here: Street) -> dict[str, End]:
    here.stage.producer.look()
    told: dict[str, set[tuple[int, str]]] = {order_no: set() for order_no in CASES}
    for event in here.stage.producer.seen:
        told[event.body["order_no"]].add((event.body["version"], event.body["state"]))
    rows = {row["order_no"]: row for row in here.stage.facts.rows("SELECT * FROM orders")}
    entries = here.entries()
    return {order_no: End(rows.get(order_no), entries[order_no], told[order_no]) for order_no in CASES}


@contextmanager
def _releasing(here: Street) -> Iterator[None]:
    """Let the held calls go on after a first question about them, and well before an absence could be settled.

    In a thread: looking at hundreds of orders takes its time, and a call that is held for longer is charged twice.
    """
    ended = threading.Event()

    def release() -> None:
        while not ended.wait(0.1):
            for call in here.market.waiting():
                if call["caller_gone"] and call["waiting_seconds"] > HELD_SECONDS:
                    here.market.release(call["order_no"])

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(release)
        try:
            yield
        finally:
            ended.set()
        running.result()


@pytest.fixture(scope="module")
def ends(amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, End]]:
    """Everything has happened, and nothing moves any more."""
    root = tmp_path_factory.mktemp("matrix")
    gateways = {
        lane: {
            "adapter": CASES[order_no].adapter,
            "query_deadline_seconds": DEADLINE_SECONDS,
            "settle_seconds": SETTLE_SECONDS,
        }
        for order_no, lane in LANES.items()
    }
    with street(amqp_url, database_server, root, gateways) as here, _releasing(here):
        _publish(here)
        deadline = time.monotonic() + AT_MOST_SECONDS
        rested_at = None
        while time.monotonic() < deadline:
            here.pay(lambda order_no: PAID_AFTER.get(CASES[order_no].fault.course, 0))
            seen = _look(here)
            if any(wrong(CASES[order_no], end) for order_no, end in seen.items()):
                rested_at = None
            rested_at = rested_at or time.monotonic()
            if time.monotonic() - rested_at > REST_SECONDS:
                break
            time.sleep(0.3)
        yield _look(here)


def wrong(case: Case, end: End) -> list[str]:
    """Return what is not as it must be about an order at its end."""
    row, entries = end.row, end.entries
    if row is None:
        return ["it was not admitted"]
    kept = [entry for entry in entries if entry["charged_fen"] > entry["refunded_fen"]]
    of_itself = case.call == "push" and case.fault.course is Course.REVIVES  # the gateway takes the money twice
    standing = (kept or entries or [{"status": "not_taken"}])[-1]["status"]
    problems = {
        "charged twice": len(kept) > 1 or any(entry["charges"] > 1 + of_itself for entry in entries),
        "it never came to anything": standing == "not_taken" and not case.comes_to_nothing,
        f"it is {row['state']}, and stands {standing} at the gateway": row["state"] not in _allowed(case, standing),
        f"its end was not told, only {sorted(end.told)}": (row["version"], row["state"]) not in end.told,
        "no reason is given": row["state"] != "succeeded" and not row["reason_code"],
    }
    return [problem for problem, found in problems.items() if found]


def _allowed(case: Case, standing: str) -> set[str]:
    return TRUE.get(standing, set()) | ({"review"} if case.for_a_person else set())


@pytest.mark.parametrize("order_no", [pytest.param(order_no, id=case.name) for order_no, case in CASES.items()])
def test_an_order_is_charged_once_at_most_and_ends_where_it_truly_stands(
    ends: Mapping[str, End], order_no: str
) -> None:
    assert wrong(CASES[order_no], ends[order_no]) == []


def test_each_way_to_end_is_met(ends: Mapping[str, End]) -> None:
    """Or the cases would prove less than they seem to."""
    states = {end.row["state"] for end in ends.values() if end.row is not None}
    assert states == FINAL | {"review"}
    assert any(entry["pushes"] > 1 for end in ends.values() for entry in end.entries)
