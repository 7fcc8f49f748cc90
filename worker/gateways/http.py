"""The one module that sends: aiohttp, told to do nothing by itself, and when a failure means "not sent".

The rule: a call was not sent if no connection was created or reused for it, or if this module
itself refused before the first byte. After anything else the gateway may have the request.
Neither the failure's type nor its text decides, except in the safe direction.
"""

import errno
import math
import ssl
import time
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.connector import Connection
from yarl import URL

from worker.gateways.base import Reply, Request
from worker.gateways.lease import Lease

MAX_BODY = 1024 * 1024
"""Bytes of an answer, decompressed; more is no answer of a payment interface."""

_CONNECT_SECONDS = 10.0
_KEEPALIVE_SECONDS = 3.0
"""Shorter than any common server's idle time: a connection that the server is just closing costs an unknown order."""


class CallError(Exception):
    """A call without an answer; `code` is stable, the text is about the transport only: no address, no field."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class NotSentError(CallError):
    """Proven: no byte of the request has left."""


class UnansweredError(CallError):
    """The gateway may have the request, and what it did with it is unknown."""


class When(StrEnum):
    """When a failure can arise: before a connection is there for the call, after it, or both."""

    BEFORE = "before"
    AFTER = "after"
    EITHER = "either"


class Row(NamedTuple):
    """How a failure is shown. `when` can only turn "not sent" into "unanswered", never the other way."""

    code: str
    when: When
    meaning: str


FAILURES: Mapping[type[BaseException], Row] = MappingProxyType(
    {
        # no connection
        aiohttp.ClientConnectorDNSError: Row("dns", When.BEFORE, "the gateway's name cannot be resolved"),
        aiohttp.ClientConnectorCertificateError: Row("certificate", When.BEFORE, "its certificate is not trusted"),
        aiohttp.ClientConnectorSSLError: Row("tls", When.BEFORE, "the TLS handshake failed"),
        aiohttp.ClientSSLError: Row("tls", When.BEFORE, "TLS could not be set up"),
        aiohttp.ServerFingerprintMismatch: Row("certificate", When.BEFORE, "its certificate is not the pinned one"),
        aiohttp.ClientProxyConnectionError: Row("connect_failed", When.BEFORE, "the proxy cannot be reached"),
        UnixClientConnectorError: Row("connect_failed", When.BEFORE, "the socket cannot be reached"),
        aiohttp.ClientConnectorError: Row("connect_failed", When.BEFORE, "no connection could be made"),
        aiohttp.ConnectionTimeoutError: Row("connect_timeout", When.BEFORE, "no connection in time"),
        # refused by aiohttp itself
        aiohttp.InvalidURL: Row("bad_url", When.BEFORE, "the address is not valid"),
        aiohttp.InvalidUrlClientError: Row("bad_url", When.BEFORE, "the address is not valid"),
        aiohttp.NonHttpUrlClientError: Row("bad_url", When.BEFORE, "the address is not http or https"),
        # a connection that breaks
        aiohttp.ClientConnectionResetError: Row("reset", When.AFTER, "the connection was reset"),
        aiohttp.ServerDisconnectedError: Row("disconnected", When.AFTER, "closed without a whole answer"),
        aiohttp.SocketTimeoutError: Row("timeout", When.AFTER, "nothing was received in time"),
        aiohttp.ServerTimeoutError: Row("timeout", When.EITHER, "no answer in time"),
        aiohttp.ServerConnectionError: Row("disconnected", When.EITHER, "the connection broke"),
        aiohttp.ClientOSError: Row("broken", When.EITHER, "the connection broke"),
        aiohttp.ClientConnectionError: Row("broken", When.EITHER, "the connection broke"),
        # an answer that is none
        aiohttp.ClientPayloadError: Row("cut", When.AFTER, "the answer's body is incomplete or damaged"),
        aiohttp.ClientResponseError: Row("garbage", When.AFTER, "the answer is not HTTP"),
        aiohttp.ContentTypeError: Row("garbage", When.AFTER, "the answer has another type"),
        aiohttp.ClientHttpProxyError: Row("proxy", When.EITHER, "the proxy refused"),
        aiohttp.UploadAbortedError: Row("broken", When.AFTER, "the request was not written whole"),
        # what is switched off or not used here, and so would be a surprise
        aiohttp.TooManyRedirects: Row("redirect", When.AFTER, "redirected"),
        aiohttp.RedirectClientError: Row("redirect", When.AFTER, "redirected"),
        aiohttp.InvalidUrlRedirectClientError: Row("redirect", When.AFTER, "redirected to a bad address"),
        aiohttp.NonHttpUrlRedirectClientError: Row("redirect", When.AFTER, "redirected out of HTTP"),
        aiohttp.WSServerHandshakeError: Row("garbage", When.AFTER, "a websocket answered"),
        aiohttp.WSMessageTypeError: Row("garbage", When.AFTER, "a websocket answered"),
        aiohttp.ClientError: Row("broken", When.EITHER, "the HTTP client failed"),
        # what aiohttp lets through as it is
        TimeoutError: Row("timeout", When.EITHER, "no whole answer in time"),
        ssl.SSLError: Row("tls", When.EITHER, "TLS failed"),
        OSError: Row("broken", When.EITHER, "the network failed"),
        Exception: Row("unexpected", When.EITHER, "the HTTP client failed in an unforeseen way"),
    }
)
"""What each failure is called; a class without a row of its own takes that of its nearest base."""

_ERRNO_CODES = {
    errno.ECONNREFUSED: "connect_refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
}
_REFUSALS = {
    "lease_over": "the call could have outlived its lease",
    "timeout": "its time was over before a connection was there",
    "stale_connection": "the connection was closed, or held unasked bytes, before the request was written",
    "closed": "the sender is closed",
}


class _RefusedError(Exception):
    """Raised into aiohttp so that it gives up a connection on which nothing has been written."""


class _FinalError(Exception):
    """Carries a failure past aiohttp's own second try, which does not know this type."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Call:
    """One call's marks; as aiohttp's middleware it ties them to the request and forbids the silent second try."""

    __slots__ = ("_began", "_lease", "_timeout", "connected", "refused")

    def __init__(self, timeout: float, lease: Lease | None) -> None:
        self._began = time.monotonic()
        self._timeout = timeout
        self._lease = lease
        self.connected = False
        self.refused: str | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if not isinstance(request, _Request):
            raise _FinalError(TypeError("not our request class"))
        request.call = self
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, aiohttp must not try again
            raise _FinalError(error) from None

    def may_begin(self) -> bool:
        """Return whether the first byte may leave now; note the refusal otherwise."""
        left = self._timeout - (time.monotonic() - self._began)
        if self._lease is not None and not self._lease.allows(max(left, 0.0)):
            self.refused = "lease_over"
        elif left <= 0:
            self.refused = "timeout"
        return self.refused is None


