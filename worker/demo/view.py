"""What the demo shows: a live picture on a terminal, a line now and then elsewhere, and the account at the end."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.core.order import State
from worker.demo.verdict import Class, Verdict
from worker.demo.watch import Sight

_LINE_SECONDS = 3.0
_RATE_SECONDS = 5.0
_BAR_WIDTH = 50
_COLOURS: Mapping[str, str] = {
    "succeeded": "green",
    "failed": "red",
    "refunded": "magenta",
    "cancelled": "magenta",
    "review": "bold red",
    "unknown": "yellow",
}
_MOST_NAMED = 5


@dataclass(slots=True)
class Picture:
    """Everything that is shown at one moment."""

    phase: str = "starting"
    worker: str = ""
    orders: Counter[str] = field(default_factory=Counter)  # by product
    published: int = 0
    heard: int = 0
    repeats: int = 0
    sight: Sight = field(default_factory=Sight)


class View:
    """Shows pictures: `with View(console) as view: … view.show(picture)`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._said_at = 0.0
        self._said_phase = ""
        self._history: deque[tuple[float, int]] = deque()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, picture: Picture) -> None:
        """Show it: at once on a terminal; elsewhere every few seconds and whenever the phase changes."""
        now = time.monotonic()
        self._history.append((now, picture.sight.ended))
        while now - self._history[0][0] > _RATE_SECONDS:
            self._history.popleft()
        if self._live is not None:
            self._live.update(self._draw(picture))
        elif picture.phase != self._said_phase or now - self._said_at >= _LINE_SECONDS:
            self._said_at, self._said_phase = now, picture.phase
            self.console.print(self._line(picture), highlight=False, soft_wrap=True)

    def _rate(self) -> float:
        (began, before), (now, after) = self._history[0], self._history[-1]
        return (after - before) / (now - began) if now > began else 0.0

    def _line(self, picture: Picture) -> str:
        sight = picture.sight
        states = " ".join(f"{name}={sight.states[name]}" for name in State if name in sight.states)
        depths = " ".join(f"{name}={depth}" for name, depth in sight.depths.items() if depth)
        parts = [
            f"{time.monotonic() - self._began:5.1f}s {picture.phase}",
            f"published {picture.published}/{picture.orders.total()}",
            f"ended {sight.ended} ({self._rate():.0f}/s)",
            states,
            f"queues: {depths}" if depths else "",
        ]
        return "; ".join(part for part in parts if part)

    def _draw(self, picture: Picture) -> Group:
        sight = picture.sight
        table = Table.grid(padding=(0, 2))
        total = picture.orders.total()
        table.add_row("published", _bar(picture.published, total), f"{picture.published}/{total}")
        table.add_row("ended", _bar(sight.ended, total), f"{sight.ended}/{total}")
        for product, count in picture.orders.items():
            ended = sight.ended_of[product]
            table.add_row(f"  {product}", _bar(ended, count), f"{ended}/{count}")
        states = Table.grid(padding=(0, 2))
        for name in State:
            if name in sight.states:
                states.add_row(Text(name, style=_COLOURS.get(name, "")), str(sight.states[name]))
        facts = Table.grid(padding=(0, 2))
        facts.add_row("worker", picture.worker)
        facts.add_row("ended a second", f"{self._rate():.0f}")
        facts.add_row("events heard", f"{picture.heard}, and {picture.repeats} repeats")
        for queue, depth in sight.depths.items():
            facts.add_row(f"queue of {queue}", str(depth))
        for gateway, kept_fen in sight.kept_fen.items():
            facts.add_row(f"charged by {gateway}", yuan(kept_fen))
        both = Table.grid(padding=(0, 6))
        both.add_row(states, facts)
        title = Text(f"{time.monotonic() - self._began:5.1f} s  {picture.phase}", style="bold")
        return Group(title, Text(), table, Text(), both)


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done, width=_BAR_WIDTH)


def yuan(fen: int) -> str:
    """Return an amount for people, to the fen."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100:,}.{abs(fen) % 100:02d}"


def account(verdict: Verdict) -> Table:
    """Return the comparison of the gateways' ledgers with ours."""
    table = Table(title="what each gateway charged against what the ledger says", title_justify="left")
    for name in ("gateway", "product", "orders", "gateway kept, yuan", "ledger says, yuan", "difference"):
        table.add_column(name, justify="left" if name in ("gateway", "product") else "right")
    for gateway in dict.fromkeys(name for name, _product in sorted(verdict.classes)):
        products = sorted(product for name, product in verdict.classes if name == gateway)
        for product in products:
            _add(table, gateway, product, verdict.classes[gateway, product])
        if len(products) > 1:
            _add(table, gateway, "all", verdict.total(gateway), style="bold")
        table.add_section()
    _add(table, "total", "", verdict.total(), style="bold")
    return table


def differences(verdict: Verdict) -> Table:
    """Return each kind of difference, how often it is there, and the first orders that it concerns."""
    table = Table.grid(padding=(0, 2))
    for kind, orders in verdict.differences.items():
        named = ", ".join(orders[:_MOST_NAMED]) + (" …" if len(orders) > _MOST_NAMED else "")
        table.add_row(kind, Text(str(len(orders)), style="bold red" if orders else "green"), named)
    return table


def _add(table: Table, gateway: str, product: str, each: Class, style: str = "") -> None:
    difference = each.gateway_fen - each.ledger_fen
    sums = (yuan(each.gateway_fen), yuan(each.ledger_fen), yuan(difference))
    table.add_row(gateway, product, str(each.orders), *sums, style="bold red" if difference else style)
