"""The ledger's verbs on a real PostgreSQL: each does what it says, for one order and for many at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from support.ledgers import ARRIVED, DIGEST, EVIDENCE, House, house, make

import worker
from worker.core.machine import Decision, Ignored
from worker.core.order import Event, Fact, Order, Reason, State, Task
from worker.ledger.admission import Admission

OTHER = b"\x02" * 32


@pytest.fixture
async def home(ledger_dsn: str) -> AsyncIterator[House]:
    async with house(ledger_dsn) as it:
        yield it


# --- admit -----------------------------------------------------------------------------------------


async def test_a_new_order_is_written_with_alarm_journal_and_event(home: House) -> None:
    admitted = await home.admitted("T1", sending=True, correlation_id="c1")
    assert admitted.admission is Admission.NEW
    assert await home.ledger.find("T1") == admitted.order
    assert await home.journal() == [(1, None, "submitting", "admitted", 1)]
    assert await home.value("SELECT task FROM alarms WHERE order_id = $1", admitted.order.id) == "lease"
    assert [(event.message_id, event.key, event.correlation_id) for event in home.told] == [
        ("T1:1", "order.accepted.shop", "c1")
    ]
    assert home.told[0].id == await home.value("SELECT id FROM outbox")


async def test_the_same_order_again_is_a_duplicate_whose_state_is_published_again(home: House) -> None:
    order = await home.admit("T1")
    await home.step(order, Event.ARRIVED)
    home.told.clear()
    again = await home.admitted("T1", correlation_id="second")
    assert (again.admission, again.order.state) == (Admission.DUPLICATE, State.SUCCEEDED)
    assert [(event.message_id, event.key, event.correlation_id) for event in home.told] == [
        ("T1:2", "order.succeeded.shop", "second")
    ]
    assert len(await home.journal()) == 2


async def test_another_order_under_a_known_number_is_a_conflict_and_changes_nothing(home: House) -> None:
    first = await home.admit("T1")
    home.told.clear()
    clash = await home.admitted("T1", digest=OTHER, amount_fen=1)
    assert (clash.admission, clash.order) == (Admission.CONFLICT, first)
    assert home.told == []


async def test_one_batch_may_hold_the_same_number_three_times(home: House) -> None:
    """The first is new, its twin a duplicate, a third with other content a conflict; all name the stored order."""
    first, twin, clash = await asyncio.gather(
        home.admitted("T1"), home.admitted("T1", correlation_id="twin"), home.admitted("T1", digest=OTHER)
    )
    assert [each.admission for each in (first, twin, clash)] == [
        Admission.NEW,
        Admission.DUPLICATE,
        Admission.CONFLICT,
    ]
    assert first.order.id == twin.order.id == clash.order.id > 0
    assert sorted(str(event.correlation_id) for event in home.told) == ["None", "twin"]
    assert all(event.id for event in home.told)


async def test_a_queued_order_waits_and_its_expiry_is_watched(home: House) -> None:
    expires = datetime.now(UTC) + timedelta(hours=1)
    order = await home.admit("T1", sending=False, expires_at=expires)
    assert order.state is State.QUEUED
    row = await home.pool.fetchrow("SELECT task, due_at <= now() AS due, expires_at FROM alarms")
    assert row is not None
    assert tuple(row) == ("submit", True, expires)


async def test_the_expiry_of_an_order_on_its_way_is_not_watched(home: House) -> None:
    await home.admit("T1", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert await home.value("SELECT expires_at FROM alarms") is None


# --- apply -----------------------------------------------------------------------------------------


async def test_a_step_writes_order_journal_alarm_and_event_together(home: House) -> None:
    order = await home.admit("T1")
    pending = await home.step(order, Event.ACCEPTED, sending=1, upstream_no="U1")
    assert await home.value("SELECT task FROM alarms") == "query"
    final = await home.step(pending, Event.ARRIVED, cost_fen=9_900)
    stored = await home.ledger.find("T1")
    assert stored == final
    assert stored is not None
    assert (stored.state, stored.upstream_no, stored.cost_fen) == (State.SUCCEEDED, "U1", 9_900)
    assert await home.journal() == [
        (1, None, "submitting", "admitted", 1),
        (2, "submitting", "pending", "accepted", 1),
        (3, "pending", "succeeded", "arrived", 1),
    ]
    assert await home.value("SELECT count(*) FROM alarms") == 0
    assert [event.message_id for event in home.told] == ["T1:1", "T1:2", "T1:3"]


async def test_what_means_nothing_is_ignored_after_a_second_look(home: House) -> None:
    order = await home.admit("T1")
    await home.step(order, Event.ARRIVED)
    decision = await home.ledger.apply(order, Fact(Event.LEASE_ENDED, sending=1))
    assert isinstance(decision, Ignored)
    assert decision.order.state is State.SUCCEEDED


async def test_an_outdated_memory_of_the_order_is_read_again(home: House) -> None:
    order = await home.admit("T1")
    await home.step(order, Event.ACCEPTED, sending=1)
    decision = await home.ledger.apply(order, ARRIVED)
    assert isinstance(decision, Decision)
    assert (decision.before, decision.order.version) == (State.PENDING, 3)


async def test_an_order_that_does_not_exist_cannot_be_stepped(home: House) -> None:
    with pytest.raises(LookupError, match="T404"):
        await home.ledger.apply(make("T404"), ARRIVED)


async def test_two_facts_about_one_order_in_one_batch_both_count(home: House) -> None:
    order = await home.admit("T1")
    await asyncio.gather(
        home.ledger.apply(order, Fact(Event.ACCEPTED, sending=1, upstream_no="U1", evidence=EVIDENCE)),
        home.ledger.apply(order, ARRIVED),
    )
    assert [line[2] for line in await home.journal()] == ["submitting", "pending", "succeeded"]


async def test_every_field_of_an_order_comes_back_as_it_went_in(home: House) -> None:
    expires = datetime.now(UTC) + timedelta(hours=1)
    order = await home.admit("T1", expires_at=expires, correlation_id="c")
    due = await home.step(
        order, Event.PAYMENT_DUE, upstream_no="U1", cost_fen=2**62, payment={"url": "x"}, payment_expires_at=expires
    )
    assert await home.ledger.find("T1") == due
    review = await home.step(due, Event.MISMATCH, code="amount", message="other")
    assert await home.ledger.find("T1") == review
    assert review.reason == Reason("mismatch", "other")


async def test_a_failover_is_told_about_the_attempt_that_ended(home: House) -> None:
    """The journal's line names the attempt that the gateway refused, and the new number is kept."""
    order = await home.admit("T1")
    queued = await home.step(order, Event.REJECTED, attempt=1)
    assert (queued.state, queued.attempt, queued.gateway, queued.reference) == (State.QUEUED, 2, "two", "T1R2")
    assert (await home.journal())[-1] == (2, "submitting", "queued", "rejected", 1)
    assert await home.ledger.locate("T1R2") == (queued, 2, "two")
    assert await home.ledger.locate("T1") == (queued, 1, "one")
    assert await home.ledger.locate("T1R3") is None


