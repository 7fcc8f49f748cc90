"""The diagram in the documentation: drawn from the table, and current."""

import pytest

from worker.core.order import State
from worker.core.rules import TABLE
from worker.ops.diagram import BEGIN, END, README, mermaid, with_diagram


def test_the_readme_shows_the_machine_as_it_is() -> None:
    """Run `python -m worker.ops.diagram` after every change of the table."""
    text = README.read_text(encoding="utf-8")
    assert with_diagram(text) == text


def test_every_way_between_two_states_is_drawn_once() -> None:
    arrows = [line.strip().partition(":")[0] for line in mermaid().splitlines()[1:]]
    ways = {f"{state} --> {to}" for (state, _event), rule in TABLE.items() for to in rule.to if to is not state}
    assert len(arrows) == len(set(arrows))
    assert ways <= set(arrows)
    assert {arrow for arrow in arrows if "[*]" not in arrow} - ways == {"queued --> queued"}


def test_every_state_is_drawn() -> None:
    for state in State:
        assert f"--> {state}: " in mermaid()


def test_the_rest_of_the_page_stays() -> None:
    page = with_diagram(f"# Worker\n\nfirst\n{BEGIN}old\n{END}\nlast\n")
    assert page.startswith("# Worker\n\nfirst\n")
    assert page.endswith(f"{END}\nlast\n")
    assert "old" not in page
    assert with_diagram(page) == page
    assert mermaid() in with_diagram("# Worker\n")
    assert with_diagram("").startswith("## ")


def test_a_missing_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="is missing"):
        with_diagram(f"text\n{BEGIN}")
