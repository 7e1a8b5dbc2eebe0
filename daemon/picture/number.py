"""Draw what is special about the picture of a number: the strip, its symbols, the whole text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from daemon.picture import GLYPH_PANEL, SIDE, Box
from daemon.picture.canvas import (
    BAR,
    BAR_HEIGHT,
    DARK_INK,
    GREY,
    PALE_INK,
    TINT,
    TRACK,
    WHITE,
    Canvas,
    resize,
)
from daemon.picture.text import Font, Pixels, wrap, write
from daemon.records import Symbol, format_percent

# A strip is wrapped into the fewest rows that show it at this scale: digits 39 px high. Longer
# ones, from about 20 digits on, have the number of rows that shows them largest.
_READABLE = 1.5
_MOST_ROWS = 5
_SEPARATE = 2.0  # scale from which the strip's pixels are shown as squares
_MARGIN = 8  # columns of the strip that are shown beyond the last ink

# Below each row of the strip: bars and characters.
_BAND = 26  # px
_MARK_TOP, _MARK_HEIGHT, _BASELINE = 4, 5, 21  # px below the strip
_WIDEST_MARK, _GAP = 24, 2  # px

_NOTHING = "nothing"  # in place of an empty text
_VALUE_WIDTH = 58  # of the column of percentages, px
_VALUE_BASELINE = 11  # of a percentage, below the top of its bar, px
_CAPTION, _CAPTION_GAP = 24, 5  # from a bar to the next caption's baseline, from there on, px


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may be the number, with the probability that it is."""

    text: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Fonts:
    """The fonts of the texts and of their confidence: of the best text, and of the runner-up."""

    best: Font
    runner_up: Font
    best_value: Font
    runner_up_value: Font
    caption: Font


def draw_strip(canvas: Canvas, strip: Pixels, symbols: Sequence[Symbol], font: Font) -> None:
    """Draw the strip into the panel, wrapped if it is long, and mark its symbols.

    Args:
        canvas: drawn on.
        strip: (h, w) uint8, white ink on black; not all zeros.
        symbols: what was read. Below each are its character and a bar as long as its confidence.
        font: of the characters.
    """
    x, y, width, height = GLYPH_PANEL
    canvas[y : y + height, x : x + width] = TINT[0]  # white, on which ink is drawn with maximum
    shown = min(strip.shape[1], int(np.flatnonzero(strip.any(axis=0))[-1]) + 1 + _MARGIN)
    columns = [min(each.column, shown - 1) for each in symbols]
    edges, scale = _choose_rows(strip[:, :shown], columns)
    high = max(1, round(len(strip) * scale))
    rows = list(pairwise(edges))
    top = y + (height - len(rows) * (high + _BAND)) // 2
    for start, stop in rows:
        wide = min(width, max(1, round((stop - start) * scale)))
        left = x + (width - wide) // 2
        row = resize(strip[:, start:stop], (wide, high), _choose_interpolation(scale))
        canvas[top : top + high, left : left + wide] = GREY[row]
        inside = [index for index, column in enumerate(columns) if start <= column < stop]
        centres = [left + (columns[index] - start) * scale for index in inside]
        _mark(canvas, top + high, [symbols[index] for index in inside], centres, font)
        top += high + _BAND


def _choose_interpolation(scale: float) -> int:
    """Return OpenCV's interpolation: the pixels are shown as they are if they are large enough."""
    if scale < 1:
        return cv2.INTER_AREA
    return cv2.INTER_NEAREST if scale >= _SEPARATE else cv2.INTER_LINEAR


def _choose_rows(strip: Pixels, columns: Sequence[float]) -> tuple[list[int], float]:
    """Return the edges of the rows, the first 0 and the last the strip's width, and their scale."""
    best: tuple[list[int], float] = [0, strip.shape[1]], 0.0
    for count in range(1, _MOST_ROWS + 1):
        edges = _cut(strip, count, columns)
        longest = max(stop - start for start, stop in pairwise(edges))
        scale = min(SIDE / longest, (SIDE / (len(edges) - 1) - _BAND) / len(strip))
        if scale > best[1]:
            best = edges, scale
        if scale >= _READABLE:
            break
    return best


