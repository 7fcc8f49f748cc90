"""How dead letters are shown: in groups, one by one, and what replaying them could come to."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from worker.cli.output import Table, moment
from worker.core.money import fen_to_text

if TYPE_CHECKING:
    from worker.broker.letters import Letter
    from worker.flows.dead_letters import Forecast, Subject

_AGES = (
    ("under 1 h", timedelta(hours=1)),
    ("under 1 d", timedelta(days=1)),
    ("under 7 d", timedelta(days=7)),
    ("over 7 d", timedelta.max),
)
_NAMES = (
    ("order", "order", "orders"),
    ("callback", "callback", "callbacks"),
    ("command", "command", "commands"),
    ("stray", "message that no queue of the worker takes", "messages that no queue of the worker takes"),
)


class Row(NamedTuple):
    """A letter in hand, and what it is about."""

    position: int
    letter: "Letter"
    subject: "Subject"

    def age_key(self) -> tuple[bool, float, int]:
        """The newest first; last those whose time is not known, in their order."""
        at = self.letter.at
        return at is None, -at.timestamp() if at is not None else 0.0, self.position

    def view(self) -> dict[str, Any]:
        """Return its line of `dead list --json`."""
        letter = self.letter
        return {
            "id": letter.id,
            "reason": letter.reason,
            "detail": letter.detail,
            "queue": letter.queue,
            "key": letter.key,
            "at": None if letter.at is None else letter.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "order_no": self.subject.order_no,
        }

    def log(self) -> dict[str, Any]:
        """Return what a log line tells of it."""
        letter = self.letter
        told = {
            "letter": letter.id,
            "order_no": self.subject.order_no,
            "reason": letter.reason,
            "detail": letter.detail,
            "queue": letter.queue,
            "routing_key": letter.key,
            "message_id": letter.properties.message_id,
        }
        return {name: value for name, value in told.items() if value is not None}


def write_groups(rows: Sequence[Row], now: datetime) -> None:
    """Write how many letters there are of each reason, gateway and age, the most first."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.letter.reason, row.subject.gateway or "", _age(row.letter.at, now)), []).append(row)
    table = Table("reason", "gateway", "age", ">letters", ">orders", "oldest")
    table.write(
        [
            *key,
            str(len(group)),
            str(len({row.subject.order_no for row in group} - {None})),
            moment(min((row.letter.at for row in group if row.letter.at is not None), default=None), "seconds"),
        ]
        for key, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def write_letters(rows: Sequence[Row]) -> None:
    """Write a line for each letter."""
    table = Table("id", "at", "reason", "key", "order", "detail")
    table.write(
        [
            row.letter.id,
            moment(row.letter.at, "seconds"),
            row.letter.reason,
            row.letter.key,
            row.subject.order_no or "",
            row.letter.detail or "",
        ]
        for row in rows
    )


def say_forecast(count: int, of: int, expected: "Forecast", *, ledger_asked: bool) -> None:
    """Say what replaying so many letters could come to."""
    kinds = [
        f"{expected.kinds[kind]} {one if expected.kinds[kind] == 1 else many}"
        for kind, one, many in _NAMES
        if kind in expected.kinds
    ]
    typer.echo(f"{count} of {of} letters{': ' if kinds else ''}{', '.join(kinds)}")
    orders = len(expected.amounts)
    doubt = "" if ledger_asked else " (the ledger could not be asked which of them are known: those are not sent again)"
    typer.echo(
        f"at most {orders} {'order' if orders == 1 else 'orders'} could be submitted by it, "
        f"for {fen_to_text(expected.fen)} yuan at most{doubt}"
    )
    if expected.refused:
        typer.echo(f"{expected.refused} of the orders cannot be taken in as they are, and come back here")
    if "stray" in expected.kinds:
        typer.echo("what no queue takes comes back here, unless a queue of others takes it")


def _age(at: datetime | None, now: datetime) -> str:
    return "unknown" if at is None else next(name for name, most in _AGES if now - at < most)
