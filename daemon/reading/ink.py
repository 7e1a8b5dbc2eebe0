"""How strong the ink is in each pixel that the eye gives to the digit."""

from functools import partial

import cv2
import numpy as np

from daemon.reading.glyph import Bytes, Floats

_STRONG = 0.5  # minimum share of the ink's contrast for a pixel inside a stroke
_FULL = 0.6  # the contrast of the ink is this quantile of that of the strong pixels
_REACH = 0.6  # paper is averaged up to this far away, as a share of the crop's longest side
_LEAST = 1e-3  # keeps the average finite where no paper is near
_NEXT = np.ones((3, 3), np.uint8)  # reaches one pixel further
_SECOND = np.ones((5, 5), np.uint8)  # reaches two


def levels(pixels: Bytes, mask: Floats) -> Floats:
    """Return the contrast of pixels to the paper around the digit, in the ink's direction.

    Args:
        pixels: (h, w, 3) uint8, the digit and a margin.
        mask: (h, w) float32, the probability that a pixel belongs to the digit.

    Returns:
        (h, w) float32, 0 to 1; 0 outside the digit and its soft edge, and everywhere if nothing
        there differs from the paper.
    """
    # The mask of a hairline may be below one half in every pixel of a small page.
    digit = (mask > _STRONG * mask.max()).astype(np.uint8)
    away = _from_paper(pixels, 1 - cv2.dilate(digit, _SECOND))
    direction = np.array([cv2.mean(away, digit)[:3]], np.float32)
    contrast = np.maximum(cv2.transform(away, direction), 0) * cv2.dilate(digit, _NEXT)
    peak = float(contrast.max())
    if peak < _LEAST:
        return np.zeros_like(mask)
    # np.quantile takes as long as all of the above.
    strong = np.sort(contrast[contrast > _STRONG * peak])
    return np.asarray(np.minimum(contrast / strong[int(_FULL * (len(strong) - 1))], 1), np.float32)


def _from_paper(pixels: Bytes, paper: Bytes) -> Floats:
    """Return each pixel's colour less that of the paper around it, (h, w, 3) float32.

    Args:
        pixels: (h, w, 3) uint8.
        paper: (h, w) uint8, 1 where there is nothing but paper.
    """
    side = 2 * int(_REACH * max(paper.shape)) + 1
    # What lies outside is not paper either: it counts as zero in both sums.
    sums = partial(
        cv2.boxFilter,
        ddepth=cv2.CV_32F,
        ksize=(side, side),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    colours = sums(cv2.bitwise_and(pixels, pixels, mask=paper))
    mean = colours / np.maximum(sums(paper), _LEAST)[..., None]
    return cv2.subtract(pixels, mean, dtype=cv2.CV_32F)
