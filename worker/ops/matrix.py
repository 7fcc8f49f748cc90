"""What each gateway can do, as a table drawn from the adapters themselves, and who sells each product.

`python -m worker.ops.matrix` writes them into `worker/README.md` and `README.md`, where tests keep them current.
"""

import re
from collections.abc import Callable

from worker.gateways.base import Adapter
from worker.gateways.registry import adapters
from worker.ops.pages import FRONT, README, between

BEGIN, END = "<!-- gateways:begin -->\n", "<!-- gateways:end -->\n"
_SOLD = re.compile(r"^(\| `([a-z]+)` \|.*\| )[^|\n]*( \|)$", re.MULTILINE)
"""A product's row between these markers; its last cell says who sells it."""
SOLD_BEGIN, SOLD_END = "<!-- products:begin -->\n", "<!-- products:end -->\n"
Kind = type[Adapter]


def _can(method: str) -> Callable[[Kind], str]:
    return lambda kind: "yes" if getattr(kind, method) is not getattr(Adapter, method) else "no"


COLUMNS: dict[str, Callable[[Kind], str]] = {
    "adapter": lambda kind: f"[{kind.adapter}](gateways/{kind.adapter}.md)",
    "products": lambda kind: ", ".join(sorted(kind.products)),
    "query by": lambda kind: kind.features.query_by,
    "callbacks": lambda kind: kind.features.callbacks.value,
    "refuses": lambda kind: kind.features.refusal.value,
    "denies orders": lambda kind: kind.features.no_such_order.value,
    "tells duplicates": lambda kind: kind.features.duplicate.value,
    "tells empty purse": lambda kind: kind.features.unfunded.value,
    "repeat-safe": lambda kind: "yes" if kind.repeat_safe else "no",
    "balance": _can("balance"),
    "cancel": _can("cancel"),
    "packages": _can("packages"),
    "cards": lambda kind: ", ".join(sorted(kind.features.cards)) or "no",
    "charset": lambda kind: kind.charset.upper(),
    "signing": lambda kind: kind.features.signing,
}
"""The columns, and how each is read off an adapter's class."""


def table() -> str:
    """Return the table: one row for each adapter that the registry finds."""
    kinds = [kind for _name, kind in sorted(adapters().items())]
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *([cell(kind) for cell in COLUMNS.values()] for kind in kinds)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(text: str) -> str:
    """Return `text` with the table between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    return between(text, BEGIN, END, table())


def with_sellers(text: str) -> str:
    """Return `text` with the adapters that sell each product in the last cell of its row, between the markers.

    Raises:
        ValueError: a marker is missing.
    """
    _before, _begin, rest = text.partition(SOLD_BEGIN)
    rows, _end, _after = rest.partition(SOLD_END)
    return between(text, SOLD_BEGIN, SOLD_END, _SOLD.sub(_row, rows))


def _row(found: re.Match[str]) -> str:
    sellers = sorted(name for name, kind in adapters().items() if found[2] in kind.products)
    return f"{found[1]}{', '.join(sellers) or 'nobody'}{found[3]}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    FRONT.write_text(with_sellers(FRONT.read_text(encoding="utf-8")), encoding="utf-8")
