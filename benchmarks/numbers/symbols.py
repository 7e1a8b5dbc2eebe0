"""The symbols of a written number: digits of MNIST, and marks drawn with the same pen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.pages import ink
from benchmarks.pages.ink import Floats, Pen, Place, Stroke
from benchmarks.pages.write import Digits
from benchmarks.strokes import add_stroke

_FULL = 20 * 8 * 0.9  # rows of a digit as high as MNIST's box, as ``ink.trace`` enlarges it


@dataclass(frozen=True)
class Symbol:
    """A symbol cut to its ink: its mask, and its top, in px below the top of the line."""

    mask: Floats
    top: float


@dataclass(frozen=True)
class Hand:
    """How a writer writes: the pen, a digit's height in px, and how digits lean and turn."""

    chance: np.random.Generator
    digits: Digits
    pen: Pen
    height: float
    lean: float
    turn: float  # degrees

    @cached_property
    def width(self) -> float:
        """The width of the line, px."""
        return max(1.0, self.height * self._trace(int(self.chance.integers(10))).line)

    def write(self, character: str) -> Symbol:
        """Return a digit or a mark."""
        if character.isdigit():
            return self._write_digit(int(character))
        return self._draw_mark(character)

    def _write_digit(self, digit: int) -> Symbol:
        chance, stroke = self.chance, self._trace(digit)
        height = self.height * stroke.inside.shape[0] / _FULL * chance.uniform(0.93, 1.07)
        width = height * stroke.aspect
        shape = int(height) + 4, int(width) + 4
        mask = ink.digit_mask(shape, stroke, Place(shape[1] / 2, shape[0] / 2, height))
        middle = self.height * (0.5 + chance.normal(0, 0.025))
        return Symbol(mask, middle - shape[0] / 2)

    def _trace(self, digit: int) -> Stroke:
        """Return one of MNIST's digits as the pen writes it."""
        same = np.flatnonzero(self.digits.labels == digit)
        image = self.digits.images[same[self.chance.integers(len(same))]]
        turn, lean = self.turn + self.chance.normal(0, 2), self.lean + self.chance.normal(0, 0.03)
        return ink.trace(image, self.pen, turn, lean)

    def _draw_mark(self, mark: str) -> Symbol:
        """Return a mark, drawn in a box two digits high."""
        chance, height = self.chance, self.height
        side = int(2 * height) + 4
        mask = np.zeros((side, side), np.float32)
        zero = np.array([side / 2, side / 2 - height / 2])  # x of the middle, y of the line's top
        width = max(1.0, self.width * chance.uniform(0.85, 1.2))
        for points in _MARKS[mark](chance):
            add_stroke(chance, mask, zero + height * np.array(points), width, 0.3)
        rows = np.flatnonzero(mask.any(axis=1))
        columns = np.flatnonzero(mask.any(axis=0))
        cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Symbol(cut, float(rows[0] - zero[1]))


Points = list[tuple[float, float]]


def _full_stop(chance: np.random.Generator, y: float = 0.97) -> list[Points]:
    x, y = chance.normal(0, 0.01), y + chance.normal(0, 0.02)
    return [[(x, y), (x + chance.uniform(0.005, 0.03), y + chance.normal(0, 0.01))]]


def _comma(chance: np.random.Generator) -> list[Points]:
    long = chance.uniform(0.15, 0.36)
    top = chance.uniform(0.82, 0.95)
    left = chance.uniform(0.02, 0.16)
    return [[(0, top), (chance.uniform(0, 0.03), top + 0.4 * long), (-left, top + long)]]


def _colon(chance: np.random.Generator) -> list[Points]:
    upper, lower = chance.uniform(0.2, 0.4), chance.uniform(0.7, 0.95)
    return [*_full_stop(chance, upper), *_full_stop(chance, lower)]


def _dash(chance: np.random.Generator) -> list[Points]:
    half, slope = chance.uniform(0.11, 0.28), chance.normal(0, 0.07)
    y = chance.uniform(0.4, 0.62)
    return [[(-half, y + slope * half), (half, y - slope * half)]]


def _slash(chance: np.random.Generator) -> list[Points]:
    # Steeper or shorter, it would be a 1.
    lean = chance.uniform(0.35, 0.7)
    top, bottom = chance.uniform(-0.2, -0.02), chance.uniform(1.02, 1.25)
    bow = chance.normal(0, 0.02)
    return [[(lean / 2, top), (bow, (top + bottom) / 2), (-lean / 2, bottom)]]


# Shares of a digit's height; x from the mark's middle, y from the top of the line to its base.
_MARKS = {".": _full_stop, ",": _comma, ":": _colon, "-": _dash, "/": _slash}
