"""The manuals, held against the code: what they name exists, and what an operator may meet is in them."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import Field
from support.manuals import (
    INSIDE,
    MANUALS,
    NOT_RUN,
    README,
    ROOT,
    RUNBOOK,
    Block,
    all_commands,
    anchors,
    blocks,
    commands,
    misread,
    names,
    rows,
    section,
    spoken,
)

from schemas.dead import DeadReason
from schemas.orders import PRODUCTS, AnyOrder
from worker.broker.letters import UNROUTABLE
from worker.broker.topology import MIGRATE_UNHEARD
from worker.config import load
from worker.config.model import SECTIONS
from worker.core.comparison import Class
from worker.core.rules import MESSAGES, TABLE
from worker.gateways import http
from worker.gateways.base import Adapter
from worker.gateways.gateway import _NOT_OURS
from worker.gateways.registry import adapters
from worker.gateways.settings import GatewaySettings
from worker.ops import reference
from worker.ops.reference import BEGIN, END, page, with_page

SCRIPTS = [block for manual in MANUALS for block in blocks(manual) if block.language == "sh"]
SPOKEN = [(manual, text, words) for manual in MANUALS for text, words in spoken(manual)]
REVIEWS = {rule.reason for rule in TABLE.values() if rule.reason is not None}


# --- what an operator may meet ---------------------------------------------------------------------


def test_every_reason_of_a_dead_letter_says_what_to_do() -> None:
    found = {name: row for row in rows(section(RUNBOOK, "Dead letters")) for name in names(row[0])}
    assert set(found) == {*DeadReason, UNROUTABLE}
    assert all(len(row) == 3 and all(row) for row in found.values())


def test_every_reason_of_a_review_says_what_to_do() -> None:
    found = [(name, row) for row in rows(section(RUNBOOK, "Orders in review")) for name in names(row[0])]
    decided = {name for name, row in found if len(row) == 3 and all(row)}
    assert decided == REVIEWS
    assert {name for name, _ in found} == set(MESSAGES)


def test_every_class_of_a_difference_says_what_to_do() -> None:
    found = [name for row in rows(section(RUNBOOK, "Does the money agree?")) for name in names(row[0])]
    assert sorted(found) == sorted(Class)


def test_every_result_of_a_call_in_vain_is_told() -> None:
    """What the breaker counts: the dashboard and `submit_ended` have these words."""
    codes = {row.code for row in http.FAILURES.values()} | set(http._ERRNO_CODES.values()) | set(http._REFUSALS)
    for file, raised in (("http.py", r'UnansweredError\("(\w+)"'), ("gateway.py", r'_failed\(flow, "(\w+)"')):
        codes |= set(re.findall(raised, (ROOT / "worker/gateways" / file).read_text(encoding="utf-8")))
    told = RUNBOOK.read_text(encoding="utf-8").partition("### GatewayNotAnswering\n")[2].partition("\n#")[0]
    words = {name for name in names(told.partition("*Do:*")[0]) if re.fullmatch("[a-z_]+", name)}
    assert words - {"queued", "submit_ended"} == codes - _NOT_OURS


def test_every_setting_has_its_row() -> None:
    """Run `python -m worker.ops.reference` after every change of a setting."""
    text = RUNBOOK.read_text(encoding="utf-8")
    assert with_page(text) == text
    written = {names(row[0])[0]: row for row in rows(page())}
    models = [*SECTIONS.values(), GatewaySettings, *(kind.settings_type for kind in adapters().values())]
    fields = {name for model in models for name in model.model_fields}
    assert {name.partition(".")[0] for name in written} == fields
    for name, row in written.items():
        assert all(row), f"{name}: no description"


def test_a_default_of_an_adapter_s_own_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Patient(GatewaySettings):
        settle_seconds: float = Field(600, ge=0, description="they say ten minutes")

    kind = type("Some", (Adapter,), {"settings_type": Patient})
    monkeypatch.setattr(reference, "adapters", lambda: {"some": kind})
    own = page().partition('`adapter = "some"`')[2]
    assert [names(row[0])[0] for row in rows(own)] == ["settle_seconds"]
    assert "| `settle_seconds` | number | `600` | they say ten minutes |" in own


@pytest.mark.parametrize("text", ["", BEGIN, END])
def test_a_missing_marker_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is missing"):
        with_page(text)


def test_the_products_and_their_fields() -> None:
    """What `target` must have is what its model requires; who sells it is what the adapters say."""
    found = {names(row[0])[0]: row for row in rows(section(README, "Seven products"))}
    assert list(found) == list(PRODUCTS)
    for order in AnyOrder.__args__[0].__args__:
        (product,) = order.model_fields["product"].annotation.__args__
        _, _, fields, sellers = found[product]
        target = order.model_fields["target"].annotation.model_fields
        required = [name for name, field in target.items() if field.is_required()]
        assert names(fields.partition(";")[0]) == required, product
        assert set(sellers.split(", ")) == {name for name, kind in adapters().items() if product in kind.products}


# --- what they name --------------------------------------------------------------------------------


def test_all_commands_are_in_the_readme_and_nothing_else() -> None:
    told = set()
    for row in rows(section(README, "Commands")):
        first, *others = names(row[0])
        path = re.sub(r" [A-Z]+$", "", first).removeprefix("worker ")
        told |= {path, *(f"{path.rpartition(' ')[0]} {other}".strip() for other in others)}
    assert told == all_commands()


@pytest.mark.parametrize(("manual", "text", "words"), SPOKEN, ids=[text for _, text, _ in SPOKEN])
def test_a_command_in_the_prose_exists(manual: Path, text: str, words: list[str]) -> None:
    assert misread(words[1:]) is None, f"{manual.name}: {text}"


@pytest.mark.parametrize("block", SCRIPTS, ids=[block.where for block in SCRIPTS])
def test_a_block_of_commands_can_be_read(block: Block) -> None:
    """By the shell; what is the worker's, by the worker; and what no test runs says why, and is nothing else."""
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)  # noqa: S607
    assert not done.stderr
    for words in commands(block.text):
        if block.mark is not None:
            assert words[0] in NOT_RUN[block.mark], f"{words[0]}: not a command of blocks that are marked {block.mark}"
            for word in words:
                named = word.startswith("deploy/") and not word.endswith("*.service")
                assert not named or (ROOT / word).exists(), word
        inside = words[words.index("worker") + 1 :] if "worker" in words else []
        if words[0] == "worker" or (words[0] == "docker" and inside):
            assert misread(inside if words[0] == "worker" else inside[1:]) is None


