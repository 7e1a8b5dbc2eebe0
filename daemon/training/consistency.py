"""Find answers that cannot all be meant: careless, malicious, or about something else."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.models.report import probability_of_more
from daemon.training import last_layer
from daemon.training.corrections import Correction
from daemon.training.last_layer import LastLayer, Replayed

# A model that has learnt from people's other answers disagrees with at most this share of honest
# ones. Answers are suspect if so many disagreements have less than this probability.
HONEST = 0.15
_SIGNIFICANCE = 0.05
# A person with at least so many answers, nearly all of them alike, about contents that were read as
# more than so many different things.
_MANY, _ALIKE, _KINDS = 10, 0.9, 4.0
_FOLDS = 5


def cross_validate(
    parent: LastLayer,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    share: float,
    replayed: Replayed,
) -> NDArray[np.int64]:
    """Return what the last layer says of each answer after learning from four fifths of the others.

    Args:
        parent: the layer to begin from.
        features: (N, V, D) of V variants of each answered glyph, the glyph itself first.
        labels: (N,) 0 to 10.
        share: of all answers in what is learnt from.
        replayed: what the parent knows.
    """
    folds = np.random.default_rng(0).permutation(len(labels)) % _FOLDS
    said = np.zeros(len(labels), np.int64)
    for fold in range(_FOLDS):
        out = folds == fold
        if out.any() and not out.all():
            weights = np.full((~out).sum(), share / (~out).sum())
            layer = last_layer.fit(parent, features[~out], labels[~out], weights, replayed)
            said[out] = layer.answer(features[out, 0]).argmax(axis=1)
    return said


def disagree_too_often(disagreeing: int, answers: int) -> bool:
    """Return whether so many disagreements are improbable for honest answers."""
    return probability_of_more(disagreeing, answers, HONEST) < _SIGNIFICANCE


def find_monotonous(
    corrections: Sequence[Correction], readings: Sequence[str]
) -> dict[str, tuple[int, str]]:
    """Return the people who answered everything alike: how many answers, and which one.

    Args:
        corrections: the answers.
        readings: (N,) what the parent reads.
    """
    found: dict[str, tuple[int, str]] = {}
    for person in {each.by for each in corrections}:
        theirs = [
            (each.label, reading)
            for each, reading in zip(corrections, readings, strict=True)
            if each.by == person
        ]
        label, times = Counter(label for label, _ in theirs).most_common(1)[0]
        kinds = _count_kinds([reading for given, reading in theirs if given == label])
        if len(theirs) >= _MANY and times >= _ALIKE * len(theirs) and kinds > _KINDS:
            found[person] = times, label
    return found


def _count_kinds(readings: Sequence[str]) -> float:
    """Return how many different readings there are: the exponential of their entropy."""
    shares = np.array(list(Counter(readings).values())) / max(1, len(readings))
    return float(np.exp(-(shares * np.log(shares)).sum()))
