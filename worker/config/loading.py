"""Reads the settings: file, then environment, then every check there is, and all complaints in one error."""

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from worker.config.environment import PREFIX, Table, misspelt, overlay
from worker.config.model import SECTIONS, Amqp, Database, Events, Ops, Relay, Settings
from worker.config.problems import Problems, SettingsError, hint
from worker.gateways.base import Adapter
from worker.gateways.registry import adapters as known_adapters
from worker.gateways.settings import GatewaySettings

DEFAULT_PATH = Path("worker.toml")
DEFAULT_REQUIRED = frozenset({"amqp.url", "database.dsn"})
_PATH_VARIABLE = f"{PREFIX}CONFIG"
_NAME = re.compile(r"[a-z0-9_]+")
_ROUTE = TypeAdapter(tuple[str, ...])

M = TypeVar("M", bound=BaseModel)


def load(
    path: Path | None,
    environ: Mapping[str, str],
    adapters: Mapping[str, type[Adapter]] | None = None,
    *,
    required: Collection[str] = DEFAULT_REQUIRED,
) -> Settings:
    """Return the settings of the file at `path` (default: `WORKER_CONFIG`, then `worker.toml`) and of the environment.

    `required` names what must be set although it has no default: of `amqp.url`, `database.dsn` and `gateways` (at
    least one) those that the command cannot do without.

    Raises:
        SettingsError: something is wrong; it lists everything that is.
    """
    table, source = _file(path, environ)
    loader = _Loader(table, environ, known_adapters() if adapters is None else adapters, source)
    return loader.settings(required)


