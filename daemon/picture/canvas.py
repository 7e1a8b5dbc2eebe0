"""The canvas of a picture: its colours, images on it, and its PNG."""

import struct
import zlib

import cv2
import numpy as np
from isal import isal_zlib

from daemon.picture import SIDE, Box
from daemon.picture.ink import InkPlace, format_chunk
from daemon.picture.text import Pixels
from daemon.records import Status

Canvas = Pixels
"""(h, w) uint8 colour indices. Pictures are grey except for the colour of their status."""

# The first 224 indices are greys (a grey photo loses at most 1 of its 255 levels). The last 32 go
# from white to the status's colour, for antialiased text.
_GREYS, _TINTS = 224, 32
WHITE = 255
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


def _make_palette(colour: tuple[int, int, int]) -> Pixels:
    greys = np.linspace(0, 255, _GREYS)[:, None].repeat(3, axis=1)
    tints = np.linspace((WHITE,) * 3, colour, _TINTS)
    return np.round(np.concatenate([greys, tints])).astype(np.uint8)


PALETTES = {status: _make_palette(colour) for status, colour in STATUS_COLOURS.items()}
"""(256, 3) uint8 RGB for each status."""


def make_ink(level: int, paper: int = WHITE) -> Pixels:
    """Return colour indices by coverage, (256,) uint8, from the paper's grey level to the ink's."""
    return GREY[np.linspace(paper, level, 256).round().astype(np.uint8)]


PALE = 110  # grey level
PALE_INK, DARK_INK = make_ink(PALE), make_ink(40)
TRACK, BAR = 236, 150  # grey levels of a bar: its whole length, and the part that is filled
BAR_HEIGHT = 13


def put(canvas: Pixels, box: Box, pixels: Pixels) -> None:
    """Centre pixels in a box, which must be large enough for them."""
    height, width = pixels.shape[:2]
    x, y = box.x + (box.width - width) // 2, box.y + (box.height - height) // 2
    canvas[y : y + height, x : x + width] = pixels


def fit(pixels: Pixels) -> Pixels:
    """Return an image, grey or colour, scaled to fit the panel with its proportions kept."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if 2 * longest <= SIDE:
        return enlarge(pixels)
    size = max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest))
    return resize(pixels, size, cv2.INTER_AREA if longest > SIDE else cv2.INTER_LINEAR)


def enlarge(pixels: Pixels) -> Pixels:
    """Return a small image with each pixel as large a square as the panel allows."""
    return repeat(pixels, SIDE // max(pixels.shape[:2]))


def draw_outline(pixels: Pixels, mask: Pixels, colour: Pixels | np.uint8) -> None:
    """Draw a one-pixel outline around the mask.

    Args:
        pixels: (h, w) or (h, w, 3) uint8, drawn on.
        mask: (H, W) uint8, 1 inside; scaled to the size of ``pixels``.
        colour: an index, or RGB.
    """
    height, width = pixels.shape[:2]
    scale = width // mask.shape[1]
    if mask.shape[0] * scale == height and mask.shape[1] * scale == width:
        inside = repeat(mask, scale)
    else:
        share = resize(255 * mask, (width, height), cv2.INTER_AREA)
        inside = (share > _HALF).astype(np.uint8)
    pixels[cv2.dilate(inside, _NEIGHBOURS) > inside] = colour


_NEIGHBOURS = np.ones((3, 3), np.uint8)
_HALF = 127  # in a scaled mask of 0 and 255


def resize(pixels: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    """Return pixels scaled to (width, height)."""
    return cv2.resize(pixels, size, interpolation=interpolation).astype(np.uint8, copy=False)


def repeat(pixels: Pixels, scale: int) -> Pixels:
    """Return an image with each pixel ``scale`` times as wide and high."""
    # 4 us for 28x28 to 252x252, where cv2.resize takes 26.
    return pixels.repeat(scale, axis=1).repeat(scale, axis=0)


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _INDEXED = 2, 3  # colour types, PNG specification 11.2.1
# Level 1 of Intel's ISA-L on unfiltered rows takes 0.09 ms for a picture of 768x340 indices (one
# core with AVX2). zlib's level 1 takes 0.82 ms and makes the file 22 % larger. Row filters cost
# more than they gain.
_LEVEL = 1


def encode_png(
    pixels: Pixels, palette: Pixels | None = None, place: InkPlace | None = None
) -> bytes:
    """Return a whole PNG file.

    Args:
        pixels: (h, w) uint8 indices into the palette, or (h, w, 3) uint8 RGB without one.
        palette: (n, 3) uint8 RGB, n at most 256; every index must be below n.
        place: of the ink on the page, stored in the file.
    """
    height, width = pixels.shape[:2]
    # Each row of a PNG starts with its filter type; 0 means no filter.
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    colours = _RGB if palette is None else _INDEXED
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    return b"".join(
        (
            _PNG_SIGNATURE,
            _make_chunk(b"IHDR", header),
            b"" if place is None else _make_chunk(*format_chunk(place)),
            b"" if palette is None else _make_chunk(b"PLTE", palette.tobytes()),
            _make_chunk(b"IDAT", isal_zlib.compress(rows, _LEVEL)),
            _make_chunk(b"IEND", b""),
        )
    )


def _make_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
