"""Orders at one gateway, driven over real HTTP as the worker drives them; the machine decides, there is no broker.

Whatever is seen on the way is searched for what must not be shown.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, SecretStr
from support.house import House, find
from support.market import Market
from support.post import Post
from support.unseen import assert_unseen

from schemas.decode import decode_submit
from worker.core.machine import Decision, Moment, admit, decide
from worker.core.order import ACCOUNT_FIELDS, TASKS, Event, Fact, Order, State, Task
from worker.core.outcome import Report, Submitted
from worker.gateways.base import Adapter, CallbackRefusal, CallbackReport, RawCallback, Reply
from worker.gateways.cards import CardBook
from worker.gateways.gateway import Gateway
from worker.gateways.http import Sender
from worker.gateways.lease import Lease
from worker.gateways.registry import adapters

HOUSES: Mapping[str, House] = find()
TIMES = {
    "timeout_seconds": 2.0,
    "lease_seconds": 5,
    "query_after_seconds": [0.1],
    "settle_seconds": 0.6,
    "settle_queries": 3,
}
"""A gateway that is not waited for long; the simulators' own times (`QUICK`) fit into these."""
QUICK: Mapping[str, Any] = {
    "port": 0,
    "by_ending": False,
    "settle_after": 0.1,
    "late_seconds": 3.0,
    "slow_seconds": 0.1,
    "absent_seconds": 0.3,
    "unlisted_seconds": 0.3,
    "payer_late_seconds": 0.5,
    "callback_repeat_after": 0.1,
    "callback_timeout": 2.0,
}
_PACE = 0.1
_QUIET = 0.7
"""As long as nothing is heard of an order that has ended, until it is left alone: several steps of a simulated life."""
_numbers = itertools.count(1)


def kinds() -> dict[str, type[Adapter]]:
    """Return every adapter that has a house; a test of its own wants each to have one."""
    return {name: kind for name, kind in sorted(adapters().items()) if name in HOUSES}


def products() -> list[tuple[str, str]]:
    """Return every adapter with each of its products."""
    return [(name, product) for name, kind in kinds().items() for product in sorted(kind.products)]


def simulated(root: Path) -> dict[str, Mapping[str, Any]]:
    """Return the settings of every simulator that a house knows."""
    return {house.simulator: house.simulated(_directory(root, name)) for name, house in HOUSES.items()}


def _directory(root: Path, name: str) -> Path:
    made = root / name
    made.mkdir(exist_ok=True)
    return made


class Desk:
    """One configured gateway before its simulator."""

    def __init__(self, house: House, market: Market, gateway: Gateway, post: Post) -> None:
        self.house = house
        self.market = market
        self.gateway = gateway
        self.post = post
        self.features = gateway.adapter.features
        secrets = [secret.splitlines() for secret in _secrets(gateway.adapter.settings)]
        self.secrets = tuple(line for lines in secrets for line in lines if not line.startswith("-----"))
        self.keys = frozenset(line for lines in secrets for line in lines if len(lines) > 1)  # those of PEM
        self.canaries = (*self.secrets, *(each for sample in house.samples.values() for each in sample.canaries))

    def order(self, product: str) -> "Dealing":
        """Return a new order, not sent yet."""
        return Dealing(self, product)

    def force(self, fault: str, *, call: str, times: int = 1) -> None:
        """Let the next such calls, about whatever, get this fault."""
        self.market.force("*", fault, call, times, self.house.simulator)


class Opens(Protocol):
    """Opens desks."""

    def __call__(self, name: str, *, patient: bool = False, **changes: Any) -> AbstractAsyncContextManager[Desk]:
        """Open the desk of a gateway, before a simulator whose orders end soon or (`patient`) never; see `at_desk`."""


