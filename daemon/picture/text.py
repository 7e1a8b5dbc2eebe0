"""Draw text with matplotlib, using cached letters."""

import unicodedata
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font, LoadFlags
from numpy.typing import NDArray

from daemon.picture import Box

Pixels = NDArray[np.uint8]

# Replaces characters that the font lacks, and those that break lines, change the text direction or
# are invisible. DejaVu Sans has this one.
PLACEHOLDER = "\N{WHITE SQUARE}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

OVERHANG = 2
"""How far a line's ink may extend beyond either end of its width, px, as a j does."""

# At 72 dots per inch a point is a pixel.
_DPI = 72
# FreeType's lengths are in 64ths of a pixel.
_FREETYPE = 64
# The extent of DejaVu Sans and its bold in em (measured at 11, 12 and 17 px over U+0020 to U+1EFF):
# 1.15 up, 0.36 down; with U+2FFF, 2 em to either side.
_ASCENT, _DESCENT, _REACH = 1.15, 0.36, 2
# Cached letters per font, about 600 bytes each. Names and reasons need fewer than 200 Latin
# letters, digits and symbols; names in many scripts evict the oldest entries.
_CACHED_LETTERS = 1024
# Cached lines per font, 1 to 16 kB each. Labels, percentages and most titles repeat in every
# picture; drawing them each time took a third of a picture's time.
_CACHED_LINES = 512
_LONGEST = 1000  # characters of a wrapped text; fewer than that fit into a picture


class _Letter(NamedTuple):
    coverage: Pixels  # (line height, width of the ink)
    left: int  # from the pen to the ink; negative if the ink starts before the pen
    advance: int


class Font:
    """One of matplotlib's bundled DejaVu fonts in one size.

    Args:
        face: file name without its extension, such as ``DejaVuSans-Bold``.
        size: of the em square, in pixels.

    Attributes:
        ascent: rows of a line above its baseline, enough for two accents on a capital.
        height: rows of a line, including descenders.
        width: returns the width in pixels of a drawable text (see ``replace_undrawable``).
        draw_line: draws one line of drawable text.
    """

    def __init__(self, face: str, size: int) -> None:
        file = Path(mpl.get_data_path(), "fonts", "ttf", f"{face}.ttf")
        self._font = FT2Font(file)
        self._font.set_size(size, _DPI)
        self._properties = FontProperties(fname=file, size=size)
        self.ascent = ceil(_ASCENT * size)
        self.height = self.ascent + ceil(_DESCENT * size)
        # Space on either side of the pen, in a cell and in a line.
        self._margin = _REACH * size
        # Any: matplotlib's Agg backend carries no type hints.
        self._cell: Any = RendererAgg(2 * self._margin, self.height, _DPI)  # type: ignore[no-untyped-call]
        self._letter = lru_cache(_CACHED_LETTERS)(self._draw_letter)
        self.draw_line = lru_cache(_CACHED_LINES)(self._draw_line)
        # The same labels and percentages are measured in every picture: 0.04 ms without a cache.
        self.width = lru_cache(_CACHED_LINES)(self._measure)

    def replace_undrawable(self, text: str) -> str:
        """Return the text with a placeholder for each character that cannot be drawn.

        Any string is allowed, including control characters and lone surrogates (bytes of a file
        name that are not UTF-8). Combining accents are composed with their letters.
        """
        return "".join(
            c if c.isprintable() and self._font.get_char_index(ord(c)) else PLACEHOLDER
            for c in unicodedata.normalize("NFC", text)
        )

    def _measure(self, text: str) -> int:
        return sum(self._letter(c).advance for c in text)

    def _draw_line(self, text: str) -> Pixels:
        """Draw one line of drawable text.

        Returns:
            (height, OVERHANG + width + OVERHANG) uint8, read-only: the ink coverage of each
            pixel, 0 none, 255 full. The pen starts OVERHANG from the left, on the row ``ascent``.
        """
        letters = [self._letter(c) for c in text]
        ends = np.cumsum([letter.advance for letter in letters], dtype=int).tolist()
        width = ends[-1] if ends else 0
        wide = np.zeros((self.height, width + 2 * self._margin), np.uint8)
        for letter, end in zip(letters, ends, strict=True):
            start = self._margin + end - letter.advance + letter.left
            place = wide[:, start : start + letter.coverage.shape[1]]
            np.maximum(place, letter.coverage, out=place)
        line = wide[:, self._margin - OVERHANG : self._margin + width + OVERHANG].copy()
        line.flags.writeable = False
        return line

    def _draw_letter(self, character: str) -> _Letter:
        cell = self._cell
        cell.clear()
        cell.draw_text(cell.new_gc(), self._margin, self.ascent, character, self._properties, 0)
        coverage = np.asarray(cell.buffer_rgba())[..., 3]
        inked = np.flatnonzero(coverage.any(axis=0))
        first, last = (int(inked[0]), int(inked[-1]) + 1) if inked.size else (0, 0)
        advance = self._font.load_char(ord(character), LoadFlags.DEFAULT).horiAdvance
        return _Letter(
            coverage[:, first:last].copy(), first - self._margin, round(advance / _FREETYPE)
        )


def write(canvas: Pixels, start: tuple[int, int], font: Font, text: str, ink: Pixels) -> None:
    """Write one line of drawable text, replacing what was there.

    Args:
        canvas: (h, w) uint8 colour indices, written to.
        start: (x, y) of the pen, on the baseline.
        font: its ``ascent`` must fit above the baseline.
        text: see ``Font.replace_undrawable``.
        ink: (256,) uint8, colour indices by coverage.
    """
    x, y = start[0] - OVERHANG, start[1] - font.ascent
    line = ink[font.draw_line(text)]
    canvas[y : y + line.shape[0], x : x + line.shape[1]] = line


def write_paragraph(canvas: Pixels, box: Box, font: Font, text: str, ink: Pixels) -> None:
    """Write any text into a box, wrapped and cut to fit."""
    lines = wrap(font, text, box.width, box.height // font.height)
    for i, line in enumerate(lines):
        write(canvas, (box.x, box.y + font.ascent + i * font.height), font, line, ink)


def shorten(font: Font, text: str, width: int) -> str:
    """Return any text as one drawable line of ``width`` pixels, with an ellipsis in the middle.

    So a long file name keeps its beginning and its end, which distinguish it from others. A text
    that fits is not cut.
    """
    text = font.replace_undrawable(text)
    if font.width(text) <= width:
        return text
    room = (width - font.width(ELLIPSIS)) // 2
    return _cut(font, text, room) + ELLIPSIS + _cut(font, text[::-1], room)[::-1]


def wrap(font: Font, text: str, width: int, lines: int) -> list[str]:
    """Return any text as at most ``lines`` drawable lines of ``width`` pixels.

    Lines break at white space, or inside a word that is wider than a line. Text that does not fit
    is replaced by an ellipsis.
    """
    done: list[str] = []
    words = font.replace_undrawable(" ".join(text[:_LONGEST].split())).split()
    while words:
        line = words.pop(0)
        while words and font.width(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        head = _cut(font, line, width)
        if head != line:
            words.insert(0, line[len(head) :])
        done.append(head)
        if len(done) == lines and words:
            done[-1] = _cut(font, head, width - font.width(ELLIPSIS)).rstrip() + ELLIPSIS
            break
    return done


def _cut(font: Font, text: str, width: int) -> str:
    """Return the longest prefix of the text that is at most ``width`` pixels wide."""
    for count in range(len(text)):
        width -= font.width(text[count])
        if width < 0:
            return text[:count]
    return text
