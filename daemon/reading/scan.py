"""Find a number in a page: which pixels belong to it, and the strip that the line reader gets.

The eye looks at the whole page first. A long number is small in that view, so the eye looks again
along the line of writing, in overlapping tiles.
"""

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from daemon.reading.eye import INK, VIEW, Segment, clean_ink, crop_view, find_pieces
from daemon.reading.glyph import Bytes, Floats, bounding_box, measure_stroke
from daemon.reading.line import Line, Strip, find_line, make_strip
from daemon.reading.pixels import halve

# The eye looks again if the line is lower than this in the view of the whole page, px. In a tile it
# is _IN_TILE px high. Of 120 validation pages with a number, 95 % of the ink is found on 76 % with
# tiles and on 50 % without; with _LOW at 40, and with strides of 40 and 52 px, as often.
_LOW, _IN_TILE = 30, 40
_STRIDE = 50  # most columns from one tile to the next, px; six digits take four tiles
# The eye also looks beyond both ends of a line: by _BESIDE of its heights, or _GAPS times its
# widest gap. If there is ink as near as that to the end of what it has seen, it looks again, four
# times as far; it looks _LONGER times at most.
_BESIDE, _GAPS, _LONGER = 0.8, 1.5, 4
_MOST_TILES = 64
# A page that is longer than high by _LONG may have a line that is too small to be seen in the view
# of the whole page. Without one, the eye looks along the page as if a line had this share of its
# height.
_LONG, _USUAL = 2.0, 0.6
# A piece with fewer pixels than a square of this share of the stroke's width is a speck; a dot or a
# comma is about as wide as the stroke.
_SPECK = 0.5
_MARGIN = 0.35  # of paper around the line, a share of its height
_HALVED = 2.0  # scale from which pixels are halved before they are scaled: it takes less time
# What has this share of the contrast of a dash's ink may be the line of a box, and it is one if it
# has so much of the rows above and below the dash's end.
_RULE, _WHOLE = 0.25, 0.7


@dataclass(frozen=True, slots=True)
class LineDetection:
    """The number that was found in a page.

    Attributes:
        strip: of the line of writing; black if there is no ink.
        mask: (H, W) uint8, 1 on the ink; in the page's proportions.
        counts: (4,) float32, the eye's probabilities of each ``Count`` for the whole page.
        left_out: the highest probability of ink next to the line, of what is not in the mask: it
            may be a digit or a comma that was missed.
    """

    strip: Strip
    mask: Bytes
    counts: Floats
    left_out: float = 0.0


@dataclass(frozen=True, slots=True)
class _Ink:
    """Ink in a part of a page.

    Attributes:
        ink: (h, w) float32, the probability that a pixel belongs to the number.
        left_out: (h, w) float32, the same of what is too small or too faint; 0 on the ink.
        region: rows and columns of the page.
    """

    ink: Floats
    left_out: Floats
    region: tuple[slice, slice]


def detect_line(segment: Segment, pixels: Bytes) -> LineDetection:
    """Find the number in a page.

    Args:
        segment: the eye.
        pixels: (H, W, 3) uint8 BGR, any size.
    """
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    view = crop_view(pixels, np.s_[0:height, 0:width])
    segmentation = segment(view.pixels)
    found = _clean(segmentation.ink[view.inside], view.region)
    line = _choose_line(found, height, width)
    if line is not None and line.height < _LOW * view.scale:
        gap = 0.0 if found is None else _measure_gap(found) * view.scale
        found = _look_to_the_ends(segment, pixels, line, gap) or found
    if found is None:
        return LineDetection(make_strip(pixels, mask), mask, segmentation.counts)
    part = _crop(found)
    there = mask[part.region]
    scaled = cv2.resize(part.ink, there.shape[::-1], interpolation=cv2.INTER_LINEAR)
    np.greater(scaled, INK, out=there, casting="unsafe")
    strip = make_strip(pixels[part.region], part.ink)
    return LineDetection(strip, mask, segmentation.counts, float(part.left_out.max()))


