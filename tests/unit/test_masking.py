"""Masking: never more than a few characters of what could be somebody's number."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.masking import mask, mask_text

RUN = re.compile(r"(?<![0-9A-Za-z])[0-9]{7,}")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("13800138000", "138****8000"),
        ("11010519491231002X", "110****002X"),
        ("1234567890", "123****7890"),
        ("123456789", "1****89"),
        ("1234567", "1****67"),
        ("123456", "****"),
        ("", "****"),
    ],
)
def test_examples(value: str, shown: str) -> None:
    assert mask(value) == shown


@given(st.text(alphabet=st.characters(exclude_characters="*")))
def test_at_least_three_characters_are_hidden_and_at_most_seven_shown(value: str) -> None:
    head, stars, tail = mask(value).partition("****")
    assert stars
    assert len(head) + len(tail) <= min(7, max(0, len(value) - 3))
    assert value.startswith(head)
    assert value.endswith(tail)


@given(st.text(), st.integers(1, 300))
def test_text_from_outside_is_one_short_printable_line(text: str, limit: int) -> None:
    shown = mask_text(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


@given(st.text(alphabet="0123456789 ,:中-", max_size=300))
def test_no_long_number_that_stands_alone_is_left(text: str) -> None:
    """One that is part of a word is an order number; what the order says about a person is masked by `evidence`."""
    assert not RUN.search(mask_text(text))


@given(st.from_regex(r"[0-9]{11}|[0-9]{17}[0-9X]", fullmatch=True), st.text(alphabet=" :\uff0c中\n", max_size=5))
def test_a_number_is_found_between_words(number: str, around: str) -> None:
    text = f"手机{around}{number}{around}已充值"
    assert number not in mask_text(text)
    assert mask(number) in mask_text(text)


@pytest.mark.parametrize("text", ["0000", "T20261121-000001", "WK20261121000001", "code 123456 of 1003", "签名错误"])
def test_codes_and_order_numbers_stay_readable(text: str) -> None:
    assert mask_text(text) == text


def test_the_name_of_a_public_key_is_shown_whole() -> None:
    name = f"PUB_KEY_ID_0114232134912410{'0' * 12}"
    assert mask_text(f"platform_keys holds no key {name}") == f"platform_keys holds no key {name}"
    assert mask_text(f"{name}, {name}; 13800138000") == f"{name}, {name}; 138****8000"


@pytest.mark.parametrize(
    "number", ["13800138000", "110101199003077758", "11010119900307775X", "6222020200112233445", "1" * 23, "1" * 33]
)
@pytest.mark.parametrize("before", ["PUB_KEY_ID_", "PUB_KEY_ID_ ", "pub_key_id_", "PUB_KEY_ID__", "xPUB_KEY_ID_"])
def test_a_number_that_only_looks_like_one_is_masked(before: str, number: str) -> None:
    assert mask_text(f"{before}{number}") == f"{before}{mask(number)}"


@given(st.integers(1, 60), st.integers(0, 40))
def test_a_number_that_the_cut_would_halve_is_masked_first(limit: int, before: int) -> None:
    assert not re.search(r"[0-9]{7}", mask_text(" " * before + "13800138000", limit))
