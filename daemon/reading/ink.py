"""Pixels to ink to the glyph: the same code for training and for serving."""

from dataclasses import dataclass

import cv2
import numpy as np

from daemon.reading import glyph, paper, strokes
from daemon.reading.glyph import Bytes
from daemon.records import Doubt


@dataclass(frozen=True, slots=True)
class Drawing:
    """What was drawn.

    Attributes:
        glyph: (28, 28) uint8, white ink on black; zeros if there is no ink.
        mask: (H, W) uint8, 1 where the image was taken for ink.
        flaw: why the model is not asked; ``None`` if it is.
    """

    glyph: Bytes
    mask: Bytes
    flaw: Doubt | None = None


def trace(pixels: Bytes) -> Drawing:
    """Find the ink and bring it to the model's size and place.

    Args:
        pixels: (H, W, 3) uint8, any colours; 512 px a side is plenty.
    """
    mask = np.zeros(pixels.shape[:2], np.uint8)
    contrast = paper.ink_contrast(pixels)
    found = None if contrast is None else strokes.find(contrast.levels)
    if contrast is None or found is None:
        return Drawing(glyph.blank(), mask, Doubt.NO_INK)
    mask[contrast.inside] = found.mask
    return Drawing(glyph.fit(found.ink), mask, Doubt.SEVERAL_DIGITS if found.several else None)


def trace_ink(ink: Bytes) -> Drawing:
    """Trace training data: (H, W) uint8, white ink on black, given a margin to be paper."""
    margin = max(2, max(ink.shape) // 8)
    return trace(cv2.cvtColor(np.pad(ink, margin), cv2.COLOR_GRAY2BGR))
