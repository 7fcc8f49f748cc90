"""Callers of the simulators: a merchant of wikeyun's, and the real gateways, each before its own."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.dealing import QUICK, Desk, Opens, at_desk, kinds, simulated
from support.market import Market
from support.merchant import Merchant, sandbox
from support.unseen import assert_unseen, listening

from worker.embedded import create_database, drop_database
from worker.ledger.cards import CardBook
from worker.ledger.connection import create_pool
from worker.ledger.migrate import migrate
from worker.sandbox import SandboxSettings


@pytest.fixture
async def merchant() -> AsyncIterator[Merchant]:
    """A merchant of a simulator of its own, which is quick."""
    async with sandbox() as caller:
        yield caller


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulators of the gateways leave their files."""
    return tmp_path_factory.mktemp("gateways")


@pytest.fixture(scope="session")
def markets(yard: Path) -> Iterator[dict[bool, Market]]:
    """Every simulator twice: with lives that end soon, and (True) with lives that do not go on by themselves."""
    own = simulated(yard)
    quick, patient = (
        SandboxSettings(**QUICK | {"settle_after": seconds}, simulators=own) for seconds in (QUICK["settle_after"], 1e6)
    )
    with Market(quick) as one, Market(patient) as two:
        yield {False: one, True: two}


@pytest.fixture(scope="session")
def card_database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A database for cards, where any gateway that is to be tested keeps some."""
    calls = (vars(item).get("callspec") for item in request.session.items)
    names = {call.params.get("name") for call in calls if call is not None}
    if not any(kind.features.cards for name, kind in kinds().items() if name in names):
        yield None
        return
    server, database = request.getfixturevalue("database_server"), f"t{secrets.token_hex(6)}"
    dsn = create_database(server, database)
    asyncio.run(migrate(dsn))
    yield dsn
    drop_database(server, database)


@pytest.fixture(scope="session")
def desks(markets: dict[bool, Market], yard: Path, card_database: str | None) -> Opens:
    """Return what opens the desks of the gateways."""

    @asynccontextmanager
    async def opened(name: str, *, patient: bool = False, **changes: Any) -> AsyncIterator[Desk]:
        if not kinds()[name].features.cards or card_database is None:
            async with at_desk(name, markets[patient], yard, **changes) as desk:
                yield desk
            return
        pool = await create_pool(card_database, 2)
        try:
            async with at_desk(name, markets[patient], yard, cards=CardBook(pool), **changes) as desk:
                yield desk
        finally:
            pool.terminate()

    return opened


@pytest.fixture
def open_desk(desks: Opens) -> Iterator[Opens]:
    """Return the same, and afterwards search what was logged for what must not be shown."""
    canaries: list[str] = []

    @asynccontextmanager
    async def opened(name: str, *, patient: bool = False, **changes: Any) -> AsyncIterator[Desk]:
        async with desks(name, patient=patient, **changes) as desk:
            canaries.extend(desk.canaries)
            yield desk

    with listening() as lines:
        yield opened
    assert_unseen("\n".join(lines), canaries)
