"""Turn pixels into ink and ink into the glyph; training and serving share this code."""

from dataclasses import dataclass

import cv2
import numpy as np

from daemon.reading import glyph, paper, strokes
from daemon.reading.glyph import Bytes
from daemon.records import Doubt


@dataclass(frozen=True, slots=True)
class Drawing:
    """The digit found in an image.

    Attributes:
        glyph: (28, 28) uint8, white ink on black; zeros if there is no ink.
        mask: (H, W) uint8, 1 where ink was found.
        flaw: why the model is not run; ``None`` if it is.
    """

    glyph: Bytes
    mask: Bytes
    flaw: Doubt | None = None


def trace(pixels: Bytes) -> Drawing:
    """Find the ink in an image, and scale and centre it for the model.

    Args:
        pixels: (H, W, 3) uint8, any colours; 512 px a side is enough.
    """
    mask = np.zeros(pixels.shape[:2], np.uint8)
    contrast = paper.ink_contrast(pixels)
    found = None if contrast is None else strokes.find(contrast.levels)
    if contrast is None or found is None:
        return Drawing(glyph.blank(), mask, Doubt.NO_INK)
    mask[contrast.inside] = found.mask
    return Drawing(glyph.fit(found.ink), mask, Doubt.SEVERAL_DIGITS if found.several else None)


def trace_ink(ink: Bytes) -> Drawing:
    """Trace training data, (H, W) uint8, white ink on black, after adding a margin of paper."""
    margin = max(2, max(ink.shape) // 8)
    return trace(cv2.cvtColor(np.pad(ink, margin), cv2.COLOR_GRAY2BGR))
