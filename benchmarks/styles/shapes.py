"""The strokes of each style."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEP = 0.01  # of the digit's height: the distance between two points of a stroke


@dataclass(frozen=True, slots=True)
class Shape:
    """A digit as pen strokes, about 1 high, y downwards.

    Attributes:
        strokes: The points of each stroke, (N, 2).
        room: The narrowest space that must stay free of ink for the digit to be legible.
        closed: Whether the strokes must enclose paper; None if both are legible.
    """

    strokes: list[Array]
    room: float
    closed: bool | None


_LONG_UPSTROKE = 0.55


def _european_1(chance: Generator) -> Shape:
    """Return a 1 whose upstroke rises from the lower left to the top of the stem."""
    serif = happens(chance, 0.2)
    return _one(chance, chance.uniform(0.33, 0.62 if serif else 0.93), serif=serif)


def _long_1(chance: Generator) -> Shape:
    """Return a 1 whose upstroke is about as long as the stem."""
    return _one(chance, chance.uniform(0.75, 1.0), serif=False)


def _one(chance: Generator, drop: float, *, serif: bool) -> Shape:
    """Return a 1 whose upstroke starts ``drop`` below the top."""
    # With a long upstroke, a stem that leans back would make the digit a lambda.
    lean = math.radians(chance.uniform(-6 if drop < _LONG_UPSTROKE else 1, 20))
    lowest = max(18.0, math.degrees(lean) + 16)
    angle = math.radians(chance.uniform(lowest, 45))
    top = _point(math.tan(lean), 0.0)
    start = top + drop * _point(-math.tan(angle), 1.0)
    across = _point(1.0, math.tan(angle)) * drop
    bend = chance.uniform(-0.05, 0.14) if happens(chance, 0.5) else 0.0
    meet = top + chance.normal(0, 0.012, 2)
    upstroke = _curve(start, (start + top) / 2 + bend * across, meet)
    bow, foot = _point(chance.normal(0, 0.02), chance.uniform(-0.1, 0.1)), _point(0, 1)
    stem = _curve(top, (top + foot) / 2 + bow, foot)
    one_line = happens(chance, 0.6)
    strokes = [np.concatenate([upstroke, stem])] if one_line else [upstroke, stem]
    if serif:
        left, right = chance.uniform(0.1, 0.22, 2)
        ends = np.array([[-left, 1.0], [right, 1.0]]) + chance.normal(0, 0.012, (2, 2))
        strokes.append(ends)
    return Shape(strokes, 0.7 * drop * (math.tan(angle) - math.tan(lean)), closed=False)


def _slashed_0(chance: Generator) -> Shape:
    """Return an oval with a slash that stays inside, touches the oval or sticks out of it."""
    return _zero(chance, [(0.55, 0.85), (0.9, 1.05), (1.1, 1.5)])


def _crossed_0(chance: Generator) -> Shape:
    """Return an oval with a slash that sticks out far on both sides."""
    return _zero(chance, [(1.15, 1.4), (1.4, 1.9)])


def _zero(chance: Generator, choices: list[tuple[float, float]]) -> Shape:
    """Return an oval with a slash; one of the choices limits its reach, in radii."""
    radii = 0.5 * _point(chance.uniform(0.48, 1.0), 1.0)
    gap = chance.uniform(4, 24) if happens(chance, 0.25) else chance.uniform(-25, 0)
    begin = -90 + chance.uniform(-50, 50)
    turn = np.radians(np.linspace(begin, begin - 360 + gap, 90))
    egg = 1 + chance.normal(0, 0.03) * np.sin(turn) + chance.normal(0, 0.02) * np.cos(2 * turn)
    oval = radii * egg[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    reach = chance.uniform(*choices[chance.integers(len(choices))])
    reaches = reach * chance.uniform(0.92, 1.08, 2)
    direction = np.radians(chance.uniform(36, 64))
    away = radii * _point(math.cos(direction), -math.sin(direction))
    if happens(chance, 0.07):
        away[0] = -away[0]
    middle = chance.normal(0, 0.02, 2)
    bend = chance.normal(0, 0.05) * _point(away[1], -away[0])
    slash = _curve(middle - reaches[0] * away, middle + bend, middle + reaches[1] * away)
    strokes = _slant([oval, slash], chance)
    return Shape(strokes, 0.85 * radii[0], closed=True if gap <= 0 else None)


def _open_6(chance: Generator) -> Shape:
    """Return a 6 whose stroke ends before its bowl meets the stem."""
    radii = _point(chance.uniform(0.2, 0.34), chance.uniform(0.2, 0.3))
    centre = _point(0.0, 1 - radii[1])
    top = _point(chance.uniform(0.1, 0.5) - radii[0], 0.0)  # above the bowl: upright is a b
    kind = chance.integers(3)
    if kind == 0:  # straight: the tangent from the top to the left of the bowl
        away = (top - centre) / radii
        joint = math.atan2(away[1], away[0]) - math.acos(1 / math.hypot(*away))
        joint %= 2 * math.pi
    else:
        joint = math.radians(chance.uniform(170, 195))
    end = math.radians(-chance.uniform(100, 152))
    turn = np.linspace(joint, end, 80)
    curl = np.interp(np.linspace(0, 1, 80), [0.55, 1], [1, chance.uniform(0.78, 1.04)])
    bowl = centre + radii * curl[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    touch = bowl[0]
    back = _point(0.02, -1.0) * chance.uniform(0.2, 0.4)
    if kind == 0:
        stem = _curve(top, touch)
    elif kind == 1:
        stem = _curve(top, top + _point(-chance.uniform(0.05, 0.2), 0.12), touch + back, touch)
    else:
        hook = top + _point(chance.uniform(0.12, 0.25), chance.uniform(0.04, 0.14))
        stem = _curve(hook, top + _point(0.05, -0.14), touch + 1.6 * back, touch)
    gaps = np.linalg.norm(bowl[40:, None] - stem[None], axis=2)
    strokes = _slant([np.concatenate([stem, bowl[1:]])], chance)
    return Shape(strokes, min(float(gaps.min()), 1.2 * radii.min()), closed=False)


def _square_9(chance: Generator) -> Shape:
    """Return a 9 with a polygonal, closed loop and a straight, bent or curled tail."""
    return _nine(chance, chance.uniform(0.25, 0.5))


def _small_9(chance: Generator) -> Shape:
    """Return a 9 whose polygonal loop is less than a third of its height."""
    return _nine(chance, chance.uniform(0.17, 0.31))


def _nine(chance: Generator, height: float) -> Shape:
    """Return a 9 with a polygonal loop of this height."""
    width = min(0.5, height * chance.uniform(0.75, 1.35))
    foot = _point(chance.uniform(-0.2, 0.05), 1.0)
    corners = np.array([[0, 0], [-width, 0], [-width, height], [foot[0] * height, height]])
    corners[1:3] += chance.normal(0, 0.1, (2, 2)) * [width, height]
    corners[3] += [chance.uniform(-0.005, 0.03), chance.normal(0, 0.06) * height]
    if happens(chance, 0.2):  # a fifth corner, at the left
        side = (corners[1] + corners[2]) / 2 - [chance.uniform(0.15, 0.3) * width, 0]
        corners = np.insert(corners, 2, side, axis=0)
    rounding = chance.uniform(0.08, 0.3) if happens(chance, 0.5) else 0.0
    loop = _round_corners(np.concatenate([corners, corners[:1]]), rounding)
    above = _point(0.0, -chance.uniform(0, 0.05)) if happens(chance, 0.3) else corners[0]
    kind = chance.integers(3)
    if kind == 0:
        stem = np.array([above, foot])
    elif kind == 1:  # bent to the left
        left = foot + _point(-chance.uniform(0.15, 0.38), chance.uniform(-0.1, 0.04))
        low = foot * chance.uniform(0.82, 1.0)
        stem = _round_corners(np.array([above, low, left]), rounding)
    else:  # curled: to the left and a little up
        low = foot * chance.uniform(0.55, 0.75)
        end = foot + _point(-chance.uniform(0.2, 0.4), -chance.uniform(0.0, 0.14))
        tail = _curve(low, foot + _point(0.02, -0.05), foot + _point(-0.08, 0.06), end)
        stem = np.concatenate([above[None], tail])
    strokes = _slant([loop, stem], chance)
    below_loop = float(stem[-1, 1] - loop[:, 1].max())  # a tail near the loop would make an 8
    return Shape(strokes, 0.85 * min(width, height, below_loop), closed=True)


def _pointed_6(chance: Generator) -> Shape:
    """Return a 6 like a drop: a large closed bowl, which a straight stem enters at a point."""
    high, half = chance.uniform(0.55, 0.82), chance.uniform(0.2, 0.34)
    middle, shut = 1 - 0.45 * high, 1 - high
    top = _point(chance.uniform(-0.05, 0.75) * half, 0.0)
    left, right = _point(-half, middle), _point(half, middle)
    stem = _curve(top, left + _point(chance.uniform(-0.02, 0.1), -0.5 * high), left)
    low = 1 + (1 - middle) / 3  # the control points of a curve that touches the base
    bowl = _curve(left, _point(-half, low), _point(half, low), right)
    end = stem[np.abs(stem[:, 1] - shut).argmin()] + [chance.uniform(-0.01, 0.02), 0]
    back = _curve(right, right - _point(0.0, 0.3 * high), end)
    strokes = _slant([np.concatenate([stem, bowl[1:], back[1:]])], chance)
    return Shape(strokes, 0.9 * min(half, shut), closed=True)


def _split_5(chance: Generator) -> Shape:
    """Return a 5 whose bar touches nothing."""
    gap = chance.uniform(0.09, 0.22)
    wide, neck = chance.uniform(0.4, 0.6), chance.uniform(0.36, 0.5)
    start = _point(chance.uniform(0, 0.08), gap if happens(chance, 0.5) else 0.02)
    corner = _point(chance.uniform(-0.06, 0.04), neck)
    belly = _curve(
        corner, _point(1.5 * wide, neck - 0.12), _point(1.4 * wide, 1.08), _point(-0.05, 0.96)
    )
    stem = np.concatenate([_curve(start, (start + corner) / 2, corner), belly[1:]])
    left = start + _point(gap * (1.0 if start[1] < gap else chance.uniform(0, 0.6)), -start[1])
    bar = _curve(
        left,
        left + _point(wide / 2, chance.normal(0, 0.03)),
        left + _point(wide, -chance.uniform(0, 0.1)),
    )
    return Shape(_slant([stem, bar], chance), gap, closed=False)


def _split_2(chance: Generator) -> Shape:
    """Return a 2 whose foot touches nothing."""
    gap, wide = chance.uniform(0.09, 0.22), chance.uniform(0.4, 0.62)
    base = 1 - gap
    arc = _curve(
        _point(0, 0.25), _point(0.1, -0.22), _point(1.5 * wide, -0.1), _point(0.75 * wide, 0.5)
    )
    way = _curve(arc[-1], _point(0.45 * wide, 0.72), _point(chance.uniform(-0.08, 0.05), base))
    bend = _point(wide / 2, chance.normal(0, 0.04))
    foot_start = _point(chance.uniform(-0.06, 0.12), 1.0)
    foot = _curve(
        foot_start, foot_start + bend, foot_start + _point(wide, chance.uniform(-0.1, 0.04))
    )
    strokes = _slant([np.concatenate([arc, way[1:]]), foot], chance)
    return Shape(strokes, gap, closed=False)


STYLES: dict[str, tuple[int, Callable[[Generator], Shape]]] = {
    "european-1": (1, _european_1),
    "slashed-0": (0, _slashed_0),
    "open-6": (6, _open_6),
    "square-9": (9, _square_9),
    "long-1": (1, _long_1),
    "crossed-0": (0, _crossed_0),
    "pointed-6": (6, _pointed_6),
    "small-9": (9, _small_9),
    "split-2": (2, _split_2),
    "split-5": (5, _split_5),
}
"""Each style's digit, and the function that draws it."""


