"""The kinds of numbers: how their symbols are spaced, and what is printed around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.numbers.symbols import Hand, Symbol
from benchmarks.numbers.texts import random_digits, random_marked
from benchmarks.pages import ink
from benchmarks.pages.ink import Floats
from benchmarks.pages.write import Digits
from benchmarks.sheets import Layer, printed_pen
from benchmarks.strokes import add_stroke

_LOWEST, _WIDEST = 28, 1800  # px, of a sheet
_HEIGHTS = 19, 230  # px, of a digit; with margins, sheets are up to 400 px high


@dataclass(frozen=True)
class Line:
    """A number on a sheet."""

    text: str
    layers: list[Layer]


@dataclass(frozen=True)
class Spacing:
    """The distance of symbols, in shares of a digit's height.

    ``reach`` is how far up and down a symbol's ink keeps its distance; with 1, the boxes around
    two digits have this distance.
    """

    least: float
    most: float
    reach: float


_APART = Spacing(0.15, 0.4, 1)
_CLOSE = Spacing(0.05, 0.15, 0.15)
_TOUCHING = Spacing(-0.09, -0.02, 0.02)
_MARKED = Spacing(0.06, 0.22, 0.35)


@dataclass(frozen=True)
class Placed:
    """A symbol's mask with the sheet's column and row of its upper left corner."""

    mask: Floats
    x: int
    y: int


def _hand(chance: np.random.Generator, digits: Digits, count: int, turn: float = 0) -> Hand:
    """Return a writer; the more digits, the less high, so that the sheet is not too wide."""
    low, high = _HEIGHTS
    height = low * (min(high, _WIDEST / count) / low) ** float(chance.random())
    pen = ink.random_pen(chance)
    return Hand(chance, digits, pen, height, lean=chance.normal(0, 0.06), turn=turn)


def _place(
    hand: Hand, symbols: Sequence[Symbol], spacing: Spacing, slope: float = 0
) -> list[Placed]:
    """Place symbols one after another; ``slope`` is how much the line falls for each px."""
    rows = int(3 * hand.height)
    zero = int(hand.height)
    right = np.full(rows, -1e6)
    reach = 2 * int(spacing.reach * hand.height) + 1
    kernel = np.ones((reach, 1), np.uint8)
    placed: list[Placed] = []
    for symbol in symbols:
        top = zero + round(symbol.top)
        inside = symbol.mask > 0.4
        inked = np.flatnonzero(inside.any(axis=1))
        left_edge = inside.argmax(axis=1)[inked]
        right_edge = symbol.mask.shape[1] - inside[:, ::-1].argmax(axis=1)[inked]
        gap = hand.chance.uniform(spacing.least, spacing.most) * hand.height
        near = cv2.dilate(right[:, None], kernel).ravel()[top + inked]
        start = float((near - left_edge).max()) + gap
        x = round(start) if placed else 0
        placed.append(Placed(symbol.mask, x, top - zero + round(slope * x)))
        right[top + inked] = np.maximum(right[top + inked], x + right_edge)
    return placed


def _gather(
    hand: Hand, text: str, placed: Sequence[Placed], printed: Sequence[Floats] = (), line: float = 0
) -> Line:
    """Return a sheet with margins around everything.

    Args:
        hand: the writer.
        text: the number.
        placed: its symbols.
        printed: outlines, (n, 2), x before y, in the coordinates of ``placed``.
        line: width of the outlines, px.
    """
    chance, height = hand.chance, hand.height
    ends = [(p.x, p.y, p.x + p.mask.shape[1], p.y + p.mask.shape[0]) for p in placed]
    ends += [(*outline.min(axis=0), *outline.max(axis=0)) for outline in printed]
    left, top = np.min(ends, axis=0)[:2]
    right, bottom = np.max(ends, axis=0)[2:]
    before, above, after, below = chance.uniform([0.2, 0.12, 0.2, 0.12], [1.0, 0.5, 1.0, 0.5])
    x, y = round(before * height - left), round(above * height - top)
    wide, high = int(right + x + after * height), int(bottom + y + below * height)
    if high < _LOWEST:
        y, high = y + (_LOWEST - high) // 2, _LOWEST
    written = np.zeros((high, wide), np.float32)
    for each in placed:
        rows, columns = each.mask.shape
        part = written[y + each.y : y + each.y + rows, x + each.x : x + each.x + columns]
        np.maximum(part, each.mask, out=part)
    outlines = [np.add(outline, (x, y)) for outline in printed]
    layers = [Layer(written, hand.pen)]
    if outlines:
        boxes = ink.lines_mask((high, wide), outlines, line)
        layers.insert(0, Layer(boxes, printed_pen(chance)))
    return Line(text, layers)


def _spaced(spacing: Spacing) -> Callable[[np.random.Generator, Digits], Line]:
    def compose(chance: np.random.Generator, digits: Digits) -> Line:
        text = random_digits(chance, 2, 6)
        hand = _hand(chance, digits, len(text))
        return _gather(hand, text, _place(hand, [hand.write(c) for c in text], spacing))

    return compose


def _boxes(chance: np.random.Generator, digits: Digits) -> Line:
    """Write into one printed box, or each digit into its own."""
    text = random_digits(chance, 2, 6)
    hand = _hand(chance, digits, 2 * len(text))
    symbols = [hand.write(character) for character in text]
    line = float(np.clip(hand.height * chance.uniform(0.01, 0.06), 0.8, 8))
    top = -hand.height * chance.uniform(0.12, 0.5) - line
    bottom = hand.height * (1 + chance.uniform(0.12, 0.5)) + line
    if chance.random() < 1 / 2:
        placed = _place(hand, symbols, _APART if chance.random() < 1 / 2 else _CLOSE)
        left = -hand.height * chance.uniform(0.15, 0.8) - line
        last = placed[-1]
        right = last.x + last.mask.shape[1] + hand.height * chance.uniform(0.15, 0.8) + line
        return _gather(hand, text, placed, [_rectangle(left, top, right, bottom)], line)
    widest = max(symbol.mask.shape[1] for symbol in symbols)
    cell = widest + hand.height * chance.uniform(0.2, 0.6) + 2 * line
    between = hand.height * chance.uniform(0.05, 0.35) if chance.random() < 1 / 2 else 0
    placed, printed = [], []
    for number, symbol in enumerate(symbols):
        left = number * (cell + between)
        slack = cell - symbol.mask.shape[1] - 2 * line
        x = left + line + slack * (0.5 + chance.uniform(-0.35, 0.35))
        placed.append(Placed(symbol.mask, round(x), round(symbol.top)))
        printed.append(_rectangle(left, top, left + cell, bottom))
    return _gather(hand, text, placed, printed, line)


def _rectangle(left: float, top: float, right: float, bottom: float) -> Floats:
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return np.array(corners, np.float32)


def _slanted(chance: np.random.Generator, digits: Digits) -> Line:
    """Write on a line that rises or falls by 4 to 15 degrees; half of the digits turn with it."""
    text = random_digits(chance, 2, 6)
    angle = float(chance.uniform(4, 15) * chance.choice([-1, 1]))
    hand = _hand(chance, digits, len(text), -angle if chance.random() < 1 / 2 else 0)
    spacing = _APART if chance.random() < 1 / 2 else _CLOSE
    slope = float(np.tan(np.radians(angle)))
    return _gather(hand, text, _place(hand, [hand.write(c) for c in text], spacing, slope))


def _long(chance: np.random.Generator, digits: Digits) -> Line:
    """Write 7 to 12 digits."""
    text = random_digits(chance, 7, 12)
    hand = _hand(chance, digits, len(text))
    spacing = _APART if chance.random() < 1 / 2 else _CLOSE
    return _gather(hand, text, _place(hand, [hand.write(c) for c in text], spacing))


def _marks(chance: np.random.Generator, digits: Digits) -> Line:
    """Write a number with marks."""
    text = random_marked(chance)
    hand = _hand(chance, digits, len(text))
    return _gather(hand, text, _place(hand, [hand.write(c) for c in text], _MARKED))


def _draw(hand: Hand, *points: tuple[float, float]) -> Placed:
    """Draw a stroke through points, in px from the upper left corner of the first symbol's line."""
    width = max(1.0, hand.width * hand.chance.uniform(0.7, 1.1))
    line = np.array(points, np.float64)
    low = np.floor(line.min(axis=0) - 2 * width - 2).astype(int)
    wide, high = np.ceil(line.max(axis=0) + 2 * width + 2).astype(int) - low
    mask = np.zeros((high, wide), np.float32)
    add_stroke(hand.chance, mask, line - low, width)
    return Placed(mask, int(low[0]), int(low[1]))


