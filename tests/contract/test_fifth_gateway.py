"""A fifth gateway costs four files: this one, which is imaginary, is found by itself and held to the whole contract."""

import os
import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
HOME = Path(__file__).with_name("paperplane")
FILES = ("gateways/paperplane.py", "gateways/paperplane.md", "simulators/paperplane.py", "houses/paperplane.py")
LEAST = 60
"""Cases and faults that a gateway with one product and signed callbacks is held to."""


def run(*arguments: str) -> str:
    """Run pytest with the fifth gateway in place, and return what it printed."""
    path = os.pathsep.join(map(str, (HOME, HOME.parent, TESTS.parent)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "beside", "-p", "no:cacheprovider", *arguments],
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_it_is_four_files() -> None:
    here = {str(path.relative_to(HOME)) for path in HOME.rglob("*.*") if path.suffix != ".pyc"}
    assert here == set(FILES)


def test_it_is_found_and_fulfils_the_contract() -> None:
    suite = sorted(str(path) for path in (TESTS / "contract").glob("test_gateway_*.py"))
    said = run("-k", "paperplane", *suite)
    passed = re.search(r"(\d+) passed, \d+ deselected", said)
    assert passed is not None, said
    assert int(passed[1]) >= LEAST
    assert "skipped" not in said