def _cut(strip: Pixels, count: int, columns: Sequence[float]) -> list[int]:
    """Return the edges of rows of about equal width, each where there is least ink between symbols.

    Args:
        strip: what is cut.
        count: of rows.
        columns: of the symbols.
    """
    width = strip.shape[1]
    ink = strip.sum(axis=0, dtype=int)
    gaps = list(pairwise(columns))
    inner = set[int]()
    for wanted in np.arange(1, count) * width / count:
        start, stop = min(gaps, key=lambda gap: abs(sum(gap) / 2 - wanted), default=(wanted,) * 2)
        between = range(round(start), round(stop) + 1)
        middle = (start + stop) / 2
        inner.add(min(between, key=lambda column: (ink[column], abs(column - middle))))
    return [0, *sorted(inner - {0, width}), width]


def _mark(
    canvas: Canvas, top: int, symbols: Sequence[Symbol], centres: Sequence[float], font: Font
) -> None:
    """Write symbols and draw their bars below a row of the strip.

    Args:
        canvas: drawn on.
        top: the first row of pixels below the strip.
        symbols: those in this row.
        centres: the column of each on the canvas.
        font: of the characters.
    """
    ends = GLYPH_PANEL.x, GLYPH_PANEL.x + GLYPH_PANEL.width
    for symbol, centre in zip(symbols, centres, strict=True):
        line = TINT[font.draw_line(symbol.text)]
        left = round(centre - line.shape[1] / 2)
        left = min(max(left, ends[0]), ends[1] - line.shape[1])
        above = top + _BASELINE - font.ascent
        place = canvas[above : above + len(line), left : left + line.shape[1]]
        np.maximum(place, line, out=place)  # characters may be closer than they are wide
    nearest = min((right - left for left, right in pairwise(centres)), default=_WIDEST_MARK)
    length = max(1, min(_WIDEST_MARK, int(nearest) - _GAP))
    for symbol, centre in zip(symbols, centres, strict=True):
        left = min(max(round(centre - length / 2), ends[0]), ends[1] - length)
        bar = canvas[top + _MARK_TOP : top + _MARK_TOP + _MARK_HEIGHT, left : left + length]
        bar[:] = GREY[TRACK]
        bar[:, : round(symbol.confidence * length)] = TINT[WHITE]


def draw_candidates(
    canvas: Canvas, panel: Box, best: Candidate, runner_up: Candidate, fonts: Fonts
) -> Box:
    """Write the two most likely texts, each above a bar for its confidence.

    Returns:
        The part of the panel that is left for another text below a caption.
    """
    y = _draw_candidate(canvas, panel, best, fonts.best, fonts.best_value, TINT) + _CAPTION
    write(canvas, (panel.x, y), fonts.caption, "next best", PALE_INK)
    rest = _cut_top(panel, y + _CAPTION_GAP)
    y = _draw_candidate(canvas, rest, runner_up, fonts.runner_up, fonts.runner_up_value, DARK_INK)
    return _cut_top(panel, y + _CAPTION + _CAPTION_GAP)


def _draw_candidate(
    canvas: Canvas, panel: Box, candidate: Candidate, font: Font, value_font: Font, ink: Pixels
) -> int:
    """Draw a candidate at the top of a panel; return the first row of pixels below it."""
    x, y, width, _ = panel
    for line in wrap(font, candidate.text or _NOTHING, width, lines=2):
        write(canvas, (x, y + font.ascent), font, line, ink)
        y += font.height
    if candidate.confidence is None:
        return y
    track = canvas[y : y + BAR_HEIGHT, x : x + width - _VALUE_WIDTH]
    track[:] = GREY[TRACK]
    filled = round(candidate.confidence * track.shape[1])
    track[:, :filled] = TINT[WHITE] if ink is TINT else GREY[BAR]
    value = format_percent(candidate.confidence)
    start = x + width - value_font.width(value)
    write(canvas, (start, y + _VALUE_BASELINE), value_font, value, ink)
    return y + BAR_HEIGHT


def _cut_top(panel: Box, y: int) -> Box:
    return Box(panel.x, y, panel.width, panel.y + panel.height - y)
