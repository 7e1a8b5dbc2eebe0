"""Calibration: what is fitted to validation data."""

from __future__ import annotations

import numpy as np
import pytest

from daemon.reading import model
from daemon.training import calibration


def test_overconfident_scores_are_calibrated() -> None:
    # Correct 8 times in 10, but with the confidence of a logit of 12.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 4000)
    said = np.where(rng.random(4000) < 0.8, labels, (labels + 1) % 10)
    logits = np.zeros((4000, 11), np.float32)
    logits[np.arange(4000), said] = 12
    before = model.softmax(logits, 1.0).max(axis=1)
    assert calibration.calibration_error(before, said == labels) > 0.15
    fitted = calibration.fit_calibration(
        logits, np.tile(np.array([0, 1, 0, 0], np.float32), (4000, 1)), labels
    )
    assert fitted.temperature > 2
    assert fitted.calibration_error < 0.1


def test_odds_of_one_digit_are_those_of_the_data() -> None:
    # The eye says that 2 of 3 pages have several digits, and 1 of 5 has.
    rng = np.random.default_rng(0)
    is_several = rng.random(4000) < 0.2
    digits = rng.integers(0, 10, 4000)
    logits = np.zeros((4000, 11), np.float32)
    logits[np.arange(4000), digits] = 12
    fitted = calibration.fit_calibration(
        logits,
        np.tile(np.array([0, 1 / 3, 2 / 3, 0], np.float32), (4000, 1)),
        np.where(is_several, 10, digits),
    )
    assert 6 <= fitted.one_odds <= 10  # from 1 : 2 to 4 : 1


def draw_readings(
    count: int, weights: tuple[float, float, float, float, float], seed: int = 0
) -> calibration.NumberReadings:
    """Return readings that are right with the probability of these weights."""
    rng = np.random.default_rng(seed)
    log_probability = -rng.exponential(0.5, count)
    margin = rng.exponential(5.0, count)
    left_out = rng.uniform(0, 0.5, count)
    length = rng.integers(1, 13, count)
    features = model.line_features(log_probability, margin, left_out, length)
    chance = model.logistic(features @ np.array(weights))
    right = rng.random(count) < chance
    return calibration.NumberReadings(log_probability, margin, left_out, length, right)


def confidences(
    fitted: model.LineCalibration, readings: calibration.NumberReadings
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    each = zip(
        readings.log_probability, readings.margin, readings.length, readings.left_out, strict=True
    )
    return np.array([fitted.confidence(*reading) for reading in each])


def test_confidence_of_numbers_is_how_often_they_are_right() -> None:
    fitted = calibration.fit_number_calibration(draw_readings(8000, (2.0, 0.4, 3.0, -0.1, -2.0)))
    found = (
        fitted.log_probability,
        fitted.margin,
        fitted.seen,
        fitted.length,
        fitted.bias,
    )
    assert found == pytest.approx((2.0, 0.4, 3.0, -0.1, -2.0), abs=0.15)
    others = draw_readings(4000, (2.0, 0.4, 3.0, -0.1, -2.0), seed=1)
    confidence = confidences(fitted, others)
    assert calibration.calibration_error(confidence, others.right) < 0.03


def test_threshold_of_numbers_leaves_few_that_are_wrong() -> None:
    readings = draw_readings(8000, (2.0, 0.4, 3.0, -0.1, -2.0))
    fitted = calibration.fit_number_calibration(readings)
    confidence = confidences(fitted, readings)

    def wrong(threshold: float) -> float:
        return float((~readings.right[confidence >= threshold]).mean())

    most = calibration.WRONG_NUMBERS_AT_MOST
    assert wrong(fitted.unsure_below) <= most < wrong(fitted.unsure_below - 0.011)


@pytest.mark.parametrize(
    "weights",
    [(-2.0, 0.4, 2.0, 0.1, -1.5), (2.0, -0.4, -2.0, -0.1, 4.0), (-1.0, -0.2, 1.0, 0.0, 0.0)],
)
def test_more_probable_text_never_has_less_confidence(
    weights: tuple[float, float, float, float, float],
) -> None:
    fitted = calibration.fit_number_calibration(draw_readings(2000, weights))
    assert fitted.log_probability >= 0
    assert fitted.margin >= 0
    assert (fitted.log_probability == 0) == (weights[0] < 0)
    assert (fitted.margin == 0) == (weights[1] < 0)
    assert (fitted.seen == 0) == (weights[2] < 0)
    assert fitted.confidence(-0.1, 5, 4) >= fitted.confidence(-0.2, 5, 4)
    assert fitted.confidence(-0.1, 5, 4) >= fitted.confidence(-0.1, 4, 4)


@pytest.mark.parametrize("right", [False, True])
def test_readings_that_are_all_right_or_all_wrong_can_be_fitted(*, right: bool) -> None:
    drawn = draw_readings(500, (0.0, 0.0, 0.0, 0.0, 0.0))
    all_alike = calibration.NumberReadings(
        drawn.log_probability,
        drawn.margin,
        drawn.left_out,
        drawn.length,
        np.full(500, right),
    )
    fitted = calibration.fit_number_calibration(all_alike)
    confidence = confidences(fitted, all_alike)
    assert np.abs(confidence - right).max() < 0.05
    assert fitted.unsure_below == (0.5 if right else 0.99)


def test_text_without_a_runner_up_has_a_confidence() -> None:
    fitted = calibration.fit_number_calibration(draw_readings(2000, (2.0, 0.4, 3.0, -0.1, -2.0)))
    assert fitted.confidence(-0.01, 19, 3) < fitted.confidence(-0.01, np.inf, 3) <= 1
    assert fitted.confidence(-2000.0, 0.0, 32) == pytest.approx(0)