# --- Strokes ---


def happens(chance: Generator, share: float) -> bool:
    """Return True with this probability."""
    return bool(chance.random() < share)


def _point(x: float, y: float) -> Array:
    """Return a point or the way from one to another, (2,)."""
    return np.array([x, y])


def _curve(*controls: Array) -> Array:
    """Return 40 points of the Bézier curve with these control points."""
    along = np.linspace(0, 1, 40)[:, None]
    degree = len(controls) - 1
    points = np.zeros((40, 2))
    for index, control in enumerate(controls):
        weight = math.comb(degree, index) * along**index * (1 - along) ** (degree - index)
        points += weight * control
    return points


def _round_corners(corners: Array, share: float) -> Array:
    """Return the polyline with its inner corners cut by this share of each edge and rounded."""
    parts = [corners[:1]]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        enter = corner + share * (before - corner)
        leave = corner + share * (after - corner)
        parts.append(_curve(enter, corner, leave))
    return np.concatenate([*parts, corners[-1:]])


def _slant(strokes: list[Array], chance: Generator) -> list[Array]:
    """Return the strokes sheared, mostly to the right, and rotated by a few degrees."""
    shear = np.array([[1, -chance.uniform(-0.1, 0.28)], [0, 1]])
    angle = math.radians(chance.normal(0, 2.5))
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) @ shear
    return [stroke @ matrix.T for stroke in strokes]


