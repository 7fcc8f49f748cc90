"""The sandbox's one HTTP server: the simulators under their prefixes, and the pages of their judge and puppeteer."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from aiohttp import web

from worker.sandbox.answers import Answerer, Holds
from worker.sandbox.book import Book
from worker.sandbox.callbacks import Postman
from worker.sandbox.cards import Cards
from worker.sandbox.choosing import Faults
from worker.sandbox.control import Control
from worker.sandbox.discovery import settle
from worker.sandbox.journal import Journal
from worker.sandbox.life import Life
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.simulator import House
from worker.sandbox.tasks import Tasks

_LONGEST_BODY = 65_536
_PATIENCE = 0.2  # with calls still being answered when the sandbox stops


def build(settings: SandboxSettings) -> web.Application:
    """Return the application with every simulator in it.

    Raises:
        OSError: the ledger's file cannot be read or written.
        ValueError: it is no such file, or a setting of a simulator cannot be so.
    """
    chosen = settle(settings.simulators)
    holds = Holds()
    faults = Faults(settings)
    journal = Journal(settings.ledger_file)
    book, cards = Book(settings.balance_fen, journal), Cards(journal)
    tasks = Tasks(book.note_crash)
    postman = Postman(settings, book)
    life = Life(settings, book, postman, tasks)
    house = House(settings, book, cards, faults, Answerer(settings, holds), life)
    simulators = {kind.name: kind(house, own) for kind, own in chosen.items()}
    app = web.Application(client_max_size=_LONGEST_BODY)
    Control(house, simulators, journal, holds, tasks).mount(app)
    for name, simulator in simulators.items():
        life.introduce(name, simulator)
        simulator.mount(app)

    async def live(_app: web.Application) -> AsyncIterator[None]:
        await postman.open()
        life.resume()
        yield
        await tasks.cancel_all()
        await postman.close()
        book.close()
        journal.close()

    async def let_go(_app: web.Application) -> None:
        holds.release(go_on=False)

    app.cleanup_ctx.append(live)
    app.on_shutdown.append(let_go)
    return app


class Sandbox:
    """A running sandbox: `async with Sandbox(settings) as sandbox: … sandbox.url …`."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._runner = web.AppRunner(build(settings), access_log=None, shutdown_timeout=_PATIENCE)
        self.url = ""
        self.port = 0

    async def __aenter__(self) -> Self:
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._settings.host, self._settings.port).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        self.url = f"http://{host}:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


async def serve(settings: SandboxSettings, *, ready: asyncio.Event | None = None, stop: asyncio.Event) -> None:
    """Run a sandbox from when `ready` gets set until `stop` is; who needs to know a free port uses `Sandbox` itself."""
    async with Sandbox(settings):
        if ready is not None:
            ready.set()
        await stop.wait()
