"""Fit what turns a network's answers into confidence, and the thresholds, to validation data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from daemon.reading import model
from daemon.records import DIGITS

# Of the validation data that are said to be ok, at most this share may be wrong. They have harder
# drawings than people's, letters and pairs among them; on people's drawings the share is smaller.
WRONG_AT_MOST = 0.01
# The same of numbers. With 0.01, of the validation numbers 13 % would be ok instead of 46 %: they
# are harder than people's, too.
WRONG_NUMBERS_AT_MOST = 0.02
LOWEST, HIGHEST = 0.5, 0.99  # a threshold outside them would flag nothing or too much
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(3.0), 55))
_ODDS = 1.0, *2.0 ** np.arange(-2, 5.5, 0.5)
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
    """What was fitted, see ``model.Settings``, with the remaining calibration error."""

    temperature: float
    one_odds: float
    unsure_below: float
    calibration_error: float


def fit_calibration(
    logits: NDArray[np.float32],
    counts: NDArray[np.float32],
    labels: NDArray[np.int64],
    odds: Sequence[float] = _ODDS,
) -> Calibration:
    """Fit the calibration to validation data.

    Args:
        logits: (N, 11), the classifier's.
        counts: (N, 4) the eye's probabilities of each ``Count``.
        labels: (N,) 0 to 10.
        odds: candidates for ``one_odds``.
    """
    # Of the digits of 12,013 validation glyphs 89.3 % are ok with fitted odds, 87.4 % with the
    # eye's own; 0.98 % of those that are ok are wrong in both cases.
    best = min(
        ((float(t), float(one_odds)) for t in _TEMPERATURES for one_odds in odds),
        key=lambda fit: log_loss(logits, counts, labels, *fit),
    )
    scores = model.probabilities(logits, counts, *best)
    confidence = scores[:, :DIGITS].max(axis=1)
    right = scores[:, :DIGITS].argmax(axis=1) == labels
    has_digit = scores[:, DIGITS] <= confidence
    digits = labels < DIGITS
    return Calibration(
        temperature=best[0],
        one_odds=best[1],
        unsure_below=choose_threshold(confidence[has_digit], right[has_digit]),
        calibration_error=calibration_error(confidence[digits], right[digits]),
    )


def share_right(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the share of the most probable classes, of logits (N, 11), that are right."""
    return float((logits.argmax(axis=1) == labels).mean())


def choose_threshold(
    confidence: NDArray[np.floating],
    right: NDArray[np.bool_],
    wrong_at_most: float = WRONG_AT_MOST,
) -> float:
    """Return the lowest confidence from which on nearly all answers are right.

    Args:
        confidence: (N,) of the answers that may be ``ok``.
        right: (N,) whether they are.
        wrong_at_most: share of them that may be wrong.
    """
    for threshold in np.linspace(LOWEST, HIGHEST, 50):
        ok = confidence >= threshold
        if ok.any() and (~right[ok]).sum() <= wrong_at_most * ok.sum():
            return round(float(threshold), 3)
    return HIGHEST


def log_loss(
    logits: NDArray[np.float32],
    counts: NDArray[np.float32],
    labels: NDArray[np.int64],
    temperature: float,
    one_odds: float = 1.0,
) -> float:
    """Return the mean negative log likelihood, in nats."""
    scores = model.probabilities(logits, counts, temperature, one_odds)
    return float(-np.log(scores[np.arange(len(labels)), labels] + 1e-9).mean())


@dataclass(frozen=True, slots=True)
class NumberReadings:
    """The line reader's answers to validation strings; each array has N elements.

    Attributes:
        log_probability: float, of the best text, natural.
        margin: float, its distance to the log probability of the runner-up.
        left_out: float, the highest probability of ink that is not in the strip.
        length: int, characters of the best text.
        right: bool, whether the best text is the label.
    """

    log_probability: NDArray[np.floating]
    margin: NDArray[np.floating]
    left_out: NDArray[np.floating]
    length: NDArray[np.integer]
    right: NDArray[np.bool_]


