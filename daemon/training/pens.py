"""Draw digits as people do: as lines from strokes, with pencils, pens and brushes, and scanned."""

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading.glyph import Bytes, Floats, bounding_box

SIDE = 64  # side of the canvas for distorting and thinning, px; an MNIST stroke is 6 to 9 px there
HALF = 127  # a pixel brighter than this is inside a stroke
REACH = 44  # longest side of the ink on that canvas before distortion, px

_SHAPES = json.loads(Path(__file__).with_name("strokes.json").read_text(encoding="utf-8"))
# For each digit, for each style, its strokes: arrays (N, 2) of points.
STYLES = [
    [[np.array(stroke) for stroke in strokes] for strokes in _SHAPES["digits"][str(digit)].values()]
    for digit in range(10)
]
SIGNS = [[np.array(stroke) for stroke in strokes] for strokes in _SHAPES["signs"].values()]
# How often each digit is drawn: 1, 0, 6 and 9 have the styles that MNIST lacks most.
_WEIGHTS = np.array([5, 3, 1, 1, 1, 1, 2, 1, 1, 2])


def choose_digit(rng: Generator) -> int:
    """Return a digit to draw."""
    return int(rng.choice(len(_WEIGHTS), p=_WEIGHTS / _WEIGHTS.sum()))


def draw_digit(digit: int, rng: Generator) -> NDArray[np.bool_]:
    """Draw a digit in a random style and distortion, as a one-pixel line on (64, 64)."""
    styles = STYLES[digit]
    strokes = styles[rng.integers(len(styles))]
    aspect = rng.uniform(0.5, 0.95)
    turn = np.deg2rad(rng.normal(0, 6))
    slant = rng.normal(-0.12, 0.18)
    to = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    to = to @ np.array([[aspect, slant * aspect], [0, 1]]) * 46
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for stroke in strokes:
        points = stroke + rng.normal(0, 0.035, (len(stroke), 2))
        corner = np.all(stroke[1:] == stroke[:-1], axis=1)
        points[1:][corner] = points[:-1][corner]
        draw_polyline(canvas, round_corners(points - 0.5) @ to.T + SIDE / 2 + rng.normal(0, 0.8, 2))
    return canvas > 0


def draw_sign(rng: Generator) -> NDArray[np.bool_]:
    """Draw a symbol (minus, cross, tick, arrow, box, ...) as a one-pixel line on (64, 64)."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    size = rng.uniform(30, 50, 2)
    for stroke in SIGNS[rng.integers(len(SIGNS))]:
        points = stroke - 0.5 + rng.normal(0, 0.03, (len(stroke), 2))
        draw_polyline(canvas, round_corners(points, 2) * size + SIDE / 2)
    return canvas > 0


def draw_scribble(rng: Generator) -> NDArray[np.bool_]:
    """Draw a random curve as a one-pixel line on (64, 64): knots, zigzags, spirals."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(1, 4)):
        count = int(rng.integers(5, 14))
        kind = rng.random()
        if kind < 0.4:
            points = rng.uniform(6, 58, (count, 2))
        elif kind < 0.7:
            along = np.linspace(6, 58, count)
            points = np.stack((along, 32 + 22 * (-1.0) ** np.arange(count)), axis=1)
            points = points[:, :: int(rng.choice((1, -1)))] + rng.normal(0, 4, (count, 2))
        else:  # a spiral of two turns or more
            angle = np.linspace(0, rng.uniform(4, 8) * np.pi, 40)
            radius = np.linspace(2, 26, 40)[:, None]
            points = 32 + radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)
        draw_polyline(canvas, round_corners(points, int(rng.integers(0, 4))))
    return canvas > 0


def round_corners(points: NDArray[np.float64], rounds: int = 3) -> NDArray[np.float64]:
    """Return points with the corners rounded (Chaikin 1974); repeated points stay sharp."""
    for _ in range(rounds):
        first, second = points[:-1], points[1:]
        cut = np.stack((0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second), axis=1)
        points = np.concatenate((points[:1], cut.reshape(-1, 2), points[-1:]))
    return points


def draw_polyline(canvas: NDArray[np.uint8], points: NDArray[np.float64]) -> None:
    """Draw a one-pixel line through points (N, 2), x and y in px."""
    cv2.polylines(canvas, [np.rint(points).astype(np.int32)], isClosed=False, color=255)


