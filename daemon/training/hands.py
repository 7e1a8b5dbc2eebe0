"""Redraw digits the way people draw them: pencils, brushes, slant, wobble, soft scans."""

# The probability of each tool is a literal where the tool is chosen.
# ruff: noqa: PLR2004

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    # OpenCV's type hints don't carry the pixel dtype; each docstring gives it.
    Bytes = NDArray[Any]

SIDE = 64  # side of the canvas for distorting and thinning, px; an MNIST stroke is 6 to 9 px there
HALF = 127  # a pixel brighter than this is inside a stroke
REACH = 44  # longest side of the ink on that canvas before distortion, px


def bent(ink: Bytes, rng: Generator, strength: float = 1.0) -> Bytes:
    """Return ink (H, W) distorted on (64, 64): slanted, rotated, squeezed and warped at random."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return np.zeros((SIDE, SIDE), np.uint8)
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = REACH / max(ink.shape) * rng.uniform(0.85, 1.1)
    turn = np.deg2rad(rng.normal(0, 6 * strength))
    slant = rng.normal(0.0, 0.15 * strength)
    squeeze = np.exp(rng.normal(0, 0.12 * strength))
    to = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    to = to @ np.array([[1, slant], [0, 1]]) @ np.diag([squeeze, 1 / squeeze]) * scale
    back = np.linalg.inv(to)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - (SIDE - 1) / 2
    x, y = x + wobble(SIDE, 2.0 * strength, rng), y + wobble(SIDE, 2.0 * strength, rng)
    height, width = ink.shape
    across = back[0, 0] * x + back[0, 1] * y + (width - 1) / 2
    down = back[1, 0] * x + back[1, 1] * y + (height - 1) / 2
    return cv2.remap(ink, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)


def wobble(side: int, strength: float, rng: Generator) -> NDArray[Any]:
    """Return smooth random displacements in px, (side, side) float32 (Simard et al. 2003).

    They are interpolated from a 5x5 grid.
    """
    coarse = rng.normal(0, strength, (5, 5)).astype(np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def thinned(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return masks (N, H, W) with their strokes thinned to one pixel (Zhang and Suen 1984)."""
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            goes = _peels(padded, first=first)
            changed |= bool(goes.any())
            padded[:, 1:-1, 1:-1] &= ~goes
    return padded[:, 1:-1, 1:-1]


def _peels(padded: NDArray[np.bool_], *, first: bool) -> NDArray[np.bool_]:
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
    goes: NDArray[np.bool_] = (
        padded[:, mid, mid] & (neighbours >= 2) & (neighbours <= 6) & (turns == 1) & free
    )
    return goes


def pencilled(line: NDArray[np.bool_], rng: Generator) -> Bytes:
    """Draw a one-pixel line like a paint program's pencil: hard edges, usually at 28x28.

    79 % of the images that people drop are 28x28, and 72 % of those were drawn this way. On a
    large canvas the line is a hairline.
    """
    canvas = 28 if rng.random() < 0.8 else int(np.exp(rng.uniform(np.log(29), np.log(240))))
    size = canvas * rng.uniform(0.36, 0.92)
    drawn: Bytes = np.zeros((canvas, canvas), np.uint8)
    cv2.polylines(drawn, list(_segments(line, size)), isClosed=False, color=255)
    if rng.random() < 0.2:
        drawn = cv2.dilate(drawn, np.ones((2, 2), np.uint8))
    return drawn


def _segments(line: NDArray[np.bool_], size: float) -> NDArray[Any]:
    """Return a one-pixel line scaled to a longest side of ``size`` px.

    Returns:
        (N, 2, 2) int32, x and y of the ends of what connects neighbouring pixels of the line.
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


def brushed(line: NDArray[np.bool_], rng: Generator) -> Bytes:
    """Draw a line (64, 64) with a pen or brush of nearly constant width, thin to very thick."""
    width = np.exp(rng.uniform(np.log(2.5), np.log(15.0)))
    margin = 12
    line = np.pad(line, margin)
    away = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, 5)
    uneven = 1 + wobble(line.shape[0], 0.12, rng)
    covered: NDArray[Any] = np.clip(width / 2 * uneven + 0.5 - away, 0, 1)
    return (covered * 255).astype(np.uint8)


def scanned(ink: Bytes, rng: Generator) -> Bytes:
    """Return ink blurred, downscaled, dimmed and compressed like a photo or a scan."""
    side = max(ink.shape)
    ink = cv2.GaussianBlur(ink, (0, 0), side / 64 * rng.uniform(0.3, 1.6))
    scale = rng.uniform(18, 48) / side
    ink = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ink = (ink * rng.uniform(0.35, 1.0)).astype(np.uint8)
    ink = np.clip(ink + rng.normal(0, rng.uniform(0, 5), ink.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(30, 90))
        stored = cv2.imencode(".jpg", ink, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        ink = np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE))
    return ink


def redrawn(line: NDArray[np.bool_], rng: Generator) -> Bytes:
    """Draw a line (64, 64) with a random tool."""
    tool = rng.random()
    if tool < 0.55:
        return pencilled(line, rng)
    drawn = brushed(line, rng)
    return scanned(drawn, rng) if tool < 0.75 else drawn
