"""The reader: from scores to a verdict."""

from __future__ import annotations

import numpy as np
import pytest

from daemon.reading.reader import judge
from daemon.records import Doubt, Status


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
    verdict = judge(scores(4, confidence, none), 0.9)
    assert (verdict.status, verdict.text, verdict.reason) == (status, text, reason)
    assert (verdict.confidence is None) == (text is None)
    assert verdict.probabilities is not None
    assert len(verdict.probabilities) == 11
    assert sum(verdict.probabilities) == pytest.approx(1)
    assert verdict.probabilities[10] == pytest.approx(none)


def test_confidence_below_the_threshold_is_unsure() -> None:
    assert judge(scores(4, 0.8, 0.01), 0.75).status is Status.OK


def test_image_with_a_flaw_gets_no_digit() -> None:
    verdict = judge(Doubt.SEVERAL_DIGITS, 0.9)
    assert (verdict.status, verdict.text, verdict.confidence) == (Status.UNSURE, None, None)
    assert verdict.reason == "several digits"
