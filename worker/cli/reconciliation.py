"""What a reconciliation came to, as a table, CSV or JSON."""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.output import Table, moment, write_json
from worker.core.comparison import Class
from worker.core.money import fen_to_text
from worker.ledger.reading import instant

if TYPE_CHECKING:
    from worker.core.movement import Movement
    from worker.ledger.reconciliations import Found, Run, Tally

FIELDS = (
    *("gateway", "order_no", "attempt", "product", "source", "class", "state", "answer", "ours_fen", "theirs_fen"),
    *("amount_fen", "detail", "action", "applied", "asked_at"),
)
"""What is told of each difference; columns of the CSV, and keys in JSON."""

_BALANCE_ACTION = "look for top-ups (--topped-up), fees and charges that no order of ours explains"


@dataclass(frozen=True, slots=True)
class Result:
    """A reconciliation of one period. Amounts are fen."""

    run: "Run"
    tallies: "Sequence[Tally]"
    found: "Sequence[Found]"
    moved: "Mapping[str, Movement | None]"  # by gateway that keeps one; None: no two balances bracket the period

    @property
    def compared(self) -> int:
        """How many attempts were compared."""
        return sum(tally.answered for tally in self.tallies)

    @property
    def complete(self) -> bool:
        """Whether every attempt of the period was compared."""
        return all(tally.answered == tally.listed for tally in self.tallies)

    @property
    def closes(self) -> bool:
        """Whether the period closes: everything was compared, and nothing differs."""
        return self.complete and not self.differences

    @property
    def differences(self) -> list[dict[str, Any]]:
        """Every difference, with the names of `FIELDS`."""
        return [*map(_difference, self.found), *self._balances()]

    def _balances(self) -> Iterator[dict[str, Any]]:
        for name, moved in self.moved.items():
            if moved is not None and moved.difference_fen:
                yield dict.fromkeys(FIELDS) | {
                    "gateway": name,
                    "class": Class.BALANCE_DIFFERS.value,
                    "ours_fen": moved.most_fen if moved.difference_fen > 0 else moved.least_fen,
                    "theirs_fen": moved.left_fen,
                    "amount_fen": abs(moved.difference_fen),
                    "detail": _told(moved),
                    "action": _BALANCE_ACTION,
                    "asked_at": instant(moved.end.at),
                }

    def totals(self) -> list[dict[str, Any]]:
        """Return number and amount of the differences of each class, by gateway."""
        sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for each in self.differences:
            entry = sums[each["gateway"], each["class"]]
            entry[0] += 1
            entry[1] += each["amount_fen"]
        return [
            {"gateway": gateway, "class": kind, "count": count, "amount_fen": amount}
            for (gateway, kind), (count, amount) in sorted(sums.items())
        ]

    def verdict(self) -> str:
        """Return in a line whether the period closes."""
        between = f"{moment(self.run.since, 'seconds')} to {moment(self.run.until, 'seconds')}"
        if self.closes:
            return f"{between}: it closes; {self.compared} compared, nothing differs"
        differences = self.differences
        amount = fen_to_text(sum(each["amount_fen"] for each in differences))
        left = sum(tally.listed - tally.answered for tally in self.tallies)
        rest = f", {left} without an answer" if left else ""
        return (
            f"{between}: it does not close; {self.compared} compared{rest}, "
            f"{len(differences)} differ, {amount} yuan in question"
        )

    # --- writing -----------------------------------------------------------------------------------

    def write(self, form: str) -> None:
        """Write it to standard output: `table`, `csv` or `json`."""
        if form == "json":
            write_json([self.view()])
        elif form == "csv":
            writer = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.differences)
        else:
            self._write_tables()

    def view(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        run = self.run
        return {
            "since": instant(run.since),
            "until": instant(run.until),
            "gateway": run.gateway,
            "closes": self.closes,
            "complete": self.complete,
            "gateways": [
                {
                    "gateway": tally.gateway,
                    "listed": tally.listed,
                    "answered": tally.answered,
                    "differing": tally.differing,
                    "asked_from": _instant(tally.first_asked_at),
                    "asked_to": _instant(tally.last_asked_at),
                }
                for tally in self.tallies
            ],
            "balances": {name: None if moved is None else _view(moved) for name, moved in self.moved.items()},
            "totals": self.totals(),
            "differences": self.differences,
        }

    def _write_tables(self) -> None:
        differences = self.differences
        if differences:
            table = Table("order", ">attempt", "gateway", "class", ">yuan", "detail", "what to do")
            table.write(map(_row, differences))
            typer.echo()
            table = Table("gateway", "class", ">count", ">yuan")
            rows = [
                [each["gateway"], each["class"], str(each["count"]), fen_to_text(each["amount_fen"])]
                for each in self.totals()
            ]
            whole = fen_to_text(sum(each["amount_fen"] for each in differences))
            table.write([*rows, ["all", "", str(len(differences)), whole]])
            typer.echo()
        for tally in self.tallies:
            typer.echo(f"{tally.gateway}: {tally.answered} of {tally.listed} compared, {tally.differing} differ")
        for name, moved in self.moved.items():
            told = "no two readings of the balance bracket the period" if moved is None else _told(moved)
            typer.echo(f"{name}: {told}")
        typer.echo(self.verdict())


def _difference(found: "Found") -> dict[str, Any]:
    values = {
        name: getattr(found, name) for name in FIELDS if name not in ("class", "asked_at")
    }  # a keyword cannot be a field's name
    return {name: values.get(name) for name in FIELDS} | {"class": found.kind, "asked_at": _instant(found.asked_at)}


def _row(each: Mapping[str, Any]) -> list[str]:
    done = f"applied: {each['applied']}" if each["applied"] else str(each["action"])
    return [
        each["order_no"] or "",
        str(each["attempt"] or ""),
        each["gateway"],
        each["class"],
        fen_to_text(each["amount_fen"]),
        each["detail"],
        done,
    ]


def _told(moved: "Movement") -> str:
    took = fen_to_text(moved.most_fen)
    if not moved.exact:
        took = f"{fen_to_text(moved.least_fen)} to {took} (not exact: {moved.doubtful} orders were open at an end)"
    told = (
        f"from {moment(moved.start.at, 'seconds')} to {moment(moved.end.at, 'seconds')} the balance went from "
        f"{fen_to_text(moved.start.fen)} to {fen_to_text(moved.end.fen)} yuan"
    )
    if moved.topped_up_fen:
        told += f" with {fen_to_text(moved.topped_up_fen)} paid in"
    told += f"; the orders took {took}"
    if moved.difference_fen:
        kind = "missing" if moved.difference_fen > 0 else "too much"
        told += f"; {fen_to_text(abs(moved.difference_fen))} yuan {kind}"
    return told


def _view(moved: "Movement") -> dict[str, Any]:
    return {
        "from": instant(moved.start.at),
        "to": instant(moved.end.at),
        "opening_fen": moved.start.fen,
        "closing_fen": moved.end.fen,
        "topped_up_fen": moved.topped_up_fen,
        "taken_least_fen": moved.least_fen,
        "taken_most_fen": moved.most_fen,
        "doubtful_orders": moved.doubtful,
        "difference_fen": moved.difference_fen,
    }


def _instant(value: datetime | None) -> str | None:
    return None if value is None else instant(value)
