"""An order's life at a simulated gateway after it was taken: step by step, money and callbacks included."""

import asyncio
from collections.abc import Callable, Mapping

from worker.sandbox.book import Book, Entry, Standing
from worker.sandbox.callbacks import Callback, Postman
from worker.sandbox.faults import FAULTS, NO_FAULT, Callbacks, Course, Fault
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.tasks import Tasks

Teller = Callable[[Entry, Standing], Callback]
"""Writes a gateway's callback about an order that stands so."""

_NEXT: Mapping[Course, Mapping[Standing, Standing]] = {
    Course.SUCCEEDS: {Standing.CHARGING: Standing.SUCCEEDED},
    Course.FAILS: {Standing.CHARGING: Standing.FAILED, Standing.FAILED: Standing.REFUNDED},
    Course.REVIVES: {Standing.CHARGING: Standing.FAILED, Standing.FAILED: Standing.SUCCEEDED},
    Course.ARRIVES_IN_PART: {Standing.CHARGING: Standing.PARTIAL},
    Course.IS_REVERSED: {Standing.CHARGING: Standing.SUCCEEDED, Standing.SUCCEEDED: Standing.REVERSED},
    Course.TIMES_OUT: {Standing.CHARGING: Standing.TIMED_OUT},
}
_GIVE_ALL_BACK = frozenset({Standing.REFUNDED, Standing.CANCELLED, Standing.REVERSED})
_EARLY_WAIT = 2.0  # an early callback that nobody takes must not hold the push's answer for ever


class Life:
    """Moves orders along their course, one step each `settle_after` seconds."""

    def __init__(self, settings: SandboxSettings, book: Book, postman: Postman, tasks: Tasks) -> None:
        self._settle_after = settings.settle_after
        self._book = book
        self._postman = postman
        self._tasks = tasks
        self._tellers: dict[str, Teller] = {}

    def introduce(self, gateway: str, teller: Teller) -> None:
        """Say how this gateway's callbacks look."""
        self._tellers[gateway] = teller

    def resume(self) -> None:
        """Go on with the orders that a restart interrupted."""
        for entry in self._book.entries():
            if _next(entry, _fault(entry)) is not None:
                self.begin(entry)

    def begin(self, entry: Entry) -> None:
        """Let the order live, in the background."""
        self._tasks.start(self._live(entry))

    def begin_again(self, entry: Entry) -> None:
        """Let an order that was charged once more go through it again, unless it still lives."""
        if _next(entry, _fault(entry)) is None:
            self._book.move(entry, Standing.CHARGING)
            self.begin(entry)

    async def step_before_answer(self, entry: Entry) -> None:
        """Take the first step at once and give its callback a head start."""
        told = self._step(entry, _fault(entry))
        if told is not None:
            await asyncio.wait({told}, timeout=_EARLY_WAIT)

    async def _live(self, entry: Entry) -> None:
        fault = _fault(entry)
        while _next(entry, fault) is not None:
            await asyncio.sleep(self._settle_after)
            self._step(entry, fault)

    def _step(self, entry: Entry, fault: Fault) -> asyncio.Task[None] | None:
        before, after = entry.status, _next(entry, fault)
        if after is None:
            return None
        arrived_fen = 0
        if after in _GIVE_ALL_BACK or (after is Standing.FAILED and fault.course is Course.REVIVES):
            self._book.refund(entry, entry.kept_fen)
        elif after is Standing.PARTIAL:
            arrived_fen = entry.amount_fen // 2
            self._book.refund(entry, entry.amount_fen - arrived_fen)
        elif after is Standing.SUCCEEDED:
            arrived_fen = entry.amount_fen
            if before is Standing.FAILED:
                self._book.charge(entry)
        self._book.move(entry, after, arrived_fen)
        return self._tell(entry, fault)

    def _tell(self, entry: Entry, fault: Fault) -> asyncio.Task[None] | None:
        teller = self._tellers.get(entry.gateway)
        if teller is None or fault.callbacks is Callbacks.NONE:
            return None
        lies = fault.callbacks is Callbacks.FALSE and entry.status is Standing.SUCCEEDED
        callback = teller(entry, Standing.FAILED if lies else entry.status)
        if fault.callbacks is Callbacks.FIVE:
            return self._tasks.start(self._postman.deliver_five(entry, callback))
        return self._tasks.start(self._postman.deliver(entry, callback))


def _fault(entry: Entry) -> Fault:
    return NO_FAULT if entry.fault is None else FAULTS[entry.fault]


def _next(entry: Entry, fault: Fault) -> Standing | None:
    if entry.status is Standing.CANCELLING:
        return Standing.CANCELLED
    return _NEXT[fault.course].get(entry.status)
