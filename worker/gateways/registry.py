"""Which adapters there are: every `Adapter` in a module of this package, so that a new one is one new file."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from types import ModuleType

import worker.gateways
from worker.gateways.base import Adapter


def find(modules: Iterable[ModuleType]) -> dict[str, type[Adapter]]:
    """Return the concrete adapters that `modules` define, by the name that settings choose them by.

    Raises:
        ImportError: two adapters have the same name.
    """
    found: dict[str, type[Adapter]] = {}
    for module in modules:
        for value in vars(module).values():
            if not (isinstance(value, type) and issubclass(value, Adapter)) or inspect.isabstract(value):
                continue
            if value.__module__ != module.__name__ or found.get(value.adapter) is value:
                continue
            if value.adapter in found:
                names = f"{found[value.adapter].__qualname__} and {value.__qualname__}"
                raise ImportError(f"two adapters are called {value.adapter!r}: {names}")
            found[value.adapter] = value
    return found


def _modules() -> Iterable[ModuleType]:
    for module in pkgutil.iter_modules(worker.gateways.__path__):
        name = f"{worker.gateways.__name__}.{module.name}"
        if name != __name__:
            yield importlib.import_module(name)


_ADAPTERS = find(_modules())


def adapters() -> dict[str, type[Adapter]]:
    """Return every adapter, by the name that settings choose it by."""
    return dict(_ADAPTERS)
