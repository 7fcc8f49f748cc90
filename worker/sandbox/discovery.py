"""Which simulators there are: every `Simulator` in a module of `simulators/`, so that a new one is one new file."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from types import ModuleType
from typing import Any

from worker.sandbox import simulators
from worker.sandbox.faults import Reason
from worker.sandbox.simulator import Simulator

_DECLARED = ("name", "settings_type", "refusals")


def find(modules: Iterable[ModuleType] | None = None) -> dict[str, type[Simulator]]:
    """Return the simulators by name: those of `simulators/`, or of these modules.

    Raises:
        ImportError: two have the same name, or one lacks what every simulator has.
    """
    found: dict[str, type[Simulator]] = {}
    for module in _modules() if modules is None else modules:
        for value in vars(module).values():
            if not (isinstance(value, type) and issubclass(value, Simulator)) or value.__module__ != module.__name__:
                continue
            if inspect.isabstract(value) and not hasattr(value, "name"):
                continue  # what several simulators have in common
            if lacks := _lacks(value):
                raise ImportError(f"the simulator {value.__module__}.{value.__qualname__} lacks {', '.join(lacks)}")
            if value.name in found:
                raise ImportError(f"two simulators are called {value.name!r}")
            found[value.name] = value
    return dict(sorted(found.items()))


def _modules() -> Iterator[ModuleType]:
    for listed in pkgutil.iter_modules(simulators.__path__):
        yield importlib.import_module(f"{simulators.__name__}.{listed.name}")


def _lacks(kind: type[Simulator]) -> list[str]:
    methods: frozenset[str] = getattr(kind, "__abstractmethods__", frozenset())
    known: Iterable[Reason] = getattr(kind, "refusals", Reason)
    reasons = [f"refusals[{reason}]" for reason in Reason if reason not in known]
    return [*(name for name in _DECLARED if not hasattr(kind, name)), *sorted(methods), *reasons]


def settle(overrides: Mapping[str, Mapping[str, Any]]) -> dict[type[Simulator], Any]:
    """Return each simulator with its settings: its defaults, and what `overrides` says of it.

    Raises:
        ValueError: no such simulator or setting, or one that cannot be so; it begins with the setting's name.
    """
    known = find()
    for name in overrides:
        if name not in known:
            raise ValueError(f"{name}: no such simulator; there are {', '.join(known)}")
    return {kind: _settings(kind, overrides.get(name, {})) for name, kind in known.items()}


def parse(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Read overrides like `wikeyun.app_secret=another`; a list's items have commas between.

    Raises:
        ValueError: one that cannot be; it begins with the setting's name.
    """
    known = find()
    overrides: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        name, dot, setting = place.partition(".")
        if not equals or not dot:
            raise ValueError(f"{text}: expected SIMULATOR.SETTING=VALUE")
        if name not in known:
            raise ValueError(f"{place}: no such simulator; there are {', '.join(known)}")
        kept = overrides.setdefault(name, {})
        kept[setting] = _value(place, getattr(known[name].settings_type(), setting, None), value)
        _settings(known[name], kept)
    return overrides


def _settings(kind: type[Simulator], overrides: Mapping[str, Any]) -> Any:
    names = [field.name for field in fields(kind.settings_type)]
    for name in overrides:
        if name not in names:
            raise ValueError(f"{kind.name}.{name}: no such setting; there are {', '.join(names)}")
    try:
        return kind.settings_type(**overrides)
    except ValueError as error:
        raise ValueError(f"{kind.name}.{error}") from None


def _value(place: str, default: Any, text: str) -> Any:
    """Return `text` as what `default` is."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            return tuple(int(item) for item in text.split(",") if item.strip())
        if isinstance(default, int | float):
            return type(default)(text)
    except (KeyError, ValueError):
        expected = "whole numbers with commas between" if isinstance(default, tuple) else type(default).__name__
        raise ValueError(f"{place}: expected {expected}") from None
    return text