# --- numbers ---------------------------------------------------------------------------------------


async def test_an_order_named_like_a_later_attempt_keeps_its_number(home: House) -> None:
    """The order "ABCR2" came first: the second attempt of "ABC" passes that number over, so none is used twice."""
    other = await home.admit("ABCR2")
    order = await home.admit("ABC")
    queued = await home.step(order, Event.REJECTED)
    assert (queued.attempt, queued.reference) == (3, "ABCR3")
    assert await home.ledger.find("ABC") == queued
    assert (await home.journal("ABC"))[-1] == (2, "submitting", "queued", "rejected", 1)
    assert await home.ledger.locate("ABCR2") == (other, 1, "one")
    assert await home.ledger.locate("ABCR3") == (queued, 3, "two")


async def test_an_order_named_like_an_attempt_that_exists_is_a_conflict(home: House) -> None:
    queued = await home.step(await home.admit("ABC"), Event.REJECTED)
    clash = await home.admitted("ABCR2")
    assert clash.admission is Admission.CONFLICT
    assert await home.ledger.find("ABCR2") is None
    assert await home.ledger.locate("ABCR2") == (queued, 2, "two")


async def test_an_order_named_like_an_attempt_may_come_again(home: House) -> None:
    admissions = [(await home.admitted("ABCR2")).admission for _ in range(2)]
    assert admissions == [Admission.NEW, Admission.DUPLICATE]


async def test_a_number_that_both_want_at_once_goes_to_one_of_them(ledger_dsn: str) -> None:
    """Forty races between a failover of "N" and the admission of "NR2", on two ledgers: never both, never neither."""
    async with house(ledger_dsn) as left, house(ledger_dsn) as right:
        outcomes: Counter[tuple[int, str]] = Counter()
        for number in range(40):
            order = await left.admit(f"N{number}")
            failover, late = await asyncio.gather(
                left.step(order, Event.REJECTED), _until_settled(right, f"N{number}R2")
            )
            outcomes[failover.attempt, late.name] += 1
        assert set(outcomes) <= {(2, "CONFLICT"), (3, "NEW")}, outcomes
        assert await left.value("SELECT count(*) FROM attempts") >= 40


