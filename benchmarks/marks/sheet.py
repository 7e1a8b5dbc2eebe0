"""A sheet with one digit and a mark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import ink
from benchmarks.pages.ink import Floats, Place, Stroke
from benchmarks.sheets import Layer
from benchmarks.strokes import add_stroke
from daemon.errors import DataError

_SMALLEST = 28  # px, of a sheet's side
_HEIGHTS = (15, 24), (24, 250)  # px, of a small and of a large digit
_SMALL = 0.5  # the share of small digits, as on a sheet of 28 px


@dataclass(frozen=True)
class Marking:
    """A digit that gets a mark, in the coordinates of the digit's box.

    Attributes:
        chance: decides about the mark.
        digit: 0 to 9.
        aspect: the digit's width, with its height as the unit.
        line: the width of its line, in the same unit.
        strokes: gets the points of each stroke, (n, 2), x before y.
    """

    chance: np.random.Generator
    digit: int
    aspect: float
    line: float
    strokes: list[NDArray[np.float64]]

    def stroke(self, *points: tuple[float, float]) -> None:
        """Draw a stroke through points; (0, 0) is the box's upper left corner."""
        self.strokes.append(np.array(points, np.float64))

    def inside(self, least: float, most: float) -> float:
        """Return a random number."""
        return float(self.chance.uniform(least, most))


Draw = Callable[[Marking], None]

_ATTEMPTS = 40
_HIDDEN = 0.5  # at most this share of a mark may lie on the digit's own ink


def compose(
    chance: np.random.Generator, draw: Draw, digit: int, image: NDArray[np.uint8]
) -> list[Layer]:
    """Return a sheet with a digit, (28, 28) white on black, and the mark that ``draw`` draws.

    Raises:
        DataError: No attempt was legible.
    """
    pen = ink.random_pen(chance)
    stroke = ink.trace(image, pen, chance.normal(0, 4), chance.normal(0, 0.07))
    low, high = _HEIGHTS[0 if chance.random() < _SMALL else 1]
    height = low * (high / low) ** float(chance.random())
    same_pen = chance.random() < 3 / 4
    width = stroke.line * chance.uniform(0.7, 1.15) if same_pen else chance.uniform(0.03, 0.13)
    for _ in range(_ATTEMPTS):
        marking = Marking(chance, digit, stroke.aspect, stroke.line, [])
        draw(marking)
        lines = [height * points for points in marking.strokes]
        written, mark = _draw(chance, stroke, height, lines, max(1.0, height * width))
        if np.minimum(written, mark).sum() > _HIDDEN * mark.sum():
            continue
        if same_pen:
            return [Layer(np.maximum(written, mark), pen)]
        return [Layer(written, pen), Layer(mark, ink.random_pen(chance))]
    raise DataError(f"a {digit} hides each of {_ATTEMPTS} marks: choose another seed")


def _draw(
    chance: np.random.Generator,
    stroke: Stroke,
    height: float,
    lines: Sequence[NDArray[np.float64]],
    width: float,
) -> tuple[Floats, Floats]:
    """Return the masks of a digit and of a mark on a sheet that has both.

    Args:
        chance: decides about the margins.
        stroke: the digit.
        height: of the digit, px.
        lines: of the mark, (n, 2) px from the upper left corner of the digit.
        width: of these lines, px.
    """
    ends = np.concatenate([*lines, [[0, 0], [height * stroke.aspect, height]]])
    before, above, after, below = chance.uniform(0.1, 0.7, 4) * height
    left, top = np.subtract(ends.min(axis=0), (before, above))
    right, bottom = np.add(ends.max(axis=0), (after, below))
    wide, high = max(_SMALLEST, int(right - left)), max(_SMALLEST, int(bottom - top))
    zero = (np.array([wide, high]) - (right + left, bottom + top)) / 2
    x, y = zero + np.array([stroke.aspect, 1]) * height / 2
    written = ink.digit_mask((high, wide), stroke, Place(float(x), float(y), height))
    mark = np.zeros((high, wide), np.float32)
    for points in lines:
        add_stroke(chance, mark, zero + points, width)
    return written, mark
