"""Ink to the glyph: the 28x28 that the model sees."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# OpenCV's hints know no exact type of pixel; each docstring says which it is.
Bytes = NDArray[Any]
Floats = NDArray[Any]

GLYPH = 28  # the model's side, px: MNIST's
BOX = 20  # longest side of the ink within it, px: MNIST's (LeCun et al. 1998)

FAINT = 0.125  # share of the ink's contrast that still belongs to a stroke's soft edge
CORE = 0.5  # share from which a pixel is inside a stroke
# Ink whose box is this long is left as it is, unscaled: MNIST's own digits come out
# unblurred (their boxes, less the faintest edge pixels, are 18 to 20).
AS_IS = range(18, BOX + 1)
# Strokes thinner than this are thickened, glyph px. A pencil line at 28x28 is 1, most of
# MNIST is 2 to 4.
THINNEST_STROKE = 2.0
# Where strokes are measured and thickened the ink is at least this long, px: at four times
# the glyph's scale a quarter of a pixel counts.
FINE = 4 * BOX


def fit(ink: Floats) -> Bytes:
    """Scale ink into the glyph's box, hairlines thickened, and centre it by mass.

    Args:
        ink: (h, w) float32, 0 to 1.

    Returns:
        (28, 28) uint8, white ink on black.
    """
    top, bottom, left, right = bounding_box((ink > FAINT).astype(np.uint8))
    ink = ink[top:bottom, left:right]
    longest = max(ink.shape)
    scale = 1.0 if longest in AS_IS else BOX / longest
    # Bring small drawings to where their strokes can be measured.
    finer = max(1.0, FINE / BOX * scale)
    fine: Floats = ink
    if finer > 1.0:
        fine = cv2.resize(ink, None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    wanted = THINNEST_STROKE * finer / scale
    missing = (wanted - _stroke_width(fine)) / 2
    if missing > 0.25 * finer:  # less than a quarter of a pixel a side is not seen
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
    """Return (top, bottom, left, right) around the pixels of (H, W) that are not 0."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _stroke_width(ink: Floats) -> float:
    """Mean stroke width, px: across a stroke w wide the distances to its edge average w/4 + 1/2."""
    core: Bytes = (ink > CORE).astype(np.uint8)
    core = cv2.copyMakeBorder(core, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(core, cv2.DIST_L2, 3)
    inside = distance[core > 0]
    return 4 * float(inside.mean()) - 2 if inside.size else 0.0


def _thicken(ink: Floats, by: float) -> Floats:
    """Grow strokes by so many px on each side, round, with a soft edge."""
    margin = int(np.ceil(by)) + 1
    ink = np.pad(ink, margin)
    away = cv2.distanceTransform((ink <= CORE).astype(np.uint8), cv2.DIST_L2, 5)
    thick: Floats = np.maximum(ink, np.clip(by + 1 - away, 0, 1))
    return thick


def _centred(ink: Floats) -> Bytes:
    """Put ink of at most 28x28 where its centre of mass is the glyph's middle, if it fits."""
    height, width = ink.shape
    total = float(ink.sum()) or 1.0
    down = float(ink.sum(axis=1) @ np.arange(height)) / total
    across = float(ink.sum(axis=0) @ np.arange(width)) / total
    top = min(max(round(GLYPH / 2 - 0.5 - down), 0), GLYPH - height)
    left = min(max(round(GLYPH / 2 - 0.5 - across), 0), GLYPH - width)
    glyph = np.zeros((GLYPH, GLYPH), np.float32)
    glyph[top : top + height, left : left + width] = ink
    return np.rint(glyph * 255).astype(np.uint8)
