"""Delivers a gateway's callbacks to merchants, over HTTP and more than once when nobody acknowledges."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from worker.sandbox.book import Book, Entry
from worker.sandbox.settings import SandboxSettings

_LONGEST_ANSWER = 1024
_CONNECTIONS = 200
_SAME_FIVE = 5


@dataclass(frozen=True, slots=True)
class Callback:
    """What is sent, and the answer that means "understood"."""

    url: str
    form: Mapping[str, str]
    acknowledgement: bytes


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
            if await self._post(entry, callback):
                return

    async def deliver_five(self, entry: Entry, callback: Callback) -> None:
        """Send the same five times, whatever is answered."""
        for _ in range(_SAME_FIVE):
            await self._post(entry, callback)

    async def _post(self, entry: Entry, callback: Callback) -> bool:
        if self._session is None:
            raise RuntimeError("the postman was not opened")
        self._book.note(entry, "callback")
        try:
            async with self._session.post(callback.url, data=callback.form, allow_redirects=False) as answer:
                body = await answer.content.read(_LONGEST_ANSWER)
                if not answer.ok or body != callback.acknowledgement:
                    return False
        except (ClientError, TimeoutError, ValueError):  # ValueError: a URL that cannot be one
            return False
        self._book.note(entry, "callback_acknowledged")
        return True