async def _until_settled(home: House, order_no: str) -> Admission:
    """Admit as a consumer does, which tries again where the database refuses."""
    try:
        return (await home.admitted(order_no)).admission
    except asyncpg.UniqueViolationError:
        return (await home.admitted(order_no)).admission


# --- claim -----------------------------------------------------------------------------------------


async def test_a_claim_leases_what_is_due_the_longest_overdue_first(home: House) -> None:
    for number in range(3):
        await home.admit(f"T{number}", sending=False)
        await home.pool.execute(
            "UPDATE alarms SET due_at = now() - make_interval(secs => $1)"
            " WHERE order_id = (SELECT id FROM orders WHERE order_no = $2)",
            float(10 - number),
            f"T{number}",
        )
    first = await home.ledger.claim("one", Task.SUBMIT, 2, 30)
    assert {order.order_no for order in first} == {"T0", "T1"}
    assert [order.order_no for order in await home.ledger.claim("one", Task.SUBMIT, 2, 30)] == ["T2"]
    assert await home.ledger.claim("one", Task.SUBMIT, 2, 30) == []
    held = await home.value("SELECT min(due_at) - now() FROM alarms")
    assert timedelta(seconds=25) < held <= timedelta(seconds=30)


async def test_a_claim_takes_only_its_gateway_its_task_and_its_products(home: House) -> None:
    await home.admit("T1", sending=False, gateway="two")
    await home.admit("T2", sending=False, product="oil")
    await home.admit("T3", sending=False)
    assert await home.ledger.claim("one", Task.QUERY, 9, 30) == []
    assert [o.order_no for o in await home.ledger.claim("one", Task.SUBMIT, 9, 30, ["oil", "game"])] == ["T2"]
    assert [o.order_no for o in await home.ledger.claim("one", Task.SUBMIT, 9, 30)] == ["T3"]
    assert [o.order_no for o in await home.ledger.claim("two", Task.SUBMIT, 9, 30)] == ["T1"]


