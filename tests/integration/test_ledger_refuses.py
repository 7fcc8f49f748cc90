"""What PostgreSQL itself refuses, whoever asks: every rule of the machine also holds for SQL written by hand."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import asyncpg
import pytest
from support.ledgers import connected, house

from worker.core.order import Event
from worker.embedded import create_database, drop_database

MONTH = f"journal_{datetime.now(UTC):%Y_%m}"

# one step written by hand, as `step.sql` does it; what begins with @ is filled in
STEP = """
WITH o AS (
    UPDATE orders SET state = '@to', version = version + 1, revision = revision + 1 WHERE order_no = '@number'
    RETURNING id, order_no, version
), line AS (
    INSERT INTO journal (order_id, version, from_state, to_state, cause, attempt, evidence)
    SELECT id, version, '@begin', '@to', '@cause', 1, @evidence FROM o
), alarm AS (
    @alarm
)
SELECT 1
"""
RUNG = "DELETE FROM alarms USING o WHERE order_id = o.id"
KEPT = "SELECT 1"
SET = "UPDATE alarms SET task = 'query' FROM o WHERE order_id = o.id"
PROOF = """'{"http": 200}'"""

ADMISSION = """
WITH o AS (
    INSERT INTO orders (
        order_no, source, product, amount_fen, target, digest, route, state, version, gateway, attempt, sending,
        sent_at, write_token
    ) VALUES (@number, 's', 'p', @amount, '{}', '\\x00', '{g}', 'queued', @version, 'g', 1, 0, NULL, 1)
    RETURNING id
), line AS (
    @line
), alarm AS (
    @alarm
)
SELECT 1
"""
LINE = "INSERT INTO journal (order_id, version, to_state, cause, attempt) SELECT id, 1, 'queued', 'admitted', 1 FROM o"
ALARM = "INSERT INTO alarms (order_id, gateway, product, task, due_at) SELECT id, 'g', 'p', 'submit', now() FROM o"


def fill(template: str, **words: str) -> str:
    """Return the template with each @word replaced."""
    for word, value in words.items():
        template = template.replace(f"@{word}", value)
    return template


def step(number: str, begin: str, to: str, cause: str, *, alarm: str, evidence: str = PROOF) -> str:
    """Return one step by hand."""
    return fill(STEP, number=number, begin=begin, to=to, cause=cause, evidence=evidence, alarm=alarm)


def another_attempt(cause: str, order_no: str = "S", begin: str = "submitting") -> str:
    """Return the step by hand that makes an order's second attempt, numbered as it must be, because of `cause`."""
    done = step(
        order_no, begin, "queued", cause, alarm="UPDATE alarms SET task = 'submit' FROM o WHERE order_id = o.id"
    )
    done = done.replace("SET state = 'queued'", "SET attempt = 2, state = 'queued'")
    number = "INSERT INTO attempts (reference, order_id, attempt, gateway) SELECT order_no || 'R2', id, 2, 'g' FROM o"
    return done.replace("), alarm AS (", f"), numbered AS (\n    {number}\n), alarm AS (")


def admission(
    number: str = "'H1'", *, amount: str = "1", version: str = "1", line: str = LINE, alarm: str = ALARM
) -> str:
    """Return one admission by hand."""
    return fill(ADMISSION, number=number, amount=amount, version=version, line=line, alarm=alarm)


@pytest.fixture(scope="module")
def settled_dsn(database_server: str, migrated_template: str) -> Iterator[str]:
    """A database with a final F, a submitting S, a queued Q, a pending P, a cancelling K and a second attempt A."""

    async def prepare(dsn: str) -> None:
        async with house(dsn) as home:
            await home.step(await home.admit("F"), Event.ARRIVED, arrived_fen=1)
            await home.admit("S")
            await home.admit("Q", sending=False)
            await home.step(await home.admit("P"), Event.ACCEPTED, sending=1)
            await home.step(await home.admit("A"), Event.REJECTED)
            await home.step(await home.step(await home.admit("K"), Event.ACCEPTED, sending=1), Event.CANCEL_REQUESTED)

    name = f"{migrated_template}r"
    dsn = create_database(database_server, name, migrated_template)
    asyncio.run(prepare(dsn))
    yield dsn
    drop_database(database_server, name)


async def attempt(dsn: str, statement: str) -> None:
    """Run a statement in a transaction that is given up."""
    async with connected(dsn) as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(statement)
        finally:
            await transaction.rollback()


def update(change: str, number: str = "S") -> str:
    """Return an update of an order that raises its revision, as every write must."""
    return f"UPDATE orders SET revision = revision + 1, {change} WHERE order_no = '{number}'"  # noqa: S608 - constants


JOURNAL = {
    "updated": "UPDATE journal SET message = 'nothing happened'",
    "deleted": "DELETE FROM journal",
    "truncated": "TRUNCATE journal",
    "its month updated": f"UPDATE {MONTH} SET message = 'nothing happened'",  # noqa: S608 - a constant
    "its month deleted": f"DELETE FROM {MONTH}",  # noqa: S608 - a constant
    "its month truncated": f"TRUNCATE {MONTH}",
    "its default truncated": "TRUNCATE journal_default",
    "written behind its back": fill(
        "INSERT INTO @month (order_id, version, to_state, cause, attempt) SELECT id, 1, 'submitting', 'admitted', 1"
        " FROM orders WHERE order_no = 'S'",
        month=MONTH,
    ),
    "written into the default": "INSERT INTO journal_default (order_id, version, to_state, cause, attempt)"
    " VALUES (1, 1, 'queued', 'admitted', 1)",
    "a line of an order that is elsewhere": "INSERT INTO journal (order_id, version, from_state, to_state, cause,"
    " attempt) SELECT id, version + 1, 'submitting', 'succeeded', 'arrived', 1 FROM orders WHERE order_no = 'S'",
    "a line of no order": "INSERT INTO journal (order_id, version, to_state, cause, attempt)"
    " VALUES (999, 1, 'queued', 'admitted', 1)",
}

