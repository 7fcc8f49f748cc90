"""A dingyin that takes every order, and knows none when it is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs


class _Dingyin(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode("latin-1"))
        number = fields["sporderid"][0]
        taken = "gameonlinepay" in self.path
        body = (
            f'<?xml version="1.0" encoding="GB2312"?><order><orderid>{"D" + number if taken else ""}</orderid>'
            f"<sporderid>{number}</sporderid><resultno>{'0' if taken else '2'}</resultno></order>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def forgetful_dingyin() -> Iterator[str]:
    """Run it, and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Dingyin)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
