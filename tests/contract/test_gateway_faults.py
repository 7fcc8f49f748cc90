"""Every fault of every simulator, for every product: what the call's outcome is, and that the order ends truly.

What has to come of a fault follows from what the fault does (`worker.sandbox.faults`) and from what the adapter
declares (`worker.gateways.features`); no gateway is named here.
"""

import asyncio
from dataclasses import dataclass

import pytest
from support.dealing import HOUSES, Dealing, Opens, kinds, products
from support.unseen import assert_unseen, listening

from worker.core.order import State
from worker.core.outcome import Outcome, Submitted
from worker.gateways.base import Adapter
from worker.gateways.features import Callbacks, Codes
from worker.sandbox.discovery import find
from worker.sandbox.faults import FAULTS, Answer, Course, Fault, Reason, View
from worker.sandbox.faults import Callbacks as Told

S = State
AT_ONCE = 32
"""Orders under way at a time, which two cores can serve in time."""
FOLLOWED_SECONDS = 4.0
TEST = "test_a_fault"


@dataclass
class Story:
    """What became of one order."""

    outcome: Submitted  # of the first call
    state: State
    states: list[State]
    charges: int
    pushes: int


def _struck() -> list[tuple[str, str, str]]:
    """Return every adapter with each of its products and each fault that its simulator can have by itself."""
    simulators = find()
    return [
        (name, product, fault.name)
        for name, product in products()
        for fault in FAULTS.values()
        if fault.ending and fault.name not in simulators[HOUSES[name].simulator].lacks
    ]


@pytest.fixture(scope="module")
def stories(request: pytest.FixtureRequest, desks: Opens) -> dict[tuple[str, str, str], Story]:
    """Return every story that was asked for; all orders live at the same time, as many as fit."""
    asked = [
        vars(item)["callspec"].params for item in request.session.items if getattr(item, "originalname", "") == TEST
    ]
    return asyncio.run(_all(desks, [(each["name"], each["product"], each["fault_name"]) for each in asked]))


async def _all(desks: Opens, asked: list[tuple[str, str, str]]) -> dict[tuple[str, str, str], Story]:
    slots = asyncio.Semaphore(AT_ONCE)
    canaries: list[str] = []

    async def at(name: str) -> dict[tuple[str, str, str], Story]:
        async with desks(name) as desk:
            canaries.extend(desk.canaries)
            chosen = [each for each in asked if each[0] == name]
            lives = [_live(desk.order(product), FAULTS[fault], slots) for _name, product, fault in chosen]
            return dict(zip(chosen, await asyncio.gather(*lives), strict=True))

    told: dict[tuple[str, str, str], Story] = {}
    with listening() as lines:
        for each in await asyncio.gather(*map(at, {name for name, *_ in asked})):
            told |= each
    assert_unseen("\n".join(lines), canaries)
    return told


async def _live(dealing: Dealing, fault: Fault, slots: asyncio.Semaphore) -> Story:
    async with slots:
        dealing.force(fault.name, times=1 if fault.taken or fault.once else 0)
        outcome = await dealing.submit()
        state = await dealing.follow(FOLLOWED_SECONDS)
    return Story(outcome, state, dealing.states, dealing.charges(), dealing.pushes())


# --- what has to come of it ------------------------------------------------------------------------

_LOST = {Answer.LATE, Answer.CLOSED, Answer.RESET, Answer.CUT, Answer.ERROR_500, Answer.GARBAGE, Answer.FORGED}
_BY_COURSE = {
    Course.SUCCEEDS: {S.SUCCEEDED},
    Course.PAYS_LATE: {S.SUCCEEDED},
    Course.NEVER_PAYS: {S.AWAITING_PAYMENT},
    Course.FAILS: {S.FAILED, S.REFUNDED},
    Course.REVIVES: {S.SUCCEEDED, S.REVIEW},  # whether the failure in between was seen or not
    Course.ARRIVES_IN_PART: {S.PARTIAL},
    Course.IS_REVERSED: {S.REFUNDED, S.REVIEW},  # some gateways have no word for it but "failed"
    Course.TIMES_OUT: {S.REVIEW, S.PENDING, S.UNKNOWN},  # some do not tell that they cannot tell
}
_OPEN = {S.QUEUED, S.SUBMITTING, S.UNKNOWN}


def _told(kind: type[Adapter]) -> bool:
    """Return whether the gateway says that our money there is used up."""
    return kind.features.unfunded is not Codes.NONE


def _outcomes(kind: type[Adapter], fault: Fault) -> set[Outcome]:
    """Return what a first call with this fault may come to."""
    if fault.answer in _LOST or fault.says is Reason.UNLISTED:
        return {Outcome.UNKNOWN}
    if fault.says is Reason.NOT_POSSIBLE:
        return {Outcome.REJECTED}
    if fault.says is Reason.BALANCE_TOO_LOW:
        return {Outcome.UNFUNDED} if _told(kind) else {Outcome.REJECTED, Outcome.UNKNOWN}
    if fault.says is Reason.DUPLICATE and kind.features.duplicate is Codes.NONE:
        return {Outcome.UNKNOWN}
    return {Outcome.ACCEPTED, Outcome.SUCCEEDED}


def _ends(kind: type[Adapter], product: str, fault: Fault) -> set[State]:
    """Return how an order with this fault may stand at last."""
    features = kind.features
    denied = features.no_such_order is not Codes.NONE
    if not fault.taken:
        if fault.says is Reason.NOT_POSSIBLE:
            return {S.FAILED}
        if fault.says is Reason.BALANCE_TOO_LOW:
            return _OPEN if _told(kind) else {S.FAILED, *_OPEN}
        if fault.says is Reason.UNLISTED:
            return {S.FAILED} if denied else _OPEN
        if fault.once:
            return {S.SUCCEEDED} if denied or kind.repeat_safe else {S.UNKNOWN}
        return _OPEN
    proves = features.callbacks is Callbacks.SIGNED
    contradicted = (
        (fault.view is View.OTHER_AMOUNT and product in features.amount_told)
        or (fault.view is View.OTHER_ACCOUNT and product in features.account_told)
        or (fault.callbacks is Told.OTHER_AMOUNT and proves and features.callback_amount)
        or (fault.callbacks is Told.OTHER_ACCOUNT and proves and features.callback_account)
    )
    return {S.REVIEW} if contradicted else _BY_COURSE[fault.course]


@pytest.mark.parametrize(("name", "product", "fault_name"), _struck())
def test_a_fault(stories: dict[tuple[str, str, str], Story], name: str, product: str, fault_name: str) -> None:
    """The outcome is what the gateway proved, the end is true or open, and nothing is sent or charged twice."""
    story, kind, fault = stories[name, product, fault_name], kinds()[name], FAULTS[fault_name]
    assert story.outcome.outcome in _outcomes(kind, fault), story
    assert story.state in _ends(kind, product, fault), story
    if fault.says is Reason.UNLISTED:
        assert story.outcome.doubt, "a refusal that no table lists"
    if fault.answer is Answer.LATE:
        assert story.outcome.code == "timeout"
    assert story.charges <= (2 if fault.course is Course.REVIVES else 1), "more than the gateway does by itself"
    if story.state is S.SUCCEEDED:
        assert story.charges
    elif not fault.taken:
        assert not story.charges
    if fault.taken and not (kind.repeat_safe and fault.hides):
        assert story.pushes == 1