_RISING = 3  # of the features are such that more of them is never less confidence
_STEPS = 50  # Newton's method needs about ten
# Weight of the squared weights in the loss, against the sum of N losses: too little to be noticed,
# but it keeps the weights finite if the readings can be separated, or all are right.
_RIDGE = 1e-2


def fit_number_calibration(readings: NumberReadings) -> model.LineCalibration:
    """Fit the confidence of whole numbers, and its threshold, to validation data.

    The weights of the log probability, of the margin and of what was seen are not negative, so that
    a text that is more probable, or farther from its runner-up, never has less confidence, nor one
    beside which less ink was left out.

    Args:
        readings: of strings of all lengths, and of things that are no number (never ``right``).
    """
    features = model.line_features(
        readings.log_probability, readings.margin, readings.left_out, readings.length
    )
    right = readings.right
    # The loss is convex: if its minimum has a negative weight, the minimum without negative
    # weights is the best of those with some of them at 0.
    subsets = [
        [*some, 3, 4]
        for count in range(_RISING + 1)
        for some in combinations(range(_RISING), count)
    ]
    fits = [_fit_logistic(features, right, subset) for subset in subsets]
    allowed = [weights for weights in fits if (weights[:_RISING] >= 0).all()]
    best = min(allowed, key=lambda weights: _logistic_loss(features, right, weights))
    confidence = model.logistic(features @ best)
    log_probability, margin, seen, length, bias = map(float, best)
    return model.LineCalibration(
        log_probability=log_probability,
        margin=margin,
        seen=seen,
        length=length,
        bias=bias,
        unsure_below=choose_threshold(confidence, right, WRONG_NUMBERS_AT_MOST),
    )


def _fit_logistic(
    features: NDArray[np.float64], right: NDArray[np.bool_], used: list[int]
) -> NDArray[np.float64]:
    """Return the weights of a logistic regression on some features by Newton's method.

    Args:
        features: (N, 5).
        right: (N,) what is predicted.
        used: columns of the features; the weights of the others are 0.
    """
    chosen = features[:, used]
    weights = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        predicted = model.logistic(features @ weights)
        gradient = chosen.T @ (predicted - right) + _RIDGE * weights[used]
        spread = predicted * (1 - predicted)
        curvature = (chosen * spread[:, None]).T @ chosen + _RIDGE * np.eye(len(used))
        step = np.zeros_like(weights)
        step[used] = np.linalg.solve(curvature, gradient)
        loss = _logistic_loss(features, right, weights)
        # Far from the minimum a whole step may lead past it.
        while _logistic_loss(features, right, weights - step) > loss and np.abs(step).max() > 1e-9:
            step /= 2
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _logistic_loss(
    features: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> float:
    """Return the sum of the negative log likelihoods, and of the squared weights."""
    score = features @ weights
    unlikely = np.logaddexp(0, np.where(right, -score, score)).sum()
    return float(unlikely + _RIDGE / 2 * (weights**2).sum())


def recalibrate(
    settings: model.Settings,
    logits: NDArray[np.float32],
    counts: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> model.Settings:
    """Return settings with the calibration fitted to people's answers to the random sample.

    The sample has ``ok`` rows only, and says nothing of less confidence: so the temperature and
    ``unsure_below`` may rise, but not fall.

    Args:
        settings: those that were fitted to validation data.
        logits: (N, 11), the classifier's.
        counts: (N, 4) the eye's probabilities of each ``Count``.
        labels: (N,) 0 to 10.
    """
    odds = settings.one_odds
    temperature = min(
        (settings.temperature, *(float(t) for t in _TEMPERATURES if t > settings.temperature)),
        key=lambda each: log_loss(logits, counts, labels, each, odds),
    )
    scores = model.probabilities(logits, counts, temperature, odds)
    confidence = scores[:, :DIGITS].max(axis=1)
    right = scores[:, :DIGITS].argmax(axis=1) == labels
    has_digit = scores[:, DIGITS] <= confidence
    threshold = choose_threshold(confidence[has_digit], right[has_digit])
    return replace(
        settings,
        temperature=temperature,
        unsure_below=max(settings.unsure_below, threshold),
    )
