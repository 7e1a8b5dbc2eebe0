"""Write numbers as ink along a line, and degrade it as pages, cameras and the eye's mask do."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from daemon.reading.glyph import Bytes, Floats, bounding_box

TALL = 40  # height of a digit while strips are composed, px; in the strip it has 26
_DROP = 24  # px of the canvas above and below a digit
START = 20  # the column at which a line of writing begins, px
_CLEAN = 0.25  # share of the inks that nothing happens to


@dataclass(frozen=True, slots=True)
class Gap:
    """How far apart the symbols of a text are, as shares of a digit's height.

    Attributes:
        least: the least distance.
        most: the most.
        is_touching: whether it is that between the nearest pixels, and not between the boxes.
        cell: width of a box on a form, one for each symbol; 0 if there is none.
    """

    least: float
    most: float
    is_touching: bool
    cell: float = 0.0

    def choose(self, rng: Generator) -> float:
        """Return a gap, px."""
        return float(rng.uniform(self.least, self.most)) * TALL


# How numbers are spaced, and how often; _BOXED of them are written into boxes.
_GAPS = (
    (0.27, Gap(0.12, 0.45, is_touching=False)),
    (0.14, Gap(0.02, 0.18, is_touching=False)),
    (0.14, Gap(0.02, 0.18, is_touching=True)),
    (0.27, Gap(-0.08, 0.03, is_touching=True)),
    (0.04, Gap(-0.12, 0.0, is_touching=True)),
    (0.1, Gap(0.3, 0.9, is_touching=False)),
    (0.04, Gap(0.6, 1.8, is_touching=False)),
)
_BOXED = 0.12


def choose_gap(rng: Generator) -> Gap:
    """Return how a number is spaced: apart, close, touching, in boxes."""
    if rng.random() < _BOXED:
        return Gap(0.0, 0.0, is_touching=False, cell=float(rng.uniform(0.85, 1.7)))
    shares = [share for share, _ in _GAPS]
    return _GAPS[int(rng.choice(len(_GAPS), p=shares))][1]


class Canvas:
    """A line of writing that grows to the right."""

    def __init__(self, symbols: int) -> None:
        self._pixels = np.zeros((TALL + 2 * _DROP, 200 + 130 * symbols), np.uint8)
        self._end = START  # the right edge of the ink
        self._edge = np.full(len(self._pixels), START)  # the same in each row

    def add(self, ink: Bytes, gap: float, size: float, drift: float, *, touching: bool) -> None:
        """Add a symbol; its gap is that between the boxes, or the smallest in a row of pixels."""
        ink, top = self._scale(ink, size, drift)
        high, wide = ink.shape
        bottom = top + high
        left = self._end + round(gap)
        core = ink > 100
        rows = core.any(axis=1)
        if touching and rows.any():
            first = np.where(rows, core.argmax(axis=1), wide)
            edge = self._edge[top:bottom]
            # Ink of neighbouring rows touches as well.
            near = np.maximum(edge, np.maximum(np.roll(edge, 1), np.roll(edge, -1)))
            left = round(float((near - first)[rows].max()) + gap)
            # A thin digit must not vanish in the curve of its neighbour.
            left = max(left, self._end - round(0.3 * min(wide, 0.6 * TALL)))
        left = max(4, left)
        self._put(ink, top, left)
        last = np.where(rows, left + wide - core[:, ::-1].argmax(axis=1), 0)
        np.maximum(self._edge[top:bottom], last, out=self._edge[top:bottom])

    def add_at(self, ink: Bytes, middle: float, size: float, drift: float) -> None:
        """Add a symbol around a column."""
        ink, top = self._scale(ink, size, drift)
        self._put(ink, top, max(4, round(middle - ink.shape[1] / 2)))

    def _scale(self, ink: Bytes, size: float, drift: float) -> tuple[Bytes, int]:
        """Return a symbol as large as it is written, and the row of its top."""
        height, width = ink.shape
        high = int(np.clip(round(height * size), 3, len(self._pixels)))
        wide = max(2, round(width * size))
        scaled = cv2.resize(ink, (wide, high), interpolation=cv2.INTER_LINEAR)
        # Digits stand on the line; a mark's canvas reaches as far below it as above.
        below = (height - TALL) / 2
        bottom = int(np.clip(_DROP + TALL + below + drift, high, len(self._pixels)))
        return scaled, bottom - high

    def _put(self, ink: Bytes, top: int, left: int) -> None:
        high, wide = ink.shape
        there = self._pixels[top : top + high, left : left + wide]
        np.maximum(there, ink, out=there)
        self._end = max(self._end, left + wide)

    def ink(self) -> Bytes:
        """Return the ink, (h, w) uint8."""
        return self._pixels[:, : self._end + 20]


def draw_mark(character: str, stroke: float, rng: Generator) -> Bytes:
    """Draw a mark on a canvas of which the middle 40 rows are as high as a digit."""
    high = TALL + 2 * _DROP
    canvas = np.zeros((high, 80), np.uint8)
    base = _DROP + TALL

    def lines(*points: tuple[float, float], wide: float = 1.0) -> None:
        thick = max(1, round(stroke * wide))
        shaped = np.rint(np.array(points) * 8).astype(np.int32)
        cv2.polylines(
            canvas,
            [shaped],
            isClosed=False,
            color=255,
            thickness=thick,
            lineType=cv2.LINE_AA,
            shift=3,
        )

    def dot(x: float, y: float) -> None:
        radius = max(1.0, stroke * rng.uniform(0.45, 1.1))
        if rng.random() < 0.3:
            lines((x, y), (x + rng.uniform(-2, 3), y + rng.uniform(-1, 3)), wide=1.1)
        else:
            cv2.circle(
                canvas, (round(x * 8), round(y * 8)), round(radius * 8), 255, -1, cv2.LINE_AA, 3
            )

    x = 40.0
    if character == ".":
        dot(x, base - rng.uniform(-0.08, 0.14) * TALL)
    elif character == ":":
        foot = base - rng.uniform(-0.05, 0.3) * TALL
        dot(x, foot)
        dot(x + rng.normal(0, 2), foot - max(rng.uniform(0.22, 0.6) * TALL, 2.4 * stroke))
    elif character == ",":
        length = rng.uniform(0.16, 0.45) * TALL
        top = base - rng.uniform(0.0, 0.2) * TALL
        lean = rng.uniform(-0.05, 0.7)
        lines(
            (x, top),
            (x + rng.uniform(-0.05, 0.15) * length, top + length / 2),
            (x - lean * length, top + length),
        )
    elif character == "-":
        length = rng.uniform(0.22, 0.8) * TALL
        tilt = rng.normal(0, 0.08) * length
        y = base - rng.uniform(0.35, 0.65) * TALL
        lines((x - length / 2, y + tilt), (x, y + rng.normal(0, 1)), (x + length / 2, y - tilt))
    else:  # a slash: longer than a 1, or it could be one
        length = rng.uniform(1.08, 1.6) * TALL
        lean = rng.uniform(0.25, 0.8)
        y = base - TALL / 2
        lines(
            (x - lean * length / 2, y + length / 2),
            (x + rng.normal(0, 1.5), y),
            (x + lean * length / 2, y - length / 2),
        )
    _, _, left, right = bounding_box(canvas)
    return canvas[:, left:right]


def strike(ink: Bytes, digit: int, stroke: float, rng: Generator) -> Bytes:
    """Return a digit, (40, w) uint8, struck out: by one or two lines, a cross or a scribble."""
    margin = int(rng.uniform(0.1, 0.5) * TALL)
    wide = ink.shape[1] + 2 * margin
    struck = np.zeros((TALL + 2 * _DROP, wide), np.uint8)
    struck[_DROP : _DROP + TALL, margin : margin + ink.shape[1]] = ink
    middle, half = _DROP + TALL / 2, TALL * rng.uniform(0.4, 0.65)
    kind = rng.random()
    # One line through a 0 or a 7 is a way of writing.
    if kind < 0.35 and digit not in {0, 7}:
        if rng.random() < 0.5:
            lines = [_level(rng.uniform(0.3, 0.7), wide, margin, rng)]
        else:
            way = 1 if rng.random() < 0.7 else -1
            lines = [_bend((0, middle + way * half), (wide, middle - way * half), rng)]
    elif kind < 0.6:
        places = rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.8)
        lines = [_level(at, wide, margin, rng) for at in places]
    elif kind < 0.8:
        rising = _bend((0, middle - half), (wide, middle + half), rng)
        lines = [rising, _bend((0, middle + half), (wide, middle - half), rng)]
    else:
        lines = [_scribble(wide, middle, half, rng)]
    thick = max(1, round(stroke * rng.uniform(0.6, 1.3)))
    points = [np.rint(each).astype(np.int32) for each in lines]
    cv2.polylines(struck, points, isClosed=False, color=255, thickness=thick, lineType=cv2.LINE_AA)
    return struck


def _bend(start: tuple[float, float], end: tuple[float, float], rng: Generator) -> Floats:
    """Return a stroke, (3, 2), that is not quite straight."""
    first, last = np.array(start), np.array(end)
    return np.stack((first, (first + last) / 2 + rng.normal(0, 1.5, 2), last))


def _level(at: float, wide: int, margin: int, rng: Generator) -> Floats:
    """Return a nearly level stroke at a share of a digit's height."""
    y, tilt = _DROP + at * TALL, rng.normal(0, 0.18) * wide
    reach = rng.uniform(0, 0.3) * margin
    return _bend((reach, y + tilt), (wide - reach, y - tilt), rng)


