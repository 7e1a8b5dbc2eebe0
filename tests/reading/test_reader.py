"""The reader: from scores to a verdict."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from daemon.assets import KNOWN_DIGIT_PNG
from daemon.config import Config
from daemon.reading import model, reader
from daemon.reading.reader import judge, judge_all
from daemon.records import Doubt, Expected, FileContent, Status
from support.drawn import large, painted, png, read, shipped

ONE = np.array([0, 1, 0, 0], np.float32)


def scores(digit: int, confidence: float, none: float) -> np.ndarray:
    rest = (1 - confidence - none) / 9
    row = np.full(11, rest, np.float32)
    row[digit], row[10] = confidence, none
    return row


@pytest.mark.parametrize(
    ("confidence", "none", "status", "text", "reason"),
    [
        (0.97, 0.01, Status.OK, "4", ""),
        (0.80, 0.01, Status.UNSURE, "4", "low confidence"),
        (0.40, 0.50, Status.UNSURE, "4", "not a digit"),
        (0.02, 0.95, Status.UNSURE, "4", "not a digit"),
        (0.005, 0.99, Status.UNSURE, None, "not a digit"),
    ],
)
def test_verdict_follows_from_the_scores(
    confidence: float, none: float, status: Status, text: str | None, reason: str
) -> None:
    verdict = judge(scores(4, confidence, none), ONE, 0.9)
    assert (verdict.status, verdict.text, verdict.reason) == (status, text, reason)
    assert (verdict.confidence is None) == (text is None)
    assert verdict.probabilities is not None
    assert len(verdict.probabilities) == 11
    assert sum(verdict.probabilities) == pytest.approx(1)
    assert verdict.probabilities[10] == pytest.approx(none)


def test_confidence_below_the_threshold_is_unsure() -> None:
    assert judge(scores(4, 0.8, 0.01), ONE, 0.75).status is Status.OK


@pytest.mark.parametrize("marked", [0.55, 0.9, 0.99])
def test_digit_with_marks_is_unsure_with_the_classifiers_guess(marked: float) -> None:
    counts = np.array([0, 1 - marked, 0, marked], np.float32)
    digit, scribble = (
        model.probabilities(logits, counts[None], 1.0, 1.0)[0]
        for logits in (one_hot(4, 12.0), one_hot(10, 12.0))
    )
    verdict = judge(digit, counts, 0.5)
    assert (verdict.status, verdict.text, verdict.reason) == (Status.UNSURE, "4", "not a digit")
    assert verdict.confidence == pytest.approx(1 - marked, abs=0.01)
    assert verdict.probabilities is not None
    assert sum(verdict.probabilities) == pytest.approx(1)
    assert judge(scribble, counts, 0.5).text is None


def one_hot(place: int, height: float) -> np.ndarray:
    row = np.zeros((1, 11), np.float32)
    row[0, place] = height
    return row


def test_several_digits_get_no_guess() -> None:
    several = cv2.hconcat([large(3, 140), large(8, 140)])
    image = read(png(painted(several)))
    assert image.doubt is Doubt.SEVERAL_DIGITS
    (verdict,) = judge_all(shipped(), [image], 0.9)
    assert (verdict.status, verdict.text, verdict.confidence) == (Status.UNSURE, None, None)
    assert verdict.reason == "several digits"


def test_text_that_is_not_expected_is_unsure_in_verdict_and_picture() -> None:
    seven = [FileContent(KNOWN_DIGIT_PNG.name, KNOWN_DIGIT_PNG.read_bytes())]
    options = Config().reading
    (expected,) = reader.read(options, seven)
    (unexpected,) = reader.read(replace(options, expected=Expected("[0-689]")), seven)
    assert (expected.verdict.status, expected.verdict.text) == (Status.OK, "7")
    assert unexpected.verdict == replace(
        expected.verdict, status=Status.UNSURE, reason="not expected"
    )
    assert unexpected.picture != expected.picture