def _write_short(chance: np.random.Generator, digits: Digits) -> tuple[Hand, str, list[Placed]]:
    """Write 2 to 5 digits, apart or close."""
    text = random_digits(chance, 2, 5)
    hand = _hand(chance, digits, len(text))
    spacing = _APART if chance.random() < 1 / 2 else _CLOSE
    return hand, text, _place(hand, [hand.write(c) for c in text], spacing)


def _struck(chance: np.random.Generator, digits: Digits) -> Line:
    """Write a number that is struck out, or one of whose digits is."""
    hand, text, placed = _write_short(chance, digits)
    height = hand.height
    struck = placed
    # A 0 and a 7 are also written with a stroke through them.
    others = [each for each, digit in zip(placed, text, strict=True) if digit not in "07"]
    if others and chance.random() < 1 / 2:
        struck = [others[chance.integers(len(others))]]
    left, right = struck[0].x, struck[-1].x + struck[-1].mask.shape[1]
    form = chance.integers(3)
    if form == 0:  # one line or two
        for y in chance.permutation([0.4, 0.6])[: chance.integers(1, 3)]:
            out = height * chance.uniform(0.1, 0.35, 2)
            rise = height * chance.uniform(-0.05, 0.2)
            start, end = height * y + rise, height * y - rise
            placed = [*placed, _draw(hand, (left - out[0], start), (right + out[1], end))]
    elif form == 1:  # a cross
        top, bottom = height * chance.uniform([-0.2, 0.9], [0.1, 1.2])
        placed = [*placed, _draw(hand, (left, top), (right, bottom))]
        placed = [*placed, _draw(hand, (right, top), (left, bottom))]
    else:  # a zigzag
        turns = max(4, int(5 * (right - left) / height))
        across = np.linspace(left, right, 2 * turns)
        down = height * np.where(np.arange(2 * turns) % 2, 0.05, 0.95)
        down = down + height * chance.uniform(-0.1, 0.1, 2 * turns)
        placed = [*placed, _draw(hand, *zip(across.tolist(), down.tolist(), strict=True))]
    return _gather(hand, "none", placed)


