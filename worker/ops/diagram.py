"""The order's states as a diagram, drawn from the machine's own table.

`python -m worker.ops.diagram` writes it into `worker/README.md`, where a test keeps it current.
"""

from worker.core.order import FINAL, Event, State
from worker.core.rules import transitions
from worker.ops.pages import README, between

BEGIN, END = "<!-- machine:begin -->\n", "<!-- machine:end -->"
_FAILOVERS = frozenset({Event.REJECTED, Event.UNFUNDED, Event.REFUSED})
_SECTION = f"""\
## An order's states

Drawn from `core/rules.py` by `python -m worker.ops.diagram`. An arrow names the events that may take it;
what only leaves a note is left out, and so is what makes an overdue review a contradiction.

{BEGIN}{END}
"""


def mermaid() -> str:
    """Return the machine's table as a state diagram: one arrow for each pair of states, with all of its causes."""
    causes: dict[tuple[str, str], set[str]] = {}
    for start, to, cause in transitions():
        if start is not to:
            causes.setdefault((start.value if start else "[*]", to.value), set()).add(cause.value)
        elif start is State.QUEUED and cause in _FAILOVERS:
            causes.setdefault((start.value, to.value), set()).add(f"{cause.value} (next gateway)")
    order = ["[*]", *(state.value for state in State)]
    lines = ["stateDiagram-v2"]
    for start_name, to_name in sorted(causes, key=lambda pair: (order.index(pair[0]), order.index(pair[1]))):
        lines.append(f"    {start_name} --> {to_name}: {', '.join(sorted(causes[start_name, to_name]))}")
    lines += [f"    {state.value} --> [*]" for state in State if state in FINAL]
    return "\n".join(lines) + "\n"


def with_diagram(text: str) -> str:
    """Return `text` with the diagram between its markers; a text without them gets a section with it."""
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{_SECTION}".lstrip()
    return between(text, BEGIN, END, f"```mermaid\n{mermaid()}```\n")


if __name__ == "__main__":
    README.write_text(with_diagram(README.read_text(encoding="utf-8") if README.exists() else ""), encoding="utf-8")
