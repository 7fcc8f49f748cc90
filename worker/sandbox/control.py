"""The pages beside the simulators: what was charged, and which fault comes next."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from worker.sandbox.answers import Holds
from worker.sandbox.choosing import ANY, Forced
from worker.sandbox.faults import FAULTS, Fault
from worker.sandbox.journal import Journal
from worker.sandbox.page import overview
from worker.sandbox.simulator import House, NotSupportedError, Simulator
from worker.sandbox.tasks import Tasks


class Control:
    """The judge's and the puppeteer's pages, JSON in and out."""

    def __init__(
        self, house: House, simulators: Mapping[str, Simulator], journal: Journal, holds: Holds, tasks: Tasks
    ) -> None:
        self._simulators = simulators
        self._book = house.book
        self._cards = house.cards
        self._faults = house.faults
        self._life = house.life
        self._journal = journal
        self._holds = holds
        self._tasks = tasks

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/", self._overview)
        app.router.add_get("/ledger", self._ledger)
        app.router.add_get("/ledger/totals", self._totals)
        app.router.add_get("/ledger/cards", self._list_cards)
        app.router.add_post("/ledger/topup", self._top_up)
        app.router.add_post("/ledger/reset", self._reset)
        app.router.add_get("/faults", self._list_faults)
        app.router.add_post("/faults", self._force)
        app.router.add_delete("/faults", self._clear)
        app.router.add_get("/faults/waiting", self._waiting)
        app.router.add_post("/faults/release", self._release)
        app.router.add_post("/control/rotate", self._rotate)

    async def _overview(self, _request: web.Request) -> web.Response:
        return web.Response(text=overview(self._simulators.values()), content_type="text/html")

    async def _ledger(self, request: web.Request) -> web.Response:
        gateway = request.query.get("gateway")
        entries = self._book.entries(request.query.get("order_no"), gateway)
        return _json({"orders": [entry.row() for entry in entries], "totals": self._book.totals(gateway)})

    async def _totals(self, request: web.Request) -> web.Response:
        return _json(self._book.totals(request.query.get("gateway")))

    async def _list_cards(self, request: web.Request) -> web.Response:
        return _json({"cards": list(self._cards.rows(request.query.get("gateway"), request.query.get("number")))})

    async def _top_up(self, request: web.Request) -> web.Response:
        wanted = await _read(request, {"gateway": str, "fen": int})
        gateway = self._simulator(wanted).name
        if not wanted.get("fen"):
            raise _wrong("fen: expected how much to add, or less than 0 to take out")
        self._book.top_up(gateway, wanted["fen"])
        return _json({"gateway": gateway, "balance_fen": self._book.balance_fen(gateway)})

    async def _reset(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        self._holds.release(go_on=False)
        await self._tasks.cancel_all()
        self._book.reset()
        self._cards.reset()
        self._journal.clear()
        return _json({"reset": True})

    async def _list_faults(self, _request: web.Request) -> web.Response:
        forced = [asdict(forced) for forced in self._faults.forced]
        return _json({"faults": [self._row(fault) for fault in FAULTS.values()], "forced": forced})

    async def _force(self, request: web.Request) -> web.Response:
        wanted = await _read(request, {"order_no": str, "fault": str, "call": str, "times": int, "gateway": str})
        forced = Forced(wanted.get("order_no", ""), wanted.get("fault", ""), wanted.get("call", "push"))
        forced.times, forced.gateway = wanted.get("times", 1), wanted.get("gateway", ANY)
        if not forced.order_no and forced.call in ("push", "query", "cancel"):
            raise _wrong(f"order_no: expected an order number, an account, or {ANY} for any")
        if forced.times < 0:
            raise _wrong("times: expected 0 (always) or more")
        concerned = self._simulators if forced.gateway == ANY else {forced.gateway: self._simulator(wanted)}
        calls = {call for simulator in concerned.values() for call in simulator.calls}
        if forced.call not in calls:
            raise _wrong(f"call: expected one of {', '.join(sorted(calls))}")
        if concerned and all(forced.fault in simulator.lacks for simulator in concerned.values()):
            raise _wrong(f"fault: {', '.join(concerned)} cannot have {forced.fault}")
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

    async def _rotate(self, request: web.Request) -> web.Response:
        simulator = self._simulator(await _read(request, {"gateway": str}))
        try:
            return _json({"gateway": simulator.name, **simulator.rotate()})
        except NotSupportedError as error:
            raise _wrong(f"gateway: {error}") from None

    def _simulator(self, wanted: Mapping[str, Any]) -> Simulator:
        simulator = self._simulators.get(wanted.get("gateway", ""))
        if simulator is None:
            raise _wrong(f"gateway: expected one of {', '.join(self._simulators)}")
        return simulator

    def _row(self, fault: Fault) -> dict[str, Any]:
        return {
            "name": fault.name,
            "ending": fault.ending,
            "meaning": fault.meaning,
            "drawn_by_fault_rate": fault.drawn,
            "gateways": [name for name, simulator in self._simulators.items() if fault.name not in simulator.lacks],
        }


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
