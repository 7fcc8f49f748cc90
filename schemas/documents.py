"""The contract as files: a JSON Schema (2020-12) for each message, and one AsyncAPI 3.0 document of all of them."""

import json
from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, TypeAdapter

from schemas import asyncapi
from schemas.callbacks import GatewayCallback
from schemas.commands import ANSWERS, COMMANDS, Refused
from schemas.dead import DeadHeaders, DeadLine, SubmitRefused
from schemas.events import Event, OrderStory, OrderView
from schemas.examples import EXAMPLES
from schemas.orders import AnyOrder

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _commands() -> dict[str, tuple[str, Any]]:
    found: dict[str, tuple[str, Any]] = {}
    for name, model in COMMANDS.items():
        kinds = list(model.values()) if isinstance(model, Mapping) else [model]
        found[name] = (f"Command {name}", reduce(or_, kinds))
    return found


MODELS: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        "order.submit": ("Submit an order", AnyOrder),
        "order.submit.answer": ("A submit message that was not accepted", SubmitRefused),
        "gateway.callback": ("An upstream callback, relayed", GatewayCallback),
        **_commands(),
        **{f"{name}.answer": (f"Answer to {name}", model | Refused) for name, model in ANSWERS.items()},
        "order.event": ("An event of an order", Event),
        "dead.headers": ("Headers of a dead letter", DeadHeaders),
        "orders.list": ("A line of `worker orders list --json`", OrderView),
        "orders.show": ("What `worker orders show --json` writes", OrderStory),
        "dead.list": ("A line of `worker dead list --json`", DeadLine),
    }
)
"""The title and the model of each message by its name."""


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one message."""
    title, model = MODELS[name]
    schema = _plain(TypeAdapter(model).json_schema())
    description = schema.pop("description", None)
    schema.pop("title", None)
    return {
        "$schema": DIALECT,
        "$id": f"{name}.json",
        "title": title,
        **({} if description is None else {"description": description}),
        **schema,
        "examples": list(EXAMPLES[name]),
    }


def json_schemas() -> dict[str, bytes]:
    """Return the JSON Schema of every message by its file's name."""
    return {f"json/{name}.json": _encoded(json_schema(name)) for name in MODELS}


def documents() -> dict[str, bytes]:
    """Return every generated file by its path below the output directory."""
    return {**json_schemas(), "asyncapi.json": _encoded(asyncapi.document())}


def write(directory: Path) -> list[Path]:
    """Write every generated file below `directory`, and return their paths."""
    paths = []
    for name, content in documents().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


def _plain(schema: Any) -> Any:
    """Drop OpenAPI's `discriminator`, which JSON Schema does not know."""
    if isinstance(schema, dict):
        return {name: _plain(value) for name, value in schema.items() if name != "discriminator"}
    return [_plain(value) for value in schema] if isinstance(schema, list) else schema


def _encoded(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def model_of(name: str) -> TypeAdapter[BaseModel]:
    """Return the validator of a message by its name, as the documents know it."""
    return TypeAdapter(MODELS[name][1])
