"""Answers that cannot all be meant, and what the last layer learns from the others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.training import consistency, last_layer
from daemon.training.corrections import Correction
from daemon.training.last_layer import LastLayer


def correction(number: int, label: str, by: str = "Ana") -> Correction:
    content = hashlib.sha256(str(number).encode()).hexdigest()
    return Correction(content, label, by, f"{number}.png", Path("original"))


def test_honest_and_careless_answers() -> None:
    assert not consistency.disagree_too_often(4, 20)
    assert not consistency.disagree_too_often(8, 50)
    assert consistency.disagree_too_often(15, 50)
    assert not consistency.disagree_too_often(0, 0)
    assert not consistency.disagree_too_often(750, 5_000)
    assert consistency.disagree_too_often(850, 5_000)


def test_person_who_answers_everything_alike() -> None:
    everything = [correction(number, "7", "Ben") for number in range(20)]
    digits = [str(number % 10) for number in range(20)]
    assert consistency.find_monotonous(everything, digits) == {"Ben": (20, "7")}
    # A hand whose sevens are misread, answered one after the other.
    assert not consistency.find_monotonous(everything, ["1", "7", "2", "1"] * 5)
    assert not consistency.find_monotonous(everything[:8], digits[:8])


def test_cross_validation_finds_wrong_answers() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (11, 16)).astype(np.float32)

    def draw(labels: NDArray[np.int64]) -> NDArray[np.float32]:
        return (centres[labels] + rng.normal(0, 0.2, (len(labels), 16))).astype(np.float32)

    parent = LastLayer(np.zeros((16, 11), np.float32), np.zeros(11, np.float32))
    replayed = last_layer.replay(draw(np.arange(11)), parent)
    honest = np.arange(50) % 10
    careless = np.where(np.arange(50) % 7 < 2, (honest + 1 + np.arange(50) % 8) % 10, honest)
    features = draw(honest)[:, None]
    said = consistency.cross_validate(parent, features, honest, 0.9, replayed)
    assert (said == honest).mean() > 0.9
    said = consistency.cross_validate(parent, features, careless, 0.9, replayed)
    assert ((said != careless) == (honest != careless)).mean() > 0.8


def test_last_layer_learns_and_keeps_what_it_knows() -> None:
    rng = np.random.default_rng(0)
    parent = LastLayer(np.eye(16, 11, dtype=np.float32) * 8, np.zeros(11, np.float32))
    known = np.eye(16, dtype=np.float32)[:11].repeat(5, axis=0)
    known += rng.normal(0, 0.05, known.shape).astype(np.float32)
    strange = np.eye(16, dtype=np.float32)[12:14].repeat(4, axis=0)[:, None]
    labels = np.array([3] * 4 + [5] * 4)
    assert (parent.answer(strange[:, 0]).argmax(axis=1) != labels).all()
    weights = np.full(8, 0.05)
    learnt = last_layer.fit(parent, strange, labels, weights, last_layer.replay(known, parent))
    assert (learnt.answer(strange[:, 0]).argmax(axis=1) == labels).all()
    before, after = (layer.answer(known).argmax(axis=1) for layer in (parent, learnt))
    np.testing.assert_array_equal(before, after)
