"""The parts of an evaluation page, and the place of its digit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import ink
from benchmarks.pages.ink import Floats, Pen, Place, Stroke


@dataclass(frozen=True)
class Page:
    """A page's colours, shape (height, width, 3), and the mask of its digit."""

    pixels: Floats
    digit: Floats


@dataclass(frozen=True)
class Scene:
    """The parts of a page: its shape, the pen, and images of its digit and its neighbours."""

    chance: np.random.Generator
    shape: tuple[int, int]
    pen: Pen
    images: NDArray[np.uint8]  # shape (n, 28, 28); the page's digit is the first

    @cached_property
    def stroke(self) -> Stroke:
        """The page's digit, turned and leaning a little."""
        return self.trace_image(0)

    @property
    def side(self) -> int:
        """The page's shorter side in pixels."""
        return min(self.shape)

    def trace_image(self, number: int) -> Stroke:
        """Return one of the images as the pen writes it."""
        turn, lean = self.chance.normal(0, 5), self.chance.normal(0, 0.08)
        return ink.trace(self.images[number], self.pen, float(np.clip(turn, -12, 12)), lean)

    def place(
        self, least: float, most: float, free: tuple[float, float, float, float] = (0, 0, 1, 1)
    ) -> Place:
        """Return a place for the digit, its height a share of the page's height.

        ``free`` is the part of the page it may stand in: left, top, right, bottom, as shares.
        """
        rows, columns = self.shape
        left, top, right, bottom = (np.array(free) * [columns, rows, columns, rows]).tolist()
        room = min(0.92 * (bottom - top), 0.92 * (right - left) / self.stroke.aspect)
        height = max(self.chance.uniform(least, most) * rows, 24)
        height = min(height, room)
        slack = np.array([right - left - height * self.stroke.aspect, bottom - top - height])
        middle = np.array([left + right, top + bottom]) / 2
        x, y = middle + slack * self.chance.uniform(-0.42, 0.42, 2) * self.chance.uniform(0, 1)
        return Place(float(x), float(y), height)

    def write(self, pixels: Floats, place: Place) -> Page:
        """Return the page with its digit written."""
        mask = ink.digit_mask(self.shape, self.stroke, place)
        return Page(ink.lay(self.chance, pixels, mask, self.pen), mask)
