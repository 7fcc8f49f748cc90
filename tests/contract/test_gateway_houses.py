"""Every adapter is under contract: it has a house, a simulator and a page, and declares what it really does."""

import inspect
from pathlib import Path

import pytest
from support.dealing import HOUSES, kinds

from worker.core.order import ACCOUNT_FIELDS
from worker.gateways.base import Adapter
from worker.gateways.features import Callbacks, Codes
from worker.gateways.registry import adapters
from worker.sandbox.discovery import find

each = pytest.mark.parametrize("name", sorted(HOUSES))
LEAST_ACCOUNT = 7  # six characters of it are the test's own


def overrides(kind: type[Adapter], method: str) -> bool:
    return getattr(kind, method) is not getattr(Adapter, method)


def test_every_adapter_has_a_house_and_every_house_an_adapter() -> None:
    here = "a house is `tests/contract/houses/<adapter>.py`, an adapter `worker/gateways/<adapter>.py`"
    assert set(adapters()) - set(HOUSES) == set(), f"adapters without a house; {here}"
    assert set(HOUSES) - set(adapters()) == set(), f"houses without an adapter; {here}"


@each
def test_it_has_a_simulator_and_a_page(name: str) -> None:
    assert HOUSES[name].simulator in find(), "no file in `worker/sandbox/simulators/` has a simulator of this name"
    page = Path(inspect.getfile(kinds()[name])).with_name(f"{name}.md")
    assert page.exists(), "its page is missing"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f'adapter = "{name}"' in text, "it shows the settings"
    for product in kinds()[name].products:
        assert f"`{product}`" in text


@each
def test_it_has_a_sample_of_each_product(name: str) -> None:
    samples = HOUSES[name].samples
    assert set(samples) == kinds()[name].products
    for product, sample in samples.items():
        account = str(sample.target[ACCOUNT_FIELDS[product]])
        assert len(account) >= LEAST_ACCOUNT
        said = repr(dict(sample.target))
        for canary in sample.canaries:
            assert canary in said, "a canary that nobody carries"


@each
def test_it_declares_what_it_does(name: str) -> None:
    kind, features = kinds()[name], kinds()[name].features
    assert (
        overrides(kind, "parse_callback")
        == overrides(kind, "acknowledge")
        == (features.callbacks is not Callbacks.NONE)
    )
    assert overrides(kind, "card") == bool(features.cards)
    for products in (features.amount_told, features.account_told):
        assert products <= kind.products
    if features.callback_amount or features.callback_account:
        assert features.callbacks is Callbacks.SIGNED, "a hint proves nothing"
    if overrides(kind, "balance"):
        assert features.unfunded is not Codes.NONE, "it keeps money of ours, and says when that is used up"
    if features.no_such_order is Codes.NONE:
        assert kind.repeat_safe, "a lost order could never be sent again"
    for text in (features.query_by, features.signing):
        assert text
        assert "|" not in text


@each
def test_what_settings_name_is_named_by_its_house(name: str) -> None:
    features = kinds()[name].features
    by_settings = Codes.SETTINGS in (
        *(features.refusal, features.no_such_order),
        *(features.duplicate, features.unfunded),
    )
    assert by_settings == bool(HOUSES[name].codes)


@each
def test_its_simulator_can_lie_where_lies_must_be_seen_through(name: str) -> None:
    lacks = find()[HOUSES[name].simulator].lacks
    features = kinds()[name].features
    forgeries, lies = {"forged_callback", "forged_success"}, {"false_callback", "false_success"}
    told = features.callbacks
    assert (forgeries & lacks == set()) == (told is Callbacks.SIGNED)
    assert (lies & lacks == set()) == (told is Callbacks.HINTS)
    assert "garbage" not in lacks
    assert "refused" not in lacks
    assert features.unfunded is Codes.NONE or "balance_too_low" not in lacks
