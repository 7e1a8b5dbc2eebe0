"""Make the glyph, the 28x28 image that the classifier gets, from a digit's pixels and mask."""

from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# OpenCV's type hints don't carry the pixel dtype; each docstring gives it.
Bytes = NDArray[Any]
Floats = NDArray[Any]

GLYPH = 28  # side of the glyph, px, as in MNIST
CORE = 0.5  # minimum share of the ink's contrast for a pixel inside a stroke
_REACH = 0.6  # paper is averaged up to this far away, as a share of the crop's longest side


def make_glyph(pixels: Bytes, mask: Floats) -> Bytes:
    """Return the glyph of a digit: its ink, white on black, scaled and centred as in MNIST.

    Args:
        pixels: (h, w, 3) uint8, the digit and a margin.
        mask: (h, w) float32, the probability that a pixel belongs to the digit.

    Returns:
        (28, 28) uint8; zeros if nothing there differs from the paper.
    """
    ink = measure_ink(pixels, mask, int(_REACH * max(mask.shape)))
    return _fit(ink) if ink.any() else np.zeros((GLYPH, GLYPH), np.uint8)


def bounding_box(mask: Bytes) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of the box around the nonzero pixels of (H, W)."""
    if mask.dtype != np.uint8:
        mask = (mask != 0).astype(np.uint8)
    # 1 us for 28x28 pixels and 2 for 96x96, where numpy's any() takes 7 and 11.
    left, top, width, height = cv2.boundingRect(mask)
    return top, top + height, left, left + width


_QUANTILE = 0.6  # the contrast of the ink is this quantile of that of the pixels inside strokes
_LEAST = 1e-3  # keeps the average finite where no paper is near
_ONE_MORE = np.ones((3, 3), np.uint8)  # dilates by one pixel
_TWO_MORE = np.ones((5, 5), np.uint8)  # dilates by two


def measure_ink(pixels: Bytes, mask: Floats, reach: int) -> Floats:
    """Return the contrast of pixels to the paper around the writing, in the ink's direction.

    Args:
        pixels: (h, w, 3) uint8.
        mask: (h, w) float32, the probability that a pixel is written.
        reach: the paper is averaged up to this far away, px.

    Returns:
        (h, w) float32, 0 to 1; 0 outside the writing and its soft edge, and everywhere if nothing
        there differs from the paper.
    """
    # The mask of a hairline may be below one half in every pixel of a small page.
    written = (mask > CORE * mask.max()).astype(np.uint8)
    difference = _subtract_paper(pixels, 1 - cv2.dilate(written, _TWO_MORE), reach)
    direction = np.array([cv2.mean(difference, written)[:3]], np.float32)
    contrast = np.maximum(cv2.transform(difference, direction), 0) * cv2.dilate(written, _ONE_MORE)
    peak = float(contrast.max())
    if peak < _LEAST:
        return np.zeros_like(mask)
    # np.quantile takes as long as all of the above.
    strong = np.sort(contrast[contrast > CORE * peak])
    full = strong[int(_QUANTILE * (len(strong) - 1))]
    return np.asarray(np.minimum(contrast / full, 1), np.float32)


def _subtract_paper(pixels: Bytes, paper: Bytes, reach: int) -> Floats:
    """Return each pixel's colour less that of the paper around it, (h, w, 3) float32.

    Args:
        pixels: (h, w, 3) uint8.
        paper: (h, w) uint8, 1 where there is nothing but paper.
        reach: the paper is averaged up to this far away, px.
    """
    side = 2 * reach + 1
    # What lies outside is not paper either: it counts as zero in both sums.
    box_sum = partial(
        cv2.boxFilter,
        ddepth=cv2.CV_32F,
        ksize=(side, side),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    colours = box_sum(cv2.bitwise_and(pixels, pixels, mask=paper))
    mean = colours / np.maximum(box_sum(paper), _LEAST)[..., None]
    return cv2.subtract(pixels, mean, dtype=cv2.CV_32F)


_BOX = 20  # longest side of the ink in the glyph, px, as in MNIST (LeCun et al. 1998)
FAINT = 0.125  # minimum share of the ink's contrast for a pixel on a stroke's soft edge
# Ink with a longest side in this range is not scaled, so that MNIST's own digits are not blurred
# (without the faintest edge pixels their boxes are 18 to 20 px).
_AS_IS = range(18, _BOX + 1)
# Strokes thinner than this are thickened, in glyph px. A pencil line at 28x28 is 1 px wide, most
# MNIST strokes are 2 to 4 px.
THINNEST_STROKE = 2.0
# Strokes are measured and thickened at no less than this many times the glyph's scale, which gives
# a resolution of a quarter of a glyph pixel.
_FINER = 4


def _fit(ink: Floats) -> Bytes:
    """Return the glyph: ink scaled to the box, thin strokes thickened, centred by mass.

    Args:
        ink: (h, w) float32, 0 to 1.
    """
    top, bottom, left, right = bounding_box((ink > FAINT).astype(np.uint8))
    ink = ink[top:bottom, left:right]
    longest = max(ink.shape)
    scale = 1.0 if longest in _AS_IS else _BOX / longest
    finer = max(1.0, _FINER * scale)
    fine: Floats = ink
    if finer > 1.0:
        fine = cv2.resize(ink, None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    wanted = THINNEST_STROKE * finer / scale
    missing = (wanted - measure_stroke(fine)) / 2
    if missing > 0.25 * finer:  # less than a quarter of a pixel per side is invisible
        fine = thicken(fine, missing)
    elif scale == 1.0:
        return _centre(ink)
    shrink = _BOX / max(fine.shape)
    height, width = (max(1, round(side * shrink)) for side in fine.shape)
    small = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return _centre(small / max(float(small.max()), CORE))


def measure_stroke(ink: Floats) -> float:
    """Return the mean stroke width, px.

    The mean distance to the edge within a stroke of width w is w/4 + 1/2.
    """
    core: Bytes = (ink > CORE).astype(np.uint8)
    core = cv2.copyMakeBorder(core, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inside = cv2.countNonZero(core)
    if not inside:
        return 0.0
    # The distance is 0 outside, so the sum over all pixels is that over those inside.
    return 4 * cv2.sumElems(cv2.distanceTransform(core, cv2.DIST_L2, 3))[0] / inside - 2


def thicken(ink: Floats, by: float) -> Floats:
    """Return ink with strokes grown by ``by`` px on each side, with round ends and soft edges."""
    margin = int(np.ceil(by)) + 1
    # np.pad takes six times as long.
    ink = cv2.copyMakeBorder(ink, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    away = cv2.distanceTransform((ink <= CORE).astype(np.uint8), cv2.DIST_L2, 5)
    thick: Floats = np.maximum(ink, np.clip(by + 1 - away, 0, 1))
    return thick


def _centre(ink: Floats) -> Bytes:
    """Return the glyph with ink (at most 28x28) centred by mass, or as near to that as fits."""
    height, width = ink.shape
    moments = cv2.moments(ink)
    total = moments["m00"] or 1.0
    down, across = moments["m01"] / total, moments["m10"] / total
    top = min(max(round(GLYPH / 2 - 0.5 - down), 0), GLYPH - height)
    left = min(max(round(GLYPH / 2 - 0.5 - across), 0), GLYPH - width)
    glyph = np.zeros((GLYPH, GLYPH), np.uint8)
    glyph[top : top + height, left : left + width] = cv2.convertScaleAbs(ink, alpha=255)
    return glyph
