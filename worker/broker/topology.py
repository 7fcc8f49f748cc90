"""Which exchanges, queues and bindings there are: as data, created by `worker migrate`, compared by everybody else."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiormq import Channel

from worker.broker.connection import NOT_FOUND, BrokerLostError, BrokerRefusedError, Link, ask, close_channel
from worker.core.order import ACCOUNT_FIELDS

FORBIDDEN = 403
PRODUCTS = tuple(ACCOUNT_FIELDS)

MIGRATE = "run `worker migrate --broker`"
"""What to do about what is missing."""
MIGRATE_UNHEARD = (
    "stop the workers, `worker migrate --broker`, have the producers bind their queues, start the workers "
    "(deploy/README.md#eventsunheard)"
)
"""What to do about the exchange of events: its bindings are the producers', and went with it."""


class Problem(NamedTuple):
    """What is missing or different in the broker, and what to do about it."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}: {self.fix}"


class TopologyError(Exception):
    """Something exists otherwise than it has to; `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable topic exchange."""

    name: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue, and the one key by which an exchange fills it."""

    name: str
    exchange: str
    key: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that is called `<prefix>…`. What is tunable (limits, lengths) is left to policies."""

    prefix: str
    products: tuple[str, ...] = PRODUCTS

    @property
    def main(self) -> str:
        """The exchange of what others send to the worker."""
        return self.prefix

    @property
    def events(self) -> str:
        """The exchange of what the worker tells others."""
        return f"{self.prefix}.events"

    @property
    def dead(self) -> str:
        """The exchange, and the queue, of what could not be processed."""
        return f"{self.prefix}.dead"

    @property
    def callbacks(self) -> str:
        """The queue of relayed callbacks."""
        return f"{self.prefix}.callbacks"

    @property
    def commands(self) -> str:
        """The queue of commands."""
        return f"{self.prefix}.commands"

    def remedy(self, exchange: str) -> str:
        """Return what to do when this exchange is missing."""
        return MIGRATE_UNHEARD if exchange == self.events else MIGRATE

    def submit(self, product: str) -> str:
        """Return the queue of a product's orders."""
        return f"{self.prefix}.submit.{product}"

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The exchanges; each comes after those that it names."""
        return (
            Exchange(self.dead, {}),
            Exchange(self.events, {}),
            Exchange(self.main, {"alternate-exchange": self.dead}),
        )

    @property
    def queues(self) -> tuple[Queue, ...]:
        """The queues, the dead letters' first: nothing may die before they have a place."""
        quorum = {"x-queue-type": "quorum"}
        safe = quorum | {
            "x-dead-letter-exchange": self.dead,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        return (
            Queue(self.dead, self.dead, "#", quorum),
            Queue(self.callbacks, self.main, "callback.#", safe),
            Queue(self.commands, self.main, "command.#", safe),
            *(Queue(self.submit(name), self.main, f"submit.{name}", safe) for name in self.products),
        )


@dataclass(frozen=True, slots=True)
class _Item:
    """One exchange or queue, and how to ask for it."""

    title: str
    look: Callable[[Channel], Coroutine[Any, Any, Any]]  # passive: fails when it is missing
    make: Callable[[Channel], Coroutine[Any, Any, Any]]  # fails when it exists otherwise
    bind: Callable[[Channel], Coroutine[Any, Any, Any]] | None = None
    remedy: str = MIGRATE  # when it is missing


async def declare(url: str, topology: Topology) -> None:
    """Create what is missing. Nothing is ever changed or deleted; to do it again, or twice at once, is harmless.

    Raises:
        TopologyError: something exists otherwise; all the rest was created.
        BrokerLostError: the broker is away.
    """
    link = await Link.connect(url, "worker migrate")
    try:
        problems = [str(problem) for item in _items(topology) if (problem := await _make(link, item))]
    finally:
        await link.close()
    if problems:
        raise TopologyError(problems)


async def check(url: str, topology: Topology) -> list[str]:
    """Return a line for each exchange and queue that is missing or different, saying what to do; change nothing.

    Bindings cannot be asked for; `worker migrate` makes sure of them.

    Raises:
        BrokerLostError: the broker is away.
    """
    link = await Link.connect(url, "worker check")
    try:
        return [str(problem) for problem in await compare(link, topology)]
    finally:
        await link.close()


async def compare(link: Link, topology: Topology) -> list[Problem]:
    """Return what is missing or different, as `check` does, on a connection that is there.

    Raises:
        BrokerLostError: the broker is away.
    """
    return [problem for item in _items(topology) if (problem := await _check(link, item))]


async def lacks_events(url: str, topology: Topology) -> bool:
    """Return whether the exchange of events is missing: once it is made, no producer's queue is bound to it.

    Raises:
        BrokerLostError: the broker is away.
    """
    link = await Link.connect(url, "worker migrate")
    try:
        refusal = await _refusal(link, lambda channel: channel.exchange_declare(topology.events, passive=True), "look")
    finally:
        await link.close()
    return refusal is not None and refusal.code == NOT_FOUND


async def await_topology(url: str, topology: Topology, wait: Callable[[list[str]], Awaitable[None]]) -> None:
    """Return when the broker answers and everything is there; until then `wait` is given what is wrong, each time."""
    while True:
        try:
            problems = await check(url, topology)
        except BrokerLostError as error:
            problems = [f"the broker cannot be used: {error}"]
        if not problems:
            return
        await wait(problems)


def _items(topology: Topology) -> Iterator[_Item]:
    for exchange in topology.exchanges:
        yield _exchange(exchange, topology.remedy(exchange.name))
    for queue in topology.queues:
        yield _queue(queue)


def _exchange(it: Exchange, remedy: str) -> _Item:
    return _Item(
        f"exchange `{it.name}`",
        lambda channel: channel.exchange_declare(it.name, passive=True),
        lambda channel: channel.exchange_declare(
            it.name, exchange_type="topic", durable=True, arguments=dict(it.arguments)
        ),
        remedy=remedy,
    )


def _queue(it: Queue) -> _Item:
    return _Item(
        f"queue `{it.name}`",
        lambda channel: channel.queue_declare(it.name, passive=True),
        lambda channel: channel.queue_declare(it.name, durable=True, arguments=dict(it.arguments)),
        lambda channel: channel.queue_bind(it.name, it.exchange, it.key),
    )


async def _make(link: Link, item: _Item) -> Problem | None:
    refusal = await _refusal(link, item.make, item.title)
    if refusal is None and item.bind is not None:
        refusal = await _refusal(link, item.bind, f"binding of {item.title}")
    return None if refusal is None else _problem(item, refusal)


async def _check(link: Link, item: _Item) -> Problem | None:
    """A passive declare tells nothing of arguments; an active one does, and creates nothing where it exists."""
    if (refusal := await _refusal(link, item.look, item.title)) is not None:
        return _problem(item, refusal)
    refusal = await _refusal(link, item.make, item.title)
    if refusal is None or refusal.code == FORBIDDEN:  # a worker need not be allowed to configure anything
        return None
    return _problem(item, refusal)


async def _refusal(
    link: Link, call: Callable[[Channel], Coroutine[Any, Any, Any]], what: str
) -> BrokerRefusedError | None:
    """Ask on a channel of its own, which a refusal ends."""
    channel = await link.channel()
    try:
        await ask(call(channel), what)
    except BrokerRefusedError as error:
        return error
    finally:
        await close_channel(channel)
    return None


def _problem(item: _Item, refusal: BrokerRefusedError) -> Problem:
    title = item.title
    match refusal.code:
        case 404:
            return Problem(f"{title} is missing", item.remedy)
        case 406:
            return Problem(
                f"{title} exists with other properties ({refusal.words})",
                "nothing is deleted for you; once it is empty and unused, delete it and run `worker migrate --broker`, "
                "or choose another `[amqp] prefix`",
            )
        case 403:
            return Problem(
                f"{title} may not be looked at ({refusal.words})", "give the user the `configure` permission on it"
            )
        case _:
            return Problem(f"{title} cannot be used ({refusal.words})", "see who else holds it, and end that")
