"""Secrets that are none yet, or that everybody on this machine may read. No value is ever told."""

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from worker.config.secrets import secrets_of
from worker.core.finding import Finding

if TYPE_CHECKING:
    from worker.config import Settings

_PLACEHOLDER = re.compile(
    r".*….*|\.{3}|\*+|x{3,}|<[^>]*>|todo|fixme|placeholder|(change|replace)[-_ ]?(me|it|this)|your[-_ ].*",
    re.IGNORECASE | re.DOTALL,
)
_PUBLIC = ("-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----")
"""How files begin that settings read like secrets, and that everybody may know."""
_SHORTEST = 8
"""A shorter secret could be a word of any settings file."""


def check_secrets(settings: "Settings") -> Iterator[Finding]:
    """Yield which settings were never filled in, and which files hold secrets for everybody to read."""
    for name, text in _texts(settings):
        if _PLACEHOLDER.fullmatch(text.strip()):
            yield Finding.failed(name, "it is still a placeholder", "set the real value")
    for path in sorted(settings.secret_files):
        if _is_open_to_all(path) and not _is_public(path):
            yield Finding.warning(
                "secrets", f"{path} may be read by everybody on this machine", f"run `chmod o= {path}`"
            )
    source = settings.source
    if source is not None and _is_open_to_all(source) and _holds(source, settings):
        yield Finding.warning(
            "secrets",
            f"{source} holds secrets, and may be read by everybody on this machine",
            f"run `chmod o= {source}`, or move them into files or the environment",
        )


def _texts(settings: "Settings") -> Iterator[tuple[str, str]]:
    """Yield every setting that is text and that only the operator knows, with its name."""
    for name, url in (("amqp.url", settings.amqp.url), ("database.dsn", settings.database.dsn)):
        account = urlsplit(url.get_secret_value()).netloc.rpartition("@")[0]
        for part in account.split(":", 1):
            yield name, unquote(part)
    for name, given in settings.gateways.items():
        yield from _inner(f"gateways.{name}", given)


def _inner(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, SecretStr):
        yield name, value.get_secret_value()
    elif isinstance(value, str):
        yield name, value
    elif isinstance(value, BaseModel | Mapping):
        for key, inner in value.items() if isinstance(value, Mapping) else value:
            yield from _inner(f"{name}.{key}", inner)


def _is_open_to_all(path: Path) -> bool:
    """Return whether any user can read the file: by its own mode, and by those of the directories above it."""
    try:
        real = path.resolve(strict=True)
        reachable = all(parent.stat().st_mode & stat.S_IXOTH for parent in real.parents)
        return reachable and bool(real.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _is_public(path: Path) -> bool:
    try:
        return path.read_text(encoding="ascii", errors="replace").lstrip().startswith(_PUBLIC)
    except OSError:
        return False


def _holds(path: Path, settings: "Settings") -> bool:
    """Return whether a secret stands in the file itself."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(len(secret) >= _SHORTEST and secret in text for secret in secrets_of(settings))
