"""Signatures of the gateways that sign with MD5, as pure functions over exactly what is sent.

MD5 is what these gateways define; it is no protection that anything else here relies on.
"""

import hashlib
from collections.abc import Iterable, Mapping

from worker.core.finding import Finding


def md5_upper(data: bytes) -> str:
    """Return the MD5 of `data` as 32 upper-case hexadecimal digits."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest().upper()


def check_vector(made: str, expected: str) -> Finding:
    """Return whether a fixed text was signed as it has to be, with a key that is nobody's."""
    if made == expected:
        return Finding.ok("signature", "a fixed text is signed as it has to be")
    detail = f"a fixed text is signed with {made}, not {expected}"
    return Finding.failed("signature", detail, "install the worker anew: its code, or MD5 on this machine, is damaged")


def sandwich(secret: str, *parameters: Mapping[str, str], encoding: str = "utf-8") -> str:
    """Return `UPPER(MD5(secret + k1v1k2v2… + secret))` over all parameters, sorted by key in byte order.

    A parameter that is sent empty is signed as its bare key; one that is not sent must not be
    passed. This is wikeyun's rule (public clients; the API documents leave signatures out).
    """
    pairs: Iterable[tuple[str, str]] = sorted(pair for part in parameters for pair in part.items())
    text = "".join([key + value for key, value in pairs])
    return md5_upper(f"{secret}{text}{secret}".encode(encoding))
