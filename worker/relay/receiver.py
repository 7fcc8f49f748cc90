"""From one HTTP request to one message, and back to the answer that the gateway wants to hear.

What a gateway posted is relayed untouched, also where nobody can read it: the worker decides about it. Refused are
requests that no gateway of ours can have meant, and callbacks whose signature is not the gateway's.
"""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import structlog
from aiohttp import web
from pydantic import ValidationError

from schemas.callbacks import GatewayCallback
from schemas.dead import DeadReason
from schemas.decode import CALLBACK_LIMIT
from worker.broker.connection import BrokerLostError
from worker.broker.dead import dead_letter
from worker.broker.message import Delivery, Outgoing, Properties
from worker.broker.topology import Topology
from worker.gateways.base import CallbackRefusal, RawCallback
from worker.gateways.gateway import Gateway

log = structlog.get_logger("worker.relay")

MOST_BODY = 128 * 1024
BODY_SECONDS = 10.0
MOST_AT_ONCE = 256
"""Callbacks that wait for the broker's confirm; whoever comes then is told to come again."""
LETTERS_A_MINUTE = 120
"""Of each gateway, callbacks with a bad signature that are kept; more are answered and counted alike."""
PREFIX = "/callbacks/"
_MINUTE = 60.0
_TYPE = "gateway.callback"
_LONGEST_NAME = 128
_MEDIA_TYPES = frozenset(
    {
        "",  # none given
        "application/x-www-form-urlencoded",
        "application/json",
        "application/xml",
        "application/octet-stream",
        "text/json",
        "text/plain",
        "text/xml",
        "text/html",
    }
)
"""What a callback may come as; gateways are careless about it, but none sends files or multipart forms."""

Publish = Callable[[Outgoing], Awaitable[bool]]


