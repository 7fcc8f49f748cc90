"""The scripts of deploy/, read by ShellCheck."""

import os
import platform
from pathlib import Path

import pytest
from support.deployment import DEPLOY, ROOT, ask, skip_unless_there, tool

SCRIPTS = [
    path
    for path in [*sorted(DEPLOY.iterdir()), ROOT / ".ci/run"]
    if path.suffix == ".sh" or (path.is_file() and path.read_bytes().startswith(b"#!"))
]


def test_they_are_found() -> None:
    assert {"demo", "test", "bench", "lock", "lib.sh", "run"} <= {path.name for path in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    if platform.machine() != "x86_64":
        skip_unless_there("shellcheck", "its wheel is for x86_64 only")
    ask(tool("shellcheck"), "--external-sources", "--source-path=SCRIPTDIR", str(script))


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.suffix != ".sh"], ids=lambda path: path.name)
def test_whoever_has_the_tree_can_run_them(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
