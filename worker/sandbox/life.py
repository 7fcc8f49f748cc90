"""An order's life at a simulated gateway after it was taken: step by step, money and callbacks included."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, Protocol

from worker.sandbox.book import Book, Entry, Standing
from worker.sandbox.callbacks import Callback, Postman
from worker.sandbox.faults import FAULTS, NO_FAULT, Callbacks, Course, Fault
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.tasks import Tasks


class Teller(Protocol):
    """Writes a gateway's callbacks."""

    def callback(self, entry: Entry) -> Callback | None:
        """Return the callback about an order that stands as `entry` says; None: nobody is told of that."""

    def forged(self, callback: Callback) -> Callback:
        """Return the same callback with a wrong signature."""

    def pays(self, entry: Entry) -> bool:
        """Return whether the payer of an order that awaits his payment acts by himself."""


_PAYS = {Standing.AWAITING_PAYMENT: Standing.SUCCEEDED}
_NEXT: Mapping[Course, Mapping[Standing, Standing]] = {
    Course.SUCCEEDS: {Standing.CHARGING: Standing.SUCCEEDED} | _PAYS,
    Course.FAILS: {Standing.CHARGING: Standing.FAILED, Standing.FAILED: Standing.REFUNDED},
    Course.REVIVES: {Standing.CHARGING: Standing.FAILED, Standing.FAILED: Standing.SUCCEEDED},
    Course.ARRIVES_IN_PART: {Standing.CHARGING: Standing.PARTIAL},
    Course.IS_REVERSED: {Standing.CHARGING: Standing.SUCCEEDED, Standing.SUCCEEDED: Standing.REVERSED},
    Course.TIMES_OUT: {Standing.CHARGING: Standing.TIMED_OUT},
    Course.PAYS_LATE: _PAYS,
    Course.NEVER_PAYS: {},
}
_OPPOSITE = {Standing.SUCCEEDED: Standing.FAILED, Standing.FAILED: Standing.SUCCEEDED}
_GIVE_ALL_BACK = frozenset({Standing.REFUNDED, Standing.CANCELLED, Standing.REVERSED})
_CHARGED_NOW = frozenset({Standing.FAILED, Standing.AWAITING_PAYMENT})  # what succeeds from there costs only then
_EARLY_WAIT = 2.0  # an early callback that nobody takes must not hold the push's answer for ever


class Life:
    """Moves orders along their course, one step each `settle_after` seconds."""

    def __init__(self, settings: SandboxSettings, book: Book, postman: Postman, tasks: Tasks) -> None:
        self._settings = settings
        self._book = book
        self._postman = postman
        self._tasks = tasks
        self._tellers: dict[str, Teller] = {}

    def introduce(self, gateway: str, teller: Teller) -> None:
        """Say who writes this gateway's callbacks."""
        self._tellers[gateway] = teller

    def resume(self) -> None:
        """Go on with the orders that a restart interrupted."""
        for entry in self._book.entries():
            if self._after(entry, _fault(entry)) is not None:
                self.begin(entry)

    def begin(self, entry: Entry) -> None:
        """Let the order live, in the background."""
        self._tasks.start(self._live(entry))

    def begin_again(self, entry: Entry) -> None:
        """Let an order that was charged once more go through it again, unless it still lives."""
        if self._after(entry, _fault(entry)) is None:
            self._book.move(entry, Standing.CHARGING)
            self.begin(entry)

    async def step_before_answer(self, entry: Entry) -> None:
        """Take the first step at once and give its callback a head start."""
        told = self._step(entry, _fault(entry))
        if told is not None:
            await asyncio.wait({told}, timeout=_EARLY_WAIT)

    async def _live(self, entry: Entry) -> None:
        fault = _fault(entry)
        pays_late = fault.course is Course.PAYS_LATE
        while self._after(entry, fault) is not None:
            await asyncio.sleep(self._settings.payer_late_seconds if pays_late else self._settings.settle_after)
            self._step(entry, fault)

    def _step(self, entry: Entry, fault: Fault) -> asyncio.Task[None] | None:
        before, after = entry.status, self._after(entry, fault)
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
            if before in _CHARGED_NOW:
                self._book.charge(entry)
        self._book.move(entry, after, arrived_fen)
        work = self._telling(entry, fault)
        return None if work is None else self._tasks.start(work)

    def _after(self, entry: Entry, fault: Fault) -> Standing | None:
        """Return where the order stands after its next step; None: there is none."""
        if entry.status is Standing.AWAITING_PAYMENT and not self._tellers[entry.gateway].pays(entry):
            return None
        return _next(entry, fault)

    def _telling(self, entry: Entry, fault: Fault) -> Coroutine[Any, Any, None] | None:
        """Return the work of telling the merchant, as the order stands now and its fault wants it."""
        teller, manner = self._tellers[entry.gateway], fault.callbacks
        said, lie = entry, _OPPOSITE.get(entry.status)
        if manner is Callbacks.FALSE and lie is not None:
            said = replace(entry, status=lie)
        elif manner is Callbacks.OTHER_AMOUNT:
            said = other_amount(entry)
        elif manner is Callbacks.OTHER_ACCOUNT:
            said = other_account(entry)
        callback = None if manner is Callbacks.NONE else teller.callback(said)
        if callback is None:
            return None
        if manner is Callbacks.FIVE:
            return self._postman.deliver_five(entry, callback)
        if manner is Callbacks.FORGED and lie is not None:
            false = teller.callback(replace(entry, status=lie))
            return self._forged_first(entry, false and teller.forged(false), callback)
        if manner is Callbacks.STALE:
            return self._stale_last(entry, callback, teller.callback(replace(entry, status=Standing.CHARGING)))
        return self._postman.deliver(entry, callback)

    async def _forged_first(self, entry: Entry, forged: Callback | None, callback: Callback) -> None:
        if forged is not None:
            await self._postman.post(entry, forged)
        await self._postman.deliver(entry, callback)

    async def _stale_last(self, entry: Entry, callback: Callback, stale: Callback | None) -> None:
        await self._postman.deliver(entry, callback)
        if stale is not None:
            await self._postman.deliver(entry, stale)


def other_amount(entry: Entry) -> Entry:
    """Return the entry as it would be for twice the money."""
    return replace(entry, amount_fen=entry.amount_fen * 2, arrived_fen=entry.arrived_fen * 2)


def other_account(entry: Entry) -> Entry:
    """Return the entry as it would be for a neighbour: the account with another last character."""
    return replace(entry, account=entry.account[:-1] + ("1" if entry.account[-1:] != "1" else "2"))


def _fault(entry: Entry) -> Fault:
    return NO_FAULT if entry.fault is None else FAULTS[entry.fault]


def _next(entry: Entry, fault: Fault) -> Standing | None:
    if entry.status is Standing.CANCELLING:
        return Standing.CANCELLED
    return _NEXT[fault.course].get(entry.status)
