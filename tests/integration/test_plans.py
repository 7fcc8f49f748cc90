"""What an order costs does not grow with the tables: every statement finds its rows by an index, triggers included.

The short run has a hundred thousand finished orders, the long one a million:
`pytest -m long tests/integration/test_plans.py`.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from support.ledgers import ARRIVED, DIGEST, connected, house, make, render

from worker.core.machine import Decision, Moment, admit, decide
from worker.core.order import Event, Fact, Order, State, Task
from worker.core.policy import Policy
from worker.embedded import create_database, drop_database
from worker.ledger.connection import LIMITS, _prepare, opened
from worker.ledger.paging import Wanted
from worker.ledger.queries import load
from worker.ledger.reading import Reader
from worker.ledger.rows import admit_values, event_values, from_record, step_values

WAITING = 100_000
BATCH = 200
BIG = {"orders", "alarms", "attempts", "balances", "cards", "hints", "outbox"}
BIG |= {"reconciled", f"journal_{datetime.now(UTC):%Y_%m}"}
CARD = ("one", "1001", "power", b"\0" * 32)
DAY = (datetime.now(UTC) - timedelta(hours=12), datetime.now(UTC) + timedelta(hours=12))

# loaded without triggers; one in ten of the finished orders had a second attempt, one waiting order in a hundred is due
LOAD = """
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO orders (
    order_no, source, product, amount_fen, target, digest, route, state, version, gateway, attempt, sending, sent_at,
    upstream_no, write_token
)
SELECT 'F' || n, 'shop', 'mobile', 10000, '{"mobile": "13800138000"}', '\\x01', '{one,two}', 'succeeded', 2, 'one', 1,
       1, now(), 'U' || n, n
  FROM generate_series(1, @finished) n;
INSERT INTO orders (
    order_no, source, product, amount_fen, target, digest, route, expires_at, state, version, gateway, attempt, sending,
    sent_at, write_token
)
SELECT 'W' || n, 'shop', 'mobile', 10000, '{"mobile": "13800138000"}', '\\x01', '{one,two}',
       CASE WHEN n % 2 = 0 THEN now() + make_interval(secs => n - 1000) END,
       CASE WHEN n % 2 = 0 THEN 'queued' ELSE 'pending' END, 1, CASE WHEN n % 3 = 0 THEN 'two' ELSE 'one' END, 1, 1,
       now(), n
  FROM generate_series(1, @waiting) n;
INSERT INTO alarms (order_id, gateway, product, task, due_at, expires_at)
SELECT id, gateway, product, task_of(state), now() + make_interval(secs => write_token - 1000), expires_at
  FROM orders WHERE state <> 'succeeded';
INSERT INTO journal (order_id, version, from_state, to_state, cause, attempt, evidence)
SELECT id, 1, NULL, 'submitting', 'admitted', 1, NULL FROM orders
UNION ALL
SELECT id, 2, 'submitting', 'succeeded', 'arrived', 1, '{"http": 200}'::jsonb FROM orders WHERE state = 'succeeded';
INSERT INTO attempts (reference, order_id, attempt, gateway)
SELECT order_no || 'R2', id, 2, 'two' FROM orders WHERE id % 10 = 0;
INSERT INTO hints (order_id, attempt, gateway, due_at)
SELECT id, 1, 'one', now() + make_interval(secs => write_token - 1000) FROM orders WHERE state = 'succeeded';
INSERT INTO cards (gateway, owner, kind, key, shown, card_id, digest, token, changing, held_until)
SELECT 'one', '1001', 'power', sha256(n::text::bytea), '', n, sha256(n::text::bytea), n, false, now()
  FROM generate_series(1, @waiting) n;
INSERT INTO balances (gateway, at, balance_fen) SELECT 'one', now() - make_interval(mins => n), n
  FROM generate_series(1, @waiting) n;
INSERT INTO gateways (gateway) VALUES ('one'), ('two');
INSERT INTO reconciliations (since, until) SELECT now() - make_interval(days => n), now()
  FROM generate_series(1, 100) n;
INSERT INTO reconciled (reconciliation_id, gateway, order_id, attempt, asked_at, class, amount_fen)
SELECT r.id, 'one', o.id, 1, CASE WHEN o.id % 2 = 0 THEN now() END, CASE WHEN o.id % 200 = 0 THEN 'amount_differs' END,
       CASE WHEN o.id % 200 = 0 THEN 1 END
  FROM orders o JOIN reconciliations r ON r.id = 1 + o.id % 100 WHERE o.state = 'succeeded';
