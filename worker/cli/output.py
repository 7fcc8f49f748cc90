"""What commands write: JSON for programs, tables on a terminal, aligned text anywhere else."""

# ruff: noqa: PLC0415 - orjson and rich are only imported by commands that write with them

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import typer

_GAP = "  "
_RICH_GAP = 3
_NARROWEST_FOLD = 16


def write_json(values: Iterable[Any]) -> None:
    """Write each value as a line of JSON."""
    import orjson

    sys.stdout.flush()
    sys.stdout.buffer.write(b"".join(orjson.dumps(value) + b"\n" for value in values))
    sys.stdout.buffer.flush()


def plain(text: str) -> str:
    """Return text from outside on one line, without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def moment(value: datetime | None, precision: Literal["seconds", "milliseconds"] = "milliseconds") -> str:
    """Return a time for people, in UTC."""
    return "" if value is None else value.astimezone(UTC).isoformat(" ", precision).replace("+00:00", "Z")


class Table:
    """Rows under titles, written in pages; titles that begin with `>` stand over right-aligned columns."""

    def __init__(self, *titles: str) -> None:
        self._titles = [title.removeprefix(">") for title in titles]
        self._right = [title.startswith(">") for title in titles]
        self._widths: list[int] = []

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Write one page of rows."""
        page = [[plain(cell) for cell in row] for row in rows]
        if not (sys.stdout.isatty() and self._write_rich(page)):
            self._write_text(page)

    def _write_text(self, page: list[list[str]]) -> None:
        first = not self._widths
        lines = [self._titles, *page] if first else page
        before = self._widths or [0] * len(self._titles)
        self._widths = [
            max(width, *map(len, column)) for width, column in zip(before, zip(*lines, strict=True), strict=True)
        ]
        for line in lines:
            cells = zip(line, self._widths, self._right, strict=True)
            typer.echo(
                _GAP.join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()
            )

    def _write_rich(self, page: list[list[str]]) -> bool:
        """Write it as a table whose last column folds; return False where the terminal is too narrow for the others."""
        from rich import box
        from rich.cells import cell_len
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        console = Console()
        *widths, _ = (max(map(cell_len, column)) for column in zip(self._titles, *page, strict=True))
        if sum(widths) + _RICH_GAP * len(widths) + _NARROWEST_FOLD > console.width:
            return False
        table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        for title, right in zip(self._titles, self._right, strict=True):
            table.add_column(title, justify="right" if right else "left", overflow="fold")
        for row in page:
            table.add_row(*map(Text, row))  # not markup: the text is not ours
        console.print(table)
        return True


def write_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Write names and values under each other; what has no value is left out."""
    given = [(name, plain(value)) for name, value in fields if value]
    width = max((len(name) for name, _ in given), default=0)
    for name, value in given:
        typer.echo(f"{name.ljust(width)}{_GAP}{value}")
