"""Which numbers are expected, and what becomes of others."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.expected import check_verdict, find_fault, load_values
from daemon.records import LONGEST_NUMBER, Expected, Status, Verdict

IDS = Expected(values=frozenset({"0471", "0472", "9", "17", "7,5", "-3"}))


def ok(text: str) -> Verdict:
    return Verdict(Status.OK, text, 0.99)


@pytest.mark.parametrize("text", ["0471", "0472", "9", "17", "7,5", "-3"])
def test_value_of_the_file_stays_ok(text: str) -> None:
    assert check_verdict(ok(text), IDS) == ok(text)


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("0411", "0471"),  # one wrong character
        ("071", "0471"),  # one missing
        ("04710", "0471"),  # one extra
        ("10471", "0471"),
        ("75", "7,5"),
        ("7.5", "7,5"),
        ("-33", "-3"),
    ],
)
def test_number_near_exactly_one_value_has_it_as_the_guess(text: str, guess: str) -> None:
    found = check_verdict(ok(text), IDS)
    assert found == Verdict(Status.UNSURE, guess, None, None, f"not expected: read {text}")


@pytest.mark.parametrize("text", ["0473", "0417", "19", "5555", "-", "1" * 32])
def test_number_near_several_values_or_none_is_the_guess(text: str) -> None:
    found = check_verdict(ok(text), IDS)
    assert found == Verdict(Status.UNSURE, text, 0.99, None, "not expected")


@pytest.mark.parametrize(
    ("pattern", "text", "is_expected"),
    [
        ("[0-9]{2,3}", "12", True),
        ("[0-9]{2,3}", "1234", False),
        ("[0-9]{2,3}", "1", False),
        ("1|10", "10", True),
        ("1|10", "100", False),
        (r"\d+[.,]\d", "7,5", True),
        (r"\d+[.,]\d", "7.55", False),
    ],
)
def test_whole_number_must_match_the_pattern(pattern: str, text: str, *, is_expected: bool) -> None:
    unexpected = Verdict(Status.UNSURE, text, 0.99, None, "not expected")
    assert check_verdict(ok(text), Expected(pattern)) == (ok(text) if is_expected else unexpected)


def test_guess_of_one_digit_has_its_probability() -> None:
    probabilities = (0.0, 0.1, 0, 0, 0, 0, 0, 0.9, 0, 0, 0)
    read = Verdict(Status.OK, "7", 0.9, probabilities)
    found = check_verdict(read, Expected(values=frozenset({"1"})))
    assert found == Verdict(Status.UNSURE, "1", 0.1, probabilities, "not expected: read 7")
    longer = check_verdict(read, Expected(values=frozenset({"17"})))
    assert longer == Verdict(Status.UNSURE, "17", None, None, "not expected: read 7")


@pytest.mark.parametrize(
    ("text", "reason", "guess", "said"),
    [
        ("0471", "low confidence", "0471", "low confidence"),
        ("0411", "low confidence", "0471", "low confidence: 0411 is not expected"),
        (
            "0411",
            "low confidence: digit 3 of 4, 1 or 7",
            "0471",
            "low confidence: digit 3 of 4, 1 or 7; 0411 is not expected",
        ),
        ("55", "low confidence", "55", "low confidence: 55 is not expected"),
    ],
)
def test_low_confidence_stays_the_reason(text: str, reason: str, guess: str, said: str) -> None:
    read = Verdict(Status.UNSURE, text, 0.5, None, reason)
    found = check_verdict(read, IDS)
    confidence = 0.5 if guess == text else None
    assert found == Verdict(Status.UNSURE, guess, confidence, None, said)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Status.UNSURE, reason="no ink"),
        Verdict(Status.UNSURE, "55", 0.9, None, "not a number"),
        Verdict(Status.ERROR, reason="text, not an image"),
    ],
)
def test_other_verdicts_stay(verdict: Verdict) -> None:
    assert check_verdict(verdict, IDS) == verdict
    assert check_verdict(verdict, Expected("[0-9]{9}")) == verdict


@pytest.mark.parametrize(
    ("pattern", "text", "is_expected"),
    [
        ("(?:[0-9]?){30}-", "1" * 30, False),
        ("([0-9]+)+,", "1" * 32, False),
        ("([0-9]*)*([0-9]*)*([0-9]*)*-", "1" * 32, False),
        ("([0-9]|[0-9][0-9])*-", "1" * 32, False),
        ("[0-9]*" * 33 + "-", "1" * 32, False),
        ("(?:[0-9]?){1000}-", "1" * 32, False),
        ("(?:(?:[0-9]?){31}-?){31}x", "1" * 32, False),
        ("(" * 60 + "." + ")*" * 60, "1" * 32, True),
    ],
)
def test_pattern_that_backtracks_for_ever_elsewhere_ends(
    pattern: str, text: str, *, is_expected: bool
) -> None:
    assert find_fault(pattern) == ""
    assert (check_verdict(ok(text), Expected(pattern)) == ok(text)) is is_expected


@pytest.mark.parametrize(
    "pattern",
    [
        "[0-9]{2,3}",
        "^[0-9]+$",
        "-[0-9]",
        "-?[0-9]+([.,/:-][0-9]+)*",
        f"[0-9]{{{LONGEST_NUMBER}}}",
        r"(0[1-9]|1[0-2])/\d{4}",
        "x|7",
        "[^a]{3}",
        ".*7",
        "[a-z]*7",
        r"\pN{2,}",
        r"\x{37}|\{",
        "|".join(f"{number:05}" for number in range(0, 100_000, 50)),
    ],
)
def test_pattern_that_matches_a_number_has_no_fault(pattern: str) -> None:
    assert find_fault(pattern) == ""


NUMBERS = ["0", "9", "-0", "-1", "09", "10", "990", "7,5", "0,9", "-9,0", "9-9", "9,9,9,0"]
PARTS = st.sampled_from(
    ["0", "9", ",", "-", r"\d", r"\D", ".", "[^0]", "[0-9,]", "[a-z]", "x", "^", "$", ""]
)
COUNTS = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{2,}", "{0}", "*?"])
PATTERNS = st.recursive(
    PARTS,
    lambda inner: (
        st.builds("{}{}".format, inner, inner)
        | st.builds("({}|{})".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, COUNTS)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=100)
@given(PATTERNS)
def test_pattern_that_matches_in_python_matches_and_has_no_fault(pattern: str) -> None:
    matched = [n for n in NUMBERS if check_verdict(ok(n), Expected(pattern)) == ok(n)]
    assert matched == [n for n in NUMBERS if pattern and re.fullmatch(pattern, n)]
    assert not (matched and find_fault(pattern))


@pytest.mark.parametrize(
    "pattern", ["", "^$", "a", "x[0-9]+", "'[0-9]+'", '"7"', "ID[0-9]|x", ",5", "[(]7", "\u0667"]
)
def test_pattern_that_cannot_begin_a_number_is_refused(pattern: str) -> None:
    assert find_fault(pattern).startswith("it matches no number: write one that")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("[0-9", "it is broken (missing ]: [0-9): correct it"),
        ("([0-9]", "it is broken (missing ): ([0-9]): correct it"),
        ("[0-9])", "it is broken (unexpected ): [0-9])): correct it"),
        ("*", "it is broken (no argument for repetition operator: *): correct it"),
        ("7\\", "it is broken (trailing \\): correct it"),
        ("[9-0]", "it is broken (invalid character class range: 9-0): correct it"),
        ("[\x1b-\x07]", r"it is broken (invalid character class range: \x1b-\x07): correct it"),
        ("\ud800", "it is broken ('utf-8' codec can't encode character"),
        ("[0-9]{3,2}", "it is broken (invalid repetition size: {3,2}): correct it"),
        ("[0-9]{1000000}", "it is broken (invalid repetition size: {1000000}): correct it"),
        ("(((.{1,32}){1,32}){1,32}){1,32}-", "it is broken (invalid repetition size: {1,32})"),
        (r"(\pL|\pN){500}", "it is too large: write a shorter one, with smaller counts"),
        ("0" * 100_000, "it is too large: write a shorter one, with smaller counts"),
        ("(?!0)[0-9]+", "(?! is not supported: write it with characters, sets, groups"),
        ("(?<=0)[0-9]", "(?<= is not supported"),
        (r"([0-9])\1", r"\1 is not supported: write it with characters, sets, groups"),
        ("[0-9]++", "++ is not supported"),
        (r"[0-9]\Z", r"\Z is not supported"),
        ("[0-9]{2", "it has a { that begins no count: write counts such as {2}, {2,} and {0,3}"),
        ("[0-9]{,3}", "it has a { that begins no count"),
        ("[0-9]{4294967296}", "it has a { that begins no count"),
        ("[0-9]+\n", "it has a space or a line break, and no number has one: remove it"),
        ("7| 8", "it has a space or a line break"),
    ],
)
def test_pattern_that_cannot_be_used_is_refused(
    pattern: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert find_fault(pattern).startswith(said)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        b"0471\n7,5\n",
        b"\xef\xbb\xbf0471\r\n7,5\r\n",
        b"7,5\r0471",
        b"\n\n 0471 \n\t\n7,5\n0471\n\n",
        "\u00a00471\n7,5".encode(),
    ],
)
def test_file_has_a_number_in_each_line(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(data)
    (tmp_path / "link").symlink_to(file)
    assert load_values(tmp_path / "link") == Expected(values=frozenset({"0471", "7,5"}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has no number"),
        (b"\xef\xbb\xbf\r\n \r\n", "has no number"),
        (b"0471\nname\n", "has name in line 2, which is no number"),
        (b"\n04 71\n", "has 04 71 in line 2, which is no number"),
        (b"0471;0472\n", "has 0471;0472 in line 1, which is no number"),
        (b"0471,\n", "has 0471, in line 1, which is no number"),
        (b"1\n" + b"1" * 33, f"has {'1' * 33} in line 2, which is no number"),
        ("\uff11\uff12".encode(), "has \uff11\uff12 in line 1, which is no number"),
        (b"\x1b[31m\n", r"has \x1b[31m in line 1, which is no number"),
        ("0471\n".encode("utf-16"), "is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8"),
        (b"1\n" * 2_000_001, "has more than 4 MB"),
    ],
)
def test_file_with_anything_else_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"^(has|is) ") as raised:
        load_values(file)
    assert str(raised.value) == said


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for file in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=r"it is (a folder|not a regular file)"):
            load_values(file)
    with pytest.raises(FileNotFoundError):
        load_values(tmp_path / "missing")


def test_file_may_have_100_000_of_the_longest_numbers(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("".join(f"{n:032}\r\n" for n in range(100_000)), encoding="ascii")
    expected = load_values(file)
    assert len(expected.values) == 100_000
    assert check_verdict(ok(f"{99_999:032}"), expected).status is Status.OK
    near = check_verdict(ok(f"{99_999:031}"), expected)
    assert (near.status, near.text) == (Status.UNSURE, f"{99_999:032}")
    assert replace(near, text="").reason.startswith("not expected: read 0")