def _scribble(wide: int, middle: float, half: float, rng: Generator) -> Floats:
    """Return a zigzag, (N, 2), from top to bottom or from left to right."""
    count = int(rng.integers(5, 12))
    along = np.linspace(-1, 1, count)
    across = np.where(np.arange(count) % 2, 1.0, -1.0)
    if rng.random() < 0.5:
        along, across = 0.9 * across, along
    x, y = wide / 2 + (wide / 2 - 2) * across, middle + half * along
    return np.stack((x, y), axis=1) + rng.normal(0, 2, (count, 2))


def degrade(ink: Floats, rng: Generator) -> Floats:
    """Return ink as it comes out of a page: slanted, gappy, blurred, coarse, with residues.

    Of a good scan it comes out as it was written.
    """
    ink = _slant(ink, rng)
    if rng.random() < _CLEAN:
        return ink
    if rng.random() < 0.25:
        ink = _warp(ink, rng)
    pen = rng.random()
    if pen < 0.12:
        ink = cv2.dilate(ink, np.ones((3, 3) if pen < 0.06 else (2, 2), np.uint8))
    elif pen < 0.22:
        ink = cv2.erode(ink, np.ones((2, 2), np.uint8))
    if rng.random() < 0.25:
        _leave_residues(ink, rng)
    if rng.random() < 0.1:
        _tear(ink, rng)
    return _photograph(ink, rng)