def _resample(stroke: Array) -> Array:
    """Return points along the stroke, ``_STEP`` apart."""
    lengths = np.linalg.norm(np.diff(stroke, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0, along[-1], max(2, math.ceil(along[-1] / _STEP)))
    return np.stack([np.interp(at, along, stroke[:, axis]) for axis in (0, 1)], axis=1)


def add_tremor(strokes: list[Array], chance: Generator) -> list[Array]:
    """Return dense strokes with the tremor of a hand.

    Slow waves depend on the place alone, so strokes that touch still touch. The fast tremor runs
    along each stroke.
    """
    amount = chance.uniform(0, 1)
    pull = chance.normal(0, 3, (2, 2))
    phase = chance.uniform(0, 2 * np.pi, 2)
    shaken = []
    for stroke in strokes:
        points = _resample(stroke)
        length = len(points) * _STEP
        count = max(2, round(length / chance.uniform(0.08, 0.2)))
        knots = np.linspace(0, 1, count)
        along = np.linspace(0, 1, len(points))
        fast = [np.interp(along, knots, chance.normal(0, 0.007, count)) for _ in range(2)]
        slow = 0.014 * np.sin(points @ pull + phase)
        shaken.append(points + amount * (slow + np.stack(fast, axis=1)))
    return shaken
