"""Decode the line reader's answers: connectionist temporal classification (Graves et al. 2006).

A path names a class for each time step. Its text has the path's classes, repeated ones merged, then
without blanks. A text's probability is the sum of those of its paths.
"""

from collections.abc import Sequence
from heapq import nlargest

import numpy as np
from numpy.typing import NDArray

Text = tuple[int, ...]
"""Classes, without blanks."""

Probabilities = NDArray[np.float64]
"""(T, C): of each class at each time step, up to a factor; the last one is the blank."""

# At a time step, a class starts a symbol if it is among the most probable ones and not below this.
# A text with a less probable one is e^9 times less probable than the best.
_STARTS, _NEGLIGIBLE = 3, 1e-4


def search(steps: Probabilities, width: int) -> list[Text]:
    """Return up to ``width`` of the most probable texts by prefix beam search, the best first.

    It is approximate: it does not follow a text whose beginning is improbable.
    """
    classes = np.argsort(-steps[:, :-1], axis=1)[:, :_STARTS]
    likely = np.take_along_axis(steps, classes, axis=1) > _NEGLIGIBLE
    # Of each prefix: the probability of its paths that end with a blank, and of the others.
    beam: dict[Text, tuple[float, float]] = {(): (1.0, 0.0)}
    for row, best, count in zip(
        steps.tolist(), classes.tolist(), likely.sum(axis=1).tolist(), strict=True
    ):
        blank = row[-1]
        grown = {
            prefix: ((ended + going) * blank, going * row[prefix[-1]] if prefix else 0.0)
            for prefix, (ended, going) in beam.items()
        }
        for each in best[:count]:
            chance = row[each]
            for prefix, (ended, going) in beam.items():
                longer = (*prefix, each)
                before = ended if prefix and prefix[-1] == each else ended + going
                stay, go = grown.get(longer, (0.0, 0.0))
                grown[longer] = stay, go + before * chance
        beam = grown
        if len(grown) > width:
            beam = dict(nlargest(width, grown.items(), key=lambda entry: sum(entry[1])))
    return sorted(beam, key=lambda prefix: sum(beam[prefix]), reverse=True)


def measure(steps: Probabilities, texts: Sequence[Text]) -> NDArray[np.float64]:
    """Return the exact probability of each text, (N,), up to the product of the steps' factors."""
    states = _list_states(steps, texts)
    last = _run_forward(steps[:, states], states)[-1]
    ends = np.array([2 * len(text) for text in texts])
    each = np.arange(len(texts))
    before = np.where(ends > 0, last[each, ends - 1], 0)
    return np.asarray(last[each, ends] + before)


def locate(steps: Probabilities, text: Sequence[int]) -> NDArray[np.float64]:
    """Return the expected time step of each symbol of a text, (len(text),)."""
    states = _list_states(steps, [text, text[::-1]])
    both_ways = np.stack([steps[:, states[0]], steps[::-1, states[1]]], axis=1)
    reached = _run_forward(both_ways, states)[:, :, 1::2]
    # Each way has the probability of the step itself.
    there = reached[:, 0] * reached[::-1, 1, ::-1] / np.maximum(steps[:, list(text)], _TINY)
    return np.asarray(np.arange(len(steps)) @ there / np.maximum(there.sum(axis=0), _TINY))


_TINY = np.finfo(np.float64).tiny


def _list_states(steps: Probabilities, texts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return the classes through which the paths of each text go, (N, 2 L + 1), L of the longest.

    They are a blank, the first symbol, a blank, the second symbol, and so on; blanks at the end.
    """
    states = np.full((len(texts), 2 * max(map(len, texts)) + 1), steps.shape[1] - 1)
    for row, text in zip(states, texts, strict=True):
        row[1 : 2 * len(text) : 2] = text
    return states


def _run_forward(chances: Probabilities, states: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability that a path has reached each state at each time step.

    It needs no scaling if each step's most probable class has 1.

    Args:
        chances: (T, N, S) the probability of each state's class at each time step.
        states: (N, S) classes.

    Returns:
        (T, N, S).
    """
    # A path may go from a symbol to the next one without a blank between, if they differ. One that
    # has not begun may begin with the first symbol.
    jumps = np.zeros(states.shape)
    jumps[:, 1:2] = 1
    jumps[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    # Two more columns: none, and where no path has begun.
    reached = np.zeros((len(chances) + 1, len(states), states.shape[1] + 2))
    reached[0, :, 1] = 1
    here = np.empty(states.shape)
    for before, after, chance in zip(reached, reached[1:, :, 2:], chances, strict=False):
        np.multiply(jumps, before[:, :-2], out=here)
        here += before[:, 1:-1]
        here += before[:, 2:]
        np.multiply(here, chance, out=after)
    return reached[1:, :, 2:]
