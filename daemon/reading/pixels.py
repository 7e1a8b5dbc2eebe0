"""Turn decoded pixels of any depth and channels into 8-bit colour."""

# Literal channel counts are clearer than named constants.
# ruff: noqa: PLR2004

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# OpenCV's type hints don't carry the pixel dtype; each docstring gives it.
Pixels = NDArray[Any]

_STRIP_PIXELS = 1 << 20  # a large image is changed this many pixels at a time
_SAMPLE_SIDE = 504  # colours are measured on a sample of about this many pixels a side
# Programs mark missing values of a float image with infinities, NaN or the largest float.
_HUGE = 1e30
# A 16-bit file whose brightest value needs no more bits than these holds values of that many bits:
# cameras, scanners and scientific programs store them so. Any darker than a sixteenth of white, a
# picture of 16 bits would show nothing; one of 14 bits is a dark photo and stays as it is.
_DEPTHS = (8, 10, 12)
_UNIFORM = 1 / 8  # share of white; ink of one colour varies less


def to_bgr(pixels: Pixels, side: int) -> Pixels:
    """Return an image as (H, W, 3) uint8 BGR, at most ``side`` px a side, alpha blended.

    Args:
        pixels: (H, W), (H, W, 3) or (H, W, 4) of any number type; changed in place.
        side: longest side of the result, px.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = _replace_missing(pixels)
    white = _measure_white(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        _blend(pixels, white)
    small = shrink(pixels, side)
    if small.dtype == np.uint16:
        small = (small >> (int(white).bit_length() - 8)).astype(np.uint8)
    elif small.dtype != np.uint8:
        small = _scale_range(small)
    if small.ndim == 2:
        return cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(small[..., :3])


def shrink(pixels: Pixels, side: int) -> Pixels:
    """Return pixels shrunk by area averaging so that no side is longer than ``side`` px."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def halve(pixels: Pixels) -> Pixels:
    """Return (H, W) or (H, W, 3) pixels at half their size; an odd last row or column is dropped.

    Halving 504x378 px takes 0.05 ms, and 0.19 ms if a side is odd; scaling them down to 96 px at
    once takes 0.71 ms.
    """
    high, wide = (max(1, side // 2) for side in pixels.shape[:2])
    return cv2.resize(pixels[: 2 * high, : 2 * wide], (wide, high), interpolation=cv2.INTER_AREA)


def is_blank(pixels: Pixels) -> bool:
    """Return whether all pixels have nearly the same colour."""
    # np.ptp over two axes takes 1.3 ms for a drawing, a third of all reading; this 0.05 ms.
    return all(int(np.ptp(channel)) < _BLANK for channel in cv2.split(pixels))


_BLANK = 8  # grey levels; lossy compression leaves a few


def is_invisible(pixels: Pixels) -> bool:
    """Return whether all pixels have an alpha of 0; any colours may be below it."""
    return pixels.ndim == 3 and pixels.shape[2] == 4 and not pixels[..., 3].any()


def _measure_white(pixels: Pixels) -> float:
    """Return the value of white: the largest of as many bits as the values have."""
    if pixels.dtype == np.uint8:
        return 255
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels
    if pixels.dtype != np.uint16:
        return float(colours.max()) or 1.0  # of black ink: its shape is in the alpha
    bits = int(colours.max()).bit_length()
    depth: int = next((depth for depth in _DEPTHS if bits <= depth), 16)
    return float((1 << depth) - 1)


def _strips(pixels: Pixels) -> Iterator[Pixels]:
    """Yield an image in strips: there may be no memory for a copy of it."""
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for top in range(0, pixels.shape[0], rows):
        yield pixels[top : top + rows]


def _sample(pixels: Pixels) -> Pixels:
    step = max(1, max(pixels.shape[:2]) // _SAMPLE_SIDE)
    return pixels[::step, ::step]


def _blend(pixels: Pixels, white: float) -> None:
    """Blend transparent pixels with a paper colour, in place.

    What matters is how opaque pixels are next to each other: half-transparent ink is ink, and an
    alpha that is the same everywhere means nothing, even if it is 0, as programs write it that
    don't use it. If the shape is in the alpha, because most pixels are transparent or the visible
    ones have one colour, the paper is white or black, whichever contrasts more. Otherwise the
    paper has the median visible colour.
    """
    alpha = pixels[..., 3]
    least = float(alpha.min())
    if alpha.dtype.kind == "u" and least == np.iinfo(alpha.dtype).max:
        return  # most images are opaque, and this takes half the time
    most = float(alpha.max())
    if least == most:
        return
    sample = _sample(pixels)
    visible = sample[sample[..., 3] > most / 2][:, :3]
    if not len(visible):
        visible = pixels[alpha == most][:, :3]
    is_ink = 2 * len(visible) < sample.shape[0] * sample.shape[1]
    if (
        is_ink
        or np.ptp(np.quantile(visible, (0.05, 0.95), axis=0), axis=0).max() < _UNIFORM * white
    ):
        paper = np.full(3, 0 if visible.mean() > white / 2 else white)
    else:
        paper = np.median(visible, axis=0)
    for strip in _strips(pixels):
        share = strip[..., 3:].astype(np.float32) / most
        mixed = strip[..., :3] * share + paper * (1 - share)
        strip[..., :3] = mixed if strip.dtype.kind == "f" else np.rint(mixed).astype(strip.dtype)


def _replace_missing(pixels: Pixels) -> Pixels:
    """Return a float image with finite values.

    Missing ones become the median of the others. If most are missing, the rest is ink: they become
    paper that is lighter than it, or darker if the infinities are negative.
    """
    if pixels.dtype.kind != "f":
        return pixels.astype(np.float32)
    sample = _sample(pixels)
    known = sample[np.abs(sample) < _HUGE]
    fill = np.median(known) if known.size else 0
    if 0 < 2 * known.size < sample.size:
        contrast = np.ptp(known) or 1
        is_dark = 2 * np.count_nonzero(sample < -_HUGE) > sample.size
        fill = known.min() - contrast if is_dark else known.max() + contrast
    for strip in _strips(pixels):
        np.copyto(strip, fill, where=~(np.abs(strip) < _HUGE))
    return pixels


def _scale_range(pixels: Pixels) -> Pixels:
    """Return a float image as uint8: from 0, or the lowest value below it, to the highest.

    Values that lie further outside than 99.8 % of them are apart don't count.
    """
    low, high = (float(value) for value in np.quantile(pixels, (0.001, 0.999)))
    apart = (high - low) or np.inf
    low = min(max(float(pixels.min()), low - apart), 0)
    high = min(float(pixels.max()), high + apart)
    scaled = (pixels - low) * (255 / max(high - low, 1e-9))
    return np.clip(scaled, 0, 255).astype(np.uint8)
