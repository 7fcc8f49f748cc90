"""What a gateway's adapter is: a translator between our orders and its wire format, without I/O.

A call is a generator that yields requests and is sent replies, so that a flow of several steps stays
a straight line and is tested without a server. What the transport does to a request (nothing sent,
no answer) never reaches an adapter: the sender settles it by whether the request moves money.
"""

# ruff: noqa: ARG002 - the defaults take what those that override them need

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, TypeVar

from worker.core.finding import Finding
from worker.core.order import Order
from worker.core.outcome import Report, Submitted
from worker.gateways.cards import CardAction, CardAnswer, CardRefusal, CardStep
from worker.gateways.features import Features
from worker.gateways.settings import GatewaySettings

T = TypeVar("T")


class Request(NamedTuple):
    """One HTTP request, byte for byte as it is to be sent; `url` is already percent-encoded."""

    operation: str  # what it does, for metrics and the transcript: `push`, `query`, `balance`…
    method: str
    url: str
    body: bytes
    content_type: str | None
    moves_money: bool  # True: without a readable answer its outcome is unknown
    headers: Mapping[str, str] | None = None


class Reply(NamedTuple):
    """The gateway's raw answer: bounded bytes, not yet decoded; look headers up by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Call = Generator[Request, Reply, T]

CardCall = Generator[Request | CardStep, Any, T]
"""A call that uses cards: a request is answered by a `Reply`, a card step as `worker.gateways.cards` says."""


class UnreadableReplyError(Exception):
    """The answer is not what this gateway's documents describe; it proves nothing. The text is masked."""


class RefusedError(Exception):
    """The gateway's definite no to a question that is about no order: their `code`, and their text, masked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class RawCallback(NamedTuple):
    """A callback as the relay got it: untouched bytes, header names in lower case."""

    received_at: datetime
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class CallbackReport(NamedTuple):
    """What a readable callback says, and about which order."""

    reference: str | None  # our number, as the gateway repeats it
    upstream_no: str | None
    report: Report


@dataclass(frozen=True, slots=True)
class CallbackRefusal:
    """Why a callback is not believed at all: `reason` as in dead letters, `detail` naming the field, masked."""

    reason: str  # `invalid_message` or `bad_signature`
    detail: str


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the relay answers to a callback."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class Adapter(ABC):
    """One gateway's dialect. `name` is the name of its settings table, which is the order's `gateway`."""

    adapter: ClassVar[str]  # the name that settings choose it by
    products: ClassVar[frozenset[str]]  # what it sells
    settings_type: ClassVar[type[GatewaySettings]]
    features: ClassVar[Features]  # what its interface can say
    repeat_safe: ClassVar[bool] = False  # a submit whose answer was lost has cost nothing and may be repeated
    charset: ClassVar[str] = "utf-8"  # of its bodies
    secrets: ClassVar[frozenset[str]] = frozenset()  # fields of its requests and answers that are never shown

    def __init__(self, name: str, settings: Any) -> None:
        self.name = name
        self.settings = settings

    @abstractmethod
    def submit(self, order: Order, now: datetime) -> Call[Submitted] | CardCall[Submitted]:
        """Send the order under `order.reference`; a refusal before any request is a `REJECTED` too."""

    @abstractmethod
    def query(self, order: Order, now: datetime) -> Call[Report]:
        """Ask what became of the order's current attempt."""

    def balance(self, now: datetime) -> "Call[int] | None":
        """Ask for our balance there, in fen; None: it keeps none for us."""
        return None

    def cancel(self, order: Order, now: datetime) -> "Call[Report] | None":
        """Ask to cancel the order's current attempt, and say where that leaves it; None: this gateway cannot.

        `UNCLEAR` with the gateway's code: it will not, and the order goes on as it did.
        """
        return None

    def packages(self, user_id: str, kind: str, pay_kind: str, now: datetime) -> "Call[Mapping[str, Any]] | None":
        """Ask what a user may buy, and return the gateway's own description; None: it has no such list.

        `kind` is `card` or `sms`, `pay_kind` is `buy` or `upgrade`. Raises `RefusedError` where it says no.
        """
        return None

    def card(
        self, action: CardAction, kind: str, fields: Mapping[str, Any], card_id: str | None, now: datetime
    ) -> "CardCall[CardAnswer | CardRefusal] | None":
        """Add, edit, delete or show a card, as `Gateway.card` says; None: this gateway keeps no cards of that kind."""
        return None

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Read a callback and verify it as far as this gateway allows."""
        return CallbackRefusal("invalid_message", "gateway: it sends no callbacks")

    def acknowledge(self, *, ok: bool) -> Acknowledgement | None:
        """Return what this gateway wants to hear about a callback; None: it sends none."""
        return None

    def self_test(self, now: datetime) -> Iterable[Finding]:
        """Yield whether its keys and secrets do their work, without a call; the default has nothing to test.

        `Finding.check` is the setting that it is about, or `signature`. No finding holds a secret.
        """
        return ()

    def notices(self) -> tuple[str, ...]:
        """Return what an operator should know of this gateway at every start, a line each."""
        return ()
