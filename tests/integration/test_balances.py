"""Balances that are asked for, kept and warned about; and pauses while the database does not answer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs
from support.ledgers import House, house

from worker.core.outcome import Outcome, Submitted
from worker.core.policy import Policy
from worker.flows.balances import Balances
from worker.flows.pauses import Pauses
from worker.gateways.gate import Gate
from worker.gateways.gateway import GatewayUnavailableError
from worker.gateways.settings import GatewaySettings
from worker.ledger.gateways import GatewayBook

if TYPE_CHECKING:
    from worker.gateways.gateway import Gateway

UNFUNDED = Submitted(Outcome.UNFUNDED, "5002")


@dataclass
class Dialect:
    """An adapter's settings."""

    settings: GatewaySettings


class Teller:
    """A gateway that tells these balances, one after the other; an exception is raised."""

    name = "one"
    keeps_balance = True

    def __init__(self, *balances: int | Exception, **settings: Any) -> None:
        given: dict[str, Any] = {"adapter": "x", "base_url": "http://127.0.0.1:1", "balance_every_seconds": 0.001}
        self.adapter = Dialect(GatewaySettings(**(given | settings)))
        self.gate = Gate(8)
        self.policy = Policy(unfunded_pause=60)
        self.balances = list(balances)

    async def balance(self, _now: datetime) -> int:
        """Tell the next balance."""
        await asyncio.sleep(0)
        told = self.balances.pop(0)
        if isinstance(told, Exception):
            raise told
        return told


@dataclass
class Away(GatewayBook):
    """The book of a database that is away now and then."""

    inner: GatewayBook
    away: bool = False

    def __getattribute__(self, name: str) -> Any:
        """Refuse every call while away."""
        if name in {"inner", "away"} or name.startswith("_"):
            return object.__getattribute__(self, name)
        if self.away:
            raise ConnectionRefusedError(name)
        return getattr(self.inner, name)


@pytest.fixture
async def home(ledger_dsn: str) -> AsyncIterator[House]:
    async with house(ledger_dsn) as made:
        await GatewayBook(made.pool).ensure(["one"])
        yield made


def gateways(teller: Teller) -> "dict[str, Gateway]":
    return {"one": cast("Gateway", teller)}


async def asked(home: House, teller: Teller) -> list[dict[str, Any]]:
    """Ask as often as there are balances; return what was logged."""
    balances = Balances(home.ledger, GatewayBook(home.pool), gateways(teller))
    with capture_logs() as logs:
        while teller.balances:
            await balances.look()
            await asyncio.gather(*balances._tasks.values())
            await asyncio.sleep(0.002)
    return [dict(line) for line in logs]


async def test_every_answer_is_kept_with_its_time(home: House) -> None:
    teller = Teller(700, GatewayUnavailableError("timeout", "no answer"), -5, balance_warning_hours=0)
    logs = await asked(home, teller)
    rows = await home.pool.fetch("SELECT at, balance_fen FROM balances ORDER BY at")
    assert [row["balance_fen"] for row in rows] == [700, -5]
    assert all(abs(row["at"] - home.ledger.now()) < timedelta(seconds=20) for row in rows)
    assert [(line["event"], line["log_level"], line.get("code")) for line in logs] == [
        ("balance_unknown", "warning", "timeout")
    ]


@pytest.mark.parametrize(("hours", "warned"), [(6, False), (7, True), (0, False)])
async def test_a_balance_that_does_not_last_is_warned_about(home: House, hours: float, warned: bool) -> None:  # noqa: FBT001
    half_an_hour_ago = home.ledger.now() - timedelta(minutes=30)
    await GatewayBook(home.pool).keep_balance("one", half_an_hour_ago, 14_000, 3600)
    logs = await asked(home, Teller(13_000, balance_warning_hours=hours))  # 2000 an hour: six and a half hours
    told = [(line["event"], line["gateway"], line["balance_fen"], line["hours_left"]) for line in logs]
    assert told == [("balance_low", "one", 13_000, 6.5)] * warned


@pytest.mark.parametrize("unasked", ["settings", "interface"])
async def test_who_is_not_to_be_asked_is_not(home: House, unasked: str) -> None:
    teller = Teller(1, balance_every_seconds=0 if unasked == "settings" else 1)
    teller.keeps_balance = unasked != "interface"
    balances = Balances(home.ledger, GatewayBook(home.pool), gateways(teller))
    await balances.look()
    assert (balances._tasks, teller.balances) == ({}, [1])