ORDERS = {
    "deleted": "DELETE FROM orders WHERE order_no = 'F'",
    "truncated": "TRUNCATE orders CASCADE",
    "another amount": update("amount_fen = amount_fen + 1"),
    "another digest": update("digest = '\\x02'"),
    "another number": update("order_no = 'X'"),
    "another id": update("id = DEFAULT"),
    "another account": update("""target = '{"mobile": "13900139000"}'"""),
    "another product": update("product = 'oil'"),
    "another source": update("source = 'them'"),
    "another route": update("route = '{two}'"),
    "another expiry": update("expires_at = now()"),
    "the same revision": "UPDATE orders SET noted = 'x' WHERE order_no = 'S'",
    "a state without a step": update("state = 'unknown'"),
    "a version without a line": update("version = version + 1"),
    "a version skipped": update("version = version + 2"),
    "an older version": update("version = version - 1", "F"),
    "another gateway under the same number": update("gateway = 'two'"),
    "another attempt without a number": update("attempt = 2"),
    "an earlier attempt": update("attempt = 1", "A"),
    "another attempt while the one before may live": another_attempt("not_sent"),
    "another attempt of what is being cancelled": another_attempt("refused", "K", "pending"),
    "an earlier sending": update("sending = 0"),
    "an arrival without a step": update("arrived_fen = 5", "F"),
    "a cost without a step": update("cost_fen = 5", "F"),
    "a negative arrival": update("arrived_fen = -1", "F"),
    "an unknown state": update("state = 'lost'"),
    "an illegal step": step("F", "succeeded", "queued", "taken", alarm=KEPT),
    "a step from where it is not": step("Q", "submitting", "unknown", "lease_ended", alarm=SET),
    "an end without evidence": step("S", "submitting", "succeeded", "arrived", evidence="NULL", alarm=RUNG),
    "an end with empty evidence": step("S", "submitting", "succeeded", "arrived", evidence="'{}'", alarm=RUNG),
    "an end that keeps its alarm": step("S", "submitting", "succeeded", "arrived", alarm=KEPT),
    "an open state without an alarm": step("S", "submitting", "pending", "accepted", alarm=RUNG),
    "an open state with an older task": step("S", "submitting", "pending", "accepted", alarm=KEPT),
    "a review without a kind": step("S", "submitting", "review", "disputed", alarm=RUNG),
    "a partial that says no amount": step("S", "submitting", "partial", "arrived_in_part", alarm=RUNG),
}

ADMISSIONS = {
    "nothing": admission(amount="0"),
    "less than nothing": admission(amount="-1"),
    "no line": admission(line="SELECT 1"),
    "no alarm": admission(alarm="SELECT 1"),
    "a later version": admission(version="2", line=LINE.replace("id, 1", "id, 2")),
    "a line that is not the machine's": admission(line=LINE.replace("admitted", "taken")),
    "a known number": admission("'S'"),
    "a number of an attempt": admission("'AR2'"),
    "a number like an attempt's, not taken": admission("'H1R2'"),
}

ALARMS = {
    "none for an open order": "DELETE FROM alarms WHERE order_id = (SELECT id FROM orders WHERE order_no = 'S')",
    "none at all": "TRUNCATE alarms",
    "one for a final order": "INSERT INTO alarms (order_id, gateway, product, task, due_at)"
    " SELECT id, gateway, product, 'query', now() FROM orders WHERE order_no = 'F'",
    "one for no order": "INSERT INTO alarms (order_id, gateway, product, task, due_at)"
    " VALUES (999, 'one', 'mobile', 'query', now())",
    "another task": "UPDATE alarms SET task = 'submit' WHERE task = 'lease'",
    "another gateway": "UPDATE alarms SET gateway = 'two' WHERE task = 'lease'",
    "another order's": "UPDATE alarms SET order_id = 999 WHERE task = 'lease'",
}

NUMBERS = {
    "given back": "DELETE FROM attempts",
    "all given back": "TRUNCATE attempts",
    "changed": "UPDATE attempts SET reference = 'X'",
}


def cases(**tables: dict[str, str]) -> list[object]:
    """Return one parameter a statement, named after its table and rule."""
    return [
        pytest.param(statement, id=f"{table}: {name}")
        for table, statements in tables.items()
        for name, statement in statements.items()
    ]


@pytest.mark.parametrize(
    "statement", cases(journal=JOURNAL, orders=ORDERS, admissions=ADMISSIONS, alarms=ALARMS, numbers=NUMBERS)
)
async def test_the_database_refuses(settled_dsn: str, statement: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await attempt(settled_dsn, statement)


@pytest.mark.parametrize(
    "statement",
    [
        step("S", "submitting", "succeeded", "arrived", alarm=RUNG),
        step("S", "submitting", "pending", "accepted", alarm=SET),
        another_attempt("rejected"),
        step("F", "succeeded", "succeeded", "claimed", alarm=KEPT),
        admission(),
        update("noted = 'x'"),
        "UPDATE alarms SET due_at = now()",
    ],
    ids=["an end", "a step", "another attempt", "a note", "an admission", "a counter", "an alarm moved"],
)
async def test_the_same_by_hand_is_allowed_where_it_keeps_the_rules(settled_dsn: str, statement: str) -> None:
    """The refusals above are not refusals of everything: what differs is the rule that each breaks."""
    await attempt(settled_dsn, statement)