def test_every_mark_is_used() -> None:
    assert {block.mark for block in SCRIPTS} - {None} == set(NOT_RUN)


@pytest.mark.parametrize("manual", MANUALS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_command_hides_in_an_indented_block(manual: Path) -> None:
    """Only fenced blocks are run."""
    text = re.sub(r"^( *)```.*?^\1```$", "", manual.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"(?<=\n)\n {4}(?! *[-*\d]).*", text)


def links(manual: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor of each link in a manual that stays in this tree."""
    for target in re.findall(r"\]\(([^)\s]+)\)", manual.read_text(encoding="utf-8")):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            yield (manual.parent / name).resolve() if name else manual, anchor


@pytest.mark.parametrize("manual", MANUALS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(manual: Path) -> None:
    for path, anchor in links(manual):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


def test_the_place_that_a_remedy_names_exists() -> None:
    found = re.search(r"\(([\w./]+)#(\w+)\)", MIGRATE_UNHEARD)
    assert found is not None
    assert found[2] in anchors(ROOT / found[1])


@pytest.mark.parametrize("manual", MANUALS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_modules_that_they_name_exist(manual: Path) -> None:
    text = manual.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (worker[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for name in re.findall(r"`((?:worker|schemas|deploy|tests)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


def test_words_of_the_logs_are_the_codes() -> None:
    """What the runbook calls by a name with an underscore stands so in the code: settings, log events, reasons."""
    prose = re.sub(r"```.*?```", "", RUNBOOK.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", prose))
    places = [*(ROOT / "worker").rglob("*.py"), *(ROOT / "worker").rglob("*.sql"), *(ROOT / "schemas").rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in places if path.name != "reference.py")
    theirs = {"pg_stat_user_tables", "pg_stat_activity", "pg_upgrade", "n_dead_tup", "runbook_url"}  # not our names
    assert {name for name in named - theirs if not re.search(rf"\b{name}\b", code)} == set()


def test_settings_in_the_readme_are_whole(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(README) if block.file == "worker.toml"]
    (tmp_path / "worker.toml").write_text(block.text)
    settings = load(tmp_path / "worker.toml", {})
    assert list(settings.gateways) == ["wikeyun"]
    assert set(tomllib.loads(block.text)) == {"amqp", "database", "gateways"}


def test_the_readers_of_manuals_see_what_is_wrong() -> None:
    """So that the tests above can fail."""
    assert misread(["orders", "list", "--nonsense"]) == "orders list --nonsense: there is no --nonsense"
    assert misread(["orders", "sell"]) == "orders sell: there is no command sell"
    assert misread(["orders"]) is None
    assert list(commands("A=1 x --y 'a b' # c\nworker run & worker a && b \\\n  c")) == [
        ["x", "--y", "a b"],
        ["worker", "run"],
        ["worker", "a"],
        ["b", "c"],
    ]
    assert rows("| a | b |\n|---|---|\n| `x` | y |\n") == [["`x`", "y"]]
    assert section(INSIDE, "How it is tested").lstrip().startswith("| folder")
    with pytest.raises(LookupError):
        section(INSIDE, "Nothing")
