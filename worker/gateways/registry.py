"""Which adapters there are: every `Adapter` in a module of this package, so that a new one is one new file."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from types import ModuleType

import worker.gateways
from worker.gateways.base import Adapter

_DECLARED = ("adapter", "products", "settings_type", "features")


def find(modules: Iterable[ModuleType]) -> dict[str, type[Adapter]]:
    """Return the concrete adapters that `modules` define, by the name that settings choose them by.

    Raises:
        ImportError: two adapters have the same name, or one lacks what every adapter has.
    """
    found: dict[str, type[Adapter]] = {}
    for module in modules:
        for value in vars(module).values():
            if not (isinstance(value, type) and issubclass(value, Adapter)) or value.__module__ != module.__name__:
                continue
            if inspect.isabstract(value) and not hasattr(value, "adapter"):
                continue  # what several adapters have in common
            if lacks := _lacks(value):
                raise ImportError(f"the adapter {value.__module__}.{value.__qualname__} lacks {', '.join(lacks)}")
            if found.get(value.adapter) is value:
                continue
            if value.adapter in found:
                names = f"{found[value.adapter].__qualname__} and {value.__qualname__}"
                raise ImportError(f"two adapters are called {value.adapter!r}: {names}")
            found[value.adapter] = value
    return found


def _lacks(kind: type[Adapter]) -> list[str]:
    methods: frozenset[str] = getattr(kind, "__abstractmethods__", frozenset())
    return [*(name for name in _DECLARED if not hasattr(kind, name)), *sorted(methods)]


def _modules() -> Iterable[ModuleType]:
    for module in pkgutil.iter_modules(worker.gateways.__path__):
        name = f"{worker.gateways.__name__}.{module.name}"
        if name != __name__:
            yield importlib.import_module(name)


_ADAPTERS = find(_modules())


def adapters() -> dict[str, type[Adapter]]:
    """Return every adapter, by the name that settings choose it by."""
    return dict(_ADAPTERS)
