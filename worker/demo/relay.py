"""The demo's own little relay: takes the sandbox's callbacks and puts them, confirmed, where the worker finds them."""

from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from aiohttp import web

from schemas.callbacks import GatewayCallback
from worker.broker.connection import BrokerLostError
from worker.broker.message import Outgoing
from worker.broker.publisher import Publisher

GATEWAY = "wikeyun"
PATH = f"/callbacks/{GATEWAY}"
_LONGEST_BODY = 65_536
_PATIENCE = 0.2  # with callbacks that are still being relayed at the end


class DemoRelay:
    """A relay on a free loopback port: `async with DemoRelay(publisher, exchange) as relay: … relay.url …`.

    It acknowledges only what the broker has confirmed; the gateway repeats the rest.
    """

    def __init__(self, publisher: Publisher, exchange: str) -> None:
        self._publisher = publisher
        self._exchange = exchange
        self.url = ""
        self.relayed = 0
        app = web.Application(client_max_size=_LONGEST_BODY)
        app.add_routes([web.post(PATH, self._relay)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_PATIENCE)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}{PATH}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _relay(self, request: web.Request) -> web.Response:
        message = GatewayCallback(
            gateway=GATEWAY,
            received_at=datetime.now(UTC),
            method=request.method,
            path=request.raw_path.partition("?")[0],
            query=request.raw_path.partition("?")[2],
            headers={"content-type": request.headers.get("Content-Type", "")},
            body=await request.read(),
            remote_addr=request.remote,
        )
        try:
            kept = await self._publisher.publish(
                Outgoing(
                    self._exchange,
                    f"callback.{GATEWAY}",
                    message.model_dump_json().encode(),
                    type="gateway.callback",
                )
            )
        except BrokerLostError:
            kept = False
        if not kept:
            return web.Response(status=503, text="not now")
        self.relayed += 1
        return web.Response(text="success")
