"""The sandbox's one HTTP server: the simulators under their prefixes, and the pages of their judge and puppeteer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from html import escape
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from worker.sandbox import wikeyun
from worker.sandbox.answers import Answerer, Holds
from worker.sandbox.book import Book
from worker.sandbox.callbacks import Postman
from worker.sandbox.faults import ANY, FAULTS, Fault, Faults, Forced
from worker.sandbox.life import Life
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.tasks import Tasks

_LONGEST_BODY = 65_536
_PATIENCE = 0.2  # with calls still being answered when the sandbox stops
_CALLS = ("push", "query", "cancel", "balance")


class Control:
    """The pages beside the simulators: what was charged, and which fault comes next."""

    def __init__(self, book: Book, faults: Faults, holds: Holds, tasks: Tasks, life: Life) -> None:
        self._book = book
        self._faults = faults
        self._holds = holds
        self._tasks = tasks
        self._life = life

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/", self._overview)
        app.router.add_get("/ledger", self._ledger)
        app.router.add_get("/ledger/totals", self._totals)
        app.router.add_post("/ledger/reset", self._reset)
        app.router.add_get("/faults", self._list_faults)
        app.router.add_post("/faults", self._force)
        app.router.add_delete("/faults", self._clear)
        app.router.add_get("/faults/waiting", self._waiting)
        app.router.add_post("/faults/release", self._release)

    async def _overview(self, _request: web.Request) -> web.Response:
        return web.Response(text=_page(), content_type="text/html")

    async def _ledger(self, request: web.Request) -> web.Response:
        entries = self._book.entries(request.query.get("order_no"), request.query.get("gateway"))
        return _json({"orders": [entry.row() for entry in entries], "totals": self._book.totals()})

    async def _totals(self, _request: web.Request) -> web.Response:
        return _json(self._book.totals())

    async def _reset(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        self._holds.release(go_on=False)
        await self._tasks.cancel_all()
        self._book.reset()
        return _json({"reset": True})

    async def _list_faults(self, _request: web.Request) -> web.Response:
        forced = [asdict(forced) for forced in self._faults.forced]
        return _json({"faults": [_row(fault) for fault in FAULTS.values()], "forced": forced})

    async def _force(self, request: web.Request) -> web.Response:
        wanted = await _read(request, {"order_no": str, "fault": str, "call": str, "times": int})
        forced = Forced(wanted.get("order_no", ""), wanted.get("fault", ""), wanted.get("call", "push"))
        forced.times = wanted.get("times", 1)
        if not forced.order_no and forced.call != "balance":
            raise _wrong(f"order_no: expected an order number, or {ANY} for any")
        if forced.call not in _CALLS:
            raise _wrong(f"call: expected one of {', '.join(_CALLS)}")
        if forced.times < 0:
            raise _wrong("times: expected 0 (always) or more")
        try:
            self._faults.force(forced)
        except ValueError as error:
            raise _wrong(str(error)) from None
        return _json({"forced": asdict(forced)})

    async def _clear(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return _json({"forced": []})

    async def _waiting(self, _request: web.Request) -> web.Response:
        return _json({"waiting": self._holds.rows()})

    async def _release(self, request: web.Request) -> web.Response:
        wanted = await _read(request, {"order_no": str, "then": str})
        then = wanted.get("then", "answer")
        if then not in ("answer", "drop"):
            raise _wrong("then: expected answer or drop")
        return _json({"released": self._holds.release(wanted.get("order_no"), go_on=then == "answer")})


def build(settings: SandboxSettings) -> web.Application:
    """Return the application with every simulator in it."""
    tasks = Tasks()
    holds = Holds()
    faults = Faults(settings)
    book = Book(settings.balance_fen, settings.ledger_file)
    postman = Postman(settings, book)
    life = Life(settings, book, postman, tasks)
    answerer = Answerer(settings, holds)
    app = web.Application(client_max_size=_LONGEST_BODY)
    Control(book, faults, holds, tasks, life).mount(app)
    wikeyun.Wikeyun(settings, book, faults, answerer, life).mount(app)

    async def live(_app: web.Application) -> AsyncIterator[None]:
        await postman.open()
        life.resume()
        yield
        await tasks.cancel_all()
        await postman.close()
        book.close()

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


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _wrong(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=orjson.dumps({"error": message}).decode(), content_type="application/json")


async def _read(request: web.Request, fields: dict[str, type]) -> dict[str, Any]:
    try:
        wanted = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError:
        raise _wrong("expected JSON") from None
    if not isinstance(wanted, dict):
        raise _wrong("expected a JSON object")
    for name, value in wanted.items():
        if name not in fields:
            raise _wrong(f"{name}: unknown field; there are {', '.join(fields)}")
        if type(value) is not fields[name]:
            raise _wrong(f"{name}: expected a {fields[name].__name__}")
    return wanted


def _row(fault: Fault) -> dict[str, Any]:
    return {"name": fault.name, "ending": fault.ending, "meaning": fault.meaning, "drawn_by_fault_rate": fault.drawn}


def _page() -> str:
    rows = "".join(
        f"<tr><td>{fault.ending or '-'}</td><td>{escape(fault.name)}</td>"
        f"<td>{'yes' if fault.drawn else 'no'}</td><td>{escape(fault.meaning)}</td></tr>"
        for fault in FAULTS.values()
    )
    return _PAGE.replace("ROWS", rows)


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>worker sandbox</title>
<style>body{font:15px/1.5 system-ui;max-width:60rem;margin:2rem auto}td,th{text-align:left;padding:.1rem .8rem .1rem 0}
pre{background:#8881;padding:.6rem}</style>
<h1>worker sandbox</h1>
<p>Simulated gateways: <code>/wikeyun</code>. What they charged: <a href="/ledger">/ledger</a>
(<code>?order_no=</code>, <code>?gateway=</code>), <a href="/ledger/totals">/ledger/totals</a>;
<code>POST /ledger/reset</code> forgets all of it.</p>
<h2>Faults</h2>
<p>Ask for one by the last two digits of the account, by a share of all orders (<code>fault_rate</code>), or by
name for one order number (<code>*</code>: any; <code>times</code> 0: always; <code>call</code>: push, query, cancel or
balance; the faults that say "charged" do to other calls only what they do to the answer):</p>
<pre>POST /faults          {"order_no": "T1", "fault": "hold", "call": "push", "times": 1}
GET /faults           DELETE /faults
GET /faults/waiting   POST /faults/release  {"order_no": "T1", "then": "answer" or "drop"}</pre>
<table><tr><th>ending</th><th>name</th><th>drawn</th><th>what happens</th></tr>ROWS</table></html>
"""
