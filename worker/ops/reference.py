"""Every setting, as tables drawn from the models that read them.

`python -m worker.ops.reference` writes them into `deploy/README.md`, where a test keeps them current.
"""

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from worker.config.model import SECTIONS, Address
from worker.gateways.registry import adapters
from worker.gateways.settings import GatewaySettings
from worker.ops.pages import RUNBOOK, between

BEGIN, END = "<!-- settings:begin -->\n", "<!-- settings:end -->\n"

_KINDS: Mapping[type, str] = {
    SecretStr: "secret",
    Address: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
}
_LISTS = (list, tuple, set, frozenset)


def page() -> str:
    """Return the tables: the fixed sections, what every gateway has, and what each adapter adds or has otherwise."""
    common = frozenset(_rows(GatewaySettings))
    parts = [_table(f"`[{name}]`", _rows(model)) for name, model in SECTIONS.items()]
    parts.append(_table("`[gateways.<name>]`, whatever the adapter", _rows(GatewaySettings)))
    for name, adapter in sorted(adapters().items()):
        own = [row for row in _rows(adapter.settings_type) if row not in common]
        parts.append(_table(f'`[gateways.<name>]` with `adapter = "{name}"`', own))
    return "\n".join(parts)


def with_page(text: str) -> str:
    """Return `text` with the tables between their markers.

    Raises:
        ValueError: a marker is missing.
    """
    return between(text, BEGIN, END, f"\n{page()}\n")


def _table(title: str, rows: "list[tuple[str, ...]] | Iterator[tuple[str, ...]]") -> str:
    head = ("setting", "expects", "default", "is")
    lines = [head, ("---",) * len(head), *((f"`{name}`", *rest) for name, *rest in rows)]
    return f"**{title}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """Yield name, kind, default and meaning of each setting; those of a table inside after one another."""
    for name, field in model.model_fields.items():
        inner = _bare(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _kind(inner), _default(field), _cell(field.description or "")


def _kind(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in get_args(kind))
    if origin in _LISTS:
        return "list"
    return _KINDS.get(kind, "table")


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or (isinstance(value, SecretStr) and not value):
        return "needed"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    """Return a default as a settings file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, _LISTS):
        listed = sorted(value) if isinstance(value, set | frozenset) else value
        return f"[{', '.join(map(_toml, listed))}]"
    if isinstance(value, Mapping):
        return "{}"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def _bare(kind: Any) -> Any:
    """Return a type without `Annotated` and without `| None`."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return _bare(next(arm for arm in get_args(kind) if arm is not NoneType))
    return kind


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    RUNBOOK.write_text(with_page(RUNBOOK.read_text(encoding="utf-8")), encoding="utf-8")
