"""Colours and text of the pictures: a canvas of indices into one palette."""

import numpy as np
from numpy.typing import NDArray

from daemon.picture.boxes import MARGIN, WIDTH, Box
from daemon.picture.text import OVERHANG, Font, shorten, wrap
from daemon.records import Status

Canvas = NDArray[np.uint8]


# Baselines of the two lines at the top.
_TITLE_Y, _NAME_Y = 25, 45
_FULL = 255
_LONGEST = 1000  # characters of a text; fewer than that fit

# Colour indices. The pictures are grey except for the status colour. The first 224 indices are
# greys (a grey photo loses at most 1 of its 255 levels). The last 32 go from white to the status
# colour, for antialiased text.
_GREYS, _TINTS = 224, 32
GREY = np.round(np.arange(256) * (_GREYS - 1) / 255).astype(np.uint8)
"""(256,) grey level -> index."""
TINT = (_GREYS + np.arange(256) * (_TINTS - 1) // 255).astype(np.uint8)
"""(256,) coverage -> index of the status's colour on white."""

# Each has a contrast of at least 4.5 to 1 on white. For every kind of colour blindness (simulated
# after Machado et al. 2009) any two are at least 24 apart in CIELAB; the usual green and red are
# only 13 apart. The title also gives the status in words.
STATUS_COLOURS = {
    Status.OK: (0, 126, 90),
    Status.UNSURE: (172, 98, 0),
    Status.ERROR: (158, 10, 35),
}


def _palette(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    greys = np.linspace(0, 255, _GREYS)[:, None].repeat(3, axis=1)
    tints = np.linspace((_FULL,) * 3, colour, _TINTS)
    return np.round(np.concatenate([greys, tints])).astype(np.uint8)


PALETTES = {status: _palette(colour) for status, colour in STATUS_COLOURS.items()}
"""(256, 3) uint8 RGB for each status."""


def ink(level: int, paper: int = _FULL) -> NDArray[np.uint8]:
    """Return colour indices by coverage, (256,), from the paper's grey level to the ink's."""
    return GREY[np.linspace(paper, level, 256).round().astype(np.uint8)]


# Grey levels; 0 is black.
PALE, DARK = 110, 40
PALE_INK, DARK_INK = ink(PALE), ink(DARK)


def write(
    canvas: Canvas, start: tuple[int, int], font: Font, text: str, ink: NDArray[np.uint8]
) -> None:
    """Write a line of drawable text, replacing what was there; ``start`` is on the baseline."""
    x, y = start[0] - OVERHANG, start[1] - font.ascent
    line = ink[font.line(text)]
    canvas[y : y + line.shape[0], x : x + line.shape[1]] = line


def write_head(canvas: Canvas, title: tuple[Font, str], name: tuple[Font, str]) -> None:
    """Write the title in the status colour and the file's name below it; any text is allowed."""
    width = WIDTH - 2 * MARGIN
    font, text = title
    (line,) = wrap(font, font.shown(_one_line(text)), width, lines=1)
    write(canvas, (MARGIN, _TITLE_Y), font, line, TINT)
    font, text = name
    write(canvas, (MARGIN, _NAME_Y), font, shorten(font, font.shown(text), width), DARK_INK)


def write_paragraph(canvas: Canvas, box: Box, font: Font, text: str) -> int:
    """Write any text into a box, wrapped; return the pixel row below the last line."""
    lines = wrap(font, font.shown(_one_line(text)), box.width, box.height // font.height)
    for i, line in enumerate(lines):
        write(canvas, (box.x, box.y + font.ascent + i * font.height), font, line, DARK_INK)
    return box.y + len(lines) * font.height


def _one_line(text: str) -> str:
    """Return a text without line breaks, cut to the most characters that can fit."""
    return " ".join(text[:_LONGEST].split())


def put(canvas: Canvas, box: Box, pixels: NDArray[np.uint8]) -> None:
    """Centre pixels in a box, which must be large enough for them."""
    height, width = pixels.shape[:2]
    x, y = box.x + (box.width - width) // 2, box.y + (box.height - height) // 2
    canvas[y : y + height, x : x + width] = pixels
