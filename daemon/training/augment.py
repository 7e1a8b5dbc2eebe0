"""Augment glyphs at random: position, slant, elastic distortion, gaps, stroke width, blur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from daemon.reading.glyph import GLYPH
from daemon.training.hands import HALF, wobble

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    # OpenCV's type hints don't carry the pixel dtype; each docstring gives it.
    Bytes = NDArray[Any]

# Displacement fields are generated once and sampled: generating one takes longer than applying it.
WOBBLES = 4096
# Standard deviations of each transform. They follow what works for MNIST in the literature
# (Simard et al. 2003; Ciresan et al. 2010 rotate by 7.5 to 15 degrees and scale by 15 %).
TURN, SLANT, SCALE, SHIFT, BEND = 0.10, 0.12, 0.07, 0.7, 0.6
# Fractions of glyphs whose strokes are thickened, thinned, blurred or dimmed.
GROWN, SHRUNK, SOFTENED, DIMMED = 0.08, 0.08, 0.12, 0.15
# Fraction of glyphs drawn with a skipping pen, and the minimum and maximum gap in a stroke, px.
# It teaches the model that a loop with a small gap is still a loop.
SKIPPED, GAPS = 0.10, (3, 4)


class Augmenter:
    """Augments batches of glyphs; the same seed gives the same result.

    Args:
        rng: the random generator.
        strength: scales every transform; 1 uses the constants above, 0 changes nothing.
    """

    def __init__(self, rng: Generator, strength: float = 1.0) -> None:
        self._rng = rng
        self._strength = strength
        self._wobbles = np.stack([wobble(GLYPH, 1.0, rng) for _ in range(WOBBLES)])
        y, x = np.mgrid[0:GLYPH, 0:GLYPH].astype(np.float32) - (GLYPH - 1) / 2
        self._grid = np.stack((x, y))

    def __call__(self, glyphs: Bytes) -> Bytes:
        """Return augmented copies of glyphs (N, 28, 28) uint8."""
        across, down = self._maps(len(glyphs))
        rare = 1 / max(self._strength, 1e-3)
        tools = self._rng.random(len(glyphs)) * rare
        dims = self._rng.random(len(glyphs)) * rare
        skips = self._rng.random(len(glyphs)) * rare
        varied = np.empty_like(glyphs)
        for index, glyph in enumerate(glyphs):
            moved = cv2.remap(glyph, across[index], down[index], cv2.INTER_LINEAR)
            if skips[index] < SKIPPED:
                self._skip(moved)
            moved = self._other_tool(moved, tools[index])
            if dims[index] < DIMMED:
                moved = cv2.convertScaleAbs(moved, alpha=self._rng.uniform(0.75, 1.2))
            varied[index] = moved
        return varied

    def _maps(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the source x and y, (N, 28, 28) each, of every pixel of the augmented glyphs."""
        rng, strength = self._rng, self._strength
        turn, slant = rng.normal(0, strength, (2, count)) * ((TURN,), (SLANT,))
        wide, high = np.exp(rng.normal(0, SCALE * strength, (2, count)))
        cos, sin = np.cos(turn), np.sin(turn)
        # Scale first, then slant, then rotate by `turn`.
        to = np.stack(
            (cos * wide, (cos * slant - sin) * high, sin * wide, (sin * slant + cos) * high)
        ).astype(np.float32)[:, :, None, None]
        x, y = self._grid
        shift = rng.normal(0, SHIFT * strength, (2, count, 1, 1)).astype(np.float32)
        bend = BEND * strength * rng.random((1, count, 1, 1)).astype(np.float32) * 2
        fields = self._wobbles[rng.integers(0, WOBBLES, (2, count))]
        middle = (GLYPH - 1) / 2
        moved = shift + bend * fields + np.float32(middle)
        return to[0] * x + to[1] * y + moved[0], to[2] * x + to[3] * y + moved[1]

    def _other_tool(self, glyph: Bytes, tool: float) -> Bytes:
        if tool < GROWN:
            grown = cv2.dilate(glyph, np.ones((2, 2), np.uint8))
            return cv2.addWeighted(glyph, 0.4, grown, 0.6, 0)
        if tool < GROWN + SHRUNK:
            shrunk = cv2.erode(glyph, np.ones((2, 2), np.uint8))
            return cv2.addWeighted(glyph, 0.5, shrunk, 0.5, 0)
        if tool < GROWN + SHRUNK + SOFTENED:
            return cv2.GaussianBlur(glyph, (0, 0), self._rng.uniform(0.4, 0.9))
        return glyph

    def _skip(self, glyph: Bytes) -> None:
        """Erase a small square of one stroke, in place."""
        inked = np.argwhere(glyph > HALF)
        if len(inked):
            down, across = inked[self._rng.integers(len(inked))]
            reach = int(self._rng.integers(*GAPS, endpoint=True))
            top, left = max(0, down - reach // 2), max(0, across - reach // 2)
            glyph[top : top + reach, left : left + reach] = 0