class Dealing:
    """One order, and all that happened to it."""

    def __init__(self, desk: Desk, product: str) -> None:
        sample, number = desk.house.samples[product], next(_numbers)
        self.desk = desk
        self.order = _order(desk.gateway.name, product, number, sample.amount_fen, sample.target)
        self.canaries = (*desk.secrets, *sample.canaries, self.order.account)
        self.facts: list[Fact] = []
        self.states: list[State] = []
        self.refused: list[CallbackRefusal] = []
        self._read = 0

    # --- the simulator -----------------------------------------------------------------------------

    def force(self, fault: str, call: str = "push", times: int = 1) -> None:
        """Let the next such calls about this order get a fault."""
        self.desk.market.force(self.order.account, fault, call, times, self.desk.house.simulator)

    def entries(self) -> list[dict[str, Any]]:
        """What the simulator has in its ledger about this order."""
        simulator, account = self.desk.house.simulator, self.order.account
        return [
            each for each in self.desk.market.entries() if (each["gateway"], each["account"]) == (simulator, account)
        ]

    def charges(self) -> int:
        """How often money moved for this order."""
        return sum(int(entry["charges"]) for entry in self.entries())

    def pushes(self) -> int:
        """How often it was pushed."""
        return sum(int(entry["pushes"]) for entry in self.entries())

    def moment(self) -> datetime:
        """Return what time it is."""
        return _now()

    # --- the worker --------------------------------------------------------------------------------

    async def submit(self, lease: Lease | None = None) -> Submitted:
        """Send it, once."""
        policy = self.desk.gateway.policy
        if self.order.version == 0:
            self.order = admit(self.order, Moment(_now(), policy), sending=True).order
        else:
            self.apply(Fact(Event.TAKEN))
        sent = self.order
        outcome = await self.desk.gateway.submit(sent, _now(), lease or Lease.lasting(policy.lease))
        self.apply(outcome.fact(sent))
        return outcome

    async def query(self) -> Report:
        """Ask about it."""
        asked, at = self.order, _now()
        report = await self.desk.gateway.query(asked, at)
        self.apply(report.answer(self.order, asked, at))
        return report

    async def reply(self) -> Reply:
        """Ask, and return the answer's raw bytes, which nobody reads."""
        request = next(self.desk.gateway.adapter.query(self.order, _now()))
        sender = Sender(1, 5.0)
        try:
            return await sender.send(request)
        finally:
            await sender.close()

    async def ask(self, seconds: float = 5.0) -> State:
        """Ask, and listen to no callback, until it is closed; return how it stands."""
        ends = time.monotonic() + seconds
        while self.order.state in TASKS and time.monotonic() < ends:
            await self.query()
            await asyncio.sleep(_PACE / 2)
        return self.order.state

    async def cancel(self) -> Report | None:
        """Ask to cancel it; None: this gateway cannot."""
        if not self.desk.gateway.cancels:
            return None
        asked, at = self.order, _now()
        report = await self.desk.gateway.cancel(asked, at)
        self.apply(report.answer(self.order, asked, at))
        return report

    def apply(self, fact: Fact) -> Decision | None:
        """Let the machine decide, and search what it was told; None: nothing comes of it."""
        self.search(fact._replace(payment=None))  # a credential is for whoever ordered
        self.facts.append(fact)
        decision = decide(self.order, fact, Moment(_now(), self.desk.gateway.policy))
        if not isinstance(decision, Decision):
            return None
        self.order = decision.order
        if not self.states or self.states[-1] is not self.order.state:
            self.states.append(self.order.state)
        return decision

    async def hear(self) -> bool:
        """Apply the callbacks that have come; return whether one was about this order."""
        news = False
        heard = self.desk.post.heard
        while self._read < len(heard):
            raw = heard[self._read]
            self._read += 1
            news = await self._told(raw) or news
        return news

    async def _told(self, raw: RawCallback) -> bool:
        parsed = self.desk.gateway.parse_callback(raw)
        if isinstance(parsed, CallbackRefusal):
            self.search(parsed)
            self.refused.append(parsed)
            return False
        if parsed.reference != self.order.reference:
            return False
        self.apply(parsed.report.fact(self.order, self.order.attempt))
        if not parsed.report.proven and self.order.state not in TASKS:
            await self.query()
        return True

    async def callback(self, number: int = 1, seconds: float = 5) -> tuple[RawCallback, CallbackReport]:
        """Wait for a callback about this order, the `number`th, and return it without applying it."""
        deadline = time.monotonic() + seconds
        while True:
            found = 0
            for raw in self.desk.post.heard:
                parsed = self.desk.gateway.parse_callback(raw)
                if isinstance(parsed, CallbackReport) and parsed.reference == self.order.reference:
                    found += 1
                    if found == number:
                        return raw, parsed
            assert time.monotonic() < deadline, "no such callback came"
            await asyncio.sleep(_PACE / 2)

    async def follow(self, seconds: float = 5.0) -> State:
        """Do what the worker would, faster, until nothing happens to it any more; return how it stands."""
        began = news = time.monotonic()
        while time.monotonic() < began + seconds:
            before = self.order.state
            if await self.hear():
                news = time.monotonic()
            task = TASKS.get(self.order.state)
            if task is Task.SUBMIT:
                await self.submit()
            elif task is Task.QUERY:
                await self.query()
            elif time.monotonic() > news + _QUIET:
                break
            if self.order.state is not before:
                news = time.monotonic()
            await asyncio.sleep(_PACE)
        return self.order.state

    def search(self, shown: object) -> None:
        """Fail if anything that must not be shown can be seen in it."""
        assert_unseen(f"{shown!r} {shown!s}", self.canaries)


@asynccontextmanager
async def at_desk(
    name: str, market: Market, root: Path, *, codes: bool = True, cards: CardBook | None = None, **changes: Any
) -> AsyncIterator[Desk]:
    """Build a gateway; `codes`: with the codes that its house knows, `changes`: of its settings."""
    house, kind = HOUSES[name], adapters()[name]
    post = Post()
    async with post.open():
        given: dict[str, Any] = {"adapter": name, "base_url": market.base(house.simulator), **TIMES}
        if "notify_url" in kind.settings_type.model_fields:
            given["notify_url"] = post.url
        given |= {**house.settings(_directory(root, name)), **(house.codes if codes else {}), **changes}
        gateway = Gateway.build(kind, name, kind.settings_type.model_validate(given))
        gateway.cards = cards
        post.gateway = gateway
        before = len(market.crashes())
        try:
            yield Desk(house, market, gateway, post)
        finally:
            await gateway.close()
        assert market.crashes()[before:] == [], "a simulator failed by itself"


def _order(gateway: str, product: str, number: int, amount_fen: int, target: Mapping[str, Any]) -> Order:
    """Return an order as intake makes it of its message."""
    field = ACCOUNT_FIELDS[product]
    account = f"{str(target[field])[:-6]}{number:06d}"
    message = {
        "order_no": f"C{number:06d}",
        "source": "contract",
        "product": product,
        "amount_fen": amount_fen,
        "target": {**target, field: account},
    }
    read = decode_submit(json.dumps(message).encode(), product)
    return Order(
        order_no=read.order_no,
        source=read.source,
        product=product,
        amount_fen=read.amount_fen,
        target=read.target_fields(),
        route=(gateway,),
        gateway=gateway,
    )


def _secrets(settings: object) -> Iterator[str]:
    """Yield every secret in the settings."""
    if isinstance(settings, SecretStr):
        yield settings.get_secret_value()
    elif isinstance(settings, BaseModel):
        for _name, value in settings:
            yield from _secrets(value)
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from _secrets(value)


def _now() -> datetime:
    return datetime.now(UTC)
