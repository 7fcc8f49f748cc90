"""`worker dead …` that is told to end, and told again."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from worker.cli.dead import _Deed, _do


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_what_has_begun_ends_first_however_often_it_is_interrupted(
    times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or "the others lie there still" would be said of what is gone."""
    done: list[Any] = []
    begun = asyncio.Event()

    async def act(batch: list[Any]) -> tuple[int, str | None]:
        begun.set()
        for row in batch:
            await asyncio.sleep(0.02)
            done.append(row)
        return len(batch), None

    rows: list[Any] = [SimpleNamespace(letter=SimpleNamespace(id=str(n))) for n in range(5)]
    deed = _Deed("dropped", "?", act, {})
    task = asyncio.create_task(_do(deed, rows, dry_run=False, ask=False, as_json=False))
    await begun.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0.01)
    await task
    assert len(done) == 5
    assert capsys.readouterr() == ("dropped 5 letters\n", "")
