"""Read a line of writing: make the strip that the line reader gets, decode its answer."""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.reading import ctc
from daemon.reading.glyph import (
    CORE,
    FAINT,
    THINNEST_STROKE,
    Bytes,
    Floats,
    measure_ink,
    measure_stroke,
    thicken,
)
from daemon.reading.pixels import halve
from daemon.records import DIGITS, Symbol

HEIGHT = 32  # of a strip, px
SIDE = 8  # black columns of it at the left, and at least as many at the right
# Columns of a strip for each time step of the network. CTC needs a step between two symbols that
# are the same, and two ones that touch are 4 px apart.
STEP = 2
ALPHABET = "0123456789.,-/:"
OTHER = len(ALPHABET)
"""The class of anything written that is not in the alphabet: a letter, a digit struck out."""
BLANK = OTHER + 1
"""CTC's blank, the last class."""
CLASSES = BLANK + 1
STRANGE = "?"
"""Stands in a text for what is not in the alphabet."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A line of writing as the line reader sees it.

    Attributes:
        pixels: (32, W) uint8, white ink on black; W is a multiple of 32, at most 1024.
    """

    pixels: Bytes


@dataclass(frozen=True, slots=True)
class LineReading:
    """What a strip says.

    Attributes:
        text: the most probable text, with ``STRANGE`` for what is not in the alphabet, and without
            a full stop at its end.
        symbols: of the text, from left to right.
        log_probability: of the text, natural.
        runner_up: the second most probable text.
        runner_up_log_probability: of the runner-up; minus infinity if there is none.
        singles: (11,) float64, the exact probabilities that the text is "0" to "9", and empty.
    """

    text: str
    symbols: tuple[Symbol, ...]
    log_probability: float
    runner_up: str
    runner_up_log_probability: float
    singles: Floats

    @property
    def margin(self) -> float:
        """Distance of the text's log probability to the runner-up's."""
        return self.log_probability - self.runner_up_log_probability


_INK_HEIGHT = 26  # of the writing in a strip, px
ROUND = 32  # a strip's width is a multiple of this, so that there are few of them
_WIDEST = 1024
# A page is halved until the line is less high than this, px.
_DETAIL = 64
# Strokes are measured and thickened at this many times the strip's scale.
_FINER = 2
_REACH = 0.85  # paper is averaged up to this far away, as a share of the line's height
_FLATTEST = 3.0  # a dash or a dot by itself is shown as if the line were so many strokes high

