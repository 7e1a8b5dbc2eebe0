"""Numbers: from what the line reader read to a verdict."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from daemon.reading import reader
from daemon.reading.line import LineReading
from daemon.reading.model import LineCalibration
from daemon.reading.numbers import judge_number
from daemon.records import Status, Symbol, Verdict
from support.drawn import Pixels, large, painted, png, shipped

CALIBRATION = LineCalibration(1.0, 0.0, 6.0, 0.0, -2.0, unsure_below=0.9)


def read(text: str, chance: float = 0.999, *, doubts: dict[int, str] | None = None) -> LineReading:
    """Return a reading; ``doubts`` has the alternatives of some symbols by their place."""
    symbols = tuple(
        Symbol(
            each,
            0.6 if place in (doubts or {}) else 0.999,
            8 + 16 * place,
            (doubts or {}).get(place),
        )
        for place, each in enumerate(text)
    )
    singles = [0.0] * 11
    if len(text) == 1 and text.isdigit():
        singles[int(text)] = chance
        singles[(int(text) + 1) % 10] = (1 - chance) / 2
    return LineReading(text, symbols, math.log(chance), "", math.log(1 - chance), np.array(singles))


def judge(reading: LineReading, *, fills: bool = False, left_out: float = 0.0) -> Verdict:
    return judge_number(
        reading,
        CALIBRATION,
        CALIBRATION.unsure_below,
        left_out=left_out,
        dash_fills_field=fills,
        has_space=False,
    )


@pytest.mark.parametrize(
    "text", ["7", "10", "0471", "7,5", "-3", "19/10/2023", "12:30", "1.000,50", "3-4", "1" * 32]
)
def test_a_number_is_read_as_it_is_written(text: str) -> None:
    verdict = judge(read(text))
    assert (verdict.status, verdict.text, verdict.reason) == (Status.OK, text, "")
    assert verdict.confidence is not None
    assert verdict.confidence > 0.97


def test_ink_that_is_not_in_the_strip_leaves_a_doubt() -> None:
    assert judge(read("75")).status is Status.OK
    verdict = judge(read("75"), left_out=0.45)
    assert (verdict.status, verdict.text) == (Status.UNSURE, "75")
    assert verdict.reason.startswith("low confidence")


@pytest.mark.parametrize(
    "text",
    ["", "?", "3?", "?12", ",5", "5,", "1,,2", "1./2", "--3", "/", "-", "3--", "1-,2", "1" * 33],
)
def test_anything_else_is_no_number(text: str) -> None:
    verdict = judge(read(text))
    assert (verdict.status, verdict.text, verdict.confidence) == (Status.UNSURE, None, None)
    assert verdict.reason == "not a number"
    assert verdict.probabilities is not None
    assert sum(verdict.probabilities) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "fills", "guess"),
    [
        ("45-", False, "45"),
        ("5.-", False, "5"),
        ("-45", True, "45"),
        ("-45-", True, "45"),
        ("-45-", False, "-45"),
    ],
)
def test_a_dash_that_fills_the_field_leaves_the_number_as_the_guess(
    *, text: str, fills: bool, guess: str
) -> None:
    verdict = judge(read(text), fills=fills)
    assert (verdict.status, verdict.text) == (Status.UNSURE, guess)
    assert verdict.reason == "low confidence: a dash fills the field"


def write(words: list[str], space: int) -> Pixels:
    """Return a page with words whose digits are 100 px high and 14 px apart."""
    line = [np.zeros((170, 40))]
    for word in words:
        for each in word:
            if each == "/":
                ink = np.zeros((110, 50))
                cv2.line(ink, (5, 105), (45, 5), (1.0,), 9)
            else:
                rows, columns = np.nonzero((whole := large(int(each), 120)) > 0.5)
                ink = whole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            above = (170 - len(ink)) // 2
            line += [np.pad(ink, ((above, 170 - len(ink) - above), (0, 14)))]
        line += [np.zeros((170, space))]
    line[-1] = line[0]
    return painted(np.hstack(line))


@pytest.mark.parametrize(
    ("words", "space", "is_apart"),
    [
        (["54", "87"], 80, True),
        (["54", "87"], 220, True),
        (["0471", "23"], 90, True),
        (["3", "1/4"], 45, True),
        (["1", "0"], 250, True),
        (["5487"], 20, False),
        (["5", "4", "8", "7"], 90, False),
        (["1", "000", "000"], 50, False),
        (["1", "0"], 70, False),
    ],
)
def test_a_wide_gap_may_be_between_two_numbers(
    *, words: list[str], space: int, is_apart: bool
) -> None:
    page = reader.find_number(shipped(), png(write(words, space)), max_megapixels=50)
    (verdict,) = reader.judge_all(shipped(), [page])
    assert verdict.text == "".join(words)
    assert (verdict.reason == "low confidence: a wide gap, perhaps two numbers") == is_apart
    assert verdict.status == Status.UNSURE or not is_apart


@pytest.mark.parametrize(
    ("text", "doubts", "reason"),
    [
        ("0471", {2: "1"}, "low confidence: digit 3 of 4, 7 or 1"),
        ("7,5", {2: "6"}, "low confidence: digit 2 of 2, 5 or 6"),
        ("7,5", {1: "."}, "low confidence: mark 1 of 1, comma or full stop"),
        ("7,5", {1: ",,"}, "low confidence: mark 1 of 1, comma or ',,'"),
        ("10", {0: ""}, "low confidence: digit 1 of 2, 1 or nothing"),
        ("10", {1: "?"}, "low confidence: digit 2 of 2, 0 or something else"),
        ("10", {1: "00"}, "low confidence: digit 2 of 2, 0 or 00"),
        ("10", {}, "low confidence"),
    ],
)
def test_little_confidence_names_the_most_doubtful_digit(
    text: str, doubts: dict[int, str], reason: str
) -> None:
    verdict = judge(read(text, 0.05, doubts=doubts))
    assert (verdict.status, verdict.text, verdict.reason) == (Status.UNSURE, text, reason)


@pytest.mark.parametrize("chance", [0.999, 0.5, 0.02])
def test_probabilities_of_a_single_digit_fit_its_confidence(chance: float) -> None:
    verdict = judge(read("7", chance))
    assert verdict.probabilities is not None
    assert verdict.probabilities[7] == verdict.confidence
    assert sum(verdict.probabilities) == pytest.approx(1)
    assert min(verdict.probabilities) >= 0


def test_probabilities_of_longer_numbers_are_left_out() -> None:
    assert judge(read("10")).probabilities is None
