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


KINDS: dict[str, Callable[[np.random.Generator, Digits], Line]] = {
    "apart": _spaced(_APART),
    "close": _spaced(_CLOSE),
    "touching": _spaced(_TOUCHING),
    "boxes": _boxes,
    "slanted": _slanted,
    "long": _long,
    "marks": _marks,
}
