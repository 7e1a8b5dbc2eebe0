"""Fit what turns a network's answers into confidence, and the thresholds, to validation data."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.reading import model
from daemon.records import DIGITS

# Of the validation data that are said to be ok, at most this share may be wrong. They have harder
# drawings than people's, letters and pairs among them; on people's drawings the share is smaller.
WRONG_AT_MOST = 0.01
LOWEST, HIGHEST = 0.5, 0.99  # a threshold outside them would flag nothing or too much
BINS = 15  # of confidence, for the calibration error (Guo et al. 2017)


def calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error; 0 without predictions.

    It is the mean distance of confidence and accuracy over equal bins.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    total = 0.0
    for index in range(BINS):
        inside = bins == index
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(total)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted temperature and threshold of ``unsure``, with the remaining calibration error."""

    temperature: float
    unsure_below: float
    calibration_error: float


def fit_calibration(
    logits: NDArray[np.float32], counts: NDArray[np.float32], labels: NDArray[np.int64]
) -> Calibration:
    """Fit the calibration to validation data.

    Args:
        logits: (N, 11), the classifier's.
        counts: (N, 3) the eye's probabilities of none, one and several digits.
        labels: (N,) 0 to 10.
    """
    temperatures = np.exp(np.linspace(np.log(0.2), np.log(3.0), 109))
    best = min(temperatures, key=lambda t: log_loss(logits, counts, labels, float(t)))
    scores = model.probabilities(logits, counts, float(best))
    confidence = scores[:, :DIGITS].max(axis=1)
    right = scores[:, :DIGITS].argmax(axis=1) == labels
    has_digit = scores[:, DIGITS] <= confidence
    unsure_below = HIGHEST
    for threshold in np.linspace(LOWEST, HIGHEST, 50):
        ok = has_digit & (confidence >= threshold)
        if ok.any() and (~right[ok]).sum() <= WRONG_AT_MOST * ok.sum():
            unsure_below = float(threshold)
            break
    digits = labels < DIGITS
    return Calibration(
        temperature=float(best),
        unsure_below=round(unsure_below, 3),
        calibration_error=calibration_error(confidence[digits], right[digits]),
    )


def log_loss(
    logits: NDArray[np.float32],
    counts: NDArray[np.float32],
    labels: NDArray[np.int64],
    temperature: float,
) -> float:
    """Return the mean negative log likelihood, in nats."""
    scores = model.probabilities(logits, counts, temperature)
    return float(-np.log(scores[np.arange(len(labels)), labels] + 1e-9).mean())
