"""What must not be shown, in a deployment of every gateway, and everything that such a deployment shows."""

import contextlib
import json
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import BaseModel, SecretStr
from support.street import HOUSES, Street, directory

from worker.gateways.registry import adapters

BODIES = {"orders": ("target", "payment")}
"""Columns that hold what was asked for, and the credential that is for whoever asked."""


def secrets(street: Street) -> list[str]:
    """Return every secret of the settings: of a key in PEM, each line."""
    found: list[str] = []
    for name, house in HOUSES.items():
        given = house.settings(directory(street._keys, name))
        common = {"adapter": name, "base_url": "http://x", "notify_url": "https://x.example/callbacks/x"}
        known = adapters()[name].settings_type
        values = {key: value for key, value in (common | dict(given)).items() if key in known.model_fields}
        found += _secrets(known.model_validate(values))
    return [line for secret in found for line in secret.splitlines() if not line.startswith("-----")]


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    inner: Any = ()
    if isinstance(value, BaseModel):
        inner = [each for _, each in value]
    elif isinstance(value, dict):
        inner = value.values()
    for each in inner:
        yield from _secrets(each)


def people(street: Street) -> list[str]:
    """Return what the orders of the houses say about people, and every account that was ordered for."""
    samples = [sample for house in HOUSES.values() for sample in house.samples.values()]
    return [*{each for sample in samples for each in sample.canaries}, *street.accounts.values()]


class _Echo(BaseHTTPRequestHandler):
    """Answers what it was asked, head and body: with a 500, then as if all were well, and so on."""

    turn = 0

    def do_POST(self) -> None:
        """Echo."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        echo = b"%s\n%s\n%s" % (self.path.encode(), str(self.headers).encode(), body)
        type(self).turn += 1
        self.send_response(500 if type(self).turn % 2 else 200)
        self.send_header("Content-Length", str(len(echo)))
        self.end_headers()
        self.wfile.write(echo)

    do_GET = do_POST  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def echoing() -> Iterator[str]:
    """Run a gateway that repeats what it is told; yield its URL."""
    socketserver.TCPServer.request_queue_size = 64
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="echo")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def http(address: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """Return status, and head and body together, of an answer."""
    connection = HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, f"{answer.headers}\n{answer.read().decode(errors='replace')}"
    finally:
        connection.close()


_PROGRAM = """
import json, sys, traceback
from worker.cli import execute
for line in sys.stdin:
    try:
        code = execute(json.loads(line))
    except Exception:
        code = 99
        traceback.print_exc()
    sys.stdout.flush()
    print(f"\\n<exit {code}>", flush=True)
"""
_EXIT = re.compile(r"\n<exit (\d+)>\n")


def command_lines(commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """Run commands, in one process of their own; return for each its exit code and all that it writes."""
    given = "".join(f"{json.dumps(each)}\n" for each in commands)
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=True,
    )
    parts = _EXIT.split(ran.stdout)
    assert len(parts) == 2 * len(commands) + 1, ran.stdout[-2000:]
    return [(int(code), written) for written, code in zip(parts[::2], parts[1::2], strict=False)]


def tables(street: Street) -> str:
    """Return every row of the database, but for the columns that hold what was asked for."""
    names = street.stage.facts.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition ORDER BY relname"
    )
    shown = []
    for row in names:
        name = row["relname"]
        less = "".join(f" - '{column}'" for column in BODIES.get(name, ()))
        found = street.stage.facts.rows(f"SELECT (to_jsonb(t){less})::text AS shown FROM {name} t")  # noqa: S608
        shown += [each["shown"] for each in found]
    return "\n".join(shown)


def without_payment(bodies: Sequence[bytes]) -> str:
    """Return events without the credential that is for whoever ordered."""
    return "\n".join(
        json.dumps({key: value for key, value in json.loads(raw).items() if key != "payment"}, ensure_ascii=False)
        for raw in bodies
    )