def distort(ink: Bytes, rng: Generator, strength: float = 1.0) -> Bytes:
    """Return ink (H, W) distorted on (64, 64): slanted, rotated, squeezed and warped at random."""
    if not ink.any():
        return np.zeros((SIDE, SIDE), np.uint8)
    top, bottom, left, right = bounding_box(ink)
    ink = ink[top:bottom, left:right]
    scale = REACH / max(ink.shape) * rng.uniform(0.85, 1.1)
    turn = np.deg2rad(rng.normal(0, 6 * strength))
    slant = rng.normal(0.0, 0.15 * strength)
    squeeze = np.exp(rng.normal(0, 0.12 * strength))
    to = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    to = to @ np.array([[1, slant], [0, 1]]) @ np.diag([squeeze, 1 / squeeze]) * scale
    back = np.linalg.inv(to)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - (SIDE - 1) / 2
    x, y = x + warp_field(SIDE, 2.0 * strength, rng), y + warp_field(SIDE, 2.0 * strength, rng)
    height, width = ink.shape
    across = back[0, 0] * x + back[0, 1] * y + (width - 1) / 2
    down = back[1, 0] * x + back[1, 1] * y + (height - 1) / 2
    return cv2.remap(ink, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)


def warp_field(side: int, strength: float, rng: Generator, wide: int | None = None) -> Floats:
    """Return smooth random displacements in px, (side, wide) float32 (Simard et al. 2003).

    They are interpolated from a 5x5 grid. ``wide`` is ``side`` if not given.
    """
    coarse = rng.normal(0, strength, (5, 5)).astype(np.float32)
    return cv2.resize(coarse, (wide or side, side), interpolation=cv2.INTER_CUBIC)