class RefusedRequestError(Exception):
    """A request that is not relayed: `status` and a word for its sender, who should correct it or come again."""

    def __init__(self, status: int, word: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(word)
        self.status = status
        self.word = word
        self.headers = dict(headers or {})


class Receiver:
    """Answers `POST /callbacks/<gateway>`.

    Args:
        gateways: by name; those that send no callbacks are as good as unknown.
        publish: a publisher's; it must give up within the time that a gateway waits.
    """

    def __init__(self, gateways: Mapping[str, Gateway], publish: Publish, topology: Topology) -> None:
        self._gateways = {name: each for name, each in gateways.items() if each.adapter.acknowledge(ok=True)}
        self._publish = publish
        self._topology = topology
        self._kept: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LETTERS_A_MINUTE))
        self.relaying: set[web.RequestHandler] = set()
        """The connections whose request has arrived whole and is not answered yet."""
        self.counts: Counter[str] = Counter(relayed=0, bad_signature=0, away=0)
        """How many requests ended how: `relayed`, `bad_signature`, `away`, or `http_<status>`."""

    @property
    def names(self) -> list[str]:
        """The gateways whose callbacks it takes."""
        return list(self._gateways)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Relay one request; every connection carries only one."""
        try:
            response = await self._relay(request)
        except RefusedRequestError as error:
            self.counts[f"http_{error.status}"] += 1
            response = web.Response(status=error.status, text=f"{error.word}\n", headers=error.headers)
        except Exception as error:
            log.exception("relaying_failed", error=type(error).__name__)
            self.counts["http_500"] += 1
            response = web.Response(status=500, text="it failed: come again\n")
        response.force_close()
        return response

    async def _relay(self, request: web.BaseRequest) -> web.Response:
        gateway = self._addressed(request)
        _check_head(request)
        body = await _read(request)
        if len(self.relaying) >= MOST_AT_ONCE:
            raise RefusedRequestError(503, "busy: come again", {"Retry-After": "1"})
        self.relaying.add(request.protocol)
        try:
            return await self._pass_on(gateway, _message(gateway.name, request, body))
        finally:
            self.relaying.discard(request.protocol)

    def _addressed(self, request: web.BaseRequest) -> Gateway:
        path = request.raw_path.partition("?")[0]
        gateway = self._gateways.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
        if gateway is None:
            raise RefusedRequestError(404, "no gateway of this name sends callbacks here")
        if request.method != "POST":
            raise RefusedRequestError(405, "expected POST", {"Allow": "POST"})
        return gateway

    async def _pass_on(self, gateway: Gateway, callback: GatewayCallback) -> web.Response:
        content = callback.model_dump_json().encode()
        if len(content) > CALLBACK_LIMIT:
            raise RefusedRequestError(431, "the headers are too large")
        message = Outgoing(self._topology.main, f"callback.{gateway.name}", content, type=_TYPE)
        refusal = _signature_refusal(gateway, callback)
        if refusal is not None:
            if not self._keeps_another(gateway.name):
                self.counts["bad_signature"] += 1
                return _acknowledgement(gateway, ok=False)
            message = self._letter(message, refusal)
        try:
            kept = await self._publish(message)
        except BrokerLostError as error:
            log.warning("callback_not_confirmed", gateway=gateway.name, error=str(error))
            kept = False
        if not kept:
            self.counts["away"] += 1
            return web.Response(status=503, text="not now: come again\n", headers={"Retry-After": "5"})
        self.counts["relayed" if refusal is None else "bad_signature"] += 1
        return _acknowledgement(gateway, ok=refusal is None)

    def _keeps_another(self, gateway: str) -> bool:
        """Return whether a callback that anybody may have forged becomes one more letter: strangers fill no disk."""
        now = time.monotonic()
        kept = self._kept[gateway]
        if len(kept) == LETTERS_A_MINUTE and now - kept[0] < _MINUTE:
            return False
        kept.append(now)
        return True

    def _letter(self, message: Outgoing, refusal: CallbackRefusal) -> Outgoing:
        """Return the dead letter of a callback, as if the worker had taken it from its queue and refused it."""
        properties = Properties(content_type=message.content_type, type=message.type)
        delivery = Delivery(self._topology.callbacks, message.exchange, message.routing_key, message.body, properties)
        return dead_letter(self._topology.dead, delivery, refusal.reason, refusal.detail, datetime.now(UTC))


def _check_head(request: web.BaseRequest) -> None:
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES and not media_type.endswith(("+json", "+xml")):
        raise RefusedRequestError(415, "expected a form, JSON, XML or text")
    if (request.content_length or 0) > MOST_BODY:
        raise RefusedRequestError(413, f"expected at most {MOST_BODY} bytes")


async def _read(request: web.BaseRequest) -> bytes:
    """Return the body, byte for byte as it came, chunked or not."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                size += len(part)
                if size > MOST_BODY:
                    raise RefusedRequestError(413, f"expected at most {MOST_BODY} bytes")
                parts.append(part)
    except TimeoutError:
        raise RefusedRequestError(408, "the body did not come in time") from None
    except (web.RequestPayloadError, ConnectionError):
        raise RefusedRequestError(400, "the body is not what its headers say") from None
    return b"".join(parts)


def _message(gateway: str, request: web.BaseRequest, body: bytes) -> GatewayCallback:
    path, _, query = request.raw_path.partition("?")
    try:
        return GatewayCallback(
            gateway=gateway,
            received_at=datetime.now(UTC),
            method=request.method,
            path=path,
            query=query,
            headers=_headers(request),
            body=body,
            remote_addr=request.remote,
        )
    except ValidationError:
        raise RefusedRequestError(400, "expected a request of printable ASCII") from None


def _headers(request: web.BaseRequest) -> dict[str, str]:
    """Return the headers by their names in lower case; bytes that are no UTF-8 are shown as Latin-1."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.raw_headers:
        name = raw_name.decode("latin-1").lower()
        try:
            value = raw_value.decode()
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1")
        if len(name) <= _LONGEST_NAME:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _signature_refusal(gateway: Gateway, callback: GatewayCallback) -> CallbackRefusal | None:
    """Return why the signature is not the gateway's; whatever else is wrong with a callback is the worker's matter."""
    raw = RawCallback(
        callback.received_at, callback.method, callback.path, callback.query, callback.headers, callback.body
    )
    parsed = gateway.parse_callback(raw)
    if isinstance(parsed, CallbackRefusal) and parsed.reason == DeadReason.BAD_SIGNATURE:
        return parsed
    return None


def _acknowledgement(gateway: Gateway, *, ok: bool) -> web.Response:
    wanted = gateway.adapter.acknowledge(ok=ok)
    if wanted is None:
        raise LookupError(f"{gateway.name} has no callbacks")
    headers = {"Content-Type": wanted.content_type} if wanted.body else {}
    return web.Response(status=wanted.status, body=wanted.body, headers=headers)
