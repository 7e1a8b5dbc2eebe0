"""Pixels to contrast: take off frames, shade, noise and shadows, until only ink stands out."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.reading.glyph import FINE, Bytes, Floats

# Colour distances are Euclidean in 8-bit BGR: black to white is 441.
FAINTEST = 14.0  # contrast under which nothing was drawn: JPEG and sensor noise reach 10
WEAK, STRONG = 0.25, 0.5  # hysteresis, as shares of the ink's own contrast

_EVEN = 0.98  # share of a line that is of one colour where it is a bar's or a frame's ...
_FRAME = 0.9  # ... and of the line behind it that is of another

_NOISY = 0.06  # noise over this share of the ink's contrast is smoothed: a quarter of WEAK
_STANDS_OUT = 6.0  # standard deviations of the paper that ink is above: noise alone reaches 4.5
_WITHIN_QUARTER = 0.3186  # a quarter of a normal distribution is within so many deviations
_SAMPLE = 8192  # pixels are enough to tell a quantile by

_FLATTEST = 8.0  # paper whose border strays less than this has no shading to take off
_SHADED = 16  # px a side under which a shade cannot be told from a stroke

_SHADOW = 0.12  # share of the border along which a shadow lies; a stroke crosses it ...
_PALE = 0.7  # ... and is darker: half of a shadow is paler than this share of the ink


@dataclass(frozen=True, slots=True)
class Contrast:
    """How much each pixel within the frame is ink.

    Attributes:
        levels: (h, w) float32, about 0 to 1 where 1 is the ink's own contrast.
        inside: where ``levels`` lies in the image: rows, columns.
    """

    levels: Floats
    inside: tuple[slice, slice]


def ink_contrast(pixels: Bytes) -> Contrast | None:
    """Return how much each pixel of an image is ink; ``None`` where nothing stands out.

    Args:
        pixels: (H, W, 3) uint8, any colours; 512 px a side is plenty.
    """
    inside = _inside_frame(pixels)
    levels = _contrast(pixels[inside])
    return None if levels is None else Contrast(_out_of_shadow(levels), inside)


def _inside_frame(pixels: Bytes) -> tuple[slice, slice]:
    """Return the rows and columns within black bars, scan edges and printed frames.

    A run of evenly coloured lines at an edge goes if the line behind it is nearly all of another
    colour. The margin of a page stays: the line behind it is mostly margin too.
    """
    top, bottom, left, right = 0, pixels.shape[0], 0, pixels.shape[1]
    for _ in range(8):  # a margin, a frame within it, and the soft edges of both
        before = (top, bottom, left, right)
        top += _peel(pixels[top:bottom, left:right])
        bottom -= _peel(pixels[top:bottom, left:right][::-1])
        left += _peel(pixels[top:bottom, left:right].transpose(1, 0, 2))
        right -= _peel(pixels[top:bottom, left:right].transpose(1, 0, 2)[::-1])
        if (top, bottom, left, right) == before:
            break
    whole, inside = np.s_[:, :], np.s_[top:bottom, left:right]
    if (bottom - top, right - left) == pixels.shape[:2]:
        return whole
    # If nothing is left inside, the "frame" was the drawing: a 1 from edge to edge.
    if min(bottom - top, right - left) < min(pixels.shape[:2]) // 3:
        return whole
    return whole if np.ptp(pixels[inside]) < FAINTEST else inside


def _peel(lines: Bytes) -> int:
    """Count the first lines that are a bar of their own."""
    if len(lines) < 2:  # noqa: PLR2004 - a bar, and a line behind it
        return 0
    width = lines.shape[1]
    colour = np.sort(lines[0], axis=0)[width // 2].astype(np.float32)
    low, high = colour - FAINTEST, colour + FAINTEST
    if cv2.countNonZero(cv2.inRange(lines[:1], low, high)) < _EVEN * width:
        return 0
    alike = cv2.reduce(cv2.inRange(lines, low, high), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    shares = alike[:, 0] / (255 * width)
    count = int((shares >= _EVEN).argmin())
    return count if shares[count] <= 1 - _FRAME else 0


def _contrast(pixels: Bytes) -> Floats | None:
    """Contrast to the paper along the ink's own colour, 0 where there is none.

    Returns:
        (H, W) float32, about 0 to 1 where 1 is the ink's own contrast; ``None`` where
        nothing stands out.
    """
    away = pixels.astype(np.float32)
    away -= _paper(away)
    distance = np.sqrt(cv2.transform(away * away, np.ones((1, 3), np.float32)))
    peak = _peak(distance)
    if peak < FAINTEST:
        return None
    strongest = away[distance > STRONG * peak]
    # Ink is what the strongest contrasts have in common; glare, or the other side of the
    # noise, lies in the other direction.
    direction = strongest.sum(axis=0)
    direction /= np.linalg.norm(direction) + 1e-6
    contrast: Floats = cv2.transform(away, direction[None])
    if _noise(contrast) > _NOISY * peak:
        contrast = cv2.GaussianBlur(contrast, (0, 0), 0.6 if max(contrast.shape) < FINE else 1.2)
        peak = _peak(contrast)
    if peak < max(FAINTEST, _STANDS_OUT * _spread(contrast)):
        return None
    contrast /= peak
    return np.maximum(contrast, 0.0, out=contrast)


def _peak(contrast: Floats) -> float:
    """Contrast of the ink proper: the mean of the strongest thousandth, of 8 pixels at least."""
    # A histogram, since a partial sort of an image that is nearly all zeros takes 18 ms.
    counts = cv2.calcHist([contrast], [0], None, [448], [0, 448]).ravel()[::-1]
    taken = np.minimum(counts.cumsum(), max(8, contrast.size // 1000))
    # How many were taken by each level, summed over levels one apart: the sum of what was taken.
    return float((taken.sum() - taken[-1] / 2) / max(taken[-1], 1))


def _noise(contrast: Floats) -> float:
    """Standard deviation of the paper's noise, from the differences of neighbouring pixels.

    The lower quartile of them is not moved by strokes, which are most of a tight crop.
    """
    steps = np.abs(contrast[:, 1:] - contrast[:, :-1]).ravel()
    if not steps.size:
        return 0.0
    return quantile(steps, 0.25) / (_WITHIN_QUARTER * 2**0.5)  # a difference has two


def _spread(contrast: Floats) -> float:
    """Standard deviation of the paper, texture and noise, by the lower quartile of distances."""
    return quantile(np.abs(contrast), 0.25) / _WITHIN_QUARTER


def _paper(pixels: Floats) -> Floats:
    """Colour of the bare paper: (3,), or (H, W, 3) where it is unevenly lit.

    The shade is a quadratic surface fitted around the ink: it cannot follow a stroke, however
    broad, so that no ink is eaten. (Closing over the strokes instead follows the edge of a
    shadow, but ate the insides of brush strokes and of tight crops: measured, left out.)
    """
    border = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    colour: Floats = np.sort(border, axis=0)[len(border) // 2]
    height, width = pixels.shape[:2]
    # Ink that touches the border covers less than a quarter of it.
    stray = quantile(np.abs(border - colour).max(axis=1), 0.75)
    if stray < _FLATTEST or min(height, width) < _SHADED:
        return colour
    scale = min(1.0, 48 / max(height, width))  # 48 px hold all that a quadratic can say
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    terms = _quadratic(*small.shape[:2])
    seen = small.reshape(-1, 3)
    shade = np.broadcast_to(colour, seen.shape)
    # Iteratively reweighted least squares: each round trusts what is near the last surface.
    for reach in (80.0, 40.0, 24.0, 16.0, 16.0):
        off = np.linalg.norm(seen - shade, axis=1)
        trust = np.sqrt(np.exp(-0.5 * (off / reach) ** 2))[:, None]
        fit = np.linalg.lstsq(terms * trust, seen * trust, rcond=None)[0]
        shade = terms @ fit
    # Between its 48 px the surface is as good as flat: enlarging it is ten times faster.
    return cv2.resize(shade.astype(np.float32).reshape(small.shape), (width, height))


def _quadratic(height: int, width: int) -> Floats:
    """(H * W, 6) float32: 1, x, y, x2, xy, y2 at each pixel, -1 to 1 across the image."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    x, y = x.ravel(), y.ravel()
    return np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), axis=1)