async def test_a_pause_holds_and_one_that_is_due_is_not_forgotten_while_the_database_is_away(home: House) -> None:
    teller, book = Teller(), GatewayBook(home.pool)
    away = Away(book)
    pauses = Pauses(home.ledger, away, gateways(teller), "w1", lambda: None)
    await pauses.start()
    await book.pause("one", "ada", "")
    await pauses.look()
    assert teller.gate.paused
    away.away = True
    await book.resume("one")
    with pytest.raises(ConnectionRefusedError):
        await pauses.look()
    assert teller.gate.paused, "what was known last holds"
    pauses.heard("one", UNFUNDED)
    with pytest.raises(ConnectionRefusedError):
        await pauses.look()
    away.away = False
    await pauses.look()
    pause = (await book.standings(["one"]))["one"].pause
    assert pause is not None
    assert (pause.automatic, pause.note, teller.gate.paused) == (True, "our money there is used up: code 5002", True)


async def test_its_loop_outlives_an_outage_and_it_says_that_it_ends(home: House) -> None:
    teller, book = Teller(), GatewayBook(home.pool)
    away = Away(book)
    pauses = Pauses(home.ledger, away, gateways(teller), "w1", lambda: None)
    await pauses.start()
    away.away = True
    running = asyncio.create_task(pauses.run())
    pauses.heard("one", UNFUNDED)
    await asyncio.sleep(0.05)
    away.away = False
    pauses.heard("one", UNFUNDED)
    for _ in range(250):
        if not teller.gate.paused:
            await asyncio.sleep(0.02)
    assert teller.gate.paused
    assert (await book.live(["one"]))["one"].workers == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await book.live(["one"]))["one"].workers == 0


async def test_the_gateway_that_took_the_order_that_was_tried_is_open_again(home: House) -> None:
    teller, book = Teller(), GatewayBook(home.pool)
    teller.policy = Policy(unfunded_pause=0.05)
    pauses = Pauses(home.ledger, book, gateways(teller), "w1", lambda: None)
    await pauses.start()
    for outcome, still in ((Outcome.UNFUNDED, True), (Outcome.UNKNOWN, True), (Outcome.ACCEPTED, False)):
        pauses.heard("one", UNFUNDED)
        await pauses.look()
        assert teller.gate.free_submits() == 0
        await asyncio.sleep(0.06)
        await pauses.look()
        assert teller.gate.try_enter_submit(), "one may be tried"
        assert not teller.gate.try_enter_submit()
        teller.gate.leave()
        pauses.heard("one", Submitted(outcome))
        await pauses.look()
        await pauses.look()
        assert teller.gate.paused is still
    assert teller.gate.free_submits() > 1


async def test_an_order_that_was_on_its_way_when_the_pause_began_does_not_end_it(home: House) -> None:
    teller, book = Teller(), GatewayBook(home.pool)
    pauses = Pauses(home.ledger, book, gateways(teller), "w1", lambda: None)
    await pauses.start()
    pauses.heard("one", UNFUNDED)
    await pauses.look()
    pauses.heard("one", Submitted(Outcome.ACCEPTED))
    await pauses.look()
    await pauses.look()
    assert teller.gate.paused


async def test_a_trial_is_not_made_where_a_fresh_balance_says_that_it_is_in_vain(home: House) -> None:
    teller, book = Teller(), GatewayBook(home.pool)
    teller.policy = Policy(unfunded_pause=0.01)
    pauses = Pauses(home.ledger, book, gateways(teller), "w1", lambda: None)
    await home.admit("T1", sending=False, amount_fen=5_000)
    await pauses.start()
    pauses.heard("one", UNFUNDED)
    await pauses.look()
    allowed = []
    for balance, seconds in ((4_000, 0), (4_000, 60), (5_000, 0)):  # in vain; too long ago; enough
        await home.pool.execute("UPDATE gateways SET balance_at = NULL, balance_fen = NULL, lowest_fen = NULL")
        await book.keep_balance("one", home.ledger.now(), balance, 3600)
        await home.pool.execute("UPDATE gateways SET balance_at = now() - make_interval(secs => $1)", float(seconds))
        await asyncio.sleep(0.02)
        await pauses.look()
        allowed.append(teller.gate.free_submits())
        teller.gate.allow_one(0)
    assert allowed == [0, 1, 1]
