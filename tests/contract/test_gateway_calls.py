"""Every gateway's calls over real HTTP, before its simulator: refusals, denials, questions, and what it cannot."""

import pytest
from support.dealing import HOUSES, Opens, kinds

from worker.core.order import State
from worker.core.outcome import Outcome, Status
from worker.gateways.base import Adapter, RefusedError
from worker.gateways.features import Codes
from worker.gateways.gateway import GatewayUnavailableError
from worker.sandbox.discovery import find

pytestmark = pytest.mark.parametrize("name", kinds())
S = State
with_codes_and_without = pytest.mark.parametrize("codes", [True, False])
_QUESTION_FAULTS = ("late_answer", "drop_after_read", "error_500_charged", "garbage", "cut_answer", "forged_answer")


def known(said: Codes, *, codes: bool) -> bool:
    """Whether the adapter can know these answers, given that it was told (or not) the codes of its settings."""
    return said is Codes.LISTED or (said is Codes.SETTINGS and codes)


def overrides(name: str, method: str) -> bool:
    return getattr(kinds()[name], method) is not getattr(Adapter, method)


def a_product(name: str) -> str:
    return min(kinds()[name].products)


@with_codes_and_without
async def test_a_refusal_is_definite_where_its_code_is_known(open_desk: Opens, name: str, *, codes: bool) -> None:
    async with open_desk(name, codes=codes) as desk:
        dealing = desk.order(a_product(name))
        dealing.force("refused")
        outcome = await dealing.submit()
        if known(desk.features.refusal, codes=codes):
            assert (outcome.outcome, outcome.doubt, dealing.order.state) == (Outcome.REJECTED, False, S.FAILED)
        else:
            assert (outcome.outcome, outcome.doubt) == (Outcome.UNKNOWN, True)
            assert dealing.order.state in (S.UNKNOWN, S.QUEUED)
        assert outcome.code
        assert dealing.charges() == 0


@with_codes_and_without
async def test_an_order_is_denied_where_the_gateway_can(open_desk: Opens, name: str, *, codes: bool) -> None:
    async with open_desk(name, codes=codes) as desk:
        dealing = desk.order(a_product(name))
        dealing.force("not_received")
        assert (await dealing.submit()).outcome is Outcome.UNKNOWN
        report = await dealing.query()
        assert (report.status is Status.ABSENT) == known(desk.features.no_such_order, codes=codes)
        assert report.status in (Status.ABSENT, Status.UNCLEAR, Status.SILENT)
        assert dealing.order.state in (S.UNKNOWN, S.QUEUED), "one denial proves nothing"


@with_codes_and_without
async def test_a_number_that_comes_twice_is_taken_once(open_desk: Opens, name: str, *, codes: bool) -> None:
    async with open_desk(name, codes=codes, patient=True) as desk:
        dealing = desk.order(a_product(name))
        await dealing.submit()
        charges, state = dealing.charges(), dealing.order.state
        again = await desk.gateway.submit(dealing.order, dealing.moment(), None)
        dealing.apply(again.fact(dealing.order))
        if known(desk.features.duplicate, codes=codes):
            assert again.outcome is Outcome.ACCEPTED
            assert again.payment is None
        elif desk.features.duplicate is Codes.SETTINGS:
            assert (again.outcome, again.doubt) == (Outcome.UNKNOWN, True)
        else:
            assert desk.gateway.policy.repeat_safe, "a gateway that takes a number twice must not be sent it twice"
        assert dealing.order.state is state
        assert dealing.charges() == charges


@pytest.mark.parametrize("fault", _QUESTION_FAULTS)
async def test_a_question_without_a_readable_answer_says_nothing(open_desk: Opens, name: str, fault: str) -> None:
    if fault in find()[HOUSES[name].simulator].lacks:
        fault = "garbage"
    async with open_desk(name, patient=True) as desk:
        dealing = desk.order(a_product(name))
        await dealing.submit()
        await dealing.query()
        state = dealing.order.state
        dealing.force(fault, call="query")
        assert (await dealing.query()).status is Status.SILENT
        assert dealing.order.state is state
        assert (await dealing.query()).status in (Status.CHARGING, Status.PAYMENT_DUE)