def _out_of_shadow(contrast: Floats) -> Floats:
    """Take off a shadow with an edge: along the border like no stroke, and paler than ink."""
    border = np.zeros(contrast.shape, np.uint8)
    border[[0, -1]] = border[:, [0, -1]] = 1
    least = _SHADOW * border.sum()
    mask = (contrast > WEAK).astype(np.uint8)
    if (mask & border).sum() < least:
        return contrast
    count, labels, _ = components(mask)
    touching = np.bincount(labels[border > 0], minlength=count)
    for index in np.flatnonzero(touching[1:] >= least) + 1:
        inside = labels == index
        level = quantile(contrast[inside], 0.5)
        if level < _PALE:
            contrast[inside] = np.maximum(contrast[inside] - level, 0) / (1 - level)
    return contrast


def quantile(values: Floats, share: float) -> float:
    """Value that so large a share is below; `np.percentile` takes ten times as long for few.

    Sorting takes 3 us where `np.partition` takes 38: mostly paper is mostly equal values.
    """
    flat = values.ravel()
    flat = flat[:: 1 + flat.size // _SAMPLE]
    index = min(int(share * flat.size), flat.size - 1)
    return float(np.sort(flat)[index])


def components(mask: Bytes) -> tuple[int, NDArray[Any], NDArray[Any]]:
    """Label what is connected: how many, (H, W) labels, and OpenCV's table of each; 0 is paper."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return count, labels, stats
