"""Every secret of the settings, so that what writes for people can be told to hide them."""

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.gateways.settings import secret_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.config.model import Settings


def secrets_of(settings: "Settings") -> "Iterator[str]":
    """Yield the gateways' secrets, and the passwords of broker and database."""
    yield from secret_values(settings.gateways)
    for url in (settings.amqp.url, settings.database.dsn):
        parts = urlsplit(url.get_secret_value())
        account, _, _host = parts.netloc.rpartition("@")
        password = account.partition(":")[2]
        if password:
            yield from (password, unquote(password))
        yield from (value for name, value in parse_qsl(parts.query) if name.endswith("password"))
