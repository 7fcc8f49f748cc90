"""Money: exact, both ways, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.errors import AmountNotSupportedError
from worker.core.money import balance_to_fen, fen_to_text, fen_to_whole_yuan, yuan_to_fen

FEN = st.integers(0, 10**15 - 1)


@given(FEN)
def test_what_is_written_is_read_back(fen: int) -> None:
    assert yuan_to_fen(fen_to_text(fen)) == fen


@given(FEN)
def test_whole_yuan_are_exact_or_refused(fen: int) -> None:
    if fen % 100:
        with pytest.raises(AmountNotSupportedError):
            fen_to_whole_yuan(fen)
    else:
        yuan = fen_to_whole_yuan(fen)
        assert yuan_to_fen(yuan) == yuan_to_fen(str(yuan)) == yuan * 100 == fen


@given(st.integers(0, 10**13 - 1), st.integers(0, 99), st.integers(0, 9))
def test_zeros_after_the_fen_change_nothing(yuan: int, rest: int, zeros: int) -> None:
    assert yuan_to_fen(f"{yuan}.{rest:02d}{'0' * zeros}") == yuan * 100 + rest


@given(st.integers(0, 10**6), st.integers(0, 99), st.integers(1, 9))
def test_a_part_of_a_fen_is_refused(yuan: int, rest: int, part: int) -> None:
    with pytest.raises(ValueError, match="at most two places"):
        yuan_to_fen(f"{yuan}.{rest:02d}{part}")


@pytest.mark.parametrize(("text", "fen"), [("98.5", 9850), ("100", 10000), (100, 10000), (" 0.05 ", 5), ("007", 700)])
def test_examples(text: str | int, fen: int) -> None:
    assert yuan_to_fen(text) == fen


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ".5", "5.", "-1", "+1", "1e3", "1,000", "1 000", "NaN", "Infinity", "0x10", "1.5.5", "1_0", "1\n2"),
        *("\uff11\uff10\uff10", "\u0967", "9" * 14, -1, 10**13, True, False),
    ],
)
def test_anything_else_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="expected yuan"):
        yuan_to_fen(text)


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_only_a_balance_may_be_below_zero(fen: int) -> None:
    assert balance_to_fen(fen_to_text(fen)) == fen


@pytest.mark.parametrize("text", ["-", "--1", "-+1", "-1e3", "", True])
def test_what_is_no_balance_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="expected yuan"):
        balance_to_fen(text)


@given(st.text())
def test_text_is_read_as_plain_decimals_or_refused(text: str) -> None:
    try:
        fen = yuan_to_fen(text)
    except ValueError:
        return
    assert set(text.strip()) <= set("0123456789.")
    assert fen >= 0


@pytest.mark.parametrize(
    ("fen", "text"), [(10050, "100.50"), (5, "0.05"), (0, "0.00"), (-5, "-0.05"), (-10050, "-100.50")]
)
def test_for_people(fen: int, text: str) -> None:
    assert fen_to_text(fen) == text
