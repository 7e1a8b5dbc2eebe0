"""Calibration: a temperature, and the confidence under which a reading is `unsure`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daemon.reading.model import probabilities
from daemon.records import DIGITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of all that is said to be ok on validation data, at most this share may be wrong. They hold
# harder drawings than people's, letters and pairs among them; on people's it is far less.
WRONG_AT_MOST = 0.01
LOWEST, HIGHEST = 0.5, 0.99  # a threshold outside them would say nothing or too much
BINS = 15  # of confidence, for the calibration error (Guo et al. 2017)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted, and the calibration error that it leaves."""

    temperature: float
    unsure_below: float
    calibration_error: float


def fit(
    logits: NDArray[np.float32], counts: NDArray[np.float32], labels: NDArray[np.int64]
) -> Calibration:
    """Fit to answers that were not trained on.

    Args:
        logits: (N, 11), the classifier's.
        counts: (N, 3) the eye's probabilities of none, one and several digits.
        labels: (N,) 0 to 10.
    """
    temperatures = np.exp(np.linspace(np.log(0.2), np.log(3.0), 109))
    best = min(temperatures, key=lambda t: loss(logits, counts, labels, float(t)))
    scores = probabilities(logits, counts, float(best))
    confidence = scores[:, :DIGITS].max(axis=1)
    right = scores[:, :DIGITS].argmax(axis=1) == labels
    asked = scores[:, DIGITS] <= confidence
    thresholds = np.linspace(LOWEST, HIGHEST, 50)
    unsure_below = HIGHEST
    for threshold in thresholds:
        ok = asked & (confidence >= threshold)
        if ok.any() and (~right[ok]).sum() <= WRONG_AT_MOST * ok.sum():
            unsure_below = float(threshold)
            break
    digits = labels < DIGITS
    return Calibration(
        float(best), round(unsure_below, 3), error(confidence[digits], right[digits])
    )


def loss(
    logits: NDArray[np.float32],
    counts: NDArray[np.float32],
    labels: NDArray[np.int64],
    temperature: float,
) -> float:
    """Mean negative log likelihood, nats."""
    scores = probabilities(logits, counts, temperature)
    return float(-np.log(scores[np.arange(len(labels)), labels] + 1e-9).mean())


def error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over equal bins."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    total = 0.0
    for index in range(BINS):
        inside = bins == index
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(total)
