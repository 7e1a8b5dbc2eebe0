"""Strokes that people add to a digit: they strike it out, put a sign next to it, underline it."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from daemon.reading.eye import Count
from daemon.reading.glyph import Bytes, Floats
from daemon.training.writing import Ink, Nib, Writing, bend, choose_nib, crop_ink

# A slash through a 0 and a bar through a 7 are ways of writing them.
CROSSED = (0, 7)
# Digits that look like no digit on their heads, and on their sides.
_TURNED = {2: (90, -90), 3: (180, 90, -90), 4: (180, 90, -90), 5: (90, -90), 7: (180, 90, -90)}


def mark(ink: Ink, rng: Generator) -> Writing:
    """Return a digit that is struck out, has a sign next to it, or lies on its side."""
    kind = rng.random()
    if kind < 0.1 and (turned := turn(ink, rng)) is not None:
        return turned
    return strike_out(ink, rng) if kind < 0.55 else put_sign(ink, rng)


def strike_out(ink: Ink, rng: Generator) -> Writing:
    """Return a digit that is struck out: by one stroke or two, a cross, or a scribble."""
    digit, box = _pad(ink.pixels, 0.7)
    nib = choose_nib(ink.pixels, rng)
    strokes = np.zeros_like(digit)
    kinds = ("one", "two", "cross", "scribble")
    kind = rng.choice(
        kinds, p=(0.0, 0.4, 0.3, 0.3) if ink.label in CROSSED else (0.4, 0.2, 0.2, 0.2)
    )
    if kind == "scribble":
        _scribble(strokes, box, nib, rng)
    else:
        angle = _choose_angle(ink.label, rng)
        size = max(box.size)
        if kind == "cross":
            angle = np.deg2rad(rng.normal(45, 10))
            for each in (angle, -angle + rng.normal(0, 0.12)):
                nib.draw(strokes, bend(_cross(box, each, rng.normal(0, 0.06, 2), rng), size, rng))
        elif kind == "two":
            apart = rng.uniform(0.08, 0.45) * box.reach(angle + np.pi / 2)
            for side in (-0.5, 0.5):
                shift = side * apart * np.array((-np.sin(angle), np.cos(angle))) / box.size
                turned = angle + rng.normal(0, 0.07)
                nib.draw(strokes, bend(_cross(box, turned, shift, rng), size, rng))
        else:
            nib.draw(strokes, bend(_cross(box, angle, rng.normal(0, 0.1, 2), rng), size, rng))
    return Writing(digit, Count.MARKED, strokes).crop()


def put_sign(ink: Ink, rng: Generator) -> Writing:
    """Return a digit with a minus before it, a bar over it, or a tick beside it."""
    digit, box = _pad(ink.pixels, 1.7)
    nib = choose_nib(ink.pixels, rng)
    strokes = np.zeros_like(digit)
    size = max(box.size)
    kind = rng.random()
    if kind < 0.4:
        _draw_minus(strokes, box, nib, rng)
    elif kind < 0.7:
        half = rng.uniform(0.35, 0.8) * max(box.size[0], 0.4 * size)
        if ink.label in {5, 7}:  # a short bar is the digit's own
            half = max(half, 0.6 * box.size[0])
        y = box.top - rng.uniform(0.08, 0.45) * size - nib.wide / 2
        lean = rng.normal(0, 0.07) * half
        x = box.middle[0] + rng.normal(0, 0.06) * size
        points = np.array(((x - half, y + lean), (x + half, y - lean)))
        nib.draw(strokes, bend(points, size, rng))
    else:
        _draw_tick(strokes, box, nib, rng)
    return Writing(digit, Count.MARKED, strokes).crop()


def cross_as_written(ink: Ink, rng: Generator) -> Writing:
    """Return a 0 with a slash or a 7 with a bar: still one digit."""
    digit, box = _pad(ink.pixels, 0.4)
    nib = Nib.of(ink.pixels)
    strokes = np.zeros_like(digit)
    if ink.label == 0:
        angle = -np.deg2rad(rng.uniform(28, 75))
        half = box.reach(angle) * rng.uniform(0.3, 0.72)
        middle = box.middle
    else:
        angle = np.deg2rad(rng.normal(-4, 8))
        half = box.size[0] * rng.uniform(0.22, 0.45)
        middle = (
            box.middle + np.array((rng.uniform(-0.08, 0.1), rng.uniform(-0.08, 0.1))) * box.size
        )
    along = half * np.array((np.cos(angle), np.sin(angle)))
    nib.draw(strokes, np.stack((middle - along, middle + along)))
    return Writing(np.maximum(digit, strokes), Count.ONE).crop()


def underline(writing: Writing, rng: Generator) -> Writing:
    """Return cropped writing with a line, two lines or dots under it, which are no part of it."""
    high, wide = writing.ink.shape
    margin = round(0.6 * max(high, min(wide, 4 * high))) + 6
    layers = [np.pad(each, margin) for each in writing.layers]
    box = _Box(margin, margin, wide, high)
    nib = choose_nib(writing.ink, rng)
    beside = np.zeros_like(layers[0])
    size = float(box.size[1])
    gap = rng.uniform(0.03, 0.4) * size + nib.wide / 2
    half = box.size[0] * rng.uniform(0.35, 0.8) + rng.uniform(0.0, 0.2) * size
    middle = np.array((box.middle[0] + rng.normal(0, 0.1) * half, box.bottom + gap))
    lean = np.array((1.0, rng.normal(0, 0.05)))
    # A slope brings one end closer to the digit.
    middle[1] += abs(lean[1]) * half
    kind = rng.random()
    if kind < 0.3:
        reach = nib.wide * rng.uniform(0.5, 1.1)
        many = 1 + 3 * wide / high if writing.count is Count.SEVERAL else 3
        for place in np.linspace(-1, 1, int(rng.integers(1, many + 1)) + 2)[1:-1]:
            nib.dot(beside, middle + place * half * lean, reach)
    else:
        for line in range(2 if kind < 0.5 else 1):
            down = np.array((0.0, line * (nib.wide + rng.uniform(0.07, 0.2) * size)))
            points = np.stack((middle - half * lean, middle + half * lean)) + down
            nib.draw(beside, bend(points, 0.6 * size, rng))
    cells = None if writing.cells is None else writing.cells + margin
    return replace(writing.change(layers, cells=cells), beside=beside).crop()


def turn(ink: Ink, rng: Generator) -> Writing | None:
    """Return a digit on its side or on its head; ``None`` if it may then be another digit."""
    turns = _TURNED.get(ink.label)
    if turns is None:
        return None
    return Writing(crop_ink(ink.pixels), Count.MARKED).rotate(
        float(rng.choice(turns) + rng.normal(0, 7))
    )


class _Box:
    """Where a digit is on its canvas: x and y in px."""

    def __init__(self, left: int, top: int, wide: int, high: int) -> None:
        self.left, self.top = left, top
        self.bottom = top + high
        self.size = np.array((wide, high), np.float64)
        self.middle = np.array((left + wide / 2, top + high / 2))

    def reach(self, angle: float) -> float:
        """Return how far the digit extends along a direction, px."""
        return float(self.size @ np.abs((np.cos(angle), np.sin(angle))))


def _pad(ink: Bytes, share: float) -> tuple[Bytes, _Box]:
    """Return ink with a margin, a share of its longest side, and its box on that canvas."""
    cropped = crop_ink(ink)
    high, wide = cropped.shape
    margin = round(share * max(high, min(wide, 4 * high))) + 6
    return np.pad(cropped, margin), _Box(margin, margin, wide, high)


def _choose_angle(digit: int, rng: Generator) -> float:
    """Return the direction of a strike: level and rising ones are frequent, down a 1 is none."""
    if digit == 1:
        return float(np.deg2rad(rng.uniform(-50, 35)))
    kind = rng.random()
    if kind < 0.35:
        return float(np.deg2rad(rng.normal(0, 8)))
    if kind < 0.75:
        return float(np.deg2rad(rng.normal(-45, 14)))
    return float(rng.uniform(0, np.pi))


def _cross(box: _Box, angle: float, shift: Floats, rng: Generator) -> Floats:
    """Return a stroke across a digit, (2, 2): it mostly extends beyond the digit."""
    middle = box.middle + np.clip(shift, -0.3, 0.3) * box.size
    least = 0.25 * max(box.size)
    first, last = np.maximum(box.reach(angle) * rng.uniform(0.48, 0.95, 2), least)
    along = np.array((np.cos(angle), np.sin(angle)))
    return np.stack((middle - first * along, middle + last * along))


def _scribble(layer: Bytes, box: _Box, nib: Nib, rng: Generator) -> None:
    """Scribble over a digit: a zigzag or loops, sparse or so dense that little is left of it."""
    size = float(max(box.size))
    turns = int(rng.integers(3, 14))
    reach = np.maximum(box.size, 0.45 * size) * rng.uniform(0.45, 0.75, 2)
    angle = rng.normal(0, 0.5) if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.55:
        along = np.linspace(-1, 1, turns)
        points = np.stack((along, (-1.0) ** np.arange(turns) * rng.uniform(0.7, 1, turns)), axis=1)
        if rng.random() < 0.6:
            points = points[:, ::-1]
    else:
        phase = np.linspace(0, 2 * np.pi * turns, 14 * turns)
        drift = np.linspace(-0.6, 0.6, len(phase)) * rng.uniform(0.0, 1.0)
        points = np.stack((0.7 * np.cos(phase) + drift, np.sin(phase)), axis=1)
        points *= rng.uniform(0.6, 1.0)
    points = points + rng.normal(0, 0.08, points.shape)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = points @ np.array(((cos, sin), (-sin, cos)))
    nib.draw(layer, box.middle + rng.normal(0, 0.06, 2) * size + turned * reach)


def _draw_minus(layer: Bytes, box: _Box, nib: Nib, rng: Generator) -> None:
    size = float(max(box.size))
    long = rng.uniform(0.1, 0.8) * size
    right = box.left - rng.uniform(0.05, 0.6) * size - nib.wide / 2
    y = box.top + rng.uniform(0.3, 0.72) * box.size[1]
    lean = rng.normal(0, 0.09) * long
    points = np.array(((right - long, y + lean), (right, y - lean)))
    nib.draw(layer, bend(points, 0.6 * size, rng))


def _draw_tick(layer: Bytes, box: _Box, nib: Nib, rng: Generator) -> None:
    size = float(max(box.size))
    corner = np.array((rng.uniform(0.2, 0.45), 1.0))
    shape = np.array(((0.0, rng.uniform(0.4, 0.8)), corner, (1.0, rng.uniform(-0.1, 0.2))))
    scale = rng.uniform(0.4, 1.1) * size * np.array((rng.uniform(0.6, 1.1), 1.0))
    gap = rng.uniform(0.08, 0.5) * size
    x = box.left + box.size[0] + gap if rng.random() < 0.7 else box.left - gap - scale[0]
    y = box.middle[1] - scale[1] / 2 + rng.normal(0, 0.15) * size
    nib.draw(layer, bend(np.array((x, y)) + shape * scale, 0.5 * size, rng))
