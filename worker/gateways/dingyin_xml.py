"""dingyin's XML: one flat record, declared GB2312 and in truth any GBK, read without trusting a word of it.

expat cannot decode GB2312 at all, and a strict GB2312 decoder breaks on names such as 镕, 喆 and 堃. So the
bytes are decoded here, as GB18030, which holds all of GBK, and what the declaration says is dropped with it.
"""

import re
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from worker.gateways.base import UnreadableReplyError

LARGEST = 64 * 1024
"""Bytes of an answer that are parsed; the documented ones have some hundred."""

_DEEPEST = 8
_RECORD, _FIELD = 1, 2  # depths
_DECLARED_UTF8 = re.compile(rb"""\s*<\?xml[^>]*encoding\s*=\s*["']utf-8["']""", re.IGNORECASE).match
_PROLOGUE = re.compile(r"\s*(?:<\?xml\s[^>]*\?>)?[\s-]*")
"""The declaration, which our decoding has settled; and the `-` before the root of the document's own example."""


class _Record:
    """Collects the fields below the root while the parser runs; the root's own text is a field of its name."""

    def __init__(self) -> None:
        self.name = ""
        self._fields: dict[str, list[str]] = {}
        self._path: list[str] = []

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        if len(self._path) == _DEEPEST:
            raise UnreadableReplyError(f"the answer is nested deeper than {_DEEPEST}")
        self._path.append(tag)
        if len(self._path) == _RECORD:
            self.name = tag
            self._fields[tag] = []
        elif len(self._path) == _FIELD:
            if self._fields.setdefault(tag, []):
                raise UnreadableReplyError("a field is there twice")
            self._fields[tag].append("")

    def end(self, _tag: str) -> None:
        self._path.pop()

    def data(self, text: str) -> None:
        if len(self._path) <= _FIELD:
            self._fields[self._path[-1]].append(text)

    def fields(self) -> dict[str, str]:
        return {tag: "".join(parts).strip() for tag, parts in self._fields.items()}


def decode(body: bytes) -> str:
    """Return the text of an answer: strict GB18030, else strict UTF-8; the other way round where it declares UTF-8.

    Raises:
        UnreadableReplyError: it is neither.
    """
    charsets = ("utf-8-sig", "gb18030") if _DECLARED_UTF8(body) else ("gb18030", "utf-8-sig")
    for charset in charsets:
        try:
            return body.decode(charset)
        except UnicodeDecodeError:
            continue
    raise UnreadableReplyError("the answer is neither GBK nor UTF-8")


def parse(body: bytes, root: str | None = None) -> dict[str, str]:
    """Return the fields of an answer, by name and stripped; the root's own text is the field of its name.

    Raises:
        UnreadableReplyError: it is no such record, its root is not `root`, or it is built to do harm.
    """
    if len(body) > LARGEST:
        raise UnreadableReplyError(f"an answer of more than {LARGEST} bytes")
    text = _PROLOGUE.sub("", decode(body), count=1)
    record = _Record()
    parser = DefusedXMLParser(target=record, forbid_dtd=True)
    try:
        parser.feed(text)
        parser.close()
    except DefusedXmlException:
        raise UnreadableReplyError("the answer declares a document type or entities") from None
    except ParseError:
        raise UnreadableReplyError("the answer is not XML") from None
    if root is not None and record.name != root:
        raise UnreadableReplyError(f"the answer is not an <{root}>")
    return record.fields()
