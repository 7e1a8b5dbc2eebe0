"""The marks: what people draw through, before, over, beside and below a digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.marks.sheet import Draw, Marking

_ALL = range(10)
_STRUCK = (1, 2, 3, 4, 5, 6, 8, 9)  # a 0 and a 7 are also written with a stroke through them


@dataclass(frozen=True)
class Kind:
    """A mark.

    Attributes:
        draw: draws it.
        is_digit: whether the image still shows its digit.
        digits: that may have it.
    """

    draw: Draw
    is_digit: bool = False
    digits: Sequence[int] = _ALL


def _through(
    mark: Marking, y: float, angle: float, *, shift: float = 0, bend: float = 0.04
) -> None:
    """Draw a line through the digit that sticks out on both sides.

    Args:
        mark: the digit.
        y: its height in the middle of the digit.
        angle: by which it rises, degrees.
        shift: to the right.
        bend: standard deviation of the distance of its middle from a straight line.
    """
    slope = np.tan(np.radians(angle))
    middle = mark.aspect / 2 + shift
    # Along the line, until it leaves the box at a side, or above or below.
    half = min(mark.aspect / 2, 0.5 / max(abs(slope), 1e-3)) if abs(angle) > 20 else mark.aspect / 2
    cosine = float(np.cos(np.radians(angle)))
    left, right = (half + mark.inside(0.08, 0.4) * cosine for _ in range(2))
    bow = float(mark.chance.normal(0, bend))
    mark.stroke(
        (middle - left, y + slope * left), (middle, y + bow), (middle + right, y - slope * right)
    )


def _strike(mark: Marking) -> None:
    """Draw one line through the digit, level or rising; the bar of a 4 is none."""
    if mark.chance.random() < 1 / 2:
        angle = mark.inside(25, 60) * (1 if mark.chance.random() < 3 / 4 else -1)
        if mark.digit == 1:  # along a 1, it would be another stroke of it
            angle = mark.inside(-35, 20)
        _through(mark, mark.inside(0.42, 0.58), angle)
    else:
        y = mark.inside(0.35, 0.65)
        if mark.digit == 4:
            y = mark.inside(0.2, 0.38)
        _through(mark, y, mark.inside(-8, 15))


def _two_strikes(mark: Marking) -> None:
    """Draw two lines through the digit, nearly parallel."""
    angle = mark.inside(-10, 20) if mark.chance.random() < 2 / 3 else mark.inside(25, 55)
    apart = max(mark.inside(0.1, 0.28), 1.8 * mark.line)  # closer, they would be one
    for side in (-1, 1):
        _through(
            mark, 0.5 + side * apart / 2 + mark.inside(-0.05, 0.05), angle + mark.inside(-4, 4)
        )


def _cross(mark: Marking) -> None:
    """Draw a cross over the digit."""
    out = mark.chance.uniform(-0.05, 0.3, 8)
    right = mark.aspect
    mark.stroke((-out[0], -out[1]), (right / 2, 0.5 + out[0] - 0.1), (right + out[2], 1 + out[3]))
    mark.stroke((right + out[4], -out[5]), (right / 2, 0.5), (-out[6], 1 + out[7]))


def _scribble(mark: Marking) -> None:
    """Draw a zigzag or a coil over the digit."""
    chance, turns = mark.chance, int(mark.chance.integers(3, 9))
    left, right = -mark.inside(0, 0.2), mark.aspect + mark.inside(0, 0.2)
    top, bottom = -mark.inside(-0.1, 0.15), 1 + mark.inside(-0.1, 0.15)
    form = chance.integers(2 if mark.digit == 0 else 3)  # a coil over a 0 is a bold 0
    if form == 0:  # up and down, to the right
        x, y = np.linspace(left, right, 2 * turns), np.array([top, bottom] * turns)
    elif form == 1:  # left and right, downwards
        x, y = np.array([left, right] * turns), np.linspace(top + 0.1, bottom - 0.1, 2 * turns)
    else:
        angles = np.linspace(0, 2 * np.pi * turns, 14 * turns)
        # Some turns are narrow, or it would be a ring around the digit.
        reach = np.interp(angles, angles[::7], chance.uniform(0.15, 1, len(angles[::7])))
        x = (left + right) / 2 + (right - left) / 2 * np.cos(angles) * reach
        y = (top + bottom) / 2 + (bottom - top) / 2 * np.sin(angles) * reach
    points = np.stack([x, y], axis=1) + chance.normal(0, 0.04, (len(x), 2))
    mark.stroke(*points.tolist())


def _minus(mark: Marking) -> None:
    """Draw a minus before the digit."""
    _dash(mark, mark.inside(0.4, 0.62))


def _dash(mark: Marking, y: float) -> None:
    end = -mark.line / 2 - mark.inside(0.06, 0.4)
    length, slope = mark.inside(0.16, 0.5), mark.chance.normal(0, 0.04)
    mark.stroke((end - length, y + slope), (end, y - slope))


def _sign(mark: Marking) -> None:
    """Draw a plus, an equals sign or a plus-minus before the digit."""
    form = mark.chance.integers(3)
    size = mark.inside(0.12, 0.25)
    x, y = -mark.line - mark.inside(0.08, 0.35) - size, mark.inside(0.42, 0.6)
    levels = [y - size / 2, y + size / 2] if form == 1 else [y]
    if form == 2:
        levels.append(y + size + mark.inside(0.04, 0.12))
    for level in levels:
        tilt = mark.chance.normal(0, 0.015)
        mark.stroke((x - size, level + tilt), (x + size, level - tilt))
    if form != 1:
        mark.stroke((x + mark.chance.normal(0, 0.02), y - size), (x, y + size))


def _bar(mark: Marking) -> None:
    """Draw a bar over the digit."""
    y = -mark.line - mark.inside(0.05, 0.28)
    left, right = mark.inside(-0.1, 0.25), mark.inside(-0.1, 0.25)
    slope = mark.chance.normal(0, 0.03)
    mark.stroke((-left, y + slope), (mark.aspect + right, y - slope))


def _tick(mark: Marking) -> None:
    """Draw a tick to the right of the digit, or to its left."""
    size = mark.inside(0.3, 0.9)
    down, up = (size * mark.inside(*reach) for reach in ((0.2, 0.35), (0.4, 0.7)))
    gap = mark.line + mark.inside(0.06, 0.45)
    bottom = mark.inside(0.4, 1.1)
    left = mark.aspect + gap if mark.chance.random() < 3 / 4 else -gap - down - up
    mark.stroke(
        (left, bottom - size * mark.inside(0.3, 0.5)),
        (left + down, bottom),
        (left + down + up, bottom - size),
    )


def _underline(mark: Marking) -> None:
    """Draw a line below the digit, or two."""
    y = 1 + mark.line + mark.inside(0.04, 0.25)
    for _ in range(2 if mark.chance.random() < 1 / 8 else 1):
        slope = mark.chance.normal(0, 0.03)
        left, right = mark.inside(-0.05, 0.4), mark.inside(-0.05, 0.4)
        mark.stroke((-left, y + slope), (mark.aspect + right, y - slope))
        y += mark.line + mark.inside(0.06, 0.15)


def _dot(mark: Marking) -> None:
    """Draw a dot below the digit, or at its foot on the right."""
    if mark.chance.random() < 1 / 2:
        x, y = mark.aspect * mark.inside(0.2, 0.8), 1 + mark.line + mark.inside(0.05, 0.25)
    else:
        x = mark.aspect + mark.line + mark.inside(0.05, 0.3)
        y = mark.inside(0.88, 1.08)
    mark.stroke((x, y), (x + mark.inside(0.005, 0.04), y + mark.inside(-0.02, 0.02)))


KINDS: dict[str, Kind] = {
    "strike": Kind(_strike, digits=_STRUCK),
    "two-strikes": Kind(_two_strikes),
    "cross": Kind(_cross),
    "scribble": Kind(_scribble),
    "minus": Kind(_minus),
    "sign": Kind(_sign),
    "bar": Kind(_bar),
    "tick": Kind(_tick),
    "underlined-6-9": Kind(_underline, is_digit=True, digits=(6, 9)),
    "dotted-6-9": Kind(_dot, is_digit=True, digits=(6, 9)),
    "underlined": Kind(_underline, is_digit=True, digits=(0, 1, 2, 3, 4, 5, 7, 8)),
}
