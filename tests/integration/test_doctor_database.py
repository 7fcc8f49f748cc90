"""What the doctor finds in a database, each provoked in a real one: the server, the schema, and what waits in it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.doctor import TINY, about, collect, settings, trouble
from support.ledgers import House, connected, house

from worker.core.finding import Finding
from worker.core.order import Event, State
from worker.core.policy import Policy
from worker.embedded import Postgres
from worker.ledger.checkup import Checkup
from worker.ledger.connection import opened
from worker.ledger.gateways import Beat, GatewayBook
from worker.ledger.migrate import migrate
from worker.ops.doctor import database as doctor
from worker.ops.doctor.database import check_database
from worker.ops.doctor.standing import MANY_TRIES

HOUR = 3600.0


class Patient:
    """A database, and the two gateways whose orders are in it."""

    def __init__(self, dsn: str, path: Path) -> None:
        self.dsn = dsn
        self._path = path

    async def findings(self, gateways: tuple[str, ...] = ("one", "two"), pool_size: int = 4) -> list[Finding]:
        """Everything that is found."""
        given = {"dsn": self.dsn, "pool_size": pool_size}
        known = settings(self._path, dict.fromkeys(gateways, TINY), database=given)
        return await collect(check_database(known))

    async def trouble(self, gateways: tuple[str, ...] = ("one", "two"), pool_size: int = 4) -> dict[str, str]:
        """What is not well."""
        return trouble(await self.findings(gateways, pool_size))

    async def run(self, *statements: str) -> None:
        """Do something to the database, as its owner."""
        async with connected(self.dsn) as connection:
            for statement in statements:
                await connection.execute(statement)


@pytest.fixture
def patient(ledger_dsn: str, tmp_path: Path) -> Patient:
    return Patient(ledger_dsn, tmp_path / "worker.toml")


@pytest.fixture
async def home(patient: Patient) -> AsyncIterator[House]:
    """A ledger in it."""
    async with house(patient.dsn) as made:
        yield made


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    """A database on a server that loses what it has promised, and that lets few in."""
    careless = {"fsync": "off", "full_page_writes": "off", "max_connections": "20"}
    with Postgres(settings=careless) as server:
        dsn = server.create_database("careless")
        asyncio.run(migrate(dsn))
        yield Patient(dsn, tmp_path_factory.mktemp("careless") / "worker.toml")


# --- the server ------------------------------------------------------------------------------------


async def test_a_healthy_database(patient: Patient) -> None:
    findings = await patient.findings()
    assert not trouble(findings)
    assert [finding.check for finding in findings] == [
        "database",
        "database.durability",
        "database.clock",
        "database.schema",
        "database.journal",
    ]
    assert about(findings, "database").detail.startswith("PostgreSQL ")


async def test_a_database_that_is_away(tmp_path: Path) -> None:
    away = Patient("postgresql://worker:s3cret-pass@127.0.0.1:1/worker", tmp_path / "worker.toml")
    (finding,) = await away.findings()
    assert (finding.check, finding.status) == ("database", "failed")
    assert "start PostgreSQL" in str(finding.fix)
    assert "s3cret-pass" not in str(finding)


async def test_a_server_that_loses_what_it_has_promised(careless: Patient) -> None:
    found = await careless.findings()
    assert trouble(found) == {"database.durability": "failed"}
    assert about(found, "database.durability").fix == "set fsync = on, full_page_writes = on"


async def test_a_server_that_lets_few_in(careless: Patient) -> None:
    assert "database.connections" not in await careless.trouble(pool_size=14)
    found = await careless.findings(pool_size=20)
    assert about(found, "database.connections").status == "warning"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SET synchronous_commit = 'off'", {"database.durability": "failed"}),
        ("SET default_transaction_read_only = 'on'", {"database": "failed"}),
    ],
)
async def test_a_database_with_settings_of_its_own(statement: str, expected: dict[str, str], patient: Patient) -> None:
    name = patient.dsn.rpartition("/")[2]
    await patient.run(f'ALTER DATABASE "{name}" {statement}')
    assert await patient.trouble() == expected


async def test_sessions_that_somebody_changes(patient: Patient) -> None:
    """As a pooler does that shares its sessions."""
    async with opened(patient.dsn) as pool:
        checkup = Checkup(pool)
        if (await checkup.server()).number < 170_000:
            pytest.skip("the trigger that plays the pooler came with PostgreSQL 17")
    await patient.run(
        "CREATE FUNCTION elsewhere() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM set_config('timezone', 'Asia/Shanghai', false); END$$",
        "CREATE EVENT TRIGGER elsewhere ON login EXECUTE FUNCTION elsewhere()",
    )
    found = await patient.findings()
    assert trouble(found) == {"database.session": "warning"}
    assert "Asia/Shanghai" in about(found, "database.session").detail


async def test_a_clock_that_is_off(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(patient.dsn) as pool:
        checkup = Checkup(pool)
        assert abs(await checkup.skew()) < timedelta(seconds=1)  # they are one machine's

    class Slow(doctor.Checkup):
        """As if our clock were behind: the one thing that a test cannot set."""

        async def skew(self) -> timedelta:
            return await super().skew() + timedelta(seconds=3)

    monkeypatch.setattr(doctor, "Checkup", Slow)
    found = await patient.findings()
    assert trouble(found) == {"database.clock": "warning"}
    assert "ahead of this machine's" in about(found, "database.clock").detail


async def test_a_transaction_that_somebody_left_open(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(patient.dsn) as person:
        await person.execute("SET application_name = 'psql'; BEGIN; SELECT 1")
        pid = await person.fetchval("SELECT pg_backend_pid()")
        assert "database.transactions" not in await patient.trouble()  # not yet
        monkeypatch.setattr(doctor, "LONGEST_TRANSACTION_SECONDS", 0.1)
        await asyncio.sleep(0.2)
        finding = about(await patient.findings(), "database.transactions")
        assert f" psql (pid {pid}, idle in transaction)" in finding.detail
        assert finding.fix == f"end it: SELECT pg_terminate_backend({pid})"
        await patient.run(str(finding.fix).removeprefix("end it: "))
    async with asyncio.timeout(5):  # it is ended in the background
        while "database.transactions" in await patient.trouble():
            pass


# --- the schema ------------------------------------------------------------------------------------


async def test_a_database_without_a_schema(database_dsn: str, tmp_path: Path) -> None:
    empty = Patient(database_dsn, tmp_path / "worker.toml")
    found = await empty.findings()
    assert trouble(found) == {"database.schema": "failed"}
    assert about(found, "database.schema").fix == "run `worker migrate`"
    await migrate(database_dsn)
    assert not await empty.trouble()


async def test_an_older_schema(patient: Patient) -> None:
    await patient.run("UPDATE schema_version SET version_num = '0001'")
    found = await patient.findings()
    assert trouble(found) == {"database.schema": "failed"}
    assert "schema is at 0001, expected" in about(found, "database.schema").detail


async def test_steps_that_the_database_does_not_know(patient: Patient) -> None:
    await patient.run("DELETE FROM transitions WHERE from_state = 'review'")
    found = await patient.findings()
    assert trouble(found) == {"database.transitions": "failed"}
    assert about(found, "database.transitions").fix == "run `worker migrate --database`"
    await migrate(patient.dsn)
    assert not await patient.trouble()


async def test_a_journal_whose_months_run_out(patient: Patient) -> None:
    drop = """DO $$ DECLARE month text; BEGIN
        FOR month IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^journal_[0-9]'
              AND relname >= 'journal_' || to_char(now() AT TIME ZONE 'UTC' + interval '2 months', 'YYYY_MM')
        LOOP EXECUTE format('DROP TABLE %I', month); END LOOP; END $$"""
    await patient.run(drop)
    found = await patient.findings()
    assert trouble(found) == {"database.journal": "warning"}
    assert about(found, "database.journal").detail == "partitions for 2 months, this one first"
    await migrate(patient.dsn)
    assert not await patient.trouble()


async def test_a_journal_whose_months_were_missing(patient: Patient, home: House) -> None:
    await patient.run(f"DROP TABLE journal_{home.ledger.now():%Y_%m}")
    await home.admit()
    found = await patient.findings()
    assert trouble(found) == {"database.journal": "warning"}
    assert "lines without their month's lie in `journal_default`" in about(found, "database.journal").detail


async def test_a_user_who_may_not_do_all(patient: Patient, tmp_path: Path) -> None:
    role = f"r{secrets.token_hex(6)}"
    await patient.run(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    try:
        dsn = urlsplit(patient.dsn)
        theirs = Patient(
            dsn._replace(netloc=f"{role}:{role}@{dsn.netloc.rpartition('@')[2]}").geturl(), tmp_path / "theirs.toml"
        )
        found = await theirs.findings()
        assert trouble(found) == {"database.rights": "failed"}
        fix = str(about(found, "database.rights").fix)
        await patient.run(*fix.removeprefix("let the tables' owner run: ").replace("…", role).split("; "))
        assert not await theirs.trouble()
        async with house(theirs.dsn) as made:  # and with these rights an order lives
            await made.step(await made.admit(), Event.MISMATCH)
        assert await theirs.trouble() == {"orders.review": "warning"}
    finally:
        await patient.run(f"REASSIGN OWNED BY {role} TO CURRENT_USER", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


# --- what waits ------------------------------------------------------------------------------------


async def test_orders_in_review(patient: Patient, home: House) -> None:
    order = await home.admit(amount_fen=12_345)
    await home.step(order, Event.MISMATCH)
    found = await patient.findings()
    assert trouble(found) == {"orders.review": "warning"}
    assert about(found, "orders.review").detail.startswith("1 orders, 123.45 yuan, wait for a person, the first for")


async def test_work_that_nobody_does(patient: Patient, home: House) -> None:
    await home.admit(sending=False)
    await patient.run("DELETE FROM outbox", "UPDATE alarms SET due_at = now() - interval '50 seconds'")
    assert not await patient.trouble()
    await patient.run("UPDATE alarms SET due_at = now() - interval '3 hours'")
    found = await patient.findings()
    assert trouble(found) == {"orders.overdue": "warning"}
    assert about(found, "orders.overdue").detail == "1 orders are due, the first for 3 hours"


@pytest.mark.parametrize("breaker", ["open", "half_open"])
async def test_work_that_waits_for_its_gateway_is_not_said_to_wait_for_a_worker(
    patient: Patient, home: House, breaker: str
) -> None:
    """Of a gateway that does not answer also queries; of a paused one only what is to be sent; of others all."""
    book = GatewayBook(home.pool)
    await home.admit("T1", sending=False)
    await home.step(await home.admit("T2"), Event.UNANSWERED)
    await patient.run("DELETE FROM outbox", "UPDATE alarms SET due_at = now() - interval '3 hours'")
    assert about(await patient.findings(), "orders.overdue").detail.startswith("2 orders are due")
    await book.beat("w1", [Beat("one", breaker, 0)])
    assert await patient.trouble() == {"gateways.one.breaker": "warning"}
    await book.beat("w2", [Beat("one", "closed", 0)])  # that one could send it
    assert about(await patient.findings(), "orders.overdue").detail.startswith("2 orders are due")
    await book.pause("one", "ada", "their maintenance")
    assert about(await patient.findings(), "orders.overdue").detail.startswith("1 orders are due")
    await book.forget_worker("w1")
    await patient.run("UPDATE alarms SET due_at = now() + interval '1 hour' WHERE task = 'query'")
    assert await patient.trouble() == {"gateways.one.pause": "warning"}


async def test_orders_that_are_tried_in_vain(patient: Patient, home: House) -> None:
    """Each try makes them due later, so none of them is ever overdue."""
    first, second = await home.admit("T1"), await home.admit("T2")
    for tried in range(MANY_TRIES):
        assert not await patient.trouble()
        if tried:
            second = await home.step(second, Event.TAKEN)
        second = await home.step(second, Event.NOT_SENT, code="card_busy")
    first = await home.step(first, Event.NOT_SENT, code="card_busy")
    assert (first.unsent, second.unsent) == (1, MANY_TRIES)
    found = await patient.findings()
    assert trouble(found) == {"gateways.one.orders": "warning"}
    finding = about(found, "gateways.one.orders")
    assert finding.detail.startswith("1 orders were tried 5 times or more and not sent, the first for ")
    assert finding.fix == "see in `worker orders show T2` what the tries came to"


async def test_orders_whose_submits_are_lost_again_and_again(patient: Patient) -> None:
    """Each time the gateway denies them, so they are sent again: none is ever overdue, or in its state for long."""
    async with house(patient.dsn, policy=Policy(settle_queries=1, settle_seconds=0)) as home:
        order = await home.admit("T1")
        busy = await home.step(await home.admit("T2"), Event.UNANSWERED)  # lost once, then not sent: that is not lost
        busy = await home.step(busy, Event.ABSENT)
        for _ in range(MANY_TRIES - 1):
            busy = await home.step(await home.step(busy, Event.TAKEN), Event.NOT_SENT, code="card_busy")
            order = await home.step(await home.step(order, Event.UNANSWERED), Event.ABSENT)
            assert not await patient.trouble()
            order = await home.step(order, Event.TAKEN)
        assert (busy.sending, busy.sent_at is None, order.sending) == (MANY_TRIES, False, MANY_TRIES)
        assert not await patient.trouble()
        order = await home.step(order, Event.UNANSWERED)
        order = await home.sent_ago(order, 2400)
        for event, state in ((None, State.UNKNOWN), (Event.ABSENT, State.QUEUED), (Event.TAKEN, State.SUBMITTING)):
            order = await home.step(order, event) if event else order
            assert order.state is state
            found = await patient.findings()
            assert trouble(found) == {"gateways.one.doubt": "warning"}
        finding = about(found, "gateways.one.doubt")
        assert finding.detail == "1 orders were sent 5 times or more and are still in doubt, the first for 40 minutes"
        assert str(finding.fix).startswith("see in `worker orders show T1` what became of the submits; ask")
        await home.step(order, Event.ACCEPTED)
        assert not await patient.trouble()


async def test_events_that_no_broker_has_taken(patient: Patient, home: House) -> None:
    await home.admit()
    assert not await patient.trouble()
    await patient.run("UPDATE outbox SET created_at = now() - interval '2 days'")
    found = await patient.findings()
    assert trouble(found) == {"events": "warning"}
    assert about(found, "events").detail == "1 events wait for the broker, the first for 2 days"


async def test_orders_at_a_gateway_that_is_not_configured(patient: Patient, home: House) -> None:
    await home.admit()
    assert not await patient.trouble()
    found = await patient.findings(("two",))
    assert trouble(found) == {"gateways.one": "failed"}
    assert about(found, "gateways.one").detail.startswith("1 open orders are at this gateway")


async def test_a_gateway_that_is_paused(patient: Patient, home: House) -> None:
    book = GatewayBook(home.pool)
    await book.pause("one", "ada", "their maintenance")
    await home.admit(sending=False)
    found = await patient.findings()
    assert trouble(found) == {"gateways.one.pause": "warning"}
    finding = about(found, "gateways.one.pause")
    assert finding.detail == "paused by ada: their maintenance; 1 orders wait"
    assert str(finding.fix).startswith("`worker gateways resume one`")
    await book.resume("one")
    await book.ensure(["two"])
    await book.pause_unfunded("two", "used up", 60)
    found = await patient.findings()
    assert trouble(found) == {"gateways.two.pause": "warning"}
    assert str(about(found, "gateways.two.pause").fix).startswith("top up")


async def test_a_breaker_that_is_open(patient: Patient, home: House) -> None:
    book = GatewayBook(home.pool)
    await book.ensure(["one"])
    await book.beat("w1", [Beat("one", "closed", 3)])
    assert not await patient.trouble()
    await book.beat("w2", [Beat("one", "open", 0)])
    found = await patient.findings()
    assert trouble(found) == {"gateways.one.breaker": "warning"}
    assert about(found, "gateways.one.breaker").detail.startswith("1 of 2 workers")


@pytest.mark.parametrize(
    "said",
    [
        "HTTP 502: no JSON of 13800138000",
        f"HTTP 200, wechatpay-serial: platform_keys holds no key PUB_KEY_ID_{'01' * 14}",
    ],
)
async def test_a_breaker_says_what_the_last_order_met(patient: Patient, home: House, said: str) -> None:
    await home.step(await home.admit("T1"), Event.UNANSWERED, message="timeout")
    await home.step(await home.admit("T2"), Event.UNANSWERED, message=said)
    await home.step(await home.admit("T3"), Event.REJECTED, message="closed")
    await GatewayBook(home.pool).beat("w1", [Beat("one", "open", 0)])
    finding = about(await patient.findings(), "gateways.one.breaker")
    assert finding.detail.endswith(f"no readable answer ({said.replace('13800138000', '138****8000')})")


async def test_a_balance_that_does_not_last(patient: Patient, home: House) -> None:
    book = GatewayBook(home.pool)
    await book.ensure(["one"])
    for hours, fen in ((1.0, 300_00), (0.0, 200_00)):
        await book.keep_balance("one", home.ledger.now() - timedelta(hours=hours), fen, 2 * HOUR)
    found = await patient.findings()
    assert trouble(found) == {"gateways.one.balance": "warning"}
    assert about(found, "gateways.one.balance").detail.startswith("200.00 yuan last 2.0 hours")
