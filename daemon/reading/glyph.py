"""Scale ink to the glyph: the 28x28 image that the model gets."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# OpenCV's type hints don't carry the pixel dtype; each docstring gives it.
Bytes = NDArray[Any]
Floats = NDArray[Any]

GLYPH = 28  # side of the glyph, px, as in MNIST
BOX = 20  # longest side of the ink in the glyph, px, as in MNIST (LeCun et al. 1998)

FAINT = 0.125  # minimum share of the ink's contrast for a pixel on a stroke's soft edge
CORE = 0.5  # minimum share for a pixel inside a stroke
# Ink with a longest side in this range is not scaled, so that MNIST's own digits are not blurred
# (without the faintest edge pixels their boxes are 18 to 20 px).
AS_IS = range(18, BOX + 1)
# Strokes thinner than this are thickened, in glyph px. A pencil line at 28x28 is 1 px wide, most
# MNIST strokes are 2 to 4 px.
THINNEST_STROKE = 2.0
# Ink is enlarged to at least this length before strokes are measured and thickened, px: four times
# the glyph's scale gives a resolution of a quarter of a glyph pixel.
FINE = 4 * BOX


def fit(ink: Floats) -> Bytes:
    """Return the glyph: ink scaled to the box, thin strokes thickened, centred by mass.

    Args:
        ink: (h, w) float32, 0 to 1.

    Returns:
        (28, 28) uint8, white ink on black.
    """
    top, bottom, left, right = bounding_box((ink > FAINT).astype(np.uint8))
    ink = ink[top:bottom, left:right]
    longest = max(ink.shape)
    scale = 1.0 if longest in AS_IS else BOX / longest
    # Enlarge small drawings so that their strokes can be measured.
    finer = max(1.0, FINE / BOX * scale)
    fine: Floats = ink
    if finer > 1.0:
        fine = cv2.resize(ink, None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    wanted = THINNEST_STROKE * finer / scale
    missing = (wanted - _stroke_width(fine)) / 2
    if missing > 0.25 * finer:  # less than a quarter of a pixel per side is invisible
        fine = _thicken(fine, missing)
    elif scale == 1.0:
        return _centred(ink)
    shrink = BOX / max(fine.shape)
    height, width = (max(1, round(side * shrink)) for side in fine.shape)
    small = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return _centred(small / max(float(small.max()), CORE))


def blank() -> Bytes:
    """Return a glyph without ink."""
    return np.zeros((GLYPH, GLYPH), np.uint8)


def bounding_box(mask: Bytes) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of the box around the nonzero pixels of (H, W)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _stroke_width(ink: Floats) -> float:
    """Return the mean stroke width, px.

    The mean distance to the edge within a stroke of width w is w/4 + 1/2.
    """
    core: Bytes = (ink > CORE).astype(np.uint8)
    core = cv2.copyMakeBorder(core, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(core, cv2.DIST_L2, 3)
    inside = distance[core > 0]
    return 4 * float(inside.mean()) - 2 if inside.size else 0.0


def _thicken(ink: Floats, by: float) -> Floats:
    """Return ink with strokes grown by ``by`` px on each side, with round ends and soft edges."""
    margin = int(np.ceil(by)) + 1
    ink = np.pad(ink, margin)
    away = cv2.distanceTransform((ink <= CORE).astype(np.uint8), cv2.DIST_L2, 5)
    thick: Floats = np.maximum(ink, np.clip(by + 1 - away, 0, 1))
    return thick


def _centred(ink: Floats) -> Bytes:
    """Return the glyph with ink (at most 28x28) centred by mass, or as near to that as fits."""
    height, width = ink.shape
    total = float(ink.sum()) or 1.0
    down = float(ink.sum(axis=1) @ np.arange(height)) / total
    across = float(ink.sum(axis=0) @ np.arange(width)) / total
    top = min(max(round(GLYPH / 2 - 0.5 - down), 0), GLYPH - height)
    left = min(max(round(GLYPH / 2 - 0.5 - across), 0), GLYPH - width)
    glyph = np.zeros((GLYPH, GLYPH), np.float32)
    glyph[top : top + height, left : left + width] = ink
    return np.rint(glyph * 255).astype(np.uint8)
