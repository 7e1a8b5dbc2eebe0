"""Scale an image to a panel of the picture, and outline the ink on it."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 252  # side of the square panels, px: 9 for each of the glyph's 28
_HALF_INK = 127  # in a scaled mask, a pixel above this is more than half ink


def fitted(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image, grey or colour, scaled to fit the panel with its proportions kept."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if 2 * longest <= SIDE:
        return enlarged(pixels)
    shape = max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest))
    way = cv2.INTER_AREA if longest > SIDE else cv2.INTER_LINEAR
    return cv2.resize(pixels, shape, interpolation=way).astype(np.uint8, copy=False)


def enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a small image enlarged to fit the panel, each pixel a square."""
    scale = SIDE // max(pixels.shape[:2])
    shape = scale * pixels.shape[1], scale * pixels.shape[0]
    return cv2.resize(pixels, shape, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)


def outlined(
    pixels: NDArray[np.uint8], mask: NDArray[np.uint8] | None, colour: NDArray[np.uint8] | np.uint8
) -> NDArray[np.uint8]:
    """Return pixels with a one-pixel outline around the mask, which is scaled to fit them."""
    if mask is None:
        return pixels
    height, width = pixels.shape[:2]
    way = cv2.INTER_AREA if width < mask.shape[1] else cv2.INTER_NEAREST
    scaled = cv2.resize(255 * mask, (width, height), interpolation=way)
    ink = (scaled > _HALF_INK).astype(np.uint8)
    line = cv2.dilate(ink, np.ones((3, 3), np.uint8)) > ink
    outlined = pixels.copy()
    outlined[line] = colour
    return outlined
