"""Whether a server can be connected to: TCP, and TLS where its address says https. Nothing is sent to it."""

import asyncio
import os
import ssl
from datetime import UTC, datetime
from urllib.parse import urlsplit

CONNECT_SECONDS = 5.0

_PORTS = {"http": 80, "https": 443}


class UnreachableError(Exception):
    """It cannot be connected to; the text says why."""


async def reach(url: str) -> datetime | None:
    """Connect to the server of `url`, and return when its certificate ends; None: it has none.

    Raises:
        UnreachableError: no connection, or its certificate is not trusted.
    """
    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or _PORTS[parts.scheme], ssl=secure, happy_eyeballs_delay=0.25
            )
    except TimeoutError:
        raise UnreachableError(f"no connection within {CONNECT_SECONDS:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise UnreachableError(f"its certificate is not trusted: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise UnreachableError(f"TLS failed: {error.reason or type(error).__name__}") from None
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or type(error).__name__  # below 0: no such name
        raise UnreachableError(f"no connection: {why}") from None
    try:
        certificate = writer.get_extra_info("peercert") or {}
        ends = certificate.get("notAfter")
        return None if ends is None else datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)
    finally:
        writer.transport.abort()