def _file(path: Path | None, environ: Mapping[str, str]) -> tuple[Table, Path | None]:
    """Return the file's table and where it is; None: there is none, which is well unless one was named."""
    named = environ.get(_PATH_VARIABLE)
    source = "--config" if path is not None else _PATH_VARIABLE
    chosen = path or (Path(named) if named else DEFAULT_PATH)
    try:
        table = tomllib.loads(chosen.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        if path is None and not named:
            return {}, None
        message = f"{source}: expected a settings file, there is no {chosen}"
    except OSError as error:
        message = f"{source}: {chosen} cannot be read: {error.strerror or type(error).__name__}"
    except tomllib.TOMLDecodeError as error:
        message = f"{source}: {chosen} is not TOML: {error}"
    except ValueError:
        message = f"{source}: {chosen} is not TOML in UTF-8"
    else:
        return table, chosen.absolute()
    raise SettingsError(message)


class _Loader:
    """One reading of the settings: collects problems on the way, and raises them at the end."""

    def __init__(
        self, table: Table, environ: Mapping[str, str], adapters: Mapping[str, type[Adapter]], source: Path | None
    ) -> None:
        self._adapters = adapters
        self._source = source
        self._secret_files: set[Path] = set()
        directory = Path.cwd() if source is None else source.parent
        self._context = {"directory": directory, "environ": environ, "files": self._secret_files}
        self._table = table
        self._problems = Problems(overlay(table, environ, self._model))
        for name, right in misspelt(environ):
            self._problems.add((name,), f"unknown variable; did you mean {right}?")

    def settings(self, required: Collection[str]) -> Settings:
        self._check_sections()
        given = self._inner("gateways")
        gateways = {name: self._gateway(name, value, set(given) - {name}) for name, value in given.items()}
        routes = self._routes(given)
        amqp, database = self._section("amqp", Amqp), self._section("database", Database)
        ops, relay, events = self._section("ops", Ops), self._section("relay", Relay), self._section("events", Events)
        self._check_required(required)
        if self._problems.lines or not (amqp and database and ops and relay and events):
            raise SettingsError(*self._problems.lines)
        valid = {name: gateway for name, gateway in gateways.items() if gateway is not None}
        return Settings(
            amqp,
            database,
            ops,
            relay,
            events,
            MappingProxyType(routes),
            MappingProxyType(valid),
            self._source,
            frozenset(self._secret_files),
        )

    def _check_sections(self) -> None:
        known = [*SECTIONS, "routes", "gateways"]
        for name, value in self._table.items():
            if name not in known:
                what = "section" if isinstance(value, dict) else "setting"
                self._problems.add_unknown((name,), f"unknown {what}{hint(name, known)}")
            elif not isinstance(value, dict):
                self._problems.add((name,), f"expected a table, [{name}]")

    def _check_required(self, required: Collection[str]) -> None:
        for setting in sorted(required):
            section, _, key = setting.partition(".")
            inner = self._inner(section)
            if key and key not in inner:
                self._problems.add(
                    (section, key), f"missing; expected {SECTIONS[section].model_fields[key].description}"
                )
            elif not inner:
                self._problems.add((section,), "missing; expected at least one gateway, [gateways.<name>]")

    def _inner(self, name: str) -> Table:
        inner = self._table.get(name, {})
        return inner if isinstance(inner, dict) else {}

    def _section(self, name: str, model: type[M]) -> M | None:
        return self._validate((name,), model, self._inner(name))

    def _validate(self, path: tuple[str, ...], model: type[M], value: Any) -> M | None:
        try:
            return model.model_validate(value, context=self._context)
        except ValidationError as error:
            self._problems.add_all(path, model, error)
        return None

    def _adapter(self, name: Any) -> type[Adapter] | None:
        return self._adapters.get(name) if isinstance(name, str) else None

    def _model(self, adapter: Any) -> type[GatewaySettings] | None:
        found = self._adapter(adapter)
        return None if found is None else found.settings_type

    def _gateway(self, name: str, value: Any, others: Collection[str]) -> GatewaySettings | None:
        path = ("gateways", name)
        if _NAME.fullmatch(name) is None:
            self._problems.add_unknown(path, "expected a name of [a-z0-9_]+")
        if not isinstance(value, dict):
            self._problems.add(path, f"expected a table, [gateways.{name}]")
            return None
        adapter = value.get("adapter")
        model = self._model(adapter)
        if model is not None:
            return self._validate(path, model, value)
        expected = f"expected one of {', '.join(sorted(self._adapters))}"
        if adapter is None:
            self._problems.add((*path, "adapter"), f"missing; {expected}{hint(name, others)}")
        else:
            close = hint(adapter, self._adapters) if isinstance(adapter, str) else ""
            self._problems.add((*path, "adapter"), f"{expected}{close}")
        return None

    def _sellers(self, gateways: Table) -> dict[str, list[str]]:
        """Return which configured gateways sell each product that any adapter knows, in the order of the file."""
        sellers: dict[str, list[str]] = {
            product: [] for adapter in self._adapters.values() for product in sorted(adapter.products)
        }
        for name, value in gateways.items():
            adapter = self._adapter(value.get("adapter")) if isinstance(value, dict) else None
            for product in adapter.products if adapter else ():
                sellers[product].append(name)
        return sellers

    def _routes(self, gateways: Table) -> dict[str, tuple[str, ...]]:
        sellers = self._sellers(gateways)
        routes = {product: tuple(names) for product, names in sellers.items() if names}
        for product, value in self._inner("routes").items():
            if product not in sellers:
                self._problems.add(("routes", product), f"unknown product{hint(product, sellers)}")
                continue
            try:
                route = _ROUTE.validate_python(value)
            except ValidationError:
                route = ()
            if not route or len(set(route)) < len(route):
                self._problems.add(("routes", product), "expected a list of different gateways, at least one")
            for name in route:
                if name not in gateways:
                    self._problems.add(("routes", product), f"{name} is not configured{hint(name, gateways)}")
                elif name not in sellers[product] and self._sells_something(gateways[name]):
                    self._problems.add(("routes", product), f"{name} does not sell {product}")
            routes[product] = route
        return routes

    def _sells_something(self, gateway: Any) -> bool:
        """Whether its adapter is known; if not, that alone is told."""
        return isinstance(gateway, dict) and self._adapter(gateway.get("adapter")) is not None