INSERT INTO outbox (message_id, key, body, held_until)
SELECT order_no || ':1', 'order.accepted.shop', '\\x00', now() + make_interval(secs => write_token - 1000)
  FROM orders WHERE state <> 'succeeded';
VACUUM (ANALYZE);
"""


@pytest.fixture(
    scope="module",
    params=[100_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
    ids=["100k finished", "1M finished"],
)
def big_dsn(request: pytest.FixtureRequest, database_server: str, migrated_template: str) -> Iterator[str]:
    """A database with so many finished orders, and a hundred thousand that wait."""

    async def fill(dsn: str) -> None:
        async with connected(dsn) as connection:
            if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
                pytest.skip("loading without triggers takes a superuser")
            for statement in LOAD.split(";\n"):
                if statement.strip():
                    numbered = statement.replace("@finished", str(request.param)).replace("@waiting", str(WAITING))
                    await connection.execute(numbered)

    name = f"t{secrets.token_hex(6)}"
    dsn = create_database(database_server, name, migrated_template)
    asyncio.run(fill(dsn))
    yield dsn
    drop_database(database_server, name)


@pytest.fixture
async def connection(big_dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection set up as the worker's are, in a transaction that is given up."""
    connection = await asyncpg.connect(big_dsn, server_settings=LIMITS)
    await _prepare(connection)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


def moment() -> Moment:
    """Return the circumstances of a decision made now."""
    return Moment(datetime.now(UTC), Policy())


def admissions(count: int) -> list[Sequence[Any]]:
    """Return the parameters of `admit.sql` for so many new orders."""
    rows = []
    for number in range(count):
        decision = admit(make(f"N{number:05}"), moment(), sending=True)
        rows.append(admit_values(decision, DIGEST, number, render(decision.order, "accepted", moment().now)))
    return [list(column) for column in zip(*rows, strict=True)]


def steps(orders: Sequence[Order], fact: Fact) -> list[Sequence[Any]]:
    """Return the parameters of `step.sql` for one fact about each of the orders."""
    rows, events = [], []
    for order in sorted(orders, key=lambda each: each.id):
        decision = decide(order, fact, moment())
        assert isinstance(decision, Decision)
        rows.append(step_values(decision, order.id))
        events.append(event_values(order.id, render(decision.order, "told", moment().now)))
    return [list(column) for column in (*zip(*rows, strict=True), *zip(*events, strict=True))]


async def found(connection: "asyncpg.Connection[asyncpg.Record]", state: State, count: int) -> list[Order]:
    """Return some orders in a state."""
    numbers = [f"{'F' if state is State.SUCCEEDED else 'W'}{number}" for number in range(50_001, 50_001 + 2 * count)]
    orders = [from_record(row).order for row in await connection.fetch(load("find"), numbers)]
    return [order for order in orders if order.state is state][:count]


