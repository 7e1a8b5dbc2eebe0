"""Decoding of the line reader's answers, against all paths of a few time steps."""

from collections import defaultdict
from itertools import groupby, product

import numpy as np
import pytest

from daemon.reading import ctc


def draw_steps(count: int, classes: int, seed: int, sharpness: float = 1.5) -> ctc.Probabilities:
    logits = np.random.default_rng(seed).normal(0, sharpness, (count, classes))
    odds = np.exp(logits)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def sum_all_paths(steps: ctc.Probabilities) -> dict[ctc.Text, float]:
    """Return the probability of every text, by going through all paths."""
    blank = steps.shape[1] - 1
    texts: dict[ctc.Text, float] = defaultdict(float)
    for path in product(range(blank + 1), repeat=len(steps)):
        text = tuple(each for each, _ in groupby(path) if each != blank)
        texts[text] += float(np.prod(steps[np.arange(len(steps)), path]))
    return texts


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_of_texts_are_sums_over_all_paths(seed: int) -> None:
    steps = draw_steps(6, 4, seed)
    wanted = sum_all_paths(steps)
    assert sum(wanted.values()) == pytest.approx(1)
    texts = list(wanted)
    assert () in texts
    np.testing.assert_allclose(ctc.measure(steps, texts), [wanted[text] for text in texts])


def test_texts_that_need_more_steps_are_impossible() -> None:
    steps = draw_steps(3, 4, seed=0)
    assert ctc.measure(steps, [(0, 0), (0, 0, 1), (0, 1, 2, 0)]).tolist()[1:] == [0, 0]


@pytest.mark.parametrize("seed", range(8))
def test_search_finds_the_most_probable_texts(seed: int) -> None:
    steps = draw_steps(6, 4, seed)
    wanted = sum_all_paths(steps)
    best = sorted(wanted, key=lambda text: -wanted[text])
    assert ctc.search(steps, 64)[:4] == best[:4]
    # The most probable text need not be that of the most probable path, and a narrow beam finds it.
    assert ctc.search(steps, 6)[0] == best[0]


def test_search_of_a_certain_answer_finds_its_text_first() -> None:
    steps = np.full((12, 4), 1e-7)
    steps[:, 3] = 1
    steps[[2, 3, 6, 9], :] = 1e-7
    steps[[2, 3, 6, 9], [1, 1, 1, 0]] = 1
    assert ctc.search(steps, 4)[0] == (1, 1, 0)


def test_symbols_are_where_they_are_read() -> None:
    steps = np.full((12, 4), 0.01)
    steps[:, 3] = 0.97
    for at, each in ((2, 1), (3, 1), (6, 1), (9, 0)):
        steps[at] = 0.01
        steps[at, each] = 0.97
    np.testing.assert_allclose(ctc.locate(steps, (1, 1, 0)), [2.5, 6, 9], atol=0.1)
    assert ctc.locate(steps, ()).shape == (0,)


def test_long_uncertain_answers_have_a_probability() -> None:
    steps = np.full((256, 17), 1 / 17)
    assert (ctc.measure(steps, [(), (3,), (1, 2, 3)]) > 0).all()
