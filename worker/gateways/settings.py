"""The settings that every gateway has, and the secret type that adapters declare theirs with."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from worker.core.policy import Policy


def _resolve(value: Any, info: ValidationInfo) -> Any:
    """Turn `{env = "NAME"}` or `{file = "path"}` into its text; a literal stays what it is."""
    if not isinstance(value, dict):
        return value
    match value:
        case {"env": str(name), **rest} if not rest:
            environ = (info.context or {}).get("environ", os.environ)
            if name not in environ:
                raise ValueError(f"the environment variable {name} is not set")
            return environ[name]
        case {"file": str(name), **rest} if not rest:
            directory = (info.context or {}).get("directory", Path())
            path = Path(directory) / name
            (info.context or {}).get("files", set()).add(path)
            try:
                return path.read_text(encoding="utf-8").removesuffix("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"the file {name} cannot be read: {type(error).__name__}") from None
    raise ValueError('expected text, {env = "NAME"} or {file = "path"}')


Secret = Annotated[SecretStr, BeforeValidator(_resolve)]
"""A secret setting: literal, `{env = "NAME"}`, or `{file = "path"}` relative to the settings file. Never printed."""

LONGEST_SECONDS = 366 * 86_400.0  # of any wait: far beyond it, times no longer fit into the database's
MOST_PER_SECOND = 1_000_000.0


def _some(steps: tuple[float, ...]) -> tuple[float, ...]:
    if not steps:
        raise ValueError("expected at least one duration")
    return steps


Steps = Annotated[
    tuple[Annotated[float, Field(gt=0, le=LONGEST_SECONDS)], ...], Field(max_length=50), AfterValidator(_some)
]


class GatewaySettings(BaseModel):
    """What `[gateways.<name>]` holds for every adapter; an adapter's own settings are a subclass.

    Durations are seconds and may be fractions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    adapter: str = Field(description="which dialect it speaks")
    base_url: str = Field(pattern=r"^https?://[^\s?#]+$", description="where its API is")
    concurrency: int = Field(64, ge=1, le=10_000, description="calls in flight, per process")
    rate_per_second: float = Field(
        0, ge=0, le=MOST_PER_SECOND, description="calls begun in a second, per process; 0: no limit"
    )
    timeout_seconds: float = Field(15, gt=0, le=600, description="from the first byte sent to the last received")
    query_after_seconds: Steps = Field((5, 10, 20, 40, 60), description="until the next query; then the last again")
    query_deadline_seconds: float = Field(86_400, gt=0, le=LONGEST_SECONDS, description="then a person must look")
    lease_seconds: float = Field(
        60,
        gt=0,
        le=LONGEST_SECONDS,
        validate_default=True,
        description="after it a submit whose worker died is unknown",
    )
    settle_seconds: float = Field(120, ge=0, le=LONGEST_SECONDS, description='how long "no such order" must hold')
    settle_queries: int = Field(3, ge=1, description='how often "no such order" must have been said')
    unfunded_pause_seconds: float = Field(
        60, gt=0, le=LONGEST_SECONDS, description="until one order is tried, once our money is used up"
    )
    balance_every_seconds: float = Field(
        300, ge=0, le=LONGEST_SECONDS, description="how often our balance is asked for; 0: never"
    )
    balance_warning_hours: float = Field(
        12, ge=0, le=LONGEST_SECONDS / 3600, description="warn when our balance lasts no longer; 0: never"
    )

    @field_validator("lease_seconds")
    @classmethod
    def _outlasts_the_call(cls, value: float, info: ValidationInfo) -> float:
        # a field's own rule, so that it is told beside whatever else is wrong
        if value <= info.data.get("timeout_seconds", 0):
            raise ValueError("expected more than timeout_seconds, or a call outlives its lease")
        return value

    def policy(self, *, repeat_safe: bool) -> Policy:
        """Return how patient the machine is to be with this gateway."""
        return Policy(
            query_after=self.query_after_seconds,
            query_deadline=self.query_deadline_seconds,
            lease=self.lease_seconds,
            settle_seconds=self.settle_seconds,
            settle_queries=self.settle_queries,
            unfunded_pause=self.unfunded_pause_seconds,
            repeat_safe=repeat_safe,
        )


def secret_values(settings: Any) -> list[str]:
    """Return the text of every secret in `settings`, nested or not."""
    if isinstance(settings, SecretStr):
        return [settings.get_secret_value()]
    inner: Iterable[Any] = ()
    if isinstance(settings, BaseModel):
        inner = [value for _name, value in settings]
    elif isinstance(settings, Mapping):
        inner = settings.values()
    elif isinstance(settings, list | tuple):
        inner = settings
    return [secret for value in inner for secret in secret_values(value)]
