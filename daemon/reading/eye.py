"""Find the digit in a page: which pixels belong to it, and whether it is one digit."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.reading.glyph import GLYPH, Bytes, Floats, bounding_box, make_glyph
from daemon.reading.pixels import halve

VIEW = 96  # side of the eye's input, px
CELL = 2  # the mask comes in cells of 2x2 px, so that the eye's finest layer has 48x48 of them
GRID = VIEW // CELL

INK = 0.5  # probability from which a pixel belongs to the digit
# Probability from which a pixel does so if it is connected with one above INK. Of 7,997 validation
# pages 94.9 % are read with 0.3 and 94.6 % with 0.5; of 900 with a hairline, 43 and 38 %.
_WEAK = 0.3
# If the digit spans less than this share of the view, and the page has more pixels than the view,
# the eye crops to it and runs again. It then spans 1 / _MARGIN of the view.
_SMALL, _MARGIN = 0.5, 1.5
# A blob is dirt if it has less than this share of the strong pixels of the blob with the most. The
# box around the ink is right on 91.4 % of validation pages with 0.08 and 0.1, and on 91.2 % with
# 0.04 and 0.15.
_CRUMB = 0.1
_ONE_PIECE = 2  # labels of OpenCV: the first one is that of what is no piece
# A piece is a dash if the eye is sure of it, it is longer than high, not too short, and beside the
# digit near half its height; lengths are shares of the digit's. Of 205 validation pages with a
# short minus that the count misses, 40 are found so; of 5,696 with a digit alone, 3 are mistaken.
_SURE, _ASPECT, _SHORTEST, _OVERLAP, _HALFWAY = 0.9, 1.4, 0.1, 0.05, 0.3
_DASHED = 0.9  # probability of a mark next to the digit, if there is a dash
_EDGE = np.ones((5, 5), np.uint8)  # dilates over the soft edge of a stroke, 2 px
# The paper around the digit is measured within this margin, a share of the digit's size, and the
# digit is scaled down to at most this many pixels a side: the glyph has 20.
_BESIDE, _DETAIL = 0.2, 128
_FLAT = 2  # grey levels; a page with a smaller range is blank and is not stretched


class Count(IntEnum):
    """How many digits there are."""

    NONE = 0
    ONE = 1
    SEVERAL = 2
    MARKED = 3  # one, but struck out, or with a minus, a bar over it or a tick beside it


@dataclass(frozen=True, slots=True)
class View:
    """A region of a page as the eye sees it.

    Attributes:
        pixels: (96, 96, 3) uint8, the region scaled to fit, its range stretched to 0 to 255.
        region: rows and columns of the page.
        inside: rows and columns of ``pixels`` that show the region; the rest repeats its border.
    """

    pixels: Bytes
    region: tuple[slice, slice]
    inside: tuple[slice, slice]

    @property
    def scale(self) -> float:
        """Pixels of the page per pixel of the view."""
        return max(int(side.stop - side.start) for side in self.region) / VIEW


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The eye's answer to a view.

    Attributes:
        ink: (96, 96) float32, the probability that a pixel belongs to the digit.
        counts: (4,) float32, the probabilities of each ``Count``.
    """

    ink: Floats
    counts: Floats


Segment = Callable[[Bytes], Segmentation]
"""Segments a view, (96, 96, 3) uint8."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found in a page.

    Attributes:
        glyph: (28, 28) uint8, white ink on black; zeros if there is no ink.
        mask: (H, W) uint8, 1 on the ink; in the page's proportions.
        counts: (4,) float32, the probabilities of each ``Count``.
    """

    glyph: Bytes
    mask: Bytes
    counts: Floats


