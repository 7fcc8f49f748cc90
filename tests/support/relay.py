"""A callback relay for tests: what a gateway posts becomes the contract's callback message, by pika."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar, Self

from pika.exceptions import AMQPError
from support import wire


class _Handler(BaseHTTPRequestHandler):
    """Publishes `POST /<prefix>/<gateway>`, and answers `success` once the broker has confirmed."""

    relay: ClassVar["Relay"]

    def do_POST(self) -> None:
        _, prefix, gateway = self.path.split("/")
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        ok = self.relay.publish(prefix, gateway, raw, headers)
        self.send_response(200 if ok else 503)
        self.end_headers()
        self.wfile.write(b"success" if ok else b"fail")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Relay:
    """A running relay; any number of deployments share it by their prefixes."""

    def __init__(self, amqp_url: str) -> None:
        self._amqp_url = amqp_url
        self._turn = threading.Lock()
        self._producers: dict[str, wire.Producer] = {}
        self.published = 0
        handler = type("Handler", (_Handler,), {"relay": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="relay")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, prefix: str, gateway: str, raw: bytes, headers: dict[str, str]) -> bool:
        """Publish a callback; return whether the broker has it."""
        with self._turn:
            producer = self._producers.get(prefix)
            try:
                if producer is None:
                    producer = self._producers[prefix] = wire.Producer(self._amqp_url, prefix)
                producer.call_back(wire.callback(gateway, raw, headers=headers))
            except AMQPError:
                if (lost := self._producers.pop(prefix, None)) is not None:
                    lost.close()
                return False
            self.published += 1
            return True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for producer in self._producers.values():
            producer.close()
