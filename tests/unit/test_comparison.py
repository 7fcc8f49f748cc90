"""Every state against every answer: whether they agree, and if not what the difference is called and worth."""

import itertools

import pytest

from worker.core.comparison import Class, action, compare
from worker.core.order import Order, Reason, ReviewKind, State
from worker.core.outcome import Report, Status

AMOUNT, ARRIVED = 10_000, 4_000

# - agree, C charged_not_succeeded, N succeeded_not_charged, U unknown_to_them, R refunded_there, P partial_differs,
# O still_open, D disputed, ? unclear_answer, X no_answer
TABLE = """
state             charging payment_due succeeded partial failed refunded cancelled disputed absent unclear silent
queued            O        O           C         C       O      O        O         O        O      O       O
submitting        O        O           C         C       O      O        O         O        O      O       O
unknown           O        O           C         C       O      O        O         O        O      O       O
pending           O        O           C         C       O      O        O         O        U      O       O
awaiting_payment  O        O           C         C       O      O        O         O        O      O       O
review            O        O           C         C       O      O        O         O        O      O       O
succeeded         O        O           -         P       N      R        N         D        U      ?       X
partial           O        O           P         -       N      R        N         D        U      ?       X
failed            O        -           C         C       -      -        -         D        -      ?       X
cancelled         O        -           C         C       -      -        -         D        -      ?       X
refunded          O        -           C         C       -      -        -         D        -      ?       X
given_up          O        -           C         C       -      -        -         D        -      ?       X
"""
LETTERS = {
    "-": None,
    "C": Class.CHARGED_NOT_SUCCEEDED,
    "N": Class.SUCCEEDED_NOT_CHARGED,
    "U": Class.UNKNOWN_TO_THEM,
    "R": Class.REFUNDED_THERE,
    "P": Class.PARTIAL_DIFFERS,
    "O": Class.STILL_OPEN,
    "D": Class.DISPUTED,
    "?": Class.UNCLEAR_ANSWER,
    "X": Class.NO_ANSWER,
}


def expected() -> dict[tuple[str, Status], Class | None]:
    head, *rows = [line.split() for line in TABLE.strip().splitlines()]
    return {
        (row[0], Status(status)): LETTERS[letter]
        for row in rows
        for status, letter in zip(head[1:], row[1:], strict=True)
    }


def order(state: State = State.SUCCEEDED, **changes: object) -> Order:
    made = Order(
        order_no="T1",
        source="shop",
        product="mobile",
        amount_fen=AMOUNT,
        target={"mobile": "13800138000"},
        route=("one", "two"),
        gateway="one",
        state=state,
        arrived_fen=ARRIVED if state is State.PARTIAL else None,
        review_kind=ReviewKind.OVERDUE if state is State.REVIEW else None,
    )
    return made.changed(changes)


def report(status: Status = Status.SUCCEEDED, **changes: object) -> Report:
    return Report(status, arrived_fen=ARRIVED if status is Status.PARTIAL else None)._replace(**changes)


def test_the_table_is_whole() -> None:
    states = {*(state.value for state in State), "given_up"}
    assert set(expected()) == set(itertools.product(states, Status))