def _slant(ink: Floats, rng: Generator) -> Floats:
    """Return ink whose digits lean, and whose line rises or falls."""
    height, width = ink.shape
    lean = rng.normal(0, 0.14)
    slope = rng.normal(0, 0.02) if rng.random() < 0.7 else rng.uniform(-0.2, 0.2)
    wide = width + int(abs(lean) * height) + 8
    high = height + int(abs(slope) * width) + 8
    to = np.array(
        ((1, lean, 4 + max(0, -lean) * height), (slope, 1, 4 + max(0, -slope) * width)), np.float32
    )
    return cv2.warpAffine(ink, to, (wide, high), flags=cv2.INTER_LINEAR)


def _photograph(ink: Floats, rng: Generator) -> Floats:
    """Return ink that is unevenly dark, coarse, blurred, noisy or without grey levels."""
    if rng.random() < 0.3:
        coarse = rng.uniform(0.5, 1.0, (3, max(3, ink.shape[1] // 30))).astype(np.float32)
        field: Floats = cv2.resize(coarse, (ink.shape[1], ink.shape[0]))
        ink = ink * np.minimum(field * rng.uniform(1.0, 1.6), 1)
    if rng.random() < 0.35:
        scale = float(np.exp(rng.uniform(np.log(0.3), np.log(0.9))))
        small: Floats = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ink = small / max(float(small.max()), 0.3)
    if rng.random() < 0.25:
        ink = cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.4, 1.4)) * ink.shape[0] / 90)
    if rng.random() < 0.15:
        ink = (ink > rng.uniform(0.3, 0.6)).astype(np.float32)
    elif rng.random() < 0.3:
        noise = rng.standard_normal(ink.shape, np.float32) * np.float32(rng.uniform(0.02, 0.15))
        ink = np.clip(ink + noise * (ink > 0.1), 0, 1)
    return ink


def _warp(ink: Floats, rng: Generator) -> Floats:
    """Return ink with smooth random displacements of a few pixels."""
    height, width = ink.shape
    grid = 4, max(4, width // 16)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    strength = rng.uniform(0.5, 1.8)

    def displace() -> Floats:
        coarse = rng.normal(0, strength, grid).astype(np.float32)
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)

    return cv2.remap(ink, x + displace(), y + displace(), cv2.INTER_LINEAR)


