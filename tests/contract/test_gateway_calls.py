"""Every gateway's calls over real HTTP, before its simulator: refusals, denials, questions, and what it cannot."""

from collections.abc import Generator
from http import HTTPStatus
from typing import Any

import pytest
from support.dealing import HOUSES, Opens, kinds

from worker.core.order import State
from worker.core.outcome import Outcome, Status
from worker.gateways.base import Adapter, RefusedError, Reply, UnreadableReplyError
from worker.gateways.features import Codes
from worker.gateways.gateway import GatewayUnavailableError
from worker.gateways.http import Sender
from worker.sandbox.discovery import find

pytestmark = pytest.mark.parametrize("name", kinds())
S = State
with_codes_and_without = pytest.mark.parametrize("codes", [True, False])
_RACES = 5
"""Orders that are cancelled as soon as they are taken; one of them at least is caught before it arrives."""
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
        assert entry["status"] == "cancelling"
        assert dealing.order.state is S.PENDING, "what is being cancelled is not cancelled yet"
        assert (await dealing.query()).status is Status.CHARGING


async def test_a_cancelled_order_ends_as_one(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        for _ in range(_RACES):
            dealing = desk.order(a_product(name))
            await dealing.submit()
            if await dealing.cancel() is None:
                return
            end = await dealing.follow()
            (entry,) = dealing.entries()
            assert entry["status"] == end
            if end is S.CANCELLED:
                assert entry["charged_fen"] == entry["refunded_fen"]
                return
            assert end is S.SUCCEEDED, "it had arrived before"
    raise AssertionError("none could be cancelled in time")


async def test_what_has_succeeded_is_not_cancelled(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(a_product(name))
        await dealing.submit()
        assert await dealing.ask() is S.SUCCEEDED
        report = await dealing.cancel()
        assert report is None or report.status is not Status.CANCELLED
        assert dealing.order.state is S.SUCCEEDED
        assert dealing.charges() == 1


# --- an answer is believed only with its HTTP status ------------------------------------------------


async def test_a_refusal_in_a_server_error_is_none(open_desk: Opens, name: str) -> None:
    async with open_desk(name, patient=True) as desk:
        for fault in ("refused", "balance_too_low"):
            if fault in find()[HOUSES[name].simulator].lacks:
                continue
            dealing = desk.order(a_product(name))
            dealing.force(fault)
            call = desk.gateway.adapter.submit(dealing.order, dealing.moment())
            reply = await send(next(call))
            outcome = answered(call, reply._replace(status=HTTPStatus.BAD_GATEWAY))
            assert outcome is None or outcome.outcome is Outcome.UNKNOWN


async def test_a_denial_or_a_success_in_a_server_error_is_none(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        adapter, lost, dealing = desk.gateway.adapter, desk.order(a_product(name)), desk.order(a_product(name))
        lost.force("not_received")
        await lost.submit()
        await dealing.submit()
        assert await dealing.ask() is S.SUCCEEDED
        for each in (lost, dealing):
            call = adapter.query(each.order, each.moment())
            if (request := question(call)) is None:
                continue  # there is nothing that it could be asked about by
            reply = await send(request)
            report = answered(call, reply._replace(status=HTTPStatus.BAD_GATEWAY))
            assert report is None or report.status is Status.SILENT


@pytest.mark.parametrize("body", [b"<html><body>404 Not Found</body></html>", b'{"message":"no route"}', b"{}", b""])
async def test_a_page_that_is_not_there_denies_no_order(open_desk: Opens, name: str, body: bytes) -> None:
    async with open_desk(name, patient=True) as desk:
        dealing = desk.order(a_product(name))
        await dealing.submit()
        call = desk.gateway.adapter.query(dealing.order, dealing.moment())
        next(call)
        report = answered(call, Reply(HTTPStatus.NOT_FOUND, {"content-type": "text/html"}, body))
        assert report is None or report.status is Status.SILENT


async def send(request: Any) -> Reply:
    """Send a request as it is; what comes back is nobody's yet."""
    sender = Sender(1, 5.0)
    try:
        return await sender.send(request)
    finally:
        await sender.close()


def question(call: Generator[Any, Reply, Any]) -> Any:
    """Return what the call asks first; None: it asks nothing."""
    try:
        return next(call)
    except StopIteration:
        return None


def answered(call: Generator[Any, Reply, Any], reply: Reply) -> Any:
    """Answer the call's one question and return what is read of it; None: nothing can be."""
    try:
        call.send(reply)
    except StopIteration as done:
        return done.value
    except UnreadableReplyError:
        return None
    raise AssertionError("it asks more than one question")
