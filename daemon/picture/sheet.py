"""Draw a sheet of images with two lines of text below each."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from daemon.picture import Box
from daemon.picture.canvas import STATUS_COLOURS, WHITE, encode_png, put, resize
from daemon.picture.text import OVERHANG, Font, Pixels, shorten
from daemon.records import Status

_COLUMNS = 8
_SIDE = 150  # px of an image, at most
_GAP = 14  # px between tiles
_TITLE_SIZE, _TEXT_SIZE = 18, 12  # px
_DARK = (40, 40, 40)
_FRAME = 210  # grey level


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of a sheet.

    Attributes:
        image: (h, w, 3) uint8 RGB; ``None`` if it cannot be shown.
        name: the line directly below it.
        text: the line below that.
        status: gives the text its colour.
    """

    image: Pixels | None
    name: str
    text: str
    status: Status


def draw(title: str, tiles: Sequence[Tile]) -> bytes:
    """Return a sheet as a PNG: a title, and the tiles in rows of eight."""
    heading, font = Font("DejaVuSans-Bold", _TITLE_SIZE), Font("DejaVuSans", _TEXT_SIZE)
    top = 2 * _GAP + heading.height
    pitch = _SIDE + 2 * font.height + _GAP
    width = _GAP + _COLUMNS * (_SIDE + _GAP)
    rows = -(-len(tiles) // _COLUMNS)
    canvas = np.full((top + rows * pitch, width, 3), WHITE, np.uint8)
    _write(canvas, _GAP, _GAP, heading, shorten(heading, title, width - 2 * _GAP), _DARK)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, _COLUMNS)
        x, y = _GAP + column * (_SIDE + _GAP), top + row * pitch
        if tile.image is not None:
            canvas[y : y + _SIDE, x : x + _SIDE] = _FRAME
            put(canvas, Box(x, y, _SIDE, _SIDE), _fit(tile.image))
        _write(canvas, x, y + _SIDE, font, shorten(font, tile.name, _SIDE), _DARK)
        colour = STATUS_COLOURS[tile.status]
        _write(canvas, x, y + _SIDE + font.height, font, shorten(font, tile.text, _SIDE), colour)
    return encode_png(canvas)


def _fit(image: Pixels) -> Pixels:
    """Return an image scaled so that its longest side fills a tile."""
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return resize(image, size, cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)


def _write(
    canvas: Pixels, x: int, y: int, font: Font, text: str, colour: tuple[int, int, int]
) -> None:
    """Write one line of drawable text with its top left corner at (x, y)."""
    coverage = font.draw_line(text)[..., None] / WHITE
    height, width = coverage.shape[:2]
    x -= OVERHANG
    paper = canvas[y : y + height, x : x + width]
    paper[:] = np.round(paper * (1 - coverage) + np.array(colour) * coverage)