def _clean(seen: Floats, region: tuple[slice, slice]) -> _Ink | None:
    """Return what the eye saw in a region without specks; ``None`` if nothing is left."""
    least = (_SPECK * measure_stroke(seen)) ** 2
    ink = clean_ink(seen, find_pieces(seen), least)
    return None if ink is None else _Ink(ink, np.where(ink > 0, np.float32(0), seen), region)


def _choose_line(found: _Ink | None, height: int, width: int) -> Line | None:
    """Return where a line of writing may be, in pixels of the page; ``None`` if nowhere."""
    if found is not None:
        line, scale = find_line(found.ink > INK), width / found.ink.shape[1]
        columns = slice(int(line.columns.start * scale), ceil(line.columns.stop * scale))
        return Line(line.slope, line.top * scale, line.height * scale, columns)
    if width < _LONG * height:
        return None
    return Line(0.0, height * (1 - _USUAL) / 2, height * _USUAL, slice(0, width))


def _look_to_the_ends(segment: Segment, pixels: Bytes, line: Line, gap: float) -> _Ink | None:
    """Return the ink along a line, of which the view of the whole page may show only a part.

    Args:
        segment: the eye.
        pixels: (H, W, 3) uint8 BGR, the page.
        line: in pixels of the page.
        gap: the widest one between the digits that are known, px.
    """
    near = beside = max(_BESIDE * line.height, _GAPS * gap)
    found = None
    for _ in range(_LONGER):
        found = _clean(*_look_along(segment, pixels, line, beside))
        if found is None:
            break
        looked, scale = found.region[1], line.height / _IN_TILE
        *_, first, last = bounding_box(found.ink > INK)
        start, stop = looked.start + first * scale, looked.start + last * scale
        is_cut_left = looked.start > 0 and start < looked.start + near
        is_cut_right = looked.stop < pixels.shape[1] and stop > looked.stop - near
        if not is_cut_left and not is_cut_right:
            break
        near = max(near, _GAPS * _measure_gap(found) * scale)
        beside = max(4 * beside, near)
    return found


def _measure_gap(found: _Ink) -> int:
    """Return the most columns in a row without ink between columns with ink."""
    columns = np.flatnonzero((found.ink > INK).any(axis=0))
    return int(np.diff(columns).max(initial=1)) - 1


def _look_along(
    segment: Segment, pixels: Bytes, line: Line, beside: float
) -> tuple[Floats, tuple[slice, slice]]:
    """Return what the eye sees along a line, which it looks at in tiles, and in which region.

    A digit that a tile cuts may be missed there. Where tiles overlap, each counts the less, the
    nearer a pixel is to its left or right edge.

    Args:
        segment: the eye.
        pixels: (H, W, 3) uint8 BGR, the page.
        line: in pixels of the page.
        beside: so much to the left and right of the line is looked at as well, px.
    """
    scale = line.height / _IN_TILE
    region = _reach_around(line, beside, VIEW * scale, pixels.shape[:2])
    band = _resize(pixels[region], scale)
    high, wide = band.shape[:2]
    room = max(0, wide - VIEW)
    total, weights = np.zeros((2, high, wide), np.float32)
    for left in np.linspace(0, room, min(_MOST_TILES, 1 + ceil(room / _STRIDE))).astype(int):
        right = min(wide, left + VIEW)
        middle = _middle(line, region[1].start + (left + right) / 2 * scale) - region[0].start
        top = min(max(0, round(middle / scale - VIEW / 2)), max(0, high - VIEW))
        tile = np.s_[top : min(high, top + VIEW), left:right]
        view = crop_view(band, tile)
        inwards = np.arange(right - left, dtype=np.float32) + 1
        weight = np.minimum(inwards, inwards[::-1]) ** 2
        seen = segment(view.pixels).ink[view.inside]
        # A page that is smaller than a tile fills the view.
        total[tile] += weight * cv2.resize(seen, total[tile].shape[::-1])
        weights[tile] += weight
    return total / np.maximum(weights, 1), region