def detect(segment: Segment, pixels: Bytes) -> Detection:
    """Find the digit in a page.

    Args:
        segment: the eye.
        pixels: (H, W, 3) uint8 BGR, any size.
    """
    height, width = pixels.shape[:2]
    shown = whole = crop_view(pixels, np.s_[0:height, 0:width])
    ink, counts = _clean(segment(whole.pixels), whole)
    if ink is None:
        no_glyph = np.zeros((GLYPH, GLYPH), np.uint8)
        return Detection(no_glyph, np.zeros((height, width), np.uint8), counts)
    closer = _zoom_in(pixels, whole, ink)
    if closer is not None:
        nearer, seen = _clean(segment(closer.pixels), closer)
        if nearer is not None:
            shown, ink = closer, nearer
        # Fine strokes can be seen from closer by: of 250 validation pages with a marked digit, 68 %
        # are recognized instead of 64 %, and of 250 with another digit, 1.6 % in both cases.
        if seen[Count.MARKED] > counts[Count.MARKED]:
            counts = seen
    mask = _make_mask(ink, shown, (height, width))
    return Detection(_extract_glyph(pixels, shown, ink), mask, counts)


def crop_view(pixels: Bytes, region: tuple[slice, slice]) -> View:
    """Return a region of a page, (H, W, 3) uint8, as the eye sees it."""
    part = _halve(pixels[region], VIEW)
    height, width = part.shape[:2]
    scale = VIEW / max(height, width)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(part, (wide, high), interpolation=interpolation)
    top, left = (VIEW - high) // 2, (VIEW - wide) // 2
    low, up = int(small.min()), int(small.max())
    if up - low >= _FLAT:
        stretch = 255 / (up - low)
        small = cv2.convertScaleAbs(small, alpha=stretch, beta=-low * stretch)
    if (high, wide) != (VIEW, VIEW):
        small = cv2.copyMakeBorder(
            small, top, VIEW - high - top, left, VIEW - wide - left, cv2.BORDER_REPLICATE
        )
    return View(small, region, np.s_[top : top + high, left : left + wide])


def _halve(pixels: Bytes, target: int) -> Bytes:
    """Return pixels halved until the longest side is less than three times ``target`` px."""
    while max(pixels.shape[:2]) >= 3 * target:
        pixels = halve(pixels)
    return pixels


def _clean(segmentation: Segmentation, shown: View) -> tuple[Floats | None, Floats]:
    """Return the ink without dirt and faint traces of other things, and the counts.

    A short minus is as small as dirt, and the eye's count misses some that its mask has.
    """
    ink = segmentation.ink[shown.inside]
    pieces = find_pieces(ink)
    counts = segmentation.counts
    if _has_dash(ink, pieces):
        counts = counts * np.float32(1 - _DASHED)
        counts[Count.MARKED] += _DASHED
    return clean_ink(ink, pieces, _CRUMB * int(pieces.strong.max())), counts


@dataclass(frozen=True, slots=True)
class Pieces:
    """Connected pieces of ink; the first one is what is no piece.

    Attributes:
        labels: (h, w) int32, the number of each pixel's piece.
        strong: (N,) int64, how many pixels of each piece are surely ink.
    """

    labels: NDArray[np.int32]
    strong: NDArray[np.int64]


def find_pieces(ink: Floats) -> Pieces:
    """Return the pieces of ink, (h, w) float32, the probability of each pixel."""
    weak = (ink > _WEAK).astype(np.uint8)
    count, labels = cv2.connectedComponents(weak, connectivity=8)
    if count == _ONE_PIECE:  # as in most images; without labels this takes a third of the time
        strong = np.array([0, np.count_nonzero(ink > INK)])
    else:
        strong = np.bincount(labels[ink > INK], minlength=count)
    return Pieces(np.asarray(labels, np.int32), strong)


