"""What is varied anew each time a glyph is shown: place, slant, wobble, gaps, stroke, softness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from daemon.reading.glyph import GLYPH
from daemon.training.hands import HALF, wobble

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    # OpenCV's hints know no exact type of pixel; each docstring says which it is.
    Bytes = NDArray[Any]

WOBBLES = (
    4096  # displacement fields made once and drawn from: making one takes longer than using it
)
# Spreads of the variation, found good for MNIST by many (Simard et al. 2003; Ciresan et al.
# 2010 turn by 7.5 to 15 degrees and scale by 15 %): here as standard deviations.
TURN, SLANT, SCALE, SHIFT, BEND = 0.10, 0.12, 0.07, 0.7, 0.6
# Shares of glyphs whose strokes are grown, shrunk, softened or dimmed.
GROWN, SHRUNK, SOFTENED, DIMMED = 0.08, 0.08, 0.12, 0.15
# Share of glyphs whose pen skips, and the least and most px of the gap that it leaves in a
# stroke: a loop that is not quite closed is still one.
SKIPPED, GAPS = 0.10, (3, 4)


class Augmenter:
    """Varies batches of glyphs; the same seed gives the same variations.

    Args:
        rng: where the randomness comes from.
        strength: of all variations; 1 is as above, 0 leaves glyphs as they are.
    """

    def __init__(self, rng: Generator, strength: float = 1.0) -> None:
        self._rng = rng
        self._strength = strength
        self._wobbles = np.stack([wobble(GLYPH, 1.0, rng) for _ in range(WOBBLES)])
        y, x = np.mgrid[0:GLYPH, 0:GLYPH].astype(np.float32) - (GLYPH - 1) / 2
        self._grid = np.stack((x, y))

    def __call__(self, glyphs: Bytes) -> Bytes:
        """Vary glyphs (N, 28, 28) uint8."""
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
        """Where each pixel (N, 28, 28) of the varied glyphs comes from."""
        rng, strength = self._rng, self._strength
        turn, slant = rng.normal(0, strength, (2, count)) * ((TURN,), (SLANT,))
        wide, high = np.exp(rng.normal(0, SCALE * strength, (2, count)))
        cos, sin = np.cos(turn), np.sin(turn)
        # Rotation by turn, after slanting, after scaling.
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
        """Leave a gap in a stroke."""
        inked = np.argwhere(glyph > HALF)
        if len(inked):
            down, across = inked[self._rng.integers(len(inked))]
            reach = int(self._rng.integers(*GAPS, endpoint=True))
            top, left = max(0, down - reach // 2), max(0, across - reach // 2)
            glyph[top : top + reach, left : left + reach] = 0