async def test_a_code_that_no_table_lists_is_no_answer_to_a_question(open_desk: Opens, name: str) -> None:
    async with open_desk(name, patient=True) as desk:
        dealing = desk.order(a_product(name))
        await dealing.submit()
        await dealing.query()
        state = dealing.order.state
        dealing.force("unknown_code", call="query")
        report = await dealing.query()
        assert report.status is Status.UNCLEAR
        assert report.code
        assert dealing.order.state is state


async def test_the_balance_or_that_there_is_none(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        moment = desk.order(a_product(name)).moment
        if not overrides(name, "balance"):
            with pytest.raises(GatewayUnavailableError, match="not_supported"):
                await desk.gateway.balance(moment())
            return
        before = desk.market.top_up(desk.house.simulator, 12_345)
        assert await desk.gateway.balance(moment()) == before
        desk.force("garbage", call="balance")
        with pytest.raises(GatewayUnavailableError):
            await desk.gateway.balance(moment())


async def test_the_packages_or_that_there_are_none(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        moment = desk.order(a_product(name)).moment
        if not overrides(name, "packages"):
            with pytest.raises(GatewayUnavailableError, match="not_supported"):
                await desk.gateway.packages("10129580", "card", "buy", moment())
            return
        for kind, pay_kind in (("card", "buy"), ("card", "upgrade"), ("sms", "buy"), ("sms", "upgrade")):
            assert await desk.gateway.packages("10129580", kind, pay_kind, moment())
        for fault, error in (("refused", RefusedError), ("garbage", GatewayUnavailableError)):
            desk.force(fault, call="packages")
            with pytest.raises(error):
                await desk.gateway.packages("10129580", "card", "buy", moment())


@pytest.mark.parametrize("kind", ["power", "oil"])
async def test_the_cards_or_that_there_are_none(open_desk: Opens, name: str, kind: str) -> None:
    async with open_desk(name) as desk:
        moment = desk.order(a_product(name)).moment
        if kind not in desk.features.cards:
            with pytest.raises(GatewayUnavailableError, match="not_supported"):
                await desk.gateway.card("show", kind, {}, "1", moment())
            return
        dealing = desk.order(kind)
        added = await desk.gateway.card("add", kind, dealing.order.target, None, moment())
        again = await desk.gateway.card("add", kind, dealing.order.target, None, moment())
        shown = await desk.gateway.card("show", kind, dealing.order.target, None, moment())
        assert added["card_id"] == again["card_id"] == shown["card_id"]
        dealing.search(shown)
        assert await desk.gateway.card("delete", kind, dealing.order.target, None, moment()) == added
        with pytest.raises(RefusedError, match="unknown_card"):
            await desk.gateway.card("show", kind, dealing.order.target, None, moment())
        assert dealing.entries() == [], "no money moved"


async def test_an_order_is_cancelled_where_the_gateway_can(open_desk: Opens, name: str) -> None:
    async with open_desk(name, patient=True) as desk:
        dealing = desk.order(a_product(name))
        await dealing.submit()
        if not overrides(name, "cancel"):
            assert await dealing.cancel() is None
            return
        await dealing.cancel()
        (entry,) = dealing.entries()
        assert entry["status"] in ("cancelling", "cancelled")
        assert dealing.order.state in (S.PENDING, S.CANCELLED)


async def test_what_has_succeeded_is_not_cancelled(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(a_product(name))
        await dealing.submit()
        assert await dealing.ask() is S.SUCCEEDED
        report = await dealing.cancel()
        assert report is None or report.status is not Status.CANCELLED
        assert dealing.order.state is S.SUCCEEDED
        assert dealing.charges() == 1