def _reach_around(
    line: Line, beside: float, side: float, page: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the part of a page that has tiles of a side, px, along a line and beside it."""
    height, width = page
    spare = max(beside, (side - line.columns.stop + line.columns.start) / 2)
    left, right = int(line.columns.start - spare), ceil(line.columns.stop + spare)
    left, right = max(0, min(left, width - ceil(side))), min(width, max(right, ceil(side)))
    ends = _middle(line, left), _middle(line, right)
    top = min(max(0, int(min(ends) - side / 2)), height - 1)
    bottom = max(top + 1, min(height, ceil(max(ends) + side / 2)))
    return slice(top, bottom), slice(left, right)


def _middle(line: Line, column: float) -> float:
    """Return the row of the middle of a line at a column."""
    return line.top + line.height / 2 + line.slope * column


def _resize(pixels: Bytes, scale: float) -> Bytes:
    """Return pixels scaled down by a factor, or up if it is below 1."""
    size = max(1, round(pixels.shape[1] / scale)), max(1, round(pixels.shape[0] / scale))
    while scale >= _HALVED:
        pixels, scale = halve(pixels), scale / 2
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return cv2.resize(pixels, size, interpolation=interpolation)


def _crop(found: _Ink) -> _Ink:
    """Return the part of the ink that has the line of writing and a margin of paper."""
    written = found.ink > INK
    margin = _MARGIN * find_line(written).height + 2
    top, bottom, left, right = bounding_box(written)
    inner, region = [], []
    for first, last, size, side in zip(
        (top, left), (bottom, right), found.ink.shape, found.region, strict=True
    ):
        scale = (side.stop - side.start) / size
        start = max(0, int((first - margin) * scale))
        stop = min(side.stop - side.start, ceil((last + margin) * scale))
        region.append(slice(side.start + start, side.start + stop))
        inner.append(slice(int(start / scale), ceil(stop / scale)))
    part = inner[0], inner[1]
    return _Ink(found.ink[part], found.left_out[part], (region[0], region[1]))


def touches_left(pixels: Bytes, mask: Bytes) -> bool:
    """Return whether the leftmost piece of ink reaches the page's edge or an upright line.

    So does a dash that fills the beginning of a field, and a minus does not.

    Args:
        pixels: (H, W, 3) uint8 BGR.
        mask: (H, W) uint8, nonzero on the ink.
    """
    if not mask.any():
        return False
    top, bottom, left, _ = bounding_box(mask)
    beside = bottom - top
    rows = slice(max(0, top - beside), bottom + beside)
    columns = slice(max(0, left - beside), left + 2 * beside)
    count, labels, pieces, _ = cv2.connectedComponentsWithStats(mask[rows, columns])
    piece = 1 + int(pieces[1:count, cv2.CC_STAT_LEFT].argmin())
    start, _, wide, _, area = (int(each) for each in pieces[piece])
    stroke = area / wide
    reach = ceil(stroke) + 1
    if start + columns.start <= stroke / 2 + 1:
        return True
    grey = cv2.cvtColor(pixels[rows, columns], cv2.COLOR_BGR2GRAY).astype(np.float32)
    ink, paper = np.median(grey[labels == piece]), np.median(grey[labels == 0])
    near = slice(max(0, start - reach), start + reach)
    dark = (grey[:, near] - paper) * np.sign(ink - paper) > _RULE * abs(ink - paper)
    end = np.flatnonzero((labels[:, start : start + reach] == piece).any(axis=1))
    first, last = int(end[0]), int(end[-1]) + 1
    outside = dark[first:last, : start - near.start]
    if near.start + columns.start == 0 and (outside.mean(axis=0) > 1 / 2).all():
        return True
    # Whatever crosses the dash's end, or stands before it, goes on above it and below it. The mask
    # may end a pixel or two before the dash does.
    above, below = (
        dark[max(0, first - reach - 1) : max(0, first - 2)],
        dark[last + 2 : last + reach + 1],
    )
    return all(_has_upright(side) for side in (above, below))


def _has_upright(dark: Bytes) -> bool:
    """Return whether a line that may lean a little goes through (h, w) bool from top to bottom."""
    if not dark.size:
        return False
    leaning = cv2.dilate(dark.astype(np.uint8), np.ones((1, 3), np.uint8))
    return bool((leaning.mean(axis=0) >= _WHOLE).any())
