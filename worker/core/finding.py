"""What a check found: whether it is well, what is the matter, and what to do about it."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "warning", "failed"]
"""`warning`: the worker works, yet somebody should look; `failed`: it does not, or money is not safe."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check. `fix` is what to do, in a line; only what is well has none."""

    check: str
    status: Status
    detail: str
    fix: str | None = None

    @classmethod
    def ok(cls, check: str, detail: str) -> "Finding":
        """Return that all is well."""
        return cls(check, "ok", detail)

    @classmethod
    def warning(cls, check: str, detail: str, fix: str) -> "Finding":
        """Return that somebody should look."""
        return cls(check, "warning", detail, fix)

    @classmethod
    def failed(cls, check: str, detail: str, fix: str) -> "Finding":
        """Return that something does not work, or is not safe."""
        return cls(check, "failed", detail, fix)

    def below(self, name: str) -> "Finding":
        """Return the same about a part of what is called `name`."""
        return replace(self, check=f"{name}.{self.check}")
