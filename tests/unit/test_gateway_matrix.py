"""The table of gateways in the documentation: read off the adapters, and current."""

import pytest

from worker.gateways.registry import adapters
from worker.ops.matrix import BEGIN, COLUMNS, END, SOLD_BEGIN, SOLD_END, table, with_sellers, with_table
from worker.ops.pages import FRONT, README


def test_the_readme_shows_the_gateways_as_they_are() -> None:
    """Run `python -m worker.ops.matrix` after every change of what an adapter declares."""
    text = README.read_text(encoding="utf-8")
    assert with_table(text) == text


def test_each_gateway_has_a_row_and_each_cell_something_in_it() -> None:
    head, _line, *rows = [line.strip("| \n").split(" | ") for line in table().splitlines()]
    assert head == list(COLUMNS)
    assert len(rows) == len(adapters())
    for row, (name, kind) in zip(rows, sorted(adapters().items()), strict=True):
        assert len(row) == len(COLUMNS)
        assert all(row)
        cells = dict(zip(head, row, strict=True))
        assert f"[{name}]" in cells["adapter"]
        assert cells["products"].split(", ") == sorted(kind.products)


def test_what_a_gateway_can_is_what_its_adapter_does() -> None:
    cells = {name: {title: cell(kind) for title, cell in COLUMNS.items()} for name, kind in adapters().items()}
    assert (cells["wikeyun"]["cancel"], cells["wikeyun"]["cards"]) == ("yes", "oil, power")
    assert (cells["wikeyun"]["callbacks"], cells["dingyin"]["callbacks"]) == ("hints", "signed")
    assert (cells["zjzdy"]["balance"], cells["zjzdy"]["repeat-safe"]) == ("no", "yes")
    assert cells["zjzdy"]["packages"] == "yes"
    assert cells["dingyin"]["charset"] == "GB18030"
    purse = {name: row["tells empty purse"] for name, row in cells.items()}
    assert (purse["dingyin"], purse["wikeyun"], purse["zjzdy"]) == ("yes", "by settings", "no")


def test_the_rest_of_the_page_stays() -> None:
    page = with_table(f"# Worker\n\n{BEGIN}old\n{END}\nlast\n")
    assert page == f"# Worker\n\n{BEGIN}{table()}{END}\nlast\n"
    assert with_table(page) == page


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_missing_marker_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is missing"):
        with_table(text)


def test_the_front_page_says_who_sells_what() -> None:
    """Run `python -m worker.ops.matrix` after every change of what an adapter sells."""
    text = FRONT.read_text(encoding="utf-8")
    assert with_sellers(text) == text


def test_only_the_sellers_are_written() -> None:
    rows = "| product | `target` | sold by |\n|---|---|---|\n| `power` | `account_no` | x, y |\n| `tea` | `cup` | z |\n"
    page = with_sellers(f"| `power` | a | b |\n{SOLD_BEGIN}{rows}{SOLD_END}last\n")
    rows = rows.replace("x, y", "dingyin, wikeyun").replace("| z |", "| nobody |")
    assert page == f"| `power` | a | b |\n{SOLD_BEGIN}{rows}{SOLD_END}last\n"


@pytest.mark.parametrize("text", ["", SOLD_BEGIN, SOLD_END])
def test_a_missing_marker_of_the_sellers_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is missing"):
        with_sellers(text)