async def test_two_ledgers_never_claim_the_same_order(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as left, house(ledger_dsn) as right:
        await asyncio.gather(*(left.admit(f"T{number}", sending=False) for number in range(400)))
        claims = await asyncio.gather(
            *(each.ledger.claim("one", Task.SUBMIT, 25, 30) for _ in range(20) for each in (left, right))
        )
        claimed = Counter(order.order_no for orders in claims for order in orders)
        assert max(claimed.values()) == 1
        claimed.update(o.order_no for o in await left.ledger.claim("one", Task.SUBMIT, 500, 30))
        assert len(claimed) == 400
        assert all(len(orders) <= 25 for orders in claims)


async def test_a_claim_passes_over_an_alarm_that_somebody_holds(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home, home.pool.acquire() as other, other.transaction():
        await home.admit("T1", sending=False)
        await home.admit("T2", sending=False)
        await other.execute(
            "SELECT FROM alarms WHERE order_id = (SELECT id FROM orders WHERE order_no = 'T1') FOR UPDATE"
        )
        async with asyncio.timeout(2):
            assert [o.order_no for o in await home.ledger.claim("one", Task.SUBMIT, 9, 30)] == ["T2"]


async def test_orders_that_waited_past_their_expiry_are_claimed_once(home: House) -> None:
    now = datetime.now(UTC)
    await home.admit("T1", sending=False, expires_at=now - timedelta(seconds=1))
    await home.admit("T2", sending=False, expires_at=now + timedelta(hours=1))
    await home.admit("T3", sending=False)
    assert [order.order_no for order in await home.ledger.claim_expired(9)] == ["T1"]
    assert await home.ledger.claim_expired(9) == []
    assert {o.order_no for o in await home.ledger.claim("one", Task.SUBMIT, 9, 30)} == {"T2", "T3"}


# --- events ----------------------------------------------------------------------------------------


async def test_an_event_is_taken_once_nobody_got_it_confirmed(home: House) -> None:
    await home.admit("T1", correlation_id="c1")
    assert await home.ledger.take_events(9) == []
    await home.pool.execute("UPDATE outbox SET held_until = now()")
    assert await home.ledger.take_events(9) == home.told
    assert await home.ledger.take_events(9) == []
    await home.ledger.forget_events([event.id for event in home.told])
    assert await home.value("SELECT count(*) FROM outbox") == 0


# --- what comes from outside -----------------------------------------------------------------------

ODD_TEXTS = ["nul \x00 here", "lone \ud800 surrogate", "\U0001f4b0", "\\u0000 as text", "'; DROP TABLE orders; --", ""]


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_no_text_from_outside_keeps_an_outcome_from_being_written(home: House, text: str) -> None:
    order = await home.admit("T1", correlation_id=f"c{text}")
    pending = await home.step(
        order, Event.ACCEPTED, sending=1, upstream_no=f"U{text}", message=text, evidence={"body": text, text: 1}
    )
    review = await home.step(pending, Event.MISMATCH, code=f"c{text}", message=f"m{text}", evidence={"list": [text]})
    await home.step(review, Event.DISPUTED, code=f"d{text}", message=text)
    stored = await home.ledger.find("T1")
    assert stored is not None
    assert (stored.state, stored.version) == (State.REVIEW, 3)
    kinds = await home.pool.fetch("SELECT DISTINCT jsonb_typeof(evidence) AS kind FROM journal")
    assert {row["kind"] for row in kinds} == {None, "object"}


def _deep(levels: int) -> dict[str, Any]:
    return {"in": _deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    "evidence",
    [
        {"number": 10**40},
        {"amount": object()},
        {"when": datetime(2026, 1, 1, tzinfo=UTC)},
        {1: "a key that is no text"},
        {"bytes": b"\x00\xff"},
        {"not a number": float("nan")},
        {"surrogate": ["\ud800", {"\udfff": "\x00"}]},
        _deep(400),
    ],
    ids=lambda evidence: str(next(iter(evidence))),
)
async def test_no_evidence_keeps_an_outcome_from_being_written(home: House, evidence: dict[str, Any]) -> None:
    await home.step(await home.admit("T1"), Event.ARRIVED, evidence=evidence)
    assert await home.value("SELECT jsonb_typeof(evidence) FROM journal WHERE version = 2") == "object"


# --- group commit ----------------------------------------------------------------------------------


async def test_one_poisonous_order_in_a_batch_of_200_fails_alone(home: House) -> None:
    orders = [make(f"T{number}", amount_fen=0 if number == 77 else 100) for number in range(200)]
    results = await asyncio.gather(
        *(home.ledger.admit(order, DIGEST, sending=True) for order in orders), return_exceptions=True
    )
    assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [77]
    assert isinstance(results[77], asyncpg.CheckViolationError)
    assert await home.value("SELECT count(*) FROM orders") == 199
    assert await home.value("SELECT count(*) FROM journal") == 199


@pytest.mark.parametrize(
    "poison",
    [{"cost_fen": 2**63}, {"cost_fen": -1}, {"arrived_fen": 2**70}, {"arrived_fen": None}],
    ids=str,
)
async def test_one_poisonous_step_in_a_batch_of_200_fails_alone(home: House, poison: dict[str, Any]) -> None:
    orders = await asyncio.gather(*(home.admit(f"T{number}") for number in range(200)))
    good = Fact(Event.ARRIVED_IN_PART, arrived_fen=1, evidence=EVIDENCE)
    bad = good._replace(**poison)
    results = await asyncio.gather(
        *(home.ledger.apply(order, bad if n == 77 else good) for n, order in enumerate(orders)), return_exceptions=True
    )
    assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [77]
    states = await home.pool.fetch("SELECT state, count(*) AS n FROM orders GROUP BY state ORDER BY state")
    assert [tuple(row) for row in states] == [("partial", 199), ("submitting", 1)]
    assert await home.value("SELECT state FROM orders WHERE order_no = 'T77'") == "submitting"


async def test_a_thousand_orders_at_once_are_all_written_in_their_own_rows(home: House) -> None:
    orders = await asyncio.gather(*(home.admit(f"T{number}", amount_fen=number + 1) for number in range(1000)))
    ended = await asyncio.gather(*(home.step(order, Event.ARRIVED, cost_fen=order.amount_fen) for order in orders))
    assert await home.value("SELECT count(*) FROM orders WHERE amount_fen = cost_fen") == 1000
    found = await asyncio.gather(*(home.ledger.find(order.order_no) for order in ended))
    assert found == list(ended)
    assert Counter(event.message_id for event in home.told).most_common(1)[0][1] == 1
    by_key = {event.message_id: event.id for event in home.told}
    rows = await home.pool.fetch("SELECT id, message_id FROM outbox")
    assert by_key == {row["message_id"]: row["id"] for row in rows}


# --- the statements --------------------------------------------------------------------------------


def test_every_statement_is_used_somewhere() -> None:
    package = Path(worker.__file__).parent
    code = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    names = {path.stem for path in (package / "ledger" / "queries").glob("*.sql")}
    assert names
    assert {name for name in names if f'"{name}"' not in code} == set()


def test_an_order_knows_its_number() -> None:
    order: Order = make("T1")
    assert [replace(order, attempt=attempt).reference for attempt in (1, 2, 11)] == ["T1", "T1R2", "T1R11"]
