"""Delivers a gateway's callbacks to merchants, over HTTP and more than once when nobody acknowledges."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from worker.sandbox.book import Book, Entry
from worker.sandbox.settings import SandboxSettings

_LONGEST_ANSWER = 1024
_CONNECTIONS = 200
_SAME_FIVE = 5
_OK = 200


@dataclass(frozen=True, slots=True)
class Callback:
    """What is posted, byte for byte, and whether an answer (HTTP status, body) means "understood"."""

    url: str
    body: bytes
    headers: Mapping[str, str]  # Content-Type among them
    acknowledged: Callable[[int, bytes], bool]


def says(word: bytes) -> Callable[[int, bytes], bool]:
    """Return what is true of HTTP 200 with exactly this body."""
    return lambda status, body: status == _OK and body == word


class Postman:
    """Sends callbacks; each attempt is counted in the order's ledger entry."""

    def __init__(self, settings: SandboxSettings, book: Book) -> None:
        self._settings = settings
        self._book = book
        self._session: ClientSession | None = None

    async def open(self) -> None:
        """Make ready to send; needs the running loop."""
        self._session = ClientSession(
            timeout=ClientTimeout(total=self._settings.callback_timeout or None),
            connector=TCPConnector(limit=_CONNECTIONS),
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def deliver(self, entry: Entry, callback: Callback) -> None:
        """Send until it is acknowledged, or given up."""
        for attempt in range(1 + self._settings.callback_repeats):
            if attempt:
                await asyncio.sleep(self._settings.callback_repeat_after)
            if await self.post(entry, callback):
                return

    async def deliver_five(self, entry: Entry, callback: Callback) -> None:
        """Send the same five times, whatever is answered."""
        for _ in range(_SAME_FIVE):
            await self.post(entry, callback)

    async def post(self, entry: Entry, callback: Callback) -> bool:
        """Send it once; return whether it was acknowledged."""
        if self._session is None:
            raise RuntimeError("the postman was not opened")
        self._book.note(entry, "callback")
        try:
            async with self._session.post(
                callback.url, data=callback.body, headers=callback.headers, allow_redirects=False
            ) as answer:
                body = await answer.content.read(_LONGEST_ANSWER)
                if not callback.acknowledged(answer.status, body):
                    return False
        except (ClientError, TimeoutError, ValueError):  # ValueError: a URL that cannot be one
            return False
        self._book.note(entry, "callback_acknowledged")
        return True
