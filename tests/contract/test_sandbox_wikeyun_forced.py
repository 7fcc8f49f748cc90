"""The wikeyun simulator's faults by force and by chance, and none where they are switched off."""

from typing import Any

import pytest
from support.merchant import Merchant, no_answer, sandbox

from worker.sandbox import SandboxSettings
from worker.sandbox.choosing import Asked, Faults
from worker.sandbox.faults import FAULTS


async def test_a_forced_fault_strikes_its_calls_and_no_more(merchant: Merchant) -> None:
    await merchant.force("garbage", call="query", times=2)
    await merchant.push()
    for _ in range(2):
        with pytest.raises(AssertionError):
            await merchant.query()
    assert (await merchant.query())["code"] == "0000"
    await merchant.force("refused", "*", times=0)
    for order_no in ("T2", "T3"):
        assert (await merchant.push(order_no))["code"] == "2006"
    await merchant.page("/faults", "DELETE")
    assert (await merchant.push("T4"))["code"] == "0000"


async def test_a_push_can_be_dropped_unread(merchant: Merchant) -> None:
    await merchant.force("drop_before_read", "*")
    await no_answer(merchant, "00")
    ledger = await merchant.page("/ledger")
    assert ledger["orders"] == []
    assert ledger["totals"]["refused_calls"] == {"wikeyun": {"unread": 1}}
    assert (await merchant.push())["code"] == "0000"


@pytest.mark.parametrize(
    "wanted",
    [
        {"order_no": "T1", "fault": "no_such"},
        {"order_no": "T1", "fault": "no_callback", "call": "query"},
        {"order_no": "T1", "fault": "hold", "call": "pull"},
        {"order_no": "T1", "fault": "hold", "times": -1},
        {"order_no": "T1", "fault": "hold", "times": True},
        {"order_no": "T1", "fault": "hold", "extra": 1},
        {"fault": "hold"},
        ["hold"],
    ],
)
async def test_a_fault_that_cannot_be_is_not_accepted(merchant: Merchant, wanted: Any) -> None:
    assert "error" in await merchant.page("/faults", "POST", expect=400, json=wanted)
    assert (await merchant.page("/faults"))["forced"] == []


def test_chance_draws_the_same_faults_for_the_same_seed_and_only_those_that_queries_settle() -> None:
    def draw(seed: int, rate: float) -> list[str]:
        faults = Faults(SandboxSettings(fault_rate=rate, seed=seed))
        asked = [Asked("wikeyun", "push", f"T{number}", "13800138000") for number in range(400)]
        return [faults.for_push(each, first=True).name for each in asked]

    drawn = draw(1, 0.25)
    assert drawn == draw(1, 0.25)
    assert drawn != draw(2, 0.25)
    assert 60 < sum(1 for name in drawn if name) < 140
    assert set(draw(1, 1.0)) == {fault.name for fault in FAULTS.values() if fault.drawn}
    assert "success_after_failure" not in draw(1, 1.0)


async def test_endings_can_be_switched_off() -> None:
    async with sandbox(by_ending=False) as merchant:
        assert (await merchant.push(ending="14"))["code"] == "0000"