# Slopes that are tried: pixels down per pixel to the right. Digits of a short line may stand at
# different heights, and a "7" by itself would be laid flat: the slope is at most _PER_ASPECT for
# each height that the line is longer than high.
_SLOPES = np.arange(-120, 121) / 200
_PER_ASPECT = 0.25


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line of writing is: ``top`` is at column 0, and all rows fall by the slope."""

    slope: float
    top: float
    height: float
    columns: slice


def make_strip(pixels: Bytes, mask: Floats) -> Strip:
    """Return the strip of a line of writing; black, 32 px wide, if there is no ink.

    Args:
        pixels: (h, w, 3) uint8, the line and a margin of paper.
        mask: (h', w') float32, the probability that a pixel is written; of the same region, in
            its own resolution.
    """
    peak = float(mask.max())
    if not peak:
        return Strip(np.zeros((HEIGHT, ROUND), np.uint8))
    height = find_line(mask > CORE * peak).height * pixels.shape[0] / mask.shape[0]
    while height >= _DETAIL:
        pixels, height = halve(pixels), height / 2
    if mask.shape != pixels.shape[:2]:
        interpolation = cv2.INTER_AREA if mask.shape[0] > pixels.shape[0] else cv2.INTER_LINEAR
        mask = cv2.resize(mask, pixels.shape[1::-1], interpolation=interpolation)
    ink = measure_ink(pixels, mask, int(_REACH * height) + 4)
    return Strip(fit(ink) if ink.any() else np.zeros((HEIGHT, ROUND), np.uint8))


def find_line(ink: Bytes) -> Line:
    """Return the line of writing: with its slope sheared away, the box around the ink is lowest.

    Args:
        ink: (h, w) bool, not all zeros.
    """
    # Only the first and the last pixel of a column can be the highest or the lowest one. Products
    # take half as long as argmax.
    rows = np.arange(1, len(ink) + 1, dtype=np.uint16)[:, None]
    bottoms, tops = (ink * rows).max(axis=0), len(ink) - (ink * rows[::-1]).max(axis=0)
    columns = np.flatnonzero(bottoms)
    across, down = np.tile(columns, 2), np.concatenate([tops[columns], bottoms[columns]])
    hull = cv2.convexHull(np.stack([across, down], axis=1).astype(np.int32))[:, 0]
    levels = hull[:, 1, None] - _SLOPES * hull[:, 0, None]
    heights = levels.max(axis=0) - levels.min(axis=0)
    length = int(columns[-1]) + 1 - int(columns[0])
    heights[np.abs(_SLOPES) > _PER_ASPECT * np.maximum(length / heights - 1, 0)] = np.inf
    best = int(heights.argmin())
    return Line(
        slope=float(_SLOPES[best]),
        top=float(levels[:, best].min()),
        height=float(heights[best]),
        columns=slice(int(columns[0]), int(columns[-1]) + 1),
    )


def fit(ink: Floats) -> Bytes:
    """Return a strip's pixels: ink levelled, scaled to 26 px high, thin strokes thickened.

    Args:
        ink: (h, w) float32, 0 to 1; not all zeros.
    """
    line = find_line(ink > FAINT)
    length = line.columns.stop - line.columns.start
    down = _FINER * _INK_HEIGHT / line.height
    across = min(down, _FINER * (_WIDEST - 2 * SIDE) / length)
    size = max(1, round(length * across)), _FINER * _INK_HEIGHT
    to_fine = np.array(
        (
            (across, 0, (0.5 - line.columns.start) * across - 0.5),
            (-line.slope * down, down, (0.5 - line.top) * down - 0.5),
        )
    )
    fine: Floats = cv2.warpAffine(ink, to_fine, size)
    stroke = measure_stroke(fine)
    missing = (_FINER * THINNEST_STROKE - stroke) / 2
    if missing > 0.25 * _FINER:  # less than a quarter of a pixel per side is invisible
        fine = thicken(fine, missing)
    shrink = _INK_HEIGHT / max(len(fine), _FLATTEST * stroke)
    high, wide = (max(1, round(side * shrink)) for side in fine.shape)
    small = cv2.resize(fine, (wide, high), interpolation=cv2.INTER_AREA)
    width = pad_width(SIDE + wide)
    pixels = np.zeros((HEIGHT, width), np.uint8)
    top = (HEIGHT - high) // 2
    scaled = np.minimum(small * (255 / max(float(small.max()), CORE)), 255)
    pixels[top : top + high, SIDE : SIDE + wide] = np.rint(scaled)
    return pixels


# A gap between two digits may lie between two numbers if it is wider than _SPACE of the line's
# height, in a number of two digits than _SPACE_OF_TWO, and before a fraction than _SPACE_OF_MIXED;
# and so many times as wide as the next one. Of 2,387 validation strings that are ok, 6 have one.
_SPACE, _SPACE_OF_TWO, _SPACE_OF_MIXED, _WIDER = 0.6, 1.5, 0.25, 2.5
_INKED = 80  # a brighter pixel of a strip is ink


def has_space(pixels: Bytes, symbols: Sequence[Symbol]) -> bool:
    """Return whether a strip may have two numbers, such as ``54  87`` or ``1 1/2``.

    Args:
        pixels: (32, W) uint8, the strip.
        symbols: what was read in it.
    """
    inked = np.flatnonzero((pixels > _INKED).any(axis=0))
    gaps = np.diff(inked) - 1
    if not gaps.any():
        return False
    widest = int(gaps.argmax())
    wide, middle = int(gaps[widest]), float(inked[widest] + inked[widest + 1]) / 2
    before = "".join(each.text for each in symbols if each.column < middle)
    after = "".join(each.text for each in symbols if each.column >= middle)
    if not (before[-1:].isdigit() and after[:1].isdigit()):
        return False
    if "/" in after and "/" not in before:
        least = _SPACE_OF_MIXED
    else:
        least = _SPACE if len(before + after) > len("10") else _SPACE_OF_TWO
    next_one = int(np.delete(gaps, widest).max(initial=0))
    return wide > max(least * _INK_HEIGHT, _WIDER * next_one)


_CHARACTERS = ALPHABET + STRANGE
_SINGLES = [*((digit,) for digit in range(DIGITS)), ()]
_NOTHING = 1e-4  # the chance, relative to a blank, under which there is nothing at a time step
_TEXTS = 6  # the most probable texts that are compared: the beam of the search


def pad_width(end: int) -> int:
    """Return the width of a strip whose ink ends before a column, px."""
    return -(-(end + SIDE) // ROUND) * ROUND


def decode(logits: NDArray[np.float32]) -> LineReading:
    """Return what the network read.

    Args:
        logits: (T, 17), the network's answer to a strip of 2 T columns.
    """
    # Relative to the most probable class of each step, so that long products don't vanish.
    steps = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    log_whole = float(np.log(steps.sum(axis=1)).sum())
    places = _find_places(steps)
    steps = steps[places]
    found = ctc.search(steps, _TEXTS)
    chances = ctc.measure(steps, [*found, *_SINGLES])
    texts: dict[str, float] = {}
    for symbols, chance in zip(found, chances.tolist(), strict=False):
        text = spell(symbols)
        texts[text] = texts.get(text, 0.0) + chance
    (best, first), *others = sorted(texts.items(), key=lambda entry: entry[1], reverse=True)
    at = ctc.locate(steps, [_CHARACTERS.index(each) for each in best])
    columns = (np.interp(at, np.arange(len(places)), places) + 0.5) * STEP
    runner_up, second = others[0] if others else ("", 0.0)
    return LineReading(
        text=best,
        symbols=_compare(best, first, others, columns),
        log_probability=_log(first) - log_whole,
        runner_up=runner_up,
        runner_up_log_probability=_log(second) - log_whole,
        singles=chances[len(found) :] * math.exp(-log_whole),
    )


def _find_places(steps: Floats) -> NDArray[np.int64]:
    """Return the time steps that matter: of several blank ones in a row only the first does."""
    blank = steps.sum(axis=1) - steps[:, BLANK] < _NOTHING
    return np.flatnonzero(~blank | ~np.concatenate(([False], blank[:-1])))


def spell(symbols: Iterable[int]) -> str:
    """Return the text of symbols' classes, "?" for each one that is not in the alphabet.

    A full stop at the end is not part of a number: with and without one, a text is the same.
    """
    return "".join(_CHARACTERS[each] for each in symbols).removesuffix(".")


def _log(chance: float) -> float:
    return math.log(chance) if chance > 0 else -math.inf


def _compare(
    best: str, chance: float, others: Sequence[tuple[str, float]], columns: Floats
) -> tuple[Symbol, ...]:
    """Return the symbols of the best text, each compared with the other texts.

    Args:
        best: the text.
        chance: its probability.
        others: other texts with their probabilities, the most probable first.
        columns: (len(best),) the centres of the symbols.
    """
    against = [0.0] * len(best)
    alternatives: list[str | None] = [None] * len(best)
    for other, probability in others:
        for place, instead in _find_differences(best, other).items():
            against[place] += probability
            if alternatives[place] is None:
                alternatives[place] = instead
    return tuple(
        Symbol(text, chance / max(chance + doubt, sys.float_info.min), float(column), instead)
        for text, doubt, column, instead in zip(best, against, columns, alternatives, strict=True)
    )


def _find_differences(text: str, other: str) -> dict[int, str]:
    """Return where another text differs from a text, and what it has there."""
    if len(text) == len(other):
        pairs = enumerate(zip(text, other, strict=True))
        return {place: there for place, (here, there) in pairs if here != there}
    start = _count_alike(text, other)
    end = _count_alike(text[start:][::-1], other[start:][::-1])
    inserted = other[start : len(other) - end]
    changed = range(start, len(text) - end)
    if changed:
        return dict.fromkeys(changed, inserted)
    # Something more was written there: next to the symbol before, or before the first one.
    beside = max(0, start - 1)
    return {beside: text[beside] + inserted if start else inserted + text[0]} if text else {}


def _count_alike(text: str, other: str) -> int:
    """Return how many characters two texts share at their beginning."""
    pairs = zip(text, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
