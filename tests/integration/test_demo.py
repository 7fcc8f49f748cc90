"""The demo as anybody runs it: the ledgers agree for every product in the end, and nothing stays behind."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent.parent
ORDERS = 150
PRODUCTS = {
    *(("wikeyun", product) for product in ("mobile", "power", "oil")),
    *(("dingyin", product) for product in ("power", "game", "douyin")),
    ("zjzdy", "campus"),
    ("wechat", "ebike"),
}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place for temporary files that any user can pass through, as an unprivileged PostgreSQL must."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_the_demo_ends_well_and_leaves_nothing_behind(temporary: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    children: set[psutil.Process] = set()
    environment = os.environ | {"TMPDIR": str(temporary), "WORKER_AMQP__URL": "amqp://nobody.invalid/"}
    with (
        said.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "worker", "demo", "--orders", str(ORDERS), "--seed", "5"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
        ) as demo,
    ):
        try:
            while demo.poll() is None:
                children |= set(psutil.Process(demo.pid).children(recursive=True))
                time.sleep(0.2)
        finally:
            demo.kill()  # nothing outlives it, which is the guards' part
    text = said.read_text()
    assert demo.returncode == 0, text
    assert "the worker is killed" in text
    assert "everything agrees" in text
    compared = {tuple(cell.strip() for cell in line.split("│")[1:4]) for line in text.splitlines() if "│" in line}
    assert {row[:2] for row in compared} >= PRODUCTS
    assert ("total", "", str(ORDERS)) in compared
    assert len(children) > 10
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert not list(temporary.iterdir())
