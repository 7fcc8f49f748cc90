"""The endpoint for operators and probes: alive (`/healthz`), able to do its work (`/readyz`), `/metrics`."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from worker.config import Address, SettingsError
from worker.core.masking import mask_text

Check = Callable[[], tuple[bool, str]]
"""Tells at once, without I/O, whether a dependency is usable, and in a few words why not."""

Alive = Callable[[], bool]
"""Tells whether the event loop turns as it should."""

_DRAIN_SECONDS = 1.0


def _always() -> bool:
    return True


class OpsServer:
    """Answers on `listen` from `start` to `stop`; with no address it does neither.

    `checks` are asked at each `/readyz`, by the names of what they are about. `routes` are further pages. `registry` is
    what `/metrics` shows; without one there is no such page.
    """

    def __init__(
        self,
        listen: Address | None,
        checks: Mapping[str, Check],
        routes: Iterable[web.AbstractRouteDef] = (),
        *,
        alive: Alive = _always,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._listen = listen
        self._checks = checks
        self._alive = alive
        self._routes = (*routes, *([] if registry is None else [metrics_route(registry)]))
        self._runner: web.AppRunner | None = None
        self.address: Address | None = None  # where it really listens, once started

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        if self._listen is None or self._runner is not None:
            return
        app = web.Application()
        app.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), *self._routes])
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_DRAIN_SECONDS)
        await runner.setup()
        problem = None
        try:
            await web.TCPSite(runner, self._listen.host, self._listen.port).start()
        except OSError as error:
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror  # below 0: the name is not resolved
            problem = f"ops.listen: expected an address that is free; {self._listen}: {why}"
        if problem is not None:
            await runner.cleanup()
            raise SettingsError(problem)
        self._runner = runner
        self.address = Address(*runner.addresses[0][:2])

    async def stop(self) -> None:
        """Answer no more; what is being answered gets a second to end."""
        runner, self._runner, self.address = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    async def _readyz(self, _request: web.Request) -> web.Response:
        states = {name: _ask(check) for name, check in self._checks.items()}
        ready = all(ok for ok, _ in states.values())
        missing = [name for name, (ok, _) in states.items() if not ok]
        dependencies = {name: {"ok": ok, "detail": detail} for name, (ok, detail) in states.items()}
        return _answer(200 if ready else 503, {"ready": ready, "missing": missing, "dependencies": dependencies})

    async def _healthz(self, _request: web.Request) -> web.Response:
        alive = self._alive()
        return _answer(200 if alive else 503, {"alive": alive})


def metrics_route(registry: CollectorRegistry) -> web.RouteDef:
    """Return the page that Prometheus reads, in the format that it asks for."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=encode(registry), headers=headers)

    return web.get("/metrics", metrics)


def _ask(check: Check) -> tuple[bool, str]:
    try:
        ok, detail = check()
    except Exception as error:  # noqa: BLE001 - a check that fails is a dependency that is not ready
        return False, f"the check failed: {type(error).__name__}"
    return bool(ok), mask_text(detail)


def _answer(status: int, content: Mapping[str, Any]) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(status=status, body=orjson.dumps(content), content_type="application/json", headers=headers)
