"""The one error of unacceptable input, and how pydantic's errors become it."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.dead import DeadReason

_NAME = re.compile(r"(?!.*[0-9]{5})[A-Za-z_][A-Za-z0-9_-]{0,63}")
_PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "required",
        "extra_forbidden": "unknown field",
        "int_type": "expected an integer",
        "int_from_float": "expected an integer",
        "int_parsing_size": "expected a smaller number",
        "greater_than": "expected more than {gt}",
        "greater_than_equal": "expected at least {ge}",
        "less_than": "expected less than {lt}",
        "less_than_equal": "expected at most {le}",
        "bool_type": "expected true or false",
        "string_type": "expected a string",
        "string_too_short": "expected at least {min_length} characters",
        "string_too_long": "expected at most {max_length} characters",
        "string_pattern_mismatch": "expected text that matches {pattern}",
        "string_unicode": "expected text without lone surrogates",
        "literal_error": "expected {expected}",
        "list_type": "expected a list",
        "dict_type": "expected an object",
        "model_type": "expected an object",
        "too_short": "expected at least {min_length} items",
        "too_long": "expected at most {max_length} items",
        "value_error": "{error}",  # ours: each says what was expected, none says what was found
        "json_invalid": "expected JSON",
    }
)
"""Only what the schema says goes into these texts, nothing of the input."""


class InvalidMessageError(ValueError):
    """A message that cannot be processed as it is.

    `field` is the dotted path of what is wrong (`target.mobile`, or `body`, `content_type`…), `problem` says
    what was expected. Neither holds the offending value: it may be somebody's phone or identity number.
    """

    def __init__(self, field: str, problem: str, reason: DeadReason = DeadReason.INVALID_MESSAGE) -> None:
        super().__init__(field, problem, reason)
        self.field = field
        self.problem = problem
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


def dotted(path: Iterable[str | int]) -> str:
    """Return a path as one line of text; a name that may be data rather than a name is shown as `?`."""
    return ".".join(_part(part) for part in path if part != "[key]") or "body"


def from_pydantic(error: ValidationError) -> InvalidMessageError:
    """Return the first of pydantic's errors as ours, an unknown field before all others.

    A misspelt name makes two errors, the missing right one and the unknown wrong one; the latter tells more.
    """
    details = error.errors(include_url=False, include_input=False)
    first = next((each for each in details if each["type"] == "extra_forbidden"), details[0])
    return InvalidMessageError(dotted(first["loc"]), _problem(first))


def _part(part: str | int) -> str:
    text = str(part)
    return text if isinstance(part, int) or _NAME.fullmatch(text) else "?"


def _problem(details: ErrorDetails) -> str:
    context: dict[str, Any] = details.get("ctx", {})
    return _PROBLEMS.get(details["type"], "not what was expected").format_map(context)
