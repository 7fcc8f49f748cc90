"""What every simulated gateway has in common: how a call goes. The rest, the dialect, is a subclass."""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from aiohttp import web

from worker.sandbox.answers import Answerer, Call, Reply, drop, reset
from worker.sandbox.book import Book, Entry, Standing, Wanted
from worker.sandbox.callbacks import Callback
from worker.sandbox.cards import Cards
from worker.sandbox.choosing import Asked, Faults
from worker.sandbox.faults import FAULTS, NO_FAULT, Answer, Callbacks, Fault, Reason, View
from worker.sandbox.life import Life, other_account, other_amount
from worker.sandbox.settings import SandboxSettings

Work = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):  # noqa: N818 - it is an answer of the gateway, not a failure of the sandbox
    """The gateway's definite no: its code, a message, the order number where it is known, what else it tells."""

    def __init__(self, code: str, message: str, order_no: str = "", *, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.order_no = order_no
        self.data = data


class NotSupportedError(Exception):
    """This gateway has no such thing; the text says which."""


@dataclass(frozen=True, slots=True)
class House:
    """What the simulators share."""

    settings: SandboxSettings
    book: Book
    cards: Cards
    faults: Faults
    answerer: Answerer
    life: Life


class Simulator(ABC):
    """One simulated gateway: a subclass is its dialect, found by `worker.sandbox.discovery`."""

    name: ClassVar[str]  # in the ledger, and the prefix of its URLs
    settings_type: ClassVar[type]  # a frozen dataclass: its credentials and options, all with defaults
    refusals: ClassVar[Mapping[Reason, tuple[str, str]]]  # this gateway's code and message
    lacks: ClassVar[frozenset[str]] = frozenset()  # names of the faults that make no sense here: nobody gets them
    calls: ClassVar[frozenset[str]] = frozenset({"push", "query", "cancel", "balance"})  # that can get a fault
    begins: ClassVar[Standing] = Standing.CHARGING  # how an order stands once it is taken
    prepaid: ClassVar[bool] = True  # a push takes from a balance, and is refused when that is too low

    def __init__(self, house: House, settings: Any) -> None:
        self.house = house
        self.book = house.book
        self.settings = settings

    # --- the dialect -------------------------------------------------------------------------------

    @abstractmethod
    def mount(self, app: web.Application) -> None:
        """Add the routes, each with `route`."""

    @abstractmethod
    def refusal(self, refused: Refused) -> Reply:
        """Write a refusal of whatever call."""

    @abstractmethod
    def pushed(self, entry: Entry) -> Reply:
        """Write the answer to a push that was taken."""

    @abstractmethod
    def shown(self, entry: Entry) -> Reply:
        """Write the answer to a query about an order that stands as `entry` says, `UNLISTED` included."""

    def callback(self, entry: Entry) -> Callback | None:  # noqa: ARG002 - for subclasses
        """Write the callback about an order that stands as `entry` says; None: nobody is told of that."""
        return None

    def forged(self, callback: Callback) -> Callback:  # noqa: ARG002 - for subclasses
        """Return the same callback with a wrong signature."""
        raise NotSupportedError(f"{self.name} signs no callbacks")

    def pays(self, entry: Entry) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether the payer of an order that awaits his payment acts by himself."""
        return True

    def forged_reply(self, reply: Reply) -> Reply:  # noqa: ARG002 - for subclasses
        """Return the same answer with a wrong signature."""
        raise NotSupportedError(f"{self.name} signs no answers")

    def rotate(self) -> Mapping[str, Any]:
        """Begin to sign with another key; return what the merchant may know of it."""
        raise NotSupportedError(f"{self.name} has no keys that rotate")

    # --- for the dialect ---------------------------------------------------------------------------

    def route(self, app: web.Application, path: str, work: Work, *, method: str = "*", push: bool = False) -> None:
        """Serve `path` under this gateway's prefix; `push`: it takes orders. `work` may raise `Refused`."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if push and self.house.faults.strikes_unread(self.name):
                self.book.note_refusal(self.name, "unread")
                return reset(request)
            try:
                return await work(request)
            except Refused as refused:
                return self._refuse(refused).response()
            except (web.HTTPException, web.RequestPayloadError, OSError):  # the caller's, or he is gone
                raise
            except Exception as error:
                self.book.note_crash(self.name, error)
                raise

        app.router.add_route(method, f"/{self.name}{path}", handle)

    def find(self, order_no: str) -> Entry | None:
        """Return the entry of our number, also when the order was never taken."""
        return self.book.find(self.name, order_no)

    def find_number(self, order_number: str) -> Entry | None:
        """Return the entry of the gateway's number."""
        return self.book.find_number(self.name, order_number)

    def no(self, reason: Reason, order_no: str = "") -> Refused:
        """Return the refusal for this reason, to be raised."""
        code, message = self.refusals[reason]
        return Refused(code, message, order_no)

    # --- how a call goes ---------------------------------------------------------------------------

    async def push(self, request: web.Request, wanted: Wanted) -> web.StreamResponse:
        """Take an order, or not, as its fault wants; what is wrong with its form was refused before.

        Raises:
            Refused: the number is known, or the balance is too low.
        """
        known = self.find(wanted.order_no)
        if known is not None and known.taken:
            return await self._push_again(request, known)
        entry = self.book.open(self.name, wanted)
        self.book.note(entry, "push")
        fault = self._fault(self.house.faults.for_push(self._asked("push", entry), first=not (known or wanted.again)))
        entry.fault = fault.name or entry.fault
        self.book.keep(entry)
        call = Call(request, self.name, "push", entry.order_no)
        if not await self.house.answerer.may_begin(call, fault):
            return drop(request)
        if not fault.taken:
            return await self.house.answerer.give(call, fault, self._turned_away(fault, entry.order_no))
        if entry.taken:  # another push of the number came by while this one was held
            return await self._push_again(request, entry, counted=True)
        if self.prepaid and entry.amount_fen > self.book.balance_fen(self.name):
            raise self.no(Reason.BALANCE_TOO_LOW, entry.order_no)
        self.book.take(entry, self.begins)
        if fault.callbacks is Callbacks.EARLY:
            await self.house.life.step_before_answer(entry)
        self.house.life.begin(entry)
        return await self._give(call, fault, self.pushed(entry))

    async def query(self, request: web.Request, entry: Entry | None, order_no: str = "") -> web.StreamResponse:
        """Show an order; `order_no` is what was asked for when there is no entry."""
        if entry is None:
            reply = self._refuse(self.no(Reason.NO_SUCH_ORDER, order_no))
            return await self.answer(request, "query", lambda: reply, order_no)
        self.book.note(entry, "query")
        return await self.answer(request, "query", lambda: self._seen(entry), entry.order_no, entry.account)

    async def cancel(
        self, request: web.Request, entries: Iterable[Entry], done: Callable[[], Reply]
    ) -> web.StreamResponse:
        """Cancel all of these orders, or none when one is beyond it; `done` writes the answer."""
        chosen = list(entries)
        for entry in chosen:
            self.book.note(entry, "cancel")

        def begin() -> Reply:
            if any(entry.status is not self.begins for entry in chosen):
                raise self.no(Reason.NOT_POSSIBLE, chosen[0].order_no)
            for entry in chosen:
                self.book.move(entry, Standing.CANCELLING)
            return done()

        return await self.answer(request, "cancel", begin, chosen[0].order_no, chosen[0].account)

    async def answer(
        self, request: web.Request, call: str, write: Callable[[], Reply], order_no: str = "", account: str = ""
    ) -> web.StreamResponse:
        """Answer a call that takes no order: `write` does what it asks for, unless a fault prevents it."""
        fault = self._fault(self.house.faults.for_call(Asked(self.name, call, order_no, account)))
        made = Call(request, self.name, call, order_no)
        if not await self.house.answerer.may_begin(made, fault):
            return drop(request)
        return await self._give(made, fault, write() if fault.taken else self._turned_away(fault, order_no))

    async def _push_again(self, request: web.Request, entry: Entry, *, counted: bool = False) -> web.StreamResponse:
        if not counted:
            self.book.note(entry, "push")
            self.book.keep(entry)
        if not self.house.settings.accept_duplicates:
            raise self.no(Reason.DUPLICATE, entry.order_no)
        self.book.charge(entry)
        self.house.life.begin_again(entry)
        fault = self._fault(self.house.faults.for_call(self._asked("push", entry)))
        return await self._give(Call(request, self.name, "push", entry.order_no), fault, self.pushed(entry))

    def _seen(self, entry: Entry) -> Reply:
        settings = self.house.settings
        view = FAULTS[entry.fault].view if entry.fault is not None else View.TRUE
        age = time.time() - entry.taken_at
        if not entry.taken or (view is View.ABSENT and age < settings.absent_seconds):
            return self.refusal(self.no(Reason.NO_SUCH_ORDER, entry.order_no))
        if view is View.UNLISTED_STATUS and age < settings.unlisted_seconds:
            entry = replace(entry, status=Standing.UNLISTED)
        elif view is View.OTHER_AMOUNT:
            entry = other_amount(entry)
        elif view is View.OTHER_ACCOUNT:
            entry = other_account(entry)
        return self.shown(entry)

    async def _give(self, call: Call, fault: Fault, reply: Reply) -> web.StreamResponse:
        if fault.says is not None:
            reply = self._turned_away(fault, call.order_no)
        if fault.answer is Answer.FORGED:
            reply = self.forged_reply(reply)
        return await self.house.answerer.give(call, fault, reply)

    def _turned_away(self, fault: Fault, order_no: str) -> Reply:
        """Write what the fault makes the gateway say; whoever says nothing at all is not heard anyway."""
        return self.refusal(self.no(fault.says or Reason.UNLISTED, order_no))

    def _asked(self, call: str, entry: Entry) -> Asked:
        return Asked(self.name, call, entry.order_no, entry.account)

    def _fault(self, fault: Fault) -> Fault:
        return NO_FAULT if fault.name in self.lacks else fault

    def _refuse(self, refused: Refused) -> Reply:
        self.book.note_refusal(self.name, refused.code)
        return self.refusal(refused)