def _underlined(chance: np.random.Generator, digits: Digits) -> Line:
    """Write a number above one or two lines, or above dots."""
    hand, text, placed = _write_short(chance, digits)
    height, right = hand.height, placed[-1].x + placed[-1].mask.shape[1]
    y = max(each.y + each.mask.shape[0] for each in placed) + height * chance.uniform(0.04, 0.2)
    left = -height * chance.uniform(-0.1, 0.5)
    right = right + height * chance.uniform(-0.1, 0.5)
    form = chance.integers(4)
    if form == 3:
        step = max(3 * hand.width, height * chance.uniform(0.12, 0.25))
        for x in np.arange(left, right, step).tolist():
            placed.append(_draw(hand, (x, y), (x + 0.5, y)))
    else:
        for _ in range(1 if form else 2):
            slope = height * chance.normal(0, 0.03)
            placed.append(_draw(hand, (left, y + hand.width + slope), (right, y - slope)))
            y += 2 * hand.width + height * chance.uniform(0.05, 0.12)
    return _gather(hand, text, placed)


def _filled(chance: np.random.Generator, digits: Digits) -> Line:
    """Write a number and a dash that fills the rest of its field; half of the fields are boxes."""
    hand, text, placed = _write_short(chance, digits)
    height, end = hand.height, placed[-1].x + placed[-1].mask.shape[1]
    start = end + height * chance.uniform(0.1, 0.4)
    stop = start + height * chance.uniform(0.5, 2.5)
    y, slope = height * chance.uniform(0.4, 0.65), height * chance.normal(0, 0.04)
    placed.append(_draw(hand, (start, y + slope), (stop, y - slope)))
    if chance.random() < 1 / 2:
        return _gather(hand, text, placed)
    line = float(np.clip(height * chance.uniform(0.01, 0.05), 0.8, 6))
    above, before = -height * chance.uniform(0.2, 0.5, 2)
    right = stop + height * chance.uniform(-0.05, 0.15)
    box = _rectangle(before, above, right, height * chance.uniform(1.2, 1.5))
    return _gather(hand, text, placed, [box], line)


KINDS: dict[str, Callable[[np.random.Generator, Digits], Line]] = {
    "apart": _spaced(_APART),
    "close": _spaced(_CLOSE),
    "touching": _spaced(_TOUCHING),
    "boxes": _boxes,
    "slanted": _slanted,
    "long": _long,
    "marks": _marks,
    "struck": _struck,
    "underlined": _underlined,
    "filled": _filled,
}
