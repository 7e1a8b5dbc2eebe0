"""Fit the classifier's last layer to corrections, while it keeps what it knows.

It takes a second, so it cross-validates the answers; see ``consistency``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.reading.model import softmax

ROUNDS, RATE = 200, 1e-2  # of Adam (Kingma and Ba 2015) on all inputs at once
_KEEP = 1e-3  # weight of the squared changes, against the loss in nats
_FORGET, _FORGET_SQUARES, _TINY = 0.9, 0.99, 1e-8
SMOOTHING = 0.02  # share of each label given to the other classes

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LastLayer:
    """Weights: ``kernel`` (D, 11) and ``bias`` (11,)."""

    kernel: Floats
    bias: Floats

    def answer(self, features: Floats) -> Floats:
        """Return logits, (N, 11), for features, (N, D)."""
        return features @ self.kernel + self.bias


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the parent knows: ``features`` (M, D), and its probabilities ``targets`` (M, 11)."""

    features: Floats
    targets: Floats


def replay(features: Floats, parent: LastLayer) -> Replayed:
    """Return features with the parent's own answers, which are to stay (Li and Hoiem 2016)."""
    return Replayed(features, softmax(parent.answer(features), 1.0))


def smooth(classes: int) -> Floats:
    """Return the target of each label, (C, C): a share of it is for the other classes."""
    return np.eye(classes, dtype=np.float32) * (1 - SMOOTHING) + np.float32(SMOOTHING / classes)


def fit(
    parent: LastLayer,
    features: Floats,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    replayed: Replayed,
) -> LastLayer:
    """Return the layer that has learnt from corrections.

    Args:
        parent: the layer to begin from.
        features: (N, V, D) of V variants of each corrected glyph.
        labels: (N,) 0 to 10.
        weights: (N,) the share of each correction; what is missing from 1 is replayed.
        replayed: what the parent knows.
    """
    variants, size = features.shape[1:]
    classes = len(parent.bias)
    inputs = np.concatenate((features.reshape(-1, size), replayed.features))
    # The bias is the weight of an input that is 1.
    inputs = np.concatenate((inputs, np.ones((len(inputs), 1), np.float32)), axis=1)
    targets = np.concatenate((smooth(classes)[labels].repeat(variants, axis=0), replayed.targets))
    known = len(replayed.features)
    shares = np.concatenate(
        (weights.repeat(variants) / variants, np.full(known, (1 - weights.sum()) / known))
    ).astype(np.float32)
    before = np.concatenate((parent.kernel, parent.bias[None]))
    layer = before.copy()
    mean, squares = np.zeros_like(layer), np.zeros_like(layer)
    for done in range(1, ROUNDS + 1):
        wrong = softmax(inputs @ layer, 1.0) - targets
        gradient = inputs.T @ (wrong * shares[:, None]) + _KEEP * (layer - before)
        mean = _FORGET * mean + (1 - _FORGET) * gradient
        squares = _FORGET_SQUARES * squares + (1 - _FORGET_SQUARES) * gradient**2
        step = mean / (1 - _FORGET**done)
        step /= np.sqrt(squares / (1 - _FORGET_SQUARES**done)) + _TINY
        layer -= RATE * min(1.0, 2 * (ROUNDS - done) / ROUNDS) * step
    return LastLayer(layer[:-1], layer[-1])
