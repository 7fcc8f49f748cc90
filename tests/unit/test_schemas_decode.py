"""JSON is read only where it means the same to every reader, and bombs cost nothing."""

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.decode import DEEPEST, SUBMIT_LIMIT, InvalidMessageError, check_properties, decode, decode_submit

NAMES = st.sampled_from(["a", "b", "", '"', '":', "\\", '\\"', "{", "}:[", "é", "\n", ":"]) | st.text(max_size=4)


class _DuplicateError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _DuplicateError
    return dict(pairs)


@st.composite
def _documents(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON text with names that repeat, strings full of syntax, and escapes at random."""
    kind = draw(st.sampled_from(["string", "number", "object", "list"] if depth else ["string", "number"]))
    escape = draw(st.booleans())
    if kind == "string":
        return json.dumps(draw(NAMES), ensure_ascii=escape)
    if kind == "number":
        return draw(st.sampled_from(["0", "-1", "1.5", "true", "null", "1e3"]))
    if kind == "list":
        return "[" + ",".join(draw(st.lists(_documents(depth - 1), max_size=3))) + "]"
    pairs = draw(st.lists(st.tuples(NAMES, _documents(depth - 1)), max_size=4))
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=escape)} : {value}" for name, value in pairs) + "}"


@given(_documents())
@example('{"a": 1, "\\u0061": 2}')
@example('{"a\\": 1, \\"b": 2, "c": ":"}')
@example('{":": {":": 1}, "::": [":"]}')
def test_duplicate_names_are_found_and_nothing_else_is(text: str) -> None:
    try:
        expected = json.loads(text, object_pairs_hook=_unique)
    except _DuplicateError:
        with pytest.raises(InvalidMessageError, match="given twice"):
            decode(text.encode(), SUBMIT_LIMIT)
    else:
        assert decode(text.encode(), SUBMIT_LIMIT) == expected


@given(st.binary(max_size=64) | st.text('{}[]":,\\ u0a1é\ud800', max_size=40).map(lambda t: t.encode(errors="replace")))
def test_any_bytes_are_read_as_the_standard_library_reads_them_or_refused(body: bytes) -> None:
    try:
        value = decode(body, SUBMIT_LIMIT)
    except InvalidMessageError as error:
        assert "\n" not in str(error)  # noqa: PT017 either way is fine; an error is one line
    else:
        assert value == json.loads(body)


@given(st.integers(0, 3 * DEEPEST), st.sampled_from(["[]", "{}"]))
def test_nesting_is_bounded_whatever_strings_say(depth: int, pair: str) -> None:
    opening = "[" if pair == "[]" else '{"[[{{\\"[": '
    text = opening * depth + '"]]]"' + pair[1] * depth
    if depth > DEEPEST:
        with pytest.raises(InvalidMessageError, match="nesting"):
            decode(text.encode(), SUBMIT_LIMIT)
    else:
        assert decode(text.encode(), SUBMIT_LIMIT) == json.loads(text)


def test_many_siblings_are_not_depth() -> None:
    assert decode(b"[" + b",".join([b"[{}]"] * 100) + b"]", SUBMIT_LIMIT) == [[{}]] * 100


@pytest.mark.parametrize(
    "bomb",
    [
        b" " * (SUBMIT_LIMIT + 1),
        b"[" * SUBMIT_LIMIT,
        b'{"a":' * (SUBMIT_LIMIT // 5),
        b"[" + b"[]," * (SUBMIT_LIMIT // 3 - 2) + b"[]]",
        b'"' + b"\\" * (SUBMIT_LIMIT - 1),
        b'"\\' * (SUBMIT_LIMIT // 2),
        b'"' * SUBMIT_LIMIT,
        b'{"product":"mobile","amount_fen":' + b"9" * (SUBMIT_LIMIT - 60) + b"}",
        b"{" + b",".join(b'"k%d":0' % number for number in range(6000)) + b',"product":"mobile"}',
        b"{" + b'"a":0,' * 10_000 + b'"a":0}',
        b'{"product":"mobile","target":{"mobile":"' + b"1" * (SUBMIT_LIMIT - 60) + b'"}}',
        b'{"product":"mobile","source":"' + b"\\u0000" * 10_000 + b'"}',
        b'{"' + b"a" * (SUBMIT_LIMIT - 40) + b'":0,"product":"mobile"}',
    ],
)
def test_bombs_are_refused_quickly_and_in_one_short_line(bomb: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidMessageError) as caught:
        decode_submit(bomb)
    assert time.process_time() - begun < 0.5  # milliseconds, with room for a busy machine
    assert len(str(caught.value)) < 200


def test_integers_within_64_bits_are_read_exactly() -> None:
    for number in (2**63 - 1, -(2**63), 10**13):
        assert decode(orjson.dumps({"n": number}), SUBMIT_LIMIT) == {"n": number}
    for number in (2**64, -(2**63) - 1, 10**30):
        with pytest.raises(InvalidMessageError) as caught:
            decode(json.dumps({"n": [number]}).encode(), SUBMIT_LIMIT)
        assert caught.value.field == "n.0"


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/json", "application/json; charset=utf-8", 'APPLICATION/JSON;charset="UTF-8"'],
)
@pytest.mark.parametrize("content_encoding", [None, "", "utf-8", "UTF-8"])
@pytest.mark.parametrize("type_", [None, "", "order.submit"])
def test_properties_of_json_in_utf8_are_accepted(
    content_type: str | None, content_encoding: str | None, type_: str | None
) -> None:
    check_properties(content_type, content_encoding, type_, "order.submit")


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        (("text/plain", None, None), "content_type"),
        (("application/json; charset=gbk", None, None), "content_type"),
        (("application/jsonp", None, None), "content_type"),
        ((None, "gzip", None), "content_encoding"),
        ((None, None, "order.query"), "type"),
    ],
)
def test_other_properties_are_named(properties: tuple[str | None, str | None, str | None], field: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        check_properties(*properties, expected_type="order.submit")
    assert caught.value.field == field
