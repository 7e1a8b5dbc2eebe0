"""Calibration: what is fitted to validation data."""

from __future__ import annotations

import numpy as np

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
        logits, np.tile(np.array([0, 1, 0], np.float32), (4000, 1)), labels
    )
    assert fitted.temperature > 2
    assert fitted.calibration_error < 0.1
