"""A tap on the wire between a worker and its gateways: it passes every request on, and keeps both directions."""

import threading
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Call:
    """One request, by lower-case header names, and its answer."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer: bytes


class _Handler(BaseHTTPRequestHandler):
    """Passes one request on; where nobody answers, neither does it."""

    tap: ClassVar["Tap"]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = HTTPConnection(self.tap.behind, timeout=20)
        status, answer, kind = 0, b"", "text/plain"
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            reply = connection.getresponse()
            status, answer, kind = reply.status, reply.read(), reply.headers.get("Content-Type", kind)
        except (OSError, HTTPException):
            self.close_connection = True
        finally:
            connection.close()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.tap.calls.append(Call(self.command, self.path, headers, body, status, answer))
        if status:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    do_GET = do_POST  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Tap:
    """A running tap before the server at `url`: `with Tap(market.url) as tap: tap.url …`."""

    def __init__(self, url: str) -> None:
        self.behind = urlsplit(url).netloc
        self.calls: list[Call] = []
        handler = type("Handler", (_Handler,), {"tap": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="tap")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def about(self, *texts: str) -> list[Call]:
        """The calls so far whose body or path holds one of `texts`."""
        return [call for call in self.calls if any(text.encode() in call.body or text in call.path for text in texts)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
