"""Regular expressions: they match what Python's do, and none takes long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.records import LONGEST_NUMBER
from daemon.regex import LONGEST_PATTERN, Regex

ONE = st.sampled_from(
    ["0", "1", ",", r"\d", r"\D", ".", r"\.", "-", "[01]", "[^0]", "[]0]", "[0-9,]", "^", "$", ""]
)
COUNTS = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{,2}", "{1,}", "{0}", "*?", "{2,3}?"])
PATTERNS = st.recursive(
    ONE,
    lambda inner: (
        st.builds("{}{}".format, inner, inner)
        | st.builds("({}|{})".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, COUNTS)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(PATTERNS, st.lists(st.text("01,-", min_size=1, max_size=6), min_size=5, max_size=5))
def test_texts_match_as_in_python(pattern: str, texts: list[str]) -> None:
    python, regex = re.compile(pattern), Regex(pattern)
    for text in texts:
        assert regex.matches(text) == (python.fullmatch(text) is not None)


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("(?:[0-9]?){30}-", "1" * 30, False),
        ("([0-9]+)+,", "1" * 32, False),
        ("([0-9]*)*([0-9]*)*([0-9]*)*-", "1" * 32, False),
        ("([0-9]|[0-9][0-9])*-", "1" * 32, False),
        ("(((((.{1,32}){1,32}){1,32}){1,32}){1,32}){1,32}-", "1" * 32, False),
        ("[0-9]*" * 33 + "-", "1" * 32, False),
        ("(" * 60 + "." + ")*" * 60, "1" * 32, True),
        ("(?:(?:[0-9]?){1000000}){1000000}", "1" * 32, True),
        ("[0-9]{1000000}", "1" * 32, False),
    ],
)
def test_pattern_that_backtracks_for_ever_elsewhere_ends(
    pattern: str, text: str, *, is_match: bool
) -> None:
    assert Regex(pattern).matches(text) is is_match


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("[0-9", "it is broken (unterminated character set at position 0): correct it"),
        ("[0-9]{2", "{2 is not supported"),
        ("[0-9])", "it is broken"),
        ("*", "it is broken (nothing to repeat"),
        ("[[0-9]]", "it is broken (Possible nested set"),
        ("[0-9]{4294967296}", "it is broken (the repetition number is too large)"),
        ("(?!0)[0-9]+", "(?!0)[0-9]+ is not supported: write it with characters, sets, groups"),
        ("([0-9])\\1", "\\1 is not supported"),
        ("[0-9]++", "+ is not supported"),
        ("(?i)[0-9]", "(?i)[0-9] is not supported"),
        ("0" * (LONGEST_PATTERN + 1), "it has more than 200 characters: write a shorter one"),
    ],
)
def test_pattern_that_cannot_be_used_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^it |not supported") as raised:
        Regex(pattern)
    assert said in str(raised.value)


def test_longest_pattern_is_matched() -> None:
    assert Regex("0?" * (LONGEST_PATTERN // 2)).matches("0" * LONGEST_NUMBER)
