"""MD5 signatures over literal strings."""

import hashlib

from worker.gateways.signing import md5_upper, sandwich


def test_md5_is_upper_case() -> None:
    assert md5_upper(b"") == "D41D8CD98F00B204E9800998ECF8427E"


def test_sandwich_sorts_all_parameters_by_key_in_byte_order() -> None:
    expected = hashlib.md5(b"S" + "B2a1b3c钱".encode() + b"S", usedforsecurity=False).hexdigest().upper()
    assert sandwich("S", {"b": "3", "a": "1"}, {"B": "2", "c": "钱"}) == expected


def test_an_empty_parameter_is_its_bare_key() -> None:
    expected = hashlib.md5(b"SabyS", usedforsecurity=False).hexdigest().upper()
    assert sandwich("S", {"b": "y", "a": ""}) == expected
    assert sandwich("S", {"b": "y"}) != expected
