"""What the commands about dead letters share: which letters are meant, taking them in hand, asking a person."""

# ruff: noqa: PLC0415 - the broker's client and the models are slow to import, and `worker --help` needs neither

import asyncio
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import FailedError
from worker.cli.dead_output import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.broker.letterbox import Letterbox
    from worker.config import Settings
    from worker.flows.dead_letters import Forecast

ReasonOption = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="REASON", help="Which died of this; may be given several times"),
]
OrderOption = Annotated[
    list[str] | None,
    typer.Option("--order-no", metavar="ORDER_NO", help="Which are about this order; may be given several times"),
]
IdOption = Annotated[
    list[str] | None, typer.Option("--id", metavar="ID", help="Which `dead list` calls so; may be given several times")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; without a terminal nobody is asked anyway")]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters: of each option any of its values, of several options all."""

    reasons: frozenset[str]
    order_nos: frozenset[str]
    ids: frozenset[str]

    @property
    def everything(self) -> bool:
        """Whether nothing was named."""
        return not (self.reasons or self.order_nos or self.ids)

    def __contains__(self, row: Row) -> bool:
        return (
            (not self.reasons or row.letter.reason in self.reasons)
            and (not self.order_nos or row.subject.order_no in self.order_nos)
            and (not self.ids or row.letter.id in self.ids)
        )

    def missing(self, rows: Sequence[Row]) -> list[str]:
        """Return a line for each letter or order that was named and is not there."""
        lines = [f"{each}: there is no such letter" for each in self.ids - {row.letter.id for row in rows}]
        numbers = {row.subject.order_no for row in rows}
        return sorted(lines + [f"{each}: no letter is known to be about it" for each in self.order_nos - numbers])


def selection(reasons: list[str] | None, order_nos: list[str] | None, ids: list[str] | None) -> Selection:
    """Return what the options name.

    Raises:
        typer.BadParameter: there is no such reason.
    """
    from schemas.dead import DeadReason
    from worker.broker.letters import UNROUTABLE

    known = [*DeadReason, UNROUTABLE]
    for reason in reasons or ():
        if reason not in known:
            raise typer.BadParameter(f"{reason}: expected one of {', '.join(known)}", param_hint="--reason")
    return Selection(frozenset(reasons or ()), frozenset(order_nos or ()), frozenset(ids or ()))


@asynccontextmanager
async def letters_in_hand(settings: "Settings") -> "AsyncIterator[tuple[Letterbox, list[Row]]]":
    """Take all dead letters in hand, each with what it is about.

    Raises:
        FailedError: the broker is away, takes no messages, has no such queue, or somebody else has the letters.
    """
    from worker.broker.connection import NOT_FOUND, BrokerLostError, BrokerRefusedError
    from worker.broker.letterbox import Letterbox
    from worker.broker.topology import Topology
    from worker.flows.dead_letters import subject

    topology = Topology(settings.amqp.prefix)
    try:
        async with Letterbox.open(settings.amqp.url.get_secret_value(), topology) as box:
            now = datetime.now(UTC)
            yield (
                box,
                [
                    Row(position, letter, subject(letter, box.body(position), topology, now))
                    for position, letter in enumerate(box.letters)
                ],
            )
    except BrokerRefusedError as error:
        missing = error.code == NOT_FOUND
        raise FailedError(f"broker: {error}", *(["run `worker migrate --broker`"] if missing else [])) from None
    except BrokerLostError as error:
        raise FailedError(f"broker: {error}") from None


def wanted_rows(chosen: Selection, rows: Sequence[Row]) -> list[Row]:
    """Return the letters that are chosen.

    Raises:
        FailedError: one that is named is not there.
    """
    if missing := chosen.missing(rows):
        raise FailedError(*missing)
    return [row for row in rows if row in chosen]


async def without_known(settings: "Settings", expected: "Forecast") -> "tuple[Forecast, bool]":
    """Return the forecast without the orders that the ledger has, and whether it could be asked."""
    dsn = settings.database.dsn.get_secret_value()
    if not expected.amounts or not dsn:
        return expected, not expected.amounts
    from worker.ledger.connection import opened
    from worker.ledger.reading import Reader
    from worker.ledger.trouble import describe

    try:
        async with opened(dsn) as pool:
            return expected.without(await Reader(pool).known(list(expected.amounts))), True
    except Exception as error:
        if describe(error) is None:
            raise
        return expected, False


def asks(*, yes: bool) -> bool:
    """Whether a person is to be asked first."""
    return not yes and sys.stdin.isatty()


async def confirmed(question: str) -> bool:
    """Ask a person, while the connections go on."""
    typer.echo(f"{question} [y/N] ", nl=False, err=True)
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), answered.set)
    try:
        await answered.wait()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    finally:
        loop.remove_reader(sys.stdin.fileno())


def batches(rows: list[Row]) -> list[list[Row]]:
    """Return letters in parts that are dealt with at once."""
    from worker.broker.letterbox import BATCH

    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def letters_text(count: int) -> str:
    """Return so many letters in words."""
    return f"{count} {'letter' if count == 1 else 'letters'}"
