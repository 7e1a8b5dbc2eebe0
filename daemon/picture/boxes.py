"""Where the panels are on an annotated picture, in pixels."""

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle of the picture in pixels, ``y`` downwards."""

    x: int
    y: int
    width: int
    height: int


WIDTH, HEIGHT = 768, 340  # of every picture
MARGIN = 16
SIDE = 252  # of the square panels: 9 for each of the glyph's 28
TOP = 72
ORIGINAL = Box(MARGIN, TOP, SIDE, SIDE)
SEEN = Box(ORIGINAL.x + SIDE + 14, TOP, SIDE, SIDE)
