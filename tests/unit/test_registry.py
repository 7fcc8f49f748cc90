"""The registry finds adapters by their modules, and refuses two of one name."""

from types import ModuleType

import pytest

from worker.gateways.base import Adapter
from worker.gateways.registry import adapters, find
from worker.gateways.settings import GatewaySettings
from worker.gateways.wikeyun import Wikeyun


def module(name: str, **values: object) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(values)
    return made


def named(name: str, home: str) -> type[Adapter]:
    kind: type[Adapter] = type("Some", (Wikeyun,), {"adapter": name, "__module__": home})
    return kind


def test_the_adapters_of_this_package() -> None:
    found = adapters()
    assert found["wikeyun"] is Wikeyun
    for name, kind in found.items():
        assert kind.adapter == name
        assert kind.products
        assert issubclass(kind.settings_type, GatewaySettings)


def test_only_where_it_is_defined() -> None:
    kind = named("one", "a")
    assert find([module("a", Some=kind, Alias=kind), module("b", Some=kind, Base=Adapter)]) == {"one": kind}


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ImportError, match="'one'"):
        find([module("a", Some=named("one", "a")), module("b", Some=named("one", "b"))])


@pytest.mark.parametrize("left_out", ["adapter", "features", "settings_type", "products", "query"])
def test_one_that_is_not_whole_is_not_passed_over(left_out: str) -> None:
    members = {name: getattr(Wikeyun, name) for name in ("adapter", "products", "settings_type", "features")}
    members |= {name: getattr(Wikeyun, name) for name in ("submit", "query")} | {"__module__": "a"}
    del members[left_out]
    kind = type("Some", (Adapter,), members)
    with pytest.raises(ImportError, match=rf"a\.Some lacks {left_out}$"):
        find([module("a", Some=kind)])


def test_what_several_adapters_have_in_common_is_none() -> None:
    assert find([module("a", Some=type("Some", (Adapter,), {"__module__": "a"}))]) == {}
