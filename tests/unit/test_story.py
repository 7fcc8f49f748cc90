"""The story that `worker orders show` tells has words for everything that may happen."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.cli.story import TOLD, write_story
from worker.core.order import Event, Order, Reason, State
from worker.ledger.reading import Attempt, Seen, Step, Story

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_every_event_has_its_words() -> None:
    assert set(TOLD) == set(Event)
    assert len(set(TOLD.values())) == len(TOLD)


def test_tells_when_what_why_and_the_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    order = Order(
        order_no="T1",
        source="shop",
        product="mobile",
        amount_fen=10050,
        target={"mobile": "13800138000"},
        route=("one",),
        gateway="one",
        attempt=2,
        state=State.FAILED,
        version=3,
        reason=Reason("resolved_by_operator", "it never arrived"),
    )
    steps = [
        Step(1, NOW, None, "submitting", "admitted", 1, None, None),
        Step(1, NOW, "submitting", "submitting", "claimed", 1, "9", "on\x1b[31m its\nway"),
        Step(
            2,
            NOW + timedelta(days=1),
            "submitting",
            "review",
            "unanswered",
            1,
            None,
            None,
            {"http": 504, "body": "x" * 500},
        ),
        Step(3, NOW + timedelta(days=2), "review", "failed", "resolved_failed", 1, None, "why", {"operator": "anna"}),
    ]
    write_story(Story(Seen(order, NOW, NOW, None), [Attempt(1, "two", "T1")], steps))
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert "account  138****8000" in lines
    assert "amount   100.50 yuan" in lines
    asked = [line for line in lines if " attempt " in line and not line.startswith("2026")]
    assert asked == ["gateway  one, attempt 2 as T1R2", "before   two, attempt 1 as T1"]
    begin = lines.index("") + 1
    assert lines[begin : begin + 5] == [
        "2026-11-21 12:00:00.000Z  (new) -> submitting (attempt 1, version 1)",
        "                          admitted: the order was taken in",
        "2026-11-21 12:00:00.000Z  still submitting (attempt 1, version 1)",
        f"                          claimed: {TOLD[Event.CLAIMED]}",
        "                          9: on [31m its way",
    ]
    assert lines[-3:] == [
        f"                          resolved_failed: {TOLD[Event.RESOLVED_FAILED]}",
        "                          why",
        "                          evidence: operator anna",
    ]
    assert "evidence: http 504, body " + "x" * 160 + "…" in out
    assert "13800138000" not in out
