"""Where a simulator's callbacks arrive in the contract tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from worker.gateways.base import CallbackRefusal, RawCallback

if TYPE_CHECKING:
    from worker.gateways.gateway import Gateway


class Post:
    """Where the simulator's callbacks arrive: a relay without a broker."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None
        self.url = ""
        self.heard: list[RawCallback] = []

    async def take(self, request: web.Request) -> web.Response:
        """Keep a callback, and answer what its gateway wants."""
        assert self.gateway is not None
        headers = {name.lower(): value for name, value in request.headers.items()}
        raw = RawCallback(
            datetime.now(UTC), request.method, request.path, request.query_string, headers, await request.read()
        )
        self.heard.append(raw)
        ok = not isinstance(self.gateway.parse_callback(raw), CallbackRefusal)
        answer = self.gateway.adapter.acknowledge(ok=ok)
        if answer is None:
            return web.Response(status=404)
        return web.Response(status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type})

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Post"]:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/callbacks", self.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks"
            yield self
        finally:
            await runner.cleanup()
