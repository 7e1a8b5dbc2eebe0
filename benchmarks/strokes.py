"""Strokes drawn by hand: curved, unsteady, with a varying pressure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.pages.ink import Floats

_FINE = 8  # px; a narrower line is drawn at a multiple of its scale, because widths are integers


def add_stroke(
    chance: np.random.Generator, mask: Floats, points: ArrayLike, width: float, wobble: float = 0.5
) -> None:
    """Draw a stroke into a mask, (height, width) float32; what lies outside it is cut off.

    Args:
        chance: decides how the hand shakes and presses.
        mask: drawn on.
        points: of the stroke, (n, 2), x before y; corners are rounded.
        width: of the line, px.
        wobble: deviation of a long stroke, as a multiple of its width.
    """
    line = _shake(chance, _smooth(np.asarray(points, np.float64), width), wobble * width)
    margin = width + 2
    left, top = np.floor(np.maximum(line.min(axis=0) - margin, 0)).astype(int)
    right, bottom = np.ceil(line.max(axis=0) + margin).astype(int)
    part = mask[top:bottom, left:right]
    if not part.size:
        return
    fine = max(1, round(_FINE / width))
    drawn = np.zeros((part.shape[0] * fine, part.shape[1] * fine), np.uint8)
    widths = fine * width * _press(chance, len(line))
    steps = np.round(16 * fine * (line - (left, top) + 0.5 - 0.5 / fine)).astype(np.int32)
    for start, end, thick in zip(steps, steps[1:], widths, strict=False):
        ends = tuple(map(int, start)), tuple(map(int, end))
        cv2.line(drawn, *ends, (255,), max(1, round(thick)), cv2.LINE_AA, 4)
    size = part.shape[1], part.shape[0]
    small = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA) if fine > 1 else drawn
    np.maximum(part, np.asarray(small, np.float32) / np.float32(255), out=part)


def _smooth(points: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return points about half a line's width apart along a polyline with rounded corners."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    count = int(np.clip(2 * lengths[-1] / max(width, 1), 6, 400))
    along = np.linspace(0, lengths[-1], count)
    line = np.stack([np.interp(along, lengths, points[:, axis]) for axis in (0, 1)], axis=1)
    for _ in range(max(1, count // 24)):
        line[1:-1] = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
    return line


def _shake(
    chance: np.random.Generator, line: NDArray[np.float64], amount: float
) -> NDArray[np.float64]:
    """Return a line with slow deviations to all sides."""
    along = np.linspace(0, 1, len(line))
    knots = np.linspace(0, 1, int(chance.integers(3, 7)))
    shaken = [np.interp(along, knots, chance.normal(0, amount / 2, len(knots))) for _ in range(2)]
    return np.asarray(line + np.stack(shaken, axis=1), np.float64)


def _press(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return the line's width at each point, as a multiple of the pen's; some ends taper."""
    along = np.linspace(0, 1, count)
    pressure = np.interp(along, np.linspace(0, 1, 4), chance.uniform(0.8, 1.15, 4))
    if chance.random() < 1 / 3:
        pressure = pressure * np.interp(along, [0.6, 1], [1, chance.uniform(0.4, 0.9)])
    return np.asarray(pressure, np.float64)
