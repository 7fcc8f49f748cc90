"""A gateway that costs next to nothing: wikeyun's push over a hand-written HTTP server, with callbacks as messages.

`python -m tests.bench.stub '<settings as JSON>'`. It answers a push after 20 ms and publishes its callback 50 ms
later, straight to the broker, as a relay would. `GET /stats` tells what it saw.
"""

import asyncio
import hashlib
import json
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
import uvloop
from pamqp import commands, frame, header
from pamqp.body import ContentBody

LATENCY_SECONDS = 0.02
CALLBACK_SECONDS = 0.05
SECRET = "bench-secret"
PUSH = b"/rest/Recharge/pushOrder"


class Callbacks:
    """Publishes callback messages, unconfirmed: one that got lost would show as an order that is not told in time."""

    def __init__(self, url: str, exchange: str) -> None:
        self._url = urlsplit(url)
        self._method = frame.marshal(
            commands.Basic.Publish(exchange=exchange, routing_key="callback.wikeyun", mandatory=False), 1
        )
        self._properties = commands.Basic.Properties(
            content_type="application/json", delivery_mode=2, message_type="gateway.callback"
        )
        self._headers: dict[int, bytes] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Log in as guest and open a channel."""
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        writer.write(b"AMQP\x00\x00\x09\x01")
        for channel, answer in (
            (0, commands.Connection.StartOk({}, "PLAIN", "\x00guest\x00guest", "en_US")),
            (0, commands.Connection.TuneOk(2047, 131_072, 0)),
            (0, commands.Connection.Open("/")),
            (1, commands.Channel.Open()),
            (None, None),
        ):
            if not isinstance(answer, commands.Connection.Open):  # nobody answers tune-ok
                await self._receive(reader)
            if channel is not None:
                writer.write(frame.marshal(answer, channel))
        self._writer = writer

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        start = await reader.readexactly(7)
        await reader.readexactly(int.from_bytes(start[3:], "big") + 1)

    def publish(self, body: bytes) -> None:
        """Publish one message, persistent."""
        size = len(body)
        head = self._headers.get(size)
        if head is None:
            head = self._headers[size] = frame.marshal(
                header.ContentHeader(body_size=size, properties=self._properties), 1
            )
        assert self._writer is not None
        self._writer.write(self._method + head + frame.marshal(ContentBody(body), 1))


class Gateway:
    """What the stub has seen."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self.pushes: Counter[str] = Counter()
        self.queries = 0
        self.badly_signed = 0
        self.first_push = 0.0

    def push(self, query: bytes, form: bytes) -> bytes:
        """Take a push; return the answer, which is to go out after a while."""
        if not self.pushes:
            self.first_push = time.time()
        system = dict(parse_qsl(query.decode(), keep_blank_values=True))
        business = dict(parse_qsl(form.decode(), keep_blank_values=True))
        signature = system.pop("sign", "")
        self.badly_signed += signature != _signature(system.items() | business.items())
        order_no = business["order_no"]
        self.pushes[order_no] += 1
        return orjson.dumps(
            {"code": "0000", "msg": "ok", "time": system["timestamp"], "data": {"order_number": f"G{order_no}"}}
        )

    def call_back(self, form: bytes) -> None:
        """Tell that an order has succeeded."""
        order_no = dict(parse_qsl(form.decode()))["order_no"]
        body = urlencode({"order_no": order_no, "order_number": f"G{order_no}", "status": "2"})
        message = {
            "gateway": "wikeyun",
            "received_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "method": "POST",
            "path": "/callbacks/wikeyun",
            "query": "",
            "headers": {"content-type": "application/x-www-form-urlencoded"},
            "body": b64encode(body.encode()).decode(),
            "remote_addr": "127.0.0.1",
        }
        self._callbacks.publish(orjson.dumps(message))

    def stats(self) -> bytes:
        """Return what was seen."""
        return orjson.dumps(
            {
                "pushes": self.pushes.total(),
                "orders": len(self.pushes),
                "badly_signed": self.badly_signed,
                "queries": self.queries,
                "first_push": self.first_push,
            }
        )


class Connection(asyncio.Protocol):
    """One kept-alive connection; a client sends its next request only after the answer."""

    def __init__(self, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        self._gateway = gateway
        self._loop = loop
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Serve the request once it is whole."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        lower = head.lower()
        at = lower.find(b"content-length:")
        size = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + size:
            return
        body = self._buffer[end + 4 : end + 4 + size]
        self._buffer = self._buffer[end + 4 + size :]
        path, _, query = head.split(b" ", 2)[1].partition(b"?")
        self._serve(path, query, body)

    def _serve(self, path: bytes, query: bytes, body: bytes) -> None:
        if path == PUSH:
            self._loop.call_later(LATENCY_SECONDS, self._answer_push, self._gateway.push(query, body), body)
        elif path == b"/stats":
            self._answer(self._gateway.stats())
        else:
            self._gateway.queries += 1
            self._answer(b'{"code": "9999", "msg": "no", "time": "0", "data": null}')

    def _answer_push(self, answer: bytes, form: bytes) -> None:
        self._answer(answer)
        self._loop.call_later(CALLBACK_SECONDS, self._gateway.call_back, form)

    def _answer(self, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


def _signature(parameters: Iterable[tuple[str, str]]) -> str:
    middle = "".join(name + value for name, value in sorted(parameters))
    return hashlib.md5(f"{SECRET}{middle}{SECRET}".encode(), usedforsecurity=False).hexdigest().upper()


async def _serve(port: int, url: str, exchange: str) -> None:
    loop = asyncio.get_running_loop()
    callbacks = Callbacks(url, exchange)
    await callbacks.connect()
    gateway = Gateway(callbacks)
    server = await loop.create_server(lambda: Connection(gateway, loop), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    uvloop.run(_serve(given["port"], given["url"], given["exchange"]))