@pytest.mark.parametrize(("state", "status"), expected())
def test_every_state_against_every_answer(state: str, status: Status) -> None:
    given_up = state == "given_up"
    ours = order(State.SUCCEEDED, attempt=2) if given_up else order(State(state))
    found = compare(ours, 1, report(status))
    wanted = expected()[state, status]
    assert (found and found.kind) == wanted
    if found is None:
        return
    assert found.amount_fen > 0
    assert found.detail
    kept = {"succeeded": AMOUNT, "partial": ARRIVED}.get(state, 0)
    assert found.ours_fen == (kept if ours.final or given_up else None)
    told = {Status.SUCCEEDED: AMOUNT, Status.PARTIAL: ARRIVED}.get(status)
    if told is not None:
        assert found.theirs_fen == told
    elif status in (Status.FAILED, Status.REFUNDED, Status.CANCELLED, Status.ABSENT):
        assert found.theirs_fen == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "kind", "amounts"),
    [
        ({}, {"foreign": "order_no: ours T1, theirs T2"}, Class.NOT_OUR_ORDER, (AMOUNT, AMOUNT, AMOUNT)),
        ({"upstream_no": "1"}, {"upstream_no": "2"}, Class.NOT_OUR_ORDER, (AMOUNT, AMOUNT, AMOUNT)),
        ({}, {"account": "13900139000"}, Class.ACCOUNT_DIFFERS, (AMOUNT, AMOUNT, AMOUNT)),
        ({}, {"amount_fen": AMOUNT + 1}, Class.AMOUNT_DIFFERS, (AMOUNT, AMOUNT + 1, 1)),
        ({}, {"amount_fen": AMOUNT - 1}, Class.AMOUNT_DIFFERS, (AMOUNT, AMOUNT - 1, 1)),
        ({"cost_fen": 9_900}, {"cost_fen": 9_901}, Class.COST_DIFFERS, (9_900, 9_901, 1)),
        ({"cost_fen": 9_900}, {"cost_fen": 1, "account": "2"}, Class.ACCOUNT_DIFFERS, (AMOUNT, AMOUNT, AMOUNT)),
        ({"cost_fen": 9_900}, {"cost_fen": 1, "amount_fen": 2}, Class.AMOUNT_DIFFERS, (AMOUNT, 2, AMOUNT - 2)),
    ],
)
def test_another_order_than_ours(
    ours: dict[str, object], theirs: dict[str, object], kind: Class, amounts: tuple[int, int, int]
) -> None:
    found = compare(order(**ours), 1, report(**theirs))
    assert found is not None
    assert found.kind is kind
    assert (found.ours_fen, found.theirs_fen, found.amount_fen) == amounts


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"cost_fen": 9_900}, {"cost_fen": 9_900}),
        ({"cost_fen": None}, {"cost_fen": 9_900}),
        ({"cost_fen": 9_900}, {"cost_fen": None}),
        ({}, {"amount_fen": AMOUNT, "account": "13800138000"}),
        ({"upstream_no": "1"}, {"upstream_no": None}),
        ({"upstream_no": None}, {"upstream_no": "2"}),
        ({"upstream_no": "1"}, {"upstream_no": "1"}),
    ],
)
def test_what_is_not_told_does_not_differ(ours: dict[str, object], theirs: dict[str, object]) -> None:
    assert compare(order(**ours), 1, report(**theirs)) is None


def test_the_part_that_arrived_is_compared_to_the_fen() -> None:
    found = compare(order(State.PARTIAL), 1, report(Status.PARTIAL, arrived_fen=ARRIVED - 1))
    assert found is not None
    assert (found.kind, found.ours_fen, found.theirs_fen, found.amount_fen) == (
        Class.PARTIAL_DIFFERS,
        ARRIVED,
        ARRIVED - 1,
        1,
    )


def test_a_part_of_no_size_is_unclear() -> None:
    found = compare(order(State.PARTIAL), 1, report(Status.PARTIAL, arrived_fen=None))
    assert found is not None
    assert found.kind is Class.UNCLEAR_ANSWER


def test_a_charge_for_a_failed_order_is_worth_what_they_took() -> None:
    found = compare(order(State.FAILED), 1, report(amount_fen=AMOUNT * 2))
    assert found is not None
    assert (found.kind, found.ours_fen, found.theirs_fen, found.amount_fen) == (
        Class.CHARGED_NOT_SUCCEEDED,
        0,
        AMOUNT * 2,
        AMOUNT * 2,
    )
    assert "theirs 20000 fen" in found.detail


def test_the_number_of_an_attempt_that_was_given_up_is_not_the_latest_ones() -> None:
    found = compare(order(attempt=2, upstream_no="1"), 1, report(upstream_no="2"))
    assert found is not None
    assert found.kind is Class.CHARGED_NOT_SUCCEEDED
    assert "number" not in found.detail


def test_a_review_tells_its_reason_and_what_is_another_order() -> None:
    found = compare(order(State.REVIEW, reason=Reason("mismatch", "")), 1, report(amount_fen=AMOUNT * 2))
    assert found is not None
    assert found.kind is Class.AMOUNT_DIFFERS
    assert found.detail.startswith("it is review here (mismatch)")


@pytest.mark.parametrize(("state", "status"), expected())
@pytest.mark.parametrize("account", ["13900139000", "13800138000"])
def test_no_detail_shows_a_whole_account(state: str, status: Status, account: str) -> None:
    ours = order(State.SUCCEEDED, attempt=2) if state == "given_up" else order(State(state))
    found = compare(ours, 1, report(status, account=account))
    assert found is None or not {"13900139000", "13800138000"} & set(found.detail.split())


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", Class)
def test_every_difference_has_something_to_be_done(kind: Class, state: State) -> None:
    assert action(kind, order(state), 1)
    assert action(kind, order(state, attempt=2), 1)


def test_an_order_in_review_is_decided_by_name() -> None:
    told = action(Class.CHARGED_NOT_SUCCEEDED, order(State.REVIEW), 1)
    assert told.startswith("decide: worker orders resolve T1 succeeded|failed --note …")
