"""What is wrong with the settings, told without repeating a single value: any of them may be a secret."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

_PHRASES = (
    ("Value error, ", ""),
    ("Assertion failed, ", ""),
    ("Field required", "missing"),
    ("Input should be ", "expected "),
    ("String should match pattern", "expected text that matches"),
    ("String should have ", "expected text with "),
    ("Tuple should have ", "expected a list with "),
    ("List should have ", "expected a list with "),
    ("Dictionary should have ", "expected a table with "),
)
"""How pydantic says what it expected, and how we do."""
_KINDS = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "expected a table"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "expected a list"),
}
_SHORTEST_HIDDEN = 6  # below, hiding a value that the message may hold by chance garbles the message


class SettingsError(Exception):
    """Settings that cannot be used: `problems` has a line for each, `setting: what was expected`."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def hint(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` where a known name resembles `name`, else nothing."""
    close = get_close_matches(name.lower(), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


class Problems:
    """The problems found so far; a setting that an environment variable gave is named with that variable."""

    def __init__(self, variables: Mapping[tuple[str, ...], str]) -> None:
        self._variables = variables
        self.lines: list[str] = []

    def add(self, path: Sequence[str], message: str) -> None:
        """Note what is wrong with the setting at `path`."""
        depths = range(len(path), 0, -1)
        variable = next(
            (self._variables[key] for depth in depths if (key := tuple(path[:depth])) in self._variables), None
        )
        line = f"{'.'.join(path)}{f' ({variable})' if variable else ''}: {message}"
        if line not in self.lines:
            self.lines.append(line)

    def add_unknown(self, path: Sequence[str], message: str) -> None:
        """Note that there is no table at `path`, naming the environment variables that made it."""
        made = [variable for key, variable in self._variables.items() if key[: len(path)] == tuple(path)]
        variables = f" ({', '.join(made)})" if made else ""
        self.lines.append(f"{'.'.join(path)}{variables}: {message}")

    def add_all(self, path: Sequence[str], model: type[BaseModel], error: ValidationError) -> None:
        """Note everything that `model` did not like about the table at `path`."""
        for detail in error.errors(include_url=False):
            keys = [str(key) for key in detail["loc"]]
            if detail["type"] == "extra_forbidden":
                known = _fields(model, keys[:-1])
                self.add([*path, *keys], f"unknown setting{hint(keys[-1], known)}")
                continue
            message = _without(detail["msg"], detail["input"])
            for said, expected in _PHRASES:
                message = message.replace(said, expected, 1) if message.startswith(said) else message
            message = _KINDS.get(detail["type"], message)
            if detail["type"] == "missing":
                about = _description(model, keys)
                message = f"missing; expected {about}" if about else "missing"
            field, colon, rest = message.partition(": ")
            if not keys and colon and field in model.model_fields:  # a rule about the whole table that names a setting
                keys, message = [field], rest
            self.add([*path, *keys], message)


def _without(message: str, value: Any) -> str:
    """Return a validator's message without the value, should the validator have repeated it."""
    return message.replace(value, "****") if isinstance(value, str) and len(value) >= _SHORTEST_HIDDEN else message


def _fields(model: type[BaseModel], keys: Sequence[str]) -> list[str]:
    """Return the names of the settings in the table at `keys` below `model`."""
    for key in keys:
        inner = model.model_fields[key].annotation if key in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _description(model: type[BaseModel], keys: Sequence[str]) -> str | None:
    field = model.model_fields.get(keys[0]) if len(keys) == 1 else None
    return None if field is None else field.description
