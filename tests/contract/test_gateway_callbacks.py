"""Every gateway's callbacks, as its simulator's postman delivers them: proofs, hints, repeats, lies and nonsense."""

from collections.abc import Iterator

import pytest
from support.dealing import HOUSES, Dealing, Opens, kinds, products

from worker.core.order import State
from worker.core.outcome import Outcome
from worker.gateways.base import CallbackRefusal, CallbackReport, RawCallback
from worker.gateways.features import Callbacks
from worker.sandbox.discovery import find

S = State
TAKEN = {Outcome.ACCEPTED, Outcome.SUCCEEDED}
SILENT = [name for name, kind in kinds().items() if kind.features.callbacks is Callbacks.NONE]
CALLING = [pair for pair in products() if pair[0] not in SILENT]
HINTING = [pair for pair in CALLING if kinds()[pair[0]].features.callbacks is Callbacks.HINTS]
SIGNING = [pair for pair in CALLING if kinds()[pair[0]].features.callbacks is Callbacks.SIGNED]
CALLERS = sorted({name for name, _product in CALLING})
NONSENSE = (
    b"",
    b"\xff\xfe",
    b"{}",
    b"[]",
    b"null",
    b"a=b",
    b"%",
    b"{" * 5000,
    b"<x/>",
    b'{"order_no": []}',
    b"=" * 90_000,
)

of_each_product = pytest.mark.parametrize(("name", "product"), CALLING)


def lacked(name: str) -> frozenset[str]:
    """The faults that this gateway's simulator cannot have."""
    return find()[HOUSES[name].simulator].lacks


async def succeed(dealing: Dealing) -> tuple[RawCallback, CallbackReport]:
    """Send an order and return the callback that tells its success, not applied."""
    assert (await dealing.submit()).outcome in TAKEN
    return await dealing.callback()


