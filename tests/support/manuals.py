"""The manuals as data: their blocks of code, the commands in their prose, and the marks of blocks that no test runs."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any, NamedTuple

import typer

from worker.cli.program import app

ROOT = Path(__file__).parents[2]
README, RUNBOOK, INSIDE = ROOT / "README.md", ROOT / "deploy/README.md", ROOT / "worker/README.md"
MANUALS = (README, RUNBOOK, INSIDE)

NOT_RUN: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "# takes minutes": frozenset({"deploy/demo", "deploy/test", "deploy/bench", "python3", ".venv/bin/pip"}),
        "# with Node.js": frozenset({"npm", "node"}),
        "# with Docker": frozenset({"docker"}),
        "# with a cluster": frozenset({"kubectl"}),
        "# as root": frozenset({"python3", "/opt/worker/bin/pip", "install", "systemd-sysusers", "systemctl"}),
    }
)
"""The first lines of blocks that cannot run in a test, and the only programs that may stand in them."""

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`([\w.-]+)`[^`\n]*:\n\n\Z")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")


class Block(NamedTuple):
    """A fenced block: where it begins, what it is in, its text, and the file that it is, where the prose names one."""

    manual: Path
    line: int
    language: str
    text: str
    file: str | None

    @property
    def where(self) -> str:
        """Return file and line, as editors take them."""
        return f"{self.manual.relative_to(ROOT)}:{self.line}"

    @property
    def mark(self) -> str | None:
        """Return the mark that says why no test runs it."""
        return next((mark for mark in NOT_RUN if self.text.partition("\n")[0].startswith(mark)), None)


def blocks(manual: Path) -> list[Block]:
    """Return the fenced blocks of a manual, in their order."""
    text = manual.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()]
        named = _NAMED.search(before)
        file = named[1] if named else None
        found.append(Block(manual, before.count("\n") + 1, fence[2], dedent(fence[3]), file))
    return found


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each command in a script, without assignments before it."""
    for line in re.sub(r"\\\n", " ", script).splitlines():
        for part in re.split(r"&&|\|\||[|;&]\s", _without_comment(line) + " "):
            words = shlex.split(part)
            while words and _ASSIGNMENT.fullmatch(words[0]):
                words.pop(0)
            if words:
                yield words


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)


def spoken(manual: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each `worker …` that the prose names, with its words; of `a|b` the first, and `…` left out."""
    prose = _FENCE.sub("", manual.read_text(encoding="utf-8"))
    for span in _SPAN.finditer(prose):
        text = " ".join(span[1].split())
        if re.match(r"worker [a-z]", text):
            plain = re.sub(r"\s*…|\|\S+", "", text)
            yield text, shlex.split(plain)


def misread(words: Sequence[str]) -> str | None:
    """Return what is wrong with `worker WORDS…` by the command line's own tree: no such command, no such option."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        if not rest:
            return None  # a group, spoken of as such
        name = rest.pop(0)
        if name not in command.commands:
            return f"{' '.join(words)}: there is no command {name}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    wrong = [word for word in rest if word.startswith("-") and word != "-" and word.partition("=")[0] not in known]
    return f"{' '.join(words)}: there is no {wrong[0]}" if wrong else None


def all_commands() -> set[str]:
    """Return every command of the program by its full name."""
    return set(_leaves(typer.main.get_command(app), ()))


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield " ".join(path)


def section(manual: Path, title: str) -> str:
    """Return the text below a heading, until the next one of its rank or above.

    Raises:
        LookupError: there is no such heading.
    """
    text = manual.read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"{manual}: no heading {title!r}")
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row in a text, heads and lines left out."""
    lines = [line.strip() for line in text.splitlines()]
    found = []
    for place, line in enumerate(lines):
        ruled = re.fullmatch(r"\|[\s:|-]+\|", line)
        head = place + 1 < len(lines) and re.fullmatch(r"\|[\s:|-]+\|", lines[place + 1])
        if line.startswith("|") and not ruled and not head:
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))])
    return found


def names(cell: str) -> list[str]:
    """Return what a cell has in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def anchors(manual: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", manual.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