class _Request(aiohttp.ClientRequest):
    """aiohttp's request, with a last look before the bytes leave.

    aiohttp calls `send` once it has a connection, created or reused, and closes it when `send` fails. The
    head is only buffered there: head and body leave together, in `write_bytes`, before Python 3.12 a loop
    iteration later. So both mark the call as one that may have been sent (a TraceConfig tells the same, at 17
    microseconds a call).
    """

    call: _Call

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        self.call.connected = True
        if not self._may_write(conn):
            raise _RefusedError
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        self.call.connected = True
        # it runs in a task of its own: the failure travels through the protocol, as aiohttp's own do
        if self._may_write(conn):
            await super().write_bytes(writer, conn, content_length)
        elif conn.protocol is not None:
            conn.protocol.set_exception(_RefusedError())

    def _may_write(self, conn: Connection) -> bool:
        protocol = conn.protocol
        if protocol is None or not protocol.is_connected() or protocol.should_close:
            # closed by the server while it was idle; or bytes nobody asked for would be taken for our answer
            self.call.refused = "stale_connection"
            return False
        return self.call.may_begin()


class Sender:
    """Sends the requests of one gateway over connections of its own, at most `concurrency` at a time.

    `timeout_seconds` covers a whole call, from asking for a connection to the last byte.
    """

    def __init__(self, concurrency: int, timeout_seconds: float, *, keepalive: float = _KEEPALIVE_SECONDS) -> None:
        connect = min(_CONNECT_SECONDS, timeout_seconds)
        self._concurrency = concurrency
        self._keepalive = keepalive
        self._seconds = timeout_seconds
        # without the ceiling: aiohttp would round long timeouts up to whole seconds, past the lease
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_seconds, connect=connect, sock_connect=connect, ceil_threshold=math.inf
        )
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._marks_work = True

    async def send(self, request: Request, lease: Lease | None = None) -> Reply:
        """Send once and return the whole answer, whatever its status (redirects excepted).

        Raises:
            NotSentError: no byte has left.
            UnansweredError: anything else that is not a whole answer.
            CancelledError: the caller's task was cancelled; the gateway may have the request.
        """
        call = _Call(self._seconds, lease)
        if self._closed:
            call.refused = "closed"
        if call.refused or not call.may_begin():
            raise self._explain(None, call)
        error: Exception
        try:
            return await self._exchange(request, call)
        except UnansweredError:
            raise
        except _FinalError as final:
            error = final.error
        except Exception as other:  # noqa: BLE001 - every failure has a phase, also one that nobody foresaw
            error = other
        # raised out here, so that aiohttp's text, which holds the signed address, is not chained to it
        raise self._explain(error, call)

    async def close(self) -> None:
        """Close the connections; calls from now on are not sent."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, request: Request, call: _Call) -> Reply:
        headers = dict(request.headers or {})
        if request.content_type is not None:
            headers["Content-Type"] = request.content_type
        response = await self._open().request(
            request.method,
            URL(request.url, encoded=True),
            data=request.body or None,
            headers=headers,
            allow_redirects=False,
            middlewares=(call,),
        )
        try:
            self._marks_work = self._marks_work and call.connected
            _refuse_status(response.status)
            body = await _read(response)
        except BaseException:
            response.close()
            raise
        return Reply(response.status, response.headers, body)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._concurrency, keepalive_timeout=self._keepalive),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "order-worker"},
                request_class=_Request,
            )
        return self._session

    def _explain(self, error: Exception | None, call: _Call) -> CallError:
        if call.refused is not None:
            return NotSentError(call.refused, _REFUSALS[call.refused])
        row = explain(error or RuntimeError())
        code = row.code
        number = error.errno if isinstance(error, OSError) else None
        if number is not None and code in ("connect_failed", "broken"):
            code = _ERRNO_CODES.get(number, code)
        unseen = not call.connected and self._marks_work and row.when is not When.AFTER
        return (NotSentError if unseen else UnansweredError)(code, row.meaning)


def explain(error: BaseException) -> Row:
    """Return the row of the failure's nearest listed class."""
    return next(FAILURES[kind] for kind in (*type(error).__mro__, Exception) if kind in FAILURES)


def _refuse_status(status: int) -> None:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise UnansweredError("redirect", f"HTTP {status}, which is not followed")
    if status < HTTPStatus.OK:
        raise UnansweredError("garbage", f"HTTP {status} is not an answer")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, at most `MAX_BODY` bytes of it even when it is compressed."""
    chunks: list[bytes] = []
    size = 0
    if (response.content_length or 0) <= MAX_BODY:
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                break
        else:
            return b"".join(chunks)
    raise UnansweredError("too_large", f"an answer of more than {MAX_BODY} bytes")
