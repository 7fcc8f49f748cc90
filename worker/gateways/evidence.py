"""What an exchange leaves in the journal: enough to recognise it, too little to use it.

Masked are: runs of digits (`core.masking`), whatever the order says about a person, and the values
of our secrets, wherever they turn up; the fields that an adapter calls secret are left out.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

import orjson

from worker.core.masking import mask, mask_text, personal_fields
from worker.core.order import Order
from worker.core.outcome import Report
from worker.gateways.base import RawCallback, Reply, Request

LIMIT = 2048
"""Bytes of a body that are looked at, and characters that are kept."""

_STRING_LIMIT = 200
_DEEPEST = 6
_SHORTEST = 4  # a shorter number is hidden only where it stands alone; a name may have two characters
_HIDDEN = "****"
_LONG_NUMBER = re.compile(r"(?<![0-9A-Za-z])[0-9]{7}").search  # what `mask_text` could have something to do with
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}").fullmatch
_ESCAPED = re.compile(r"\\u00([0-7][0-9A-Fa-f])")
_LARGE = 1_000_000
_OURS = frozenset({"notify_url", "back_url"})
"""Fields of our requests that only repeat our settings."""


def personal(order: Order) -> tuple[str, ...]:
    """Return what `order` says about a person, to be masked wherever a gateway repeats it."""
    return personal_fields(order.target)


class Transcript:
    """Writes down the exchanges of one gateway, masked.

    `secrets` are names of fields, `values` the secrets themselves, `charset` what its bodies are in.
    """

    def __init__(self, secrets: Iterable[str] = (), values: Iterable[str] = (), charset: str = "utf-8") -> None:
        self._secrets = frozenset(secrets)
        self._left_out = self._secrets | _OURS
        self._values = tuple(value for value in values if len(value) >= _SHORTEST)
        self._charset = charset
        names = "|".join(re.escape(name) for name in sorted(self._secrets)) or r"(?!)"
        self._named = re.compile(rf"((?:{names})\"?\s*(?:[:=>]|%3D)\s*)(\"[^\"]*\"?|[^\"&<,\s}}]*)", re.IGNORECASE)

    def exchange(self, request: Request, reply: Reply | None, private: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return what was asked and what came back; `reply` is None where nothing did."""
        path, _mark, asked = request.url.partition("?")
        said = request.body or asked.encode()
        shown: dict[str, Any] = {
            "operation": request.operation,
            # a question may be nothing but its path, which then has the number that was asked about
            "request": self._body(said, private, form=True)
            if said
            else self.text(unquote(urlsplit(path).path), private),
        }
        if reply is not None:
            shown["http_status"] = reply.status
            shown["reply"] = self._body(reply.body, private)
        return shown

    def callback(self, raw: RawCallback, private: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return what a callback said, proven or not."""
        body = raw.body or raw.query.encode()
        return {"operation": "callback", "body": self._body(body, private, form=b"=" in body[:LIMIT])}

    def shown(self, data: Mapping[str, Any] | None, private: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return what a gateway tells about something, for whoever asked."""
        cleaned: dict[str, Any] = self._clean(data or {}, private, _DEEPEST)
        return cleaned

    def facts(self, read: Mapping[str, Any], private: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return what an adapter itself has read from an exchange, masked like the exchange."""
        cleaned: dict[str, Any] = self._clean(read, private, _DEEPEST)
        return cleaned

    def concealed(self, report: Report, private: tuple[str, ...]) -> Report:
        """Return what a callback says, masked once more: which person it is about is known only now."""
        said = f"{report.code} {report.message} {orjson.dumps(dict(report.evidence)).decode()}"
        if not any(value in said for value in private):  # nearly always
            return report
        return report._replace(
            code=report.code and self.text(report.code, private),
            message=report.message and self.text(report.message, private),
            evidence=self._clean(report.evidence, private, _DEEPEST),
        )

    def text(self, text: str, private: tuple[str, ...] = (), limit: int = _STRING_LIMIT) -> str:
        """Return a line for people from `text` of theirs."""
        if len(text) < _SHORTEST and text.isascii() and text.isprintable() and text not in private:
            return text
        for value in self._values:
            if value in text:
                text = text.replace(value, _HIDDEN)
        for value in private:
            if value in text and (len(value) >= _SHORTEST or not value.isascii() or value == text):
                text = text.replace(value, mask(value))
        if len(text) > limit or not text.isprintable() or _LONG_NUMBER(text):
            return mask(text) if text.isdigit() and len(text) <= limit else mask_text(text, limit)
        return text

    def _name(self, name: str, private: tuple[str, ...]) -> str:
        return name if _PLAIN_NAME(name) and name not in private else self.text(name, private)

    def _body(self, body: bytes, private: tuple[str, ...], *, form: bool = False) -> Any:
        if len(body) <= LIMIT:
            if body[:1] in (b"{", b"["):
                try:
                    return self._clean(orjson.loads(body), private, _DEEPEST)
                except orjson.JSONDecodeError:
                    form = False
            if form:
                return self._form(body, private)
        text = body[: LIMIT + 64].decode(self._charset, "replace")
        text = _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), text)
        return self.text(self._named.sub(rf"\1{_HIDDEN}", text), private, LIMIT)

    def _form(self, body: bytes, private: tuple[str, ...]) -> dict[str, str]:
        fields: dict[str, str] = {}
        for pair in body.decode("ascii", "replace").split("&"):
            name, equals, value = pair.partition("=")
            if "%" in name:
                name = unquote_plus(name, self._charset)
            if name in self._left_out or not equals:
                continue
            if "%" in value or "+" in value:
                value = unquote_plus(value, self._charset)
            fields[self._name(name, private)] = self.text(value, private)
        return fields

    def _clean(self, value: Any, private: tuple[str, ...], depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value, private)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if -_LARGE < value < _LARGE else self.text(str(value), private)
        if not depth:
            return _HIDDEN
        if isinstance(value, Mapping):
            return {
                self._name(name, private): self._clean(inner, private, depth - 1)
                for name, inner in value.items()
                if name not in self._secrets
            }
        return [self._clean(inner, private, depth - 1) for inner in value]
