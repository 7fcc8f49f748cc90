"""Hints: which answers settle one, and which are asked for again."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from support.machine import NOW, S, an_order

from worker.core.outcome import Report, Status
from worker.core.policy import Policy
from worker.flows.hints import Hints
from worker.ledger.hints import Hint


async def asked(report: Report) -> tuple[bool, bool]:
    """Ask about a failed order whose number there is U-1; return whether the answer was applied, and the hint kept."""
    order = an_order(S.FAILED, upstream_no="U-1")
    ledger: Any = Mock(find=AsyncMock(return_value=order), apply=AsyncMock(), now=lambda: NOW)
    book: Any = Mock(postpone=AsyncMock(), forget=AsyncMock())
    gateway: Any = SimpleNamespace(name="a", policy=Policy(), query=AsyncMock(return_value=report))
    hint = Hint(1, order.order_no, 1, "a", datetime(2026, 1, 1, tzinfo=UTC), 1)
    await Hints(ledger, book, {}, lambda: 0.5)._question(gateway, hint)
    assert book.postpone.await_count + book.forget.await_count == 1
    return ledger.apply.await_count == 1, book.postpone.await_count == 1


@pytest.mark.parametrize(
    ("report", "news"),
    [
        (Report(Status.CHARGING, upstream_no="U-2"), True),
        (Report(Status.CHARGING, upstream_no="U-1"), False),
        (Report(Status.CHARGING), False),
        (Report(Status.UNCLEAR, upstream_no="U-2"), False),
        (Report(Status.FAILED, upstream_no="U-1"), True),
    ],
)
def test_that_a_second_order_of_theirs_is_on_its_way_is_an_answer(report: Report, *, news: bool) -> None:
    """Else nobody hears of it before it has cost money, or ever, where it stays so."""
    assert asyncio.run(asked(report)) == (news, not news)