def _has_dash(ink: Floats, pieces: Pieces) -> bool:
    """Return whether there is a dash beside the largest piece, about half as high up."""
    if len(pieces.strong) <= _ONE_PIECE:
        return False
    # Boxes take four times as long as the labels, whose order they have.
    weak = (pieces.labels > 0).astype(np.uint8)
    boxes = np.asarray(cv2.connectedComponentsWithStats(weak, connectivity=8)[2])
    left, top, wide, high, _ = boxes[pieces.strong.argmax()].tolist()
    size = max(wide, high)
    x, y, across, down, _ = boxes.T
    middles = (y + down / 2 - top) / high
    is_dash = (across >= _ASPECT * down) & (across >= _SHORTEST * size)
    gaps = np.maximum(left - (x + across), x - (left + wide))
    is_dash &= (gaps >= -_OVERLAP * size) & (abs(middles - 0.5) <= _HALFWAY)
    is_dash[0] = False
    return any(ink[pieces.labels == each].max() > _SURE for each in np.flatnonzero(is_dash))


def clean_ink(ink: Floats, pieces: Pieces, least: float) -> Floats | None:
    """Return ink without small pieces and faint traces of other things.

    A weak pixel counts if a strong one is connected with it (hysteresis, Canny 1986), because
    lines thinner than a pixel are only weak in places.

    Args:
        ink: (h, w) float32, the probability that a pixel belongs to the writing.
        pieces: of the ink.
        least: number of strong pixels that a piece needs.

    Returns:
        (h, w) float32, scaled so that a weak pixel's probability becomes that of ink; ``None`` if
        no ink is left.
    """
    kept = pieces.strong >= max(1.0, least)
    if not kept.any():
        return None
    if len(kept) == _ONE_PIECE:
        weak = pieces.labels.astype(np.uint8)
    else:
        weak = kept.view(np.uint8).take(pieces.labels)
    near = cv2.dilate(weak, _EDGE)
    return np.minimum(ink * np.float32(INK / _WEAK), 1) * near


def _zoom_in(pixels: Bytes, whole: View, ink: Floats) -> View | None:
    """Return a view of the digit from closer by; ``None`` if the first is as good."""
    if whole.scale <= 1:
        return None
    top, bottom, left, right = bounding_box((ink > INK).astype(np.uint8))
    longest = max(bottom - top, right - left)
    if longest >= _SMALL * VIEW:
        return None
    reach = _MARGIN * longest / 2
    middles = (top + bottom) / 2, (left + right) / 2
    rows, columns = (
        _on_page(middle - reach, middle + reach, whole.scale, side)
        for middle, side in zip(middles, pixels.shape[:2], strict=True)
    )
    return crop_view(pixels, (rows, columns))


def _extract_glyph(pixels: Bytes, shown: View, ink: Floats) -> Bytes:
    """Return the glyph: the page's own grey levels where the eye found the digit."""
    scale = shown.scale
    top, bottom, left, right = bounding_box((ink > INK).astype(np.uint8))
    margin = _BESIDE * max(bottom - top, right - left) + 2 / scale
    region = pixels[shown.region]
    rows = _on_page(top - margin, bottom + margin, scale, region.shape[0])
    columns = _on_page(left - margin, right + margin, scale, region.shape[1])
    part = _halve(region[rows, columns], _DETAIL)
    mask = ink[
        int(rows.start / scale) : int(np.ceil(rows.stop / scale)),
        int(columns.start / scale) : int(np.ceil(columns.stop / scale)),
    ]
    shrink = min(1.0, _DETAIL / max(part.shape[:2]))
    size = max(1, round(part.shape[1] * shrink)), max(1, round(part.shape[0] * shrink))
    if shrink < 1:
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return make_glyph(part, mask)


def _on_page(start: float, stop: float, scale: float, side: int) -> slice:
    """Return a stretch of a view as pixels of its region, which has ``side`` of them."""
    return slice(max(0, int(start * scale)), min(side, int(np.ceil(stop * scale))))


def _make_mask(ink: Floats, shown: View, page: tuple[int, int]) -> Bytes:
    """Return the mask of the ink on the whole page, (H, W) uint8."""
    mask = np.zeros(page, np.uint8)
    there = mask[shown.region]
    size = there.shape[1], there.shape[0]
    scaled = cv2.resize(ink, size, interpolation=cv2.INTER_LINEAR)
    np.greater(scaled, INK, out=there, casting="unsafe")
    return mask
