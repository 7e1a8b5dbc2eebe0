"""How strong the ink is in each pixel that the eye gives to the digit."""

import cv2
import numpy as np

from daemon.reading.glyph import Bytes, Floats

_STRONG = 0.5  # minimum share of the ink's contrast for a pixel inside a stroke
_FULL = 0.6  # the contrast of the ink is this quantile of that of the strong pixels
_REACH = 0.35  # standard deviation of the window that paper is averaged in, as a share of the crop
_LEAST = 1e-3  # keeps the average finite where no paper is near


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
    around = cv2.dilate(digit, np.ones((3, 3), np.uint8))
    paper = 1 - cv2.dilate(around, np.ones((3, 3), np.uint8)).astype(np.float32)
    colours = pixels.astype(np.float32)
    reach = _REACH * max(digit.shape)
    share = cv2.GaussianBlur(paper, (0, 0), reach)
    blank = cv2.GaussianBlur(colours * paper[..., None], (0, 0), reach)
    away = colours - blank / np.maximum(share, _LEAST)[..., None]
    direction = away[digit > 0].mean(axis=0)
    contrast = np.maximum(away @ direction, 0) * around
    peak = float(contrast.max())
    if peak < _LEAST:
        return np.zeros_like(mask)
    full = np.quantile(contrast[contrast > _STRONG * peak], _FULL)
    return np.asarray(np.minimum(contrast / full, 1), np.float32)
