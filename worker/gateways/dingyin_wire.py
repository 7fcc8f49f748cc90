"""How dingyin writes and signs: forms in GBK, a signature over `name=value&…&key=…`, and what its callbacks hold.

Sources as in `dingyin.py`: the "submit document", and "public clients".
"""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlencode

from worker.core.masking import mask_text
from worker.core.money import yuan_to_fen
from worker.gateways.base import UnreadableReplyError
from worker.gateways.signing import md5_upper

CHARSET = "gbk"
"""Of what is signed (submit document, note 2), and of what is sent (public clients)."""
CALLBACK_SIGNED = ("userid", "orderid", "sporderid", "merchantsubmittime", "resultno")
"""What a callback signs, in this order (public clients)."""
CALLBACK_UNSIGNED = ("parvalue", "remark1", "payno", "fundbalance")
"""What anybody may have written into a callback (public clients)."""

_CHINA = timezone(timedelta(hours=8))
_LONGEST = 64
_MOST_FIELDS = 100
_WHOLE = re.compile(r"([0-9]{1,12})(?:\.0{1,4})?")


# --- what is sent ------------------------------------------------------------------------------


def order_time(now: datetime) -> str:
    """Return `spordertime`: a time of China as `yyyyMMddHHmmss` (submit document)."""
    return now.astimezone(_CHINA).strftime("%Y%m%d%H%M%S")


def unencodable(fields: Mapping[str, str]) -> str | None:
    """Return the name of the first field that GBK cannot hold; None: it holds them all."""
    for name, value in fields.items():
        try:
            value.encode(CHARSET)
        except UnicodeEncodeError:
            return name
    return None


def sign(key: str, fields: Mapping[str, str]) -> str:
    """Return the signature of `fields` in their order; an empty value is signed as such (submit document, note 2)."""
    return _sign(key, {name: value.encode(CHARSET) for name, value in fields.items()})


def form(fields: Mapping[str, str]) -> bytes:
    """Return the percent-encoded body of `fields` (public clients)."""
    return urlencode(fields, encoding=CHARSET, errors="strict").encode()


def _sign(key: str, fields: Mapping[str, bytes]) -> str:
    pairs = [name.encode() + b"=" + value for name, value in fields.items()]
    return md5_upper(b"&".join([*pairs, b"key=" + key.encode(CHARSET)]))


# --- what an answer holds ----------------------------------------------------------------------


def code(answer: Mapping[str, str]) -> str:
    """Return `resultno`.

    Raises:
        UnreadableReplyError: there is none.
    """
    if found := answer.get("resultno"):
        return mask_text(found, _LONGEST)
    raise UnreadableReplyError("resultno: expected a code")


def number(answer: Mapping[str, str], name: str) -> str | None:
    """Return an order's number; None where there is none.

    Raises:
        UnreadableReplyError: it is no such thing.
    """
    found = answer.get(name) or None
    if found is not None and (len(found) > _LONGEST or not found.isprintable()):
        raise UnreadableReplyError(f"{name}: expected a short text")
    return found


def whole(answer: Mapping[str, str], name: str) -> int | None:
    """Return a whole number; None where there is none.

    Raises:
        UnreadableReplyError: it is something else.
    """
    if not (text := answer.get(name)):
        return None
    if (found := _WHOLE.fullmatch(text)) is None:
        raise UnreadableReplyError(f"{name}: expected a whole number")
    return int(found.group(1))


def cost(answer: Mapping[str, str]) -> int | None:
    """Return `ordercash`, what the order costs us, in fen; unreadable is unknown, since nothing is decided by it."""
    try:
        return yuan_to_fen(answer.get("ordercash", ""))
    except ValueError:
        return None


# --- what a callback holds ---------------------------------------------------------------------


def callback_fields(body: bytes) -> dict[str, bytes]:
    """Return the form of a callback, its values as the very bytes that may be signed.

    Raises:
        UnreadableReplyError: it is no form, or a field is there twice.
    """
    try:
        # Latin-1 is the alphabet of bytes: whatever the values are in, nothing is lost on the way
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1",
                          max_num_fields=_MOST_FIELDS)  # fmt: skip
    except ValueError:
        raise UnreadableReplyError("the body is not a form") from None
    fields = {name: value.encode("latin-1") for name, value in pairs}
    if len(fields) != len(pairs):
        raise UnreadableReplyError("a field is there twice")
    return fields


def callback_is_signed(key: str, fields: Mapping[str, bytes]) -> bool:
    """Return whether the signature is what our key makes of the fields that it covers (public clients)."""
    expected = _sign(key, {name: fields.get(name, b"") for name in CALLBACK_SIGNED})
    return hmac.compare_digest(fields.get("sign", b""), expected.encode())


def callback_text(fields: Mapping[str, bytes], name: str) -> str:
    """Return a signed field as text.

    Raises:
        UnreadableReplyError: it is absent, empty or no short text.
    """
    try:
        text = fields.get(name, b"").decode(CHARSET).strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise UnreadableReplyError(f"{name}: expected a short text")
    return text


def callback_evidence(fields: Mapping[str, bytes]) -> dict[str, object]:
    """Return what a verified callback leaves in the journal: what is signed, and apart from it what proves nothing."""

    def shown(names: tuple[str, ...]) -> dict[str, str]:
        return {name: mask_text(fields[name].decode("gb18030", "replace")) for name in names if name in fields}

    return {"operation": "callback", "signed": shown(CALLBACK_SIGNED), "unproven": shown(CALLBACK_UNSIGNED)}