async def parameters(connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> Sequence[Any]:
    """Return parameters as the worker would give them."""
    pending = await found(connection, State.PENDING, BATCH)
    ids = [order.id for order in pending]
    given: dict[str, Sequence[Any]] = {
        "claim": ("one", Task.QUERY.value, None, 50, 60.0),
        "claim_expired": (500, None),
        "stray_gateways": (["one"],),
        "backlog": (),
        "watched": (),
        "unheard": (100_000,),
        "find": ([order.order_no for order in pending],),
        "find_attempt": ("F50000R2",),
        "tokens": (ids,),
        "alarms": (ids,),
        "story": (ids[0],),
        "keep_hint": (ids[0], 1, "one", 0.0),
        "claim_hints": ("one", 50, 60.0),
        "postpone_hint": (ids[0], 1, "one", moment().now, 5.0),
        "forget_hint": (ids[0], 1, "one", moment().now),
        "hold_card": (*CARD, "320****7890", b"\1" * 32, 1, 60.0),
        "keep_card": (*CARD, 1, "7", b"\1" * 32),
        "release_card": (*CARD, 1, True, moment().now),
        "forget_card": (*CARD, 1),
        "find_card": (*CARD, "7"),
        "claim_balances": (["one"], [300.0], [15.0]),
        "keep_balance": ("one", moment().now, 5000, 3600.0),
        "balance_history": ("one", moment().now - timedelta(days=1), moment().now),
        "gateways_live": (["one", "two"], 10.0),
        "open_reconciliation": (*DAY, None),
        "settled_page": (*DAY, DAY[0], 0, 1000),
        "open_page": (*DAY, 0, 1000),
        "list_reconciled": (1, ids, None),
        "mark_listed": (1,),
        "unanswered_page": (1, "one", 0, 0, 1000),
        "keep_reconciled": (1, *[[]] * 14),
        "tally_reconciled": (1,),
        "reopen_reconciled": (1,),
        "differences_page": (1, "", 0, 0, 1000),
        "held": (ids, "one", *DAY, 1),
        "judged": (ids[0], 2, 1, "mismatch", "amount", "{}"),
        "finish_reconciliation": (1, 10, 1),
        "forget_reconciled": (1, 1000),
        "take_events": (500,),
        "forget_events": (list(range(1000, 1000 + BATCH)),),
        "list": (None, "two", "oil", "shop", "mismatch", *DAY, None, 1, None, ids[0] - 50_000, ids[0], 500),
        "list_open": (["review", "queued"], *[None] * 9, ids[0] - 25_000, ids[0] + 25_000, 500, ["submit"], ["review"]),
        "near": (ids[0],),
        "known": ([order.order_no for order in pending],),
        "release_events": ([1, 2, 3],),
        "step": steps(pending, ARRIVED),
        "admit": admissions(BATCH),
    }
    return given[name]


STATEMENTS = (
    *("backlog", "watched", "unheard"),
    *("claim", "claim_expired", "stray_gateways", "find", "find_attempt", "tokens", "alarms", "story"),
    *("keep_hint", "claim_hints", "postpone_hint", "forget_hint"),
    *("hold_card", "keep_card", "release_card", "forget_card", "find_card"),
    *("claim_balances", "keep_balance", "balance_history", "gateways_live"),
    *("open_reconciliation", "settled_page", "open_page", "list_reconciled", "mark_listed", "unanswered_page"),
    *("keep_reconciled", "tally_reconciled", "reopen_reconciled", "differences_page", "held", "judged"),
    *("finish_reconciliation", "forget_reconciled"),
    *("take_events", "forget_events", "release_events", "step", "admit"),
    *("list", "list_open", "near", "known"),
)


def scanned(plan: dict[str, Any]) -> set[str]:
    """Return the tables that a plan reads from end to end."""
    nodes, tables = [plan], set()
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node["Node Type"] == "Seq Scan":
            tables.add(node["Relation Name"])
    return tables & BIG


async def explained(connection: "asyncpg.Connection[asyncpg.Record]", statement: str, *values: Any) -> set[str]:
    """Return the tables that a statement would read from end to end."""
    (row,) = await connection.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *values)
    (plan,) = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return scanned(plan["Plan"])


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_with_its_parameters_reads_no_table_from_end_to_end(
    connection: "asyncpg.Connection[asyncpg.Record]", name: str
) -> None:
    values = await parameters(connection, name)
    assert await explained(connection, load(name), *values) == set()


@pytest.mark.parametrize("name", STATEMENTS)
async def test_nor_does_the_plan_that_is_kept_for_all_parameters(
    connection: "asyncpg.Connection[asyncpg.Record]", name: str
) -> None:
    """PostgreSQL changes to it after a few executions of a prepared statement."""
    nulls = ", ".join(["NULL"] * len(await parameters(connection, name)))
    await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE kept AS {load(name)}")
    try:
        assert await explained(connection, f"EXECUTE kept({nulls})" if nulls else "EXECUTE kept") == set()
    finally:
        await connection.execute("DEALLOCATE kept")