def thin(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return masks (N, H, W) with their strokes thinned to one pixel (Zhang and Suen 1984)."""
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            removable = _find_removable(padded, first=first)
            changed |= bool(removable.any())
            padded[:, 1:-1, 1:-1] &= ~removable
    return padded[:, 1:-1, 1:-1]


def _find_removable(padded: NDArray[np.bool_], *, first: bool) -> NDArray[np.bool_]:
    """Return a mask of the pixels that one thinning pass removes."""
    up, down = slice(None, -2), slice(2, None)
    mid = slice(1, -1)
    # P2 to P9 in the paper, clockwise from north.
    around = [
        padded[:, rows, columns]
        for rows, columns in (
            (up, mid), (up, down), (mid, down), (down, down),
            (down, mid), (down, up), (mid, up), (up, up),
        )
    ]  # fmt: skip
    north, _, east, _, south, _, west, _ = around
    neighbours = np.zeros(north.shape, np.uint8)
    turns = np.zeros(north.shape, np.uint8)
    for here, following in zip(around, [*around[1:], around[0]], strict=True):
        neighbours += here
        turns += ~here & following
    if first:
        free = ~(north & east & south) & ~(east & south & west)
    else:
        free = ~(north & east & west) & ~(north & south & west)
    removable: NDArray[np.bool_] = (
        padded[:, mid, mid] & (neighbours >= 2) & (neighbours <= 6) & (turns == 1) & free
    )
    return removable


def break_some(line: NDArray[np.bool_], rng: Generator) -> NDArray[np.bool_]:
    """Return a one-pixel line (64, 64), in 8 % of the cases with one gap or two.

    A hasty hand writes a cursive 2 or 5 in pieces.
    """
    if rng.random() >= 0.08:
        return line
    broken = line.astype(np.uint8)
    for _ in range(int(rng.integers(1, 3))):
        places = np.argwhere(broken)
        if len(places) < 30:
            break
        y, x = places[rng.integers(len(places))]
        cv2.circle(broken, (int(x), int(y)), int(rng.integers(2, 6)), 0, -1)
    return broken > 0


def redraw(line: NDArray[np.bool_], rng: Generator, thickest: float = 15.0) -> Bytes:
    """Draw a line (64, W) with a random tool; W is 64, or more for a number.

    ``thickest`` is the width of the widest brush, px.
    """
    tool = rng.random()
    if tool < 0.06:
        return draw_with_fine_pen(line, rng)
    if tool < 0.55:
        return draw_with_pencil(line, rng)
    ink = draw_with_brush(line, rng, thickest)
    return scan(ink, rng) if tool < 0.75 else ink


def draw_with_pencil(line: NDArray[np.bool_], rng: Generator) -> Bytes:
    """Draw a one-pixel line like a paint program's pencil: hard edges, usually at 28x28.

    79 % of the images that people drop are 28x28, and 72 % of those were drawn this way. On a
    large canvas the line is a hairline.
    """
    canvas = 28 if rng.random() < 0.8 else int(np.exp(rng.uniform(np.log(29), np.log(240))))
    # A number is as high as a digit, and longer.
    long = max(1.0, line.shape[1] / line.shape[0])
    size = canvas * rng.uniform(0.36, 0.92) * long
    ink: Bytes = np.zeros((canvas, round(canvas * long)), np.uint8)
    cv2.polylines(ink, list(_trace_segments(line, size)), isClosed=False, color=255)
    if rng.random() < 0.2:
        ink = cv2.dilate(ink, np.ones((2, 2), np.uint8))
    return ink


def draw_with_fine_pen(line: NDArray[np.bool_], rng: Generator) -> Bytes:
    """Draw a one-pixel line on a large canvas with a pen of 0.3 to 1.3 % of its side."""
    canvas = int(np.exp(rng.uniform(np.log(120), np.log(420))))
    long = max(1.0, line.shape[1] / line.shape[0])
    size = canvas * rng.uniform(0.4, 0.95) * long
    wide = max(1, round(canvas * np.exp(rng.uniform(np.log(0.003), np.log(0.013)))))
    ink: Bytes = np.zeros((canvas, round(canvas * long)), np.uint8)
    kind = cv2.LINE_AA if rng.random() < 0.6 else cv2.LINE_8
    cv2.polylines(ink, list(_trace_segments(line, size)), False, 255, wide, kind)  # noqa: FBT003
    return ink


def _trace_segments(line: NDArray[np.bool_], size: float) -> NDArray[np.int32]:
    """Scale a one-pixel line to a longest side of ``size`` px.

    Returns:
        (N, 2, 2) int32, x and y of both ends of each segment between neighbouring pixels.
    """
    # Each pixel moves to the middle of its neighbours, so that the steps vanish when scaled up.
    seen = line.astype(np.float32)
    places = np.moveaxis(np.indices(line.shape, np.float32), 0, -1) * seen[..., None]
    places = cv2.blur(places, (3, 3)) / np.maximum(cv2.blur(seen, (3, 3)), 1e-6)[..., None]
    low, high = places[line].min(axis=0), places[line].max(axis=0)
    places = (places - low) * (size - 1) / max(float((high - low).max()), 1.0)
    ends = [np.stack((places[line], places[line]), axis=1)]  # a dot has no neighbour
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        both = line[here] & line[there]
        ends.append(np.stack((places[here][both], places[there][both]), axis=1))
    return np.asarray(np.rint(np.concatenate(ends)[..., ::-1]), np.int32)


def draw_with_brush(line: NDArray[np.bool_], rng: Generator, thickest: float = 15.0) -> Bytes:
    """Draw a line (64, W) with a pen or brush of nearly constant width, thin to very thick."""
    width = np.exp(rng.uniform(np.log(2.5), np.log(thickest)))
    margin = 12
    line = np.pad(line, margin)
    away = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, 5)
    uneven = 1 + warp_field(line.shape[0], 0.12, rng, line.shape[1])
    covered: Floats = np.clip(width / 2 * uneven + 0.5 - away, 0, 1)
    return (covered * 255).astype(np.uint8)


def scan(ink: Bytes, rng: Generator) -> Bytes:
    """Return ink blurred, downscaled, dimmed and compressed like a photo or a scan."""
    side = ink.shape[0]
    ink = cv2.GaussianBlur(ink, (0, 0), side / 64 * rng.uniform(0.3, 1.6))
    scale = rng.uniform(18, 48) / side
    ink = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ink = (ink * rng.uniform(0.35, 1.0)).astype(np.uint8)
    ink = np.clip(ink + rng.normal(0, rng.uniform(0, 5), ink.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        ink = compress(ink, int(rng.integers(30, 90)))
    return ink


def compress(pixels: Bytes, quality: int) -> Bytes:
    """Return pixels, grey or BGR, as JPEG stores them."""
    stored = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_UNCHANGED))
