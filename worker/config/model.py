"""The sections of the settings as frozen models, and the values they are made of."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from worker.gateways.settings import GatewaySettings, Secret

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]*)(?::([0-9]{1,5}))?")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_LONGEST_PREFIX = 64
_HIGHEST_PORT = 65_535
_FILES = frozenset({"cafile", "certfile", "keyfile", "sslrootcert", "sslcert", "sslkey"})
"""Parameters of the two URLs that name a file, for TLS."""


class SecretUrl(SecretStr):
    """A URL that may hold a password: shown without it, whole only through `get_secret_value()`."""

    def _display(self) -> str:
        text = self.get_secret_value()
        if not text:
            return ""
        parts = urlsplit(text)
        account, at, host = parts.netloc.rpartition("@")
        user, colon, _ = account.partition(":")
        return (
            f"{parts.scheme}://{user}{':****' if colon else ''}{at}{host}{parts.path}{'?****' if parts.query else ''}"
        )


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: Any) -> Address | None:
    if isinstance(value, Address):
        return value
    if value == "":
        return None
    found = _HOST.fullmatch(value) if isinstance(value, str) else None
    if found is None or not found[1] or found[2] is None or int(found[2]) > _HIGHEST_PORT:
        raise ValueError('expected "host:port", or "" to turn it off')
    return Address(found[1].strip("[]"), int(found[2]))


def _split(url: SecretStr, schemes: tuple[str, ...], example: str) -> SplitResult:
    """Return the parts of a URL whose scheme and hosts are well-formed; the error never repeats it."""
    expected = f"expected a URL like {example}, with special characters of the password percent-encoded"
    text = url.get_secret_value()
    if not text.isprintable() or " " in text:
        raise ValueError(expected)
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(expected) from None
    found = [_HOST.fullmatch(host) for host in parts.netloc.rpartition("@")[2].split(",")]
    if parts.scheme not in schemes or "://" not in text or parts.fragment:
        raise ValueError(expected)
    if any(host is None or int(host[2] or 0) > _HIGHEST_PORT for host in found):
        raise ValueError(expected)
    for name, path in parse_qsl(parts.query):
        if name in _FILES and not (Path(path).is_file() and os.access(path, os.R_OK)):
            raise ValueError(f"{name}: expected a file that can be read")
    return parts


def _amqp_url(url: SecretStr) -> SecretStr:
    parts = _split(url, ("amqp", "amqps"), "amqp://user:password@host:5672/vhost")
    if not parts.hostname or "," in parts.netloc.rpartition("@")[2]:
        raise ValueError("expected exactly one host")
    return SecretUrl(url.get_secret_value())


def _dsn(url: SecretStr) -> SecretStr:
    _split(url, ("postgresql", "postgres"), "postgresql://user:password@host:5432/database")
    return SecretUrl(url.get_secret_value())


def _prefix(value: str) -> str:
    if _PREFIX.fullmatch(value) is None or len(value) > _LONGEST_PREFIX or value.startswith("amq."):
        raise ValueError("expected 1 to 64 of [A-Za-z0-9_-], with single dots between, and not amq.*")
    return value


def _collector(value: str) -> str:
    if not value:
        return value
    expected = 'expected a URL like http://collector:4318, without a password, or "" to turn it off'
    try:
        parts = _split(SecretStr(value), ("http", "https"), "http://collector:4318")
    except ValueError:
        raise ValueError(expected) from None
    if not parts.hostname or "@" in parts.netloc or "," in parts.netloc or parts.query:
        raise ValueError(expected)
    return value


Listen = Annotated[Address | None, BeforeValidator(_address)]
EventName = Literal[
    "accepted",
    "awaiting_payment",
    "succeeded",
    "partial",
    "failed",
    "refunded",
    "cancelled",
    "review",
    "pending",
    "unknown",
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Amqp(_Section):
    """`[amqp]`: the broker. `url` is empty where the command does not need it."""

    url: Annotated[Secret, AfterValidator(_amqp_url)] = Field(
        SecretUrl(""), description="the URL of RabbitMQ: amqp://user:password@host:5672/vhost"
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "orders", description="what exchanges and queues begin with"
    )
    prefetch: int = Field(
        200, ge=1, le=65_535, description="messages taken ahead, per process and queue; handled are 128 at a time"
    )


class Database(_Section):
    """`[database]`: PostgreSQL. `dsn` is empty where the command does not need it."""

    dsn: Annotated[Secret, AfterValidator(_dsn)] = Field(
        SecretUrl(""), description="the URL of PostgreSQL: postgresql://user:password@host:5432/database"
    )
    pool_size: int = Field(4, ge=1, le=100, description="connections, per process")


class Ops(_Section):
    """`[ops]`: the endpoint for operators and probes."""

    listen: Listen = Field(Address("127.0.0.1", 9108), description='"host:port"; "" turns it off')
    otlp_endpoint: Annotated[str, AfterValidator(_collector)] = Field(
        "", description='where spans go, by OTLP over HTTP: http://collector:4318; "" turns it off'
    )


class Relay(_Section):
    """`[relay]`: where `worker relay` takes callbacks."""

    listen: Listen = Field(Address("127.0.0.1", 8080), description='"host:port"')


class Events(_Section):
    """`[events]`: which `order.<what>` are published."""

    publish: frozenset[EventName] = Field(
        frozenset(
            {"accepted", "awaiting_payment", "succeeded", "partial", "failed", "refunded", "cancelled", "review"}
        ),
        description="the events that are published; pending and unknown may be added",
    )


SECTIONS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {"amqp": Amqp, "database": Database, "ops": Ops, "relay": Relay, "events": Events}
)
"""The sections with fixed keys; `routes` and `gateways` have names of the operator's."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, validated. No `repr` of any part shows a secret."""

    amqp: Amqp
    database: Database
    ops: Ops
    relay: Relay
    events: Events
    routes: Mapping[str, tuple[str, ...]]  # of every product that some gateway sells, defaults filled in
    gateways: Mapping[str, GatewaySettings]  # by name, in the order of the settings file
    source: Path | None = None  # the settings file; None: there is none
    secret_files: frozenset[Path] = frozenset()  # what `{file = "path"}` names
