"""Turn pixels into ink contrast: remove frames, shading, noise and shadows."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.reading.glyph import FINE, Bytes, Floats

# Colour distances are Euclidean in 8-bit BGR: black to white is 441.
FAINTEST = 14.0  # minimum contrast of ink: JPEG and sensor noise reach 10
WEAK, STRONG = 0.25, 0.5  # hysteresis thresholds, as shares of the ink's contrast

# A row or column belongs to a bar or frame if this share of it has one colour ...
_EVEN = 0.98
_FRAME = 0.9  # ... and this share of the next one has another colour

_NOISY = 0.06  # stronger noise, as a share of the ink's contrast, is smoothed: a quarter of WEAK
_STANDS_OUT = 6.0  # minimum contrast of ink in standard deviations of the paper: noise reaches 4.5
_WITHIN_QUARTER = 0.3186  # a quarter of a normal distribution lies within 0.3186 deviations
_SAMPLE = 8192  # sample size for estimating a quantile, pixels

_FLATTEST = 8.0  # if the border varies less than this, the paper has no shading to remove
_SHADED = 16  # in images under this side, px, shading cannot be told from strokes

# A shadow runs along the border and covers at least this share of it; a stroke only crosses it.
_SHADOW = 0.12
# Keeps the fit solvable if no pixel is near the surface; up to 2,304 pixels weigh 1 each.
_RIDGE = 1e-3
_PALE = 0.7  # the median contrast of a shadow is below this share of the ink's contrast


@dataclass(frozen=True, slots=True)
class Contrast:
    """The ink contrast of each pixel inside the frame.

    Attributes:
        levels: (h, w) float32, about 0 to 1; 1 is the contrast of the ink.
        inside: the rows and columns of the image that ``levels`` covers.
    """

    levels: Floats
    inside: tuple[slice, slice]


def ink_contrast(pixels: Bytes) -> Contrast | None:
    """Return the ink contrast of an image; ``None`` if nothing stands out from the paper.

    Args:
        pixels: (H, W, 3) uint8, any colours; 512 px a side is enough.
    """
    inside = _inside_frame(pixels)
    levels = _contrast(pixels[inside])
    return None if levels is None else Contrast(_out_of_shadow(levels), inside)


def _inside_frame(pixels: Bytes) -> tuple[slice, slice]:
    """Return the rows and columns inside black bars, scan edges and printed frames.

    A run of rows or columns of one colour at an edge is removed if nearly all of the next one has
    another colour. A page's margin is kept, because the next row or column is mostly margin too.
    """
    top, bottom, left, right = 0, pixels.shape[0], 0, pixels.shape[1]
    for _ in range(8):  # enough for a margin, a frame inside it, and their soft edges
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
    # If nothing is left inside, the "frame" was the drawing, such as a 1 from edge to edge.
    if min(bottom - top, right - left) < min(pixels.shape[:2]) // 3:
        return whole
    return whole if np.ptp(pixels[inside]) < FAINTEST else inside


def _peel(lines: Bytes) -> int:
    """Return how many of the first lines form a bar or the side of a frame."""
    if len(lines) < 2:  # noqa: PLR2004 - a bar and the line next to it
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
    """Return the contrast to the paper in the direction of the ink's colour.

    Returns:
        (H, W) float32, 0 to about 1; 1 is the contrast of the ink. ``None`` if nothing stands
        out from the paper.
    """
    away = pixels.astype(np.float32)
    away -= _paper(away)
    distance = np.sqrt(cv2.transform(away * away, np.ones((1, 3), np.float32)))
    peak = _peak(distance)
    if peak < FAINTEST:
        return None
    strongest = away[distance > STRONG * peak]
    # The ink's direction in colour space is the mean of the strongest contrasts. Glare and the
    # brighter half of the noise lie in the opposite direction.
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
    """Return the ink's contrast: the mean of the strongest 0.1 % of pixels, at least 8 pixels."""
    # A histogram, because a partial sort of an image that is nearly all zeros takes 18 ms.
    counts = cv2.calcHist([contrast], [0], None, [448], [0, 448]).ravel()[::-1]
    taken = np.minimum(counts.cumsum(), max(8, contrast.size // 1000))
    # The sum of the cumulative counts is the sum of the contrasts of the pixels taken.
    return float((taken.sum() - taken[-1] / 2) / max(taken[-1], 1))


def _noise(contrast: Floats) -> float:
    """Return the standard deviation of the paper's noise, from differences between neighbours.

    It uses their lower quartile, which strokes don't affect even where they fill most of a crop.
    """
    steps = np.abs(contrast[:, 1:] - contrast[:, :-1]).ravel()
    if not steps.size:
        return 0.0
    return quantile(steps, 0.25) / (_WITHIN_QUARTER * 2**0.5)  # a difference has twice the variance


def _spread(contrast: Floats) -> float:
    """Return the standard deviation of the paper (texture and noise), from the lower quartile."""
    return quantile(np.abs(contrast), 0.25) / _WITHIN_QUARTER


def _paper(pixels: Floats) -> Floats:
    """Return the colour of the blank paper: (3,), or (H, W, 3) if it is unevenly lit.

    Shading is modelled as a quadratic surface fitted to the paper around the ink. It cannot follow
    a stroke, however broad, so it removes no ink. (A morphological closing would also follow the
    edge of a shadow, but in tests it removed the insides of brush strokes and of tight crops.)
    """
    border = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    colour: Floats = np.sort(border, axis=0)[len(border) // 2]
    height, width = pixels.shape[:2]
    # The upper quartile, because ink that touches the border covers less than a quarter of it.
    stray = quantile(np.abs(border - colour).max(axis=1), 0.75)
    if stray < _FLATTEST or min(height, width) < _SHADED:
        return colour
    scale = min(1.0, 48 / max(height, width))  # 48 px are enough to fit a quadratic
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    terms = _quadratic(*small.shape[:2])
    seen = small.reshape(-1, 3)
    shade = np.broadcast_to(colour, seen.shape)
    # Iteratively reweighted least squares: pixels near the previous surface get more weight. The
    # normal equations take 0.1 ms where np.linalg.lstsq takes 1.8, five times a photo.
    for reach in (80.0, 40.0, 24.0, 16.0, 16.0):
        off = np.linalg.norm(seen - shade, axis=1)
        weighted = terms * np.exp(-0.5 * (off / reach) ** 2)[:, None]
        squares = weighted.T @ terms + _RIDGE * np.eye(terms.shape[1], dtype=np.float32)
        shade = terms @ np.linalg.solve(squares, weighted.T @ seen)
    # Upscaling the 48 px surface is ten times faster than evaluating it at every pixel, and the
    # difference is negligible.
    return cv2.resize(shade.astype(np.float32).reshape(small.shape), (width, height))


def _quadratic(height: int, width: int) -> Floats:
    """Return 1, x, y, x2, xy, y2 at each pixel, (H * W, 6) float32; x and y are -1 to 1."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    x, y = x.ravel(), y.ravel()
    return np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), axis=1)


def _out_of_shadow(contrast: Floats) -> Floats:
    """Remove hard-edged shadows: components along the border that are paler than ink."""
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
    """Return the quantile of a sample of values; ``share`` is 0 to 1.

    `np.percentile` takes ten times as long for a few values. Sorting takes 3 us and `np.partition`
    38 us, because most values are paper and therefore equal.
    """
    flat = values.ravel()
    flat = flat[:: 1 + flat.size // _SAMPLE]
    index = min(int(share * flat.size), flat.size - 1)
    return float(np.sort(flat)[index])


def components(mask: Bytes) -> tuple[int, NDArray[Any], NDArray[Any]]:
    """Return the number of connected components, (H, W) labels, OpenCV's stats; 0 is paper."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return count, labels, stats
