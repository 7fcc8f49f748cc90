"""Environment variables as settings: `WORKER_AMQP__URL`, `WORKER_GATEWAYS__WIKEYUN__APP_KEY`, `WORKER_ROUTES__POWER`.

A variable replaces the setting as a whole. Lists are JSON or comma separated, tables are JSON; a part of a table can
be named too (`…__ELECTRICITY__UNIT_FEN`). Our names have `__` after the section: what has none is left alone, since
Kubernetes puts `WORKER_PORT` and its like beside a service called `worker`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from worker.config.model import SECTIONS

PREFIX = "WORKER_"
_SEPARATOR = "__"
_GATEWAYS = "gateways"
_LISTS = (list, tuple, set, frozenset)
_TABLES = (dict, Mapping)
_KINDS: Mapping[str, Any] = {**SECTIONS, "routes": dict[str, tuple[str, ...]]}

Table = dict[str, Any]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    text: str
    section: str
    keys: tuple[str, ...]  # behind the section, as written: the keys of tables keep their case


def overlay(
    table: Table, environ: Mapping[str, str], gateway_model: Callable[[Any], type[BaseModel] | None]
) -> dict[Path, str]:
    """Write the environment's settings over the file's in `table`; return which variable gave which setting.

    `gateway_model` tells the model of a gateway's settings from its `adapter`.
    """
    given: dict[Path, str] = {}
    gateways = table.get(_GATEWAYS)
    known = sorted(gateways, key=len, reverse=True) if isinstance(gateways, dict) else []
    named: list[tuple[_Variable, str, tuple[str, ...]]] = []
    for variable in _ours(environ):
        if variable.section == _GATEWAYS:
            named.append((variable, *_gateway(variable.keys, known)))
            continue
        path, kind = _find(_KINDS.get(variable.section), variable.keys)
        given[_put(table, (variable.section, *path), _read(kind, variable.text))] = variable.name
    # the adapter first: it tells what the other settings are
    for variable, name, keys in sorted(named, key=lambda entry: _SEPARATOR.join(entry[2]).lower() != "adapter"):
        path, kind = _find(gateway_model(_adapter(table, name)), keys)
        given[_put(table, (_GATEWAYS, name, *path), _read(kind, variable.text))] = variable.name
    return given


def misspelt(environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield (name, right name) of variables that miss the second underscore: `WORKER_DATABASE_DSN`."""
    right = {
        f"{PREFIX}{section}_{key}".upper(): f"{PREFIX}{section}{_SEPARATOR}{key}".upper()
        for section, model in SECTIONS.items()
        for key in model.model_fields
    }
    return ((name, right[name.upper()]) for name in sorted(environ) if name.upper() in right)


def _ours(environ: Mapping[str, str]) -> Iterable[_Variable]:
    for name in sorted(environ):
        if name.upper().startswith(PREFIX):
            section, separator, rest = name[len(PREFIX) :].partition(_SEPARATOR)
            if section and separator and rest:
                keys = (rest.lower(),) if section.lower() == "routes" else tuple(rest.split(_SEPARATOR))
                yield _Variable(name, environ[name], section.lower(), keys)


def _gateway(keys: tuple[str, ...], known: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Split `<NAME>__<SETTING>`; a name of the settings file may itself hold two underscores."""
    whole = _SEPARATOR.join(keys)
    for name in known:
        if whole.lower().startswith(f"{name}{_SEPARATOR}"):
            return name, tuple(whole[len(name) + len(_SEPARATOR) :].split(_SEPARATOR))
    return keys[0].lower(), keys[1:] or ("",)


def _adapter(table: Table, name: str) -> Any:
    gateways = table.get(_GATEWAYS)
    gateway = gateways.get(name) if isinstance(gateways, dict) else None
    return gateway.get("adapter") if isinstance(gateway, dict) else None


def _find(kind: Any, keys: tuple[str, ...]) -> tuple[Path, Any]:
    """Return the path of `keys` as settings spell it, and the type of what is there; None: nothing is known there."""
    whole = _SEPARATOR.join(keys)
    kind = _bare(kind)
    if get_origin(kind) in _TABLES:
        return (whole,), get_args(kind)[1]
    key = keys[0].lower()
    if not _is_model(kind) or key not in kind.model_fields:
        return (whole.lower(),), None
    inner = kind.model_fields[key].annotation
    if len(keys) == 1:
        return (key,), inner
    if not _is_model(_bare(inner)) and get_origin(_bare(inner)) not in _TABLES:
        return (whole.lower(),), None  # a plain value has no parts
    path, kind = _find(inner, keys[1:])
    return (key, *path), kind


def _put(table: Table, path: Path, value: Any) -> Path:
    """Write `value` at `path`, unless the file has something else than a table on the way, which is told later."""
    for key in path[:-1]:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            return path
        table = inner
    table[path[-1]] = value
    return path


def _read(kind: Any, text: str) -> Any:
    """Return `text` as the kind of setting wants it; what cannot be read stays text, and validation says so."""
    kind = _bare(kind)
    start = text.lstrip()[:1]
    if get_origin(kind) in _LISTS and start != "[":
        return [part.strip() for part in text.split(",") if part.strip()]
    if get_origin(kind) in (*_LISTS, *_TABLES) or _is_model(kind) or (_is_secret(kind) and start == "{"):
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return value if not _is_secret(kind) or set(value) <= {"env", "file"} else text
    return text


def _bare(kind: Any) -> Any:
    """Return a type without `Annotated` and without `| None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        arms = [arm for arm in get_args(kind) if arm is not NoneType]
        return _bare(arms[0]) if len(arms) == 1 else None
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_secret(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, SecretStr)