@of_each_product
async def test_a_callback_proves_its_order_or_makes_us_ask(open_desk: Opens, name: str, product: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        _raw, told = await succeed(dealing)
        proves = desk.features.callbacks is Callbacks.SIGNED
        assert told.reference == dealing.order.order_no
        assert told.report.proven is proves
        await dealing.hear()
        assert dealing.order.state is (S.SUCCEEDED if proves else S.PENDING)
        assert dealing.order.hinted is not proves
        assert await dealing.ask() is S.SUCCEEDED
        assert all(fact.evidence for fact in dealing.facts)
        await dealing.follow()
        (entry,) = dealing.entries()
        assert entry["calls"]["callback_acknowledged"] == entry["calls"]["callback"], "it need not come again"


@of_each_product
async def test_a_callback_that_is_replayed_changes_nothing(open_desk: Opens, name: str, product: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        raw, _told = await succeed(dealing)
        await dealing.ask()
        version = dealing.order.version
        for _ in range(3):
            again = desk.gateway.parse_callback(raw)
            assert isinstance(again, CallbackReport)
            dealing.apply(again.report.fact(dealing.order, 1))
        assert (dealing.order.state, dealing.order.version) == (S.SUCCEEDED, version)
        assert dealing.charges() == 1


@pytest.mark.parametrize(("name", "product"), SIGNING)
@pytest.mark.parametrize("fault", ["forged_callback", "forged_success"])
async def test_a_forged_callback_is_refused(open_desk: Opens, name: str, product: str, fault: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        dealing.force(fault)
        await dealing.submit()
        await dealing.callback()
        forged, *_rest = desk.post.heard
        refusal = desk.gateway.parse_callback(forged)
        assert isinstance(refusal, CallbackRefusal)
        assert refusal.reason == "bad_signature"
        dealing.search(refusal)
        end = S.SUCCEEDED if fault == "forged_callback" else S.FAILED
        await dealing.hear()
        assert end in dealing.states, "the true one counts"
        await dealing.follow()  # a refund may be told too, and what is on its way is not acknowledged yet
        (entry,) = dealing.entries()
        assert entry["calls"]["callback"] == entry["calls"]["callback_acknowledged"] + 1, "the forged one was not"


@pytest.mark.parametrize(("name", "product"), HINTING)
@pytest.mark.parametrize(("fault", "end"), [("false_callback", S.SUCCEEDED), ("false_success", S.REFUNDED)])
async def test_a_false_callback_only_makes_us_ask(
    open_desk: Opens, name: str, product: str, fault: str, end: State
) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        dealing.force(fault)
        await dealing.submit()
        _raw, told = await dealing.callback()
        state = dealing.order.state
        dealing.apply(told.report.fact(dealing.order, 1))
        assert dealing.order.state is state
        assert dealing.order.hinted
        assert await dealing.follow() in (end, S.FAILED if end is S.REFUNDED else end)


def mutations(raw: RawCallback) -> Iterator[RawCallback]:
    """Change one byte of the body or one character of a header, each in turn."""
    for place in range(len(raw.body)):
        changed = raw.body[:place] + bytes([raw.body[place] ^ 1]) + raw.body[place + 1 :]
        yield raw._replace(body=changed)
    for name, value in raw.headers.items():
        for place in (0, len(value) // 2):
            yield raw._replace(headers={**raw.headers, name: value[:place] + "~" + value[place + 1 :]})
        yield raw._replace(headers={other: kept for other, kept in raw.headers.items() if other != name})
    yield raw._replace(headers={})
    yield raw._replace(body=raw.body[:-1])
    yield raw._replace(body=raw.body + raw.body)


@of_each_product
async def test_whatever_is_changed_in_a_callback_it_proves_nothing_else(
    open_desk: Opens, name: str, product: str
) -> None:
    """What is signed cannot be changed; what is not is not believed; and what proves nothing proves nothing."""
    async with open_desk(name) as desk:
        dealing = desk.order(product)
        raw, true = await succeed(dealing)
        refused = 0
        for changed in mutations(raw):
            parsed = desk.gateway.parse_callback(changed)
            dealing.search(parsed if isinstance(parsed, CallbackRefusal) else parsed.report.evidence)
            if isinstance(parsed, CallbackRefusal):
                refused += 1
                assert "in the adapter's" not in parsed.detail, "it fell over"
            elif parsed.report.proven:
                assert parsed.reference == true.reference
                assert parsed.report._replace(evidence={}) == true.report._replace(evidence={})
            else:
                assert desk.features.callbacks is Callbacks.HINTS or parsed.reference == true.reference
        assert refused


@pytest.mark.parametrize("name", CALLERS)
async def test_nonsense_is_refused(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(min(kinds()[name].products))
        raw, _told = await succeed(dealing)
        for body in NONSENSE:
            for headers in (raw.headers, {}):
                parsed = desk.gateway.parse_callback(raw._replace(body=body, headers=headers))
                assert isinstance(parsed, CallbackRefusal), body[:20]
                assert parsed.reason in ("invalid_message", "bad_signature")
                assert "in the adapter's" not in parsed.detail, "it fell over"
                assert len(parsed.detail) < 300
                assert parsed.detail.isprintable()


@pytest.mark.parametrize("name", CALLERS)
async def test_the_acknowledgements_differ(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        yes, no = (desk.gateway.adapter.acknowledge(ok=ok) for ok in (True, False))
        assert yes is not None
        assert no is not None
        assert yes.status in range(200, 300)
        assert no.status not in range(200, 300)
        assert yes.body != no.body or not yes.body


@pytest.mark.parametrize("name", SILENT)
async def test_a_gateway_without_callbacks_says_so(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(min(kinds()[name].products))
        await dealing.submit()
        await dealing.follow()
        assert desk.post.heard == []
        assert desk.gateway.adapter.acknowledge(ok=True) is None
        raw = RawCallback(dealing.moment(), "POST", "/callbacks/x", "", {}, b"a=b")
        parsed = desk.gateway.parse_callback(raw)
        assert isinstance(parsed, CallbackRefusal)
        assert parsed.reason == "invalid_message"
        every = {fault for fault in lacked(name) if "callback" in fault}
        assert {"no_callback", "five_callbacks", "forged_callback", "stale_callback"} <= every