async def test_the_doctor_reads_what_is_open_and_no_more(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Of the orders and the journal that is: each alarm is looked at, once."""
    assert await explained(connection, load("stalled"), 5) == {"alarms"}
    assert await connection.fetch(load("stalled"), 5) == []
    assert await connection.fetch(SCANS, [*(BIG - {"alarms"})]) == []


SCANS = "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname = ANY($1) AND seq_scan > 0"


@pytest.mark.parametrize("mode", ["auto", "force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("count", [1, 50, 500])
async def test_nor_do_the_triggers(connection: "asyncpg.Connection[asyncpg.Record]", count: int, mode: str) -> None:
    """Counted by PostgreSQL itself while orders are admitted, moved on and ended, in batches of several sizes."""
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    pending = await found(connection, State.PENDING, count)
    ended = await found(connection, State.SUCCEEDED, count)
    await connection.fetch(load("admit"), *admissions(count))
    moved = await connection.fetch(load("step"), *steps(pending, ARRIVED))
    noted = await connection.fetch(load("step"), *steps(ended, Fact(Event.CLAIMED, code="x", evidence={"a": 1})))
    await connection.fetch(load("claim"), "one", Task.QUERY.value, None, count, 60.0)
    assert await connection.fetch(SCANS, list(BIG)) == []
    assert (len(moved), len(noted)) == (2 * count, 2 * count)


async def _fastest(dsn: str, times: int) -> dict[str, float]:
    """Return the shortest time of a claim of 50 and of the life of 50 orders, over several of each."""
    best = {"claim": 9.0, "life": 9.0}
    async with house(dsn, size=1) as home:
        for turn in range(times):
            began = time.perf_counter()
            orders = await asyncio.gather(*(home.admit(f"X{turn}-{number}") for number in range(50)))
            await asyncio.gather(*(home.ledger.apply(order, ARRIVED) for order in orders))
            best["life"] = min(best["life"], time.perf_counter() - began)
            await asyncio.gather(*(home.admit(f"Y{turn}-{number}", sending=False) for number in range(50)))
            began = time.perf_counter()
            claimed = await home.ledger.claim("one", Task.SUBMIT, 50, 60)
            best["claim"] = min(best["claim"], time.perf_counter() - began)
            assert len(claimed) == 50
    return best


async def test_what_an_order_costs_does_not_grow(big_dsn: str, ledger_dsn: str) -> None:
    """A claim of 50, and 50 orders from admission to success, take no longer than three times an empty database's."""
    slow: dict[str, tuple[float, float]] = {}
    for _ in range(4):  # a busy machine may slow one of the two down; it does not do so every time
        big, empty = await _fastest(big_dsn, 15), await _fastest(ledger_dsn, 15)
        slow = {name: (big[name], empty[name]) for name in big if big[name] >= 3 * empty[name] + 0.003}
        if not slow:
            break
    assert slow == {}


READ = """
SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables
 WHERE relname IN ('orders', 'alarms', 'attempts', 'outbox') OR relname LIKE 'journal%'
"""


async def test_plans_that_were_made_on_empty_tables_hold_when_they_grow(ledger_dsn: str) -> None:
    """A worker that starts on a new database keeps its plans until the first ANALYZE, which may take a minute."""
    async with house(ledger_dsn, size=1) as home:
        await home.pool.execute("ALTER TABLE orders SET (autovacuum_enabled = false)")
        for batch in (1, 20, 500, 500, 500, 500):
            orders = await asyncio.gather(*(home.admit(f"G{time.perf_counter_ns()}") for _ in range(batch)))
            await asyncio.gather(*(home.ledger.apply(order, ARRIVED) for order in orders))
            await home.ledger.claim("one", Task.LEASE, batch, 60)
        await home.pool.execute("SELECT pg_stat_force_next_flush()")
        assert await home.value(READ) == 0


FETCHED = (
    "SELECT coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) FROM pg_stat_user_tables WHERE relname = 'orders'"
)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(["review"]), 1),
        (Wanted(["review", "unknown"], "one", "mobile", "shop"), 1),
        (Wanted(since=datetime.now(UTC) + timedelta(hours=1)), 0),
        (Wanted(until=datetime.now(UTC) - timedelta(days=1)), 0),
    ],
)
async def test_rare_orders_are_listed_without_reading_the_others(big_dsn: str, wanted: Wanted, count: int) -> None:
    async with house(big_dsn, size=1) as home, opened(big_dsn) as pool:
        reader = Reader(pool)
        oldest = await home.ledger.find("F1")
        assert oldest is not None
        await home.ledger.apply(oldest, Fact(Event.MISMATCH, code="mismatch", evidence={"a": 1}))
        await home.pool.execute("SELECT pg_stat_force_next_flush()")
        before = await home.value(FETCHED)
        assert [len(page) async for page in reader.pages(wanted)] == [count] * count
        await reader._pool.execute("SELECT pg_stat_force_next_flush()")
        assert await home.value(FETCHED) - before < 2_000
