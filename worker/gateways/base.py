"""What a gateway's adapter is: a translator between our orders and its wire format, without I/O.

A call is a generator that yields requests and is sent replies, so that a flow of several steps stays
a straight line and is tested without a server. What the transport does to a request (nothing sent,
no answer) never reaches an adapter: the sender settles it by whether the request moves money.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from worker.core.order import Order
from worker.core.outcome import Report, Submitted
from worker.gateways.settings import GatewaySettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, byte for byte as it is to be sent; `url` is already percent-encoded."""

    operation: str  # what it does, for metrics and the transcript: `push`, `query`, `balance`…
    method: str
    url: str
    body: bytes
    content_type: str | None
    moves_money: bool  # True: without a readable answer its outcome is unknown
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The gateway's raw answer: bounded bytes, not yet decoded; look headers up by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Call = Generator[Request, Reply, T]


class UnreadableReplyError(Exception):
    """The answer is not what this gateway's documents describe; it proves nothing. The text is masked."""


@dataclass(frozen=True, slots=True)
class RawCallback:
    """A callback as the relay got it: untouched bytes, header names in lower case."""

    received_at: datetime
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class CallbackReport:
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
    repeat_safe: ClassVar[bool] = False  # a submit whose answer was lost has cost nothing and may be repeated
    charset: ClassVar[str] = "utf-8"  # of its bodies
    secrets: ClassVar[frozenset[str]] = frozenset()  # fields of its requests and answers that are never shown

    def __init__(self, name: str, settings: Any) -> None:
        self.name = name
        self.settings = settings

    @abstractmethod
    def submit(self, order: Order, now: datetime) -> Call[Submitted]:
        """Send the order under `order.reference`; a refusal before any request is a `REJECTED` too."""

    @abstractmethod
    def query(self, order: Order, now: datetime) -> Call[Report]:
        """Ask what became of the order's current attempt."""

    @abstractmethod
    def balance(self, now: datetime) -> Call[int]:
        """Ask for our balance there, in fen."""

    @abstractmethod
    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Read a callback and verify it as far as this gateway allows."""

    @abstractmethod
    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        """Return what this gateway wants to hear about a callback."""
