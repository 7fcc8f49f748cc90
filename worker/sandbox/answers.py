"""Gives a gateway's answer back the way a fault wants it: late, held, cut or not at all."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

from aiohttp import web

from worker.sandbox.faults import Answer, Fault
from worker.sandbox.settings import SandboxSettings

_HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for no time: the peer gets a RST, not an orderly end


@dataclass(frozen=True, slots=True)
class Call:
    """Which call it is, for those who look at the held ones."""

    request: web.Request
    gateway: str
    name: str
    order_no: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A gateway's whole answer, byte for byte."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """Return it as HTTP."""
        return web.Response(
            body=self.body, status=self.status, headers={"Content-Type": self.content_type, **self.headers}
        )


_Manner = Callable[[Call, Reply], Awaitable[web.StreamResponse]]


class Holds:
    """The calls that wait until somebody releases them."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[bool], tuple[Call, bool, float]] = {}

    async def wait(self, call: Call, *, charged: bool) -> bool:
        """Wait for the release; return whether the call may go on (else its connection is to be dropped)."""
        release: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[release] = (call, charged, time.monotonic())
        try:
            return await release
        finally:
            self._waiting.pop(release, None)

    def release(self, order_no: str | None = None, *, go_on: bool = True) -> int:
        """Release the calls about `order_no`, or all; return how many."""
        chosen = [hold for hold, (call, _, _) in self._waiting.items() if order_no in (None, call.order_no)]
        for hold in chosen:
            del self._waiting[hold]
            hold.set_result(go_on)
        return len(chosen)

    def rows(self) -> list[dict[str, Any]]:
        """Return what waits, oldest first."""
        now = time.monotonic()
        return [
            {
                "gateway": call.gateway,
                "call": call.name,
                "order_no": call.order_no,
                "charged": charged,
                "waiting_seconds": round(now - since, 3),
                "caller_gone": call.request.transport is None or call.request.transport.is_closing(),
            }
            for call, charged, since in self._waiting.values()
        ]


class Answerer:
    """Sends answers."""

    def __init__(self, settings: SandboxSettings, holds: Holds) -> None:
        self._settings = settings
        self._holds = holds
        self._manners: dict[Answer, _Manner] = {
            Answer.SLOW: self._slow,
            Answer.LATE: self._late,
            Answer.CLOSED: self._closed,
            Answer.RESET: self._reset,
            Answer.CUT: self._cut,
            Answer.ERROR_500: self._error_500,
            Answer.GARBAGE: self._garbage,
            Answer.HELD: self._held,
        }

    async def give(self, call: Call, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Return the answer `reply` in the manner of `fault`."""
        manner = self._manners.get(fault.answer)
        if manner is not None:
            return await manner(call, reply)
        if self._settings.answer_latency:
            await asyncio.sleep(self._settings.answer_latency)
        return reply.response()

    async def may_begin(self, call: Call, fault: Fault) -> bool:
        """Hold the call here when the fault says so; return whether it may go on."""
        return fault.answer is not Answer.HELD_FIRST or await self._holds.wait(call, charged=False)

    async def _slow(self, _call: Call, reply: Reply) -> web.StreamResponse:
        await asyncio.sleep(self._settings.slow_seconds)
        return reply.response()

    async def _late(self, _call: Call, reply: Reply) -> web.StreamResponse:
        await asyncio.sleep(self._settings.late_seconds)
        return reply.response()

    async def _closed(self, call: Call, _reply: Reply) -> web.StreamResponse:
        return drop(call.request)

    async def _reset(self, call: Call, _reply: Reply) -> web.StreamResponse:
        return reset(call.request)

    async def _cut(self, call: Call, reply: Reply) -> web.StreamResponse:
        answer = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type, **reply.headers})
        answer.content_length = len(reply.body)
        await answer.prepare(call.request)
        await answer.write(reply.body[: len(reply.body) // 2])
        return drop(call.request, answer)

    async def _error_500(self, _call: Call, _reply: Reply) -> web.StreamResponse:
        return web.Response(status=500, text=_HTML, content_type="text/html")

    async def _garbage(self, _call: Call, _reply: Reply) -> web.StreamResponse:
        return web.Response(text=_HTML, content_type="text/html")

    async def _held(self, call: Call, reply: Reply) -> web.StreamResponse:
        return reply.response() if await self._holds.wait(call, charged=call.name == "push") else drop(call.request)


def drop(request: web.Request, answer: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection orderly; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.close()
    return answer or web.Response()


def reset(request: web.Request) -> web.StreamResponse:
    """Tear the connection down; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _RESET_ON_CLOSE)
        request.transport.abort()
    return web.Response()