def _leave_residues(ink: Floats, rng: Generator) -> None:
    """Leave pieces of lines, specks and neighbours that the eye did not drop."""
    _, width = ink.shape
    if float(ink.max()) < 0.5:
        return
    top, bottom, left, right = bounding_box((ink > 0.4).astype(np.uint8))
    kind = rng.random()
    shade = float(rng.uniform(0.15, 0.9))
    if kind < 0.3:  # short pieces of a rule or of a box's lower and upper side
        for _ in range(int(rng.integers(1, 4))):
            y = int(rng.choice((top, bottom)) + rng.normal(0, 2))
            x = int(rng.integers(left, right))
            end = x + int(rng.uniform(0.1, 0.6) * TALL)
            cv2.line(ink, (x, y), (end, y), shade, int(rng.integers(1, 3)))
    elif kind < 0.5:
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(left, right)), int(rng.integers(top, bottom))
            cv2.circle(ink, at, int(rng.integers(0, 2)), shade, -1)
    elif kind < 0.75:
        _leave_dots(ink, (bottom, left, right), shade, rng)
    else:  # a short piece of something at an end, well away from the text
        x = right + int(rng.uniform(0.1, 0.4) * TALL) if rng.random() < 0.5 else left - 6
        if 2 < x < width - 3:
            y = int(rng.integers(top, max(top + 1, bottom - 8)))
            cv2.line(
                ink, (x, y), (x + int(rng.integers(-1, 2)), y + int(rng.integers(2, 9))), shade, 2
            )


def _leave_dots(ink: Floats, under: tuple[int, int, int], shade: float, rng: Generator) -> None:
    """Leave some dots of a dotted line under writing, of which the bottom and the sides are given.

    Args:
        ink: (h, w) float32, changed in place.
        under: the row below the writing, and its first and its last column.
        shade: of the dots.
        rng: the random generator.
    """
    bottom, left, right = under
    y = bottom + rng.uniform(-0.04, 0.2) * TALL
    kept = rng.uniform(0.2, 1.0)
    radius = rng.uniform(0.8, 2.5)
    for x in np.arange(left, right, max(3 * radius, rng.uniform(0.12, 0.4) * TALL)):
        if rng.random() < kept:
            at = round(float(x) * 8), round(float(y + rng.normal(0, 0.4)) * 8)
            cv2.circle(ink, at, round(radius * 8), shade, -1, cv2.LINE_AA, 3)


def leave_sides(ink: Bytes, sides: Floats, rng: Generator) -> Bytes:
    """Return ink with what the eye leaves of the sides of boxes: whole ones, and corners.

    Args:
        ink: (h, w) uint8, of a ``Canvas``.
        sides: (N,) their columns.
        rng: the random generator.
    """
    left_over = ink.copy()
    top = _DROP - rng.uniform(0.0, 0.4) * TALL
    bottom = _DROP + TALL + rng.uniform(0.0, 0.4) * TALL
    shade, thick = float(rng.uniform(60, 255)), int(rng.integers(1, 4))
    kept = rng.uniform(0.1, 0.6)
    for x in sides:
        if not 2 < x < ink.shape[1] - 3 or rng.random() > kept:
            continue
        start, end = top, bottom
        if rng.random() < 0.4:  # a part of it
            start, end = np.sort(rng.uniform(top, bottom, 2))
        corners = [(x, start), (x, end)]
        corner = rng.uniform(-0.3, 0.3) * TALL
        if start == top and rng.random() < 0.3:
            corners = [(x + corner, top), *corners]
        if end == bottom and rng.random() < 0.3:
            corners = [*corners, (x + corner, bottom)]
        points = np.rint(np.array(corners) * 8).astype(np.int32)
        cv2.polylines(
            left_over,
            [points],
            isClosed=False,
            color=shade,
            thickness=thick,
            lineType=cv2.LINE_AA,
            shift=3,
        )
    return np.maximum(ink, left_over)


def _tear(ink: Floats, rng: Generator) -> None:
    """Erase small pieces, as a mask that misses them does."""
    rows, columns = np.nonzero(ink > 0.5)
    if not len(rows):
        return
    for _ in range(int(rng.integers(1, 4))):
        which = int(rng.integers(len(rows)))
        radius = int(rng.integers(1, 3))
        cv2.circle(ink, (int(columns[which]), int(rows[which])), radius, 0.0, -1)
