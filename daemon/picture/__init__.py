"""The annotated picture of one reading, and where its panels are."""

import logging
from typing import NamedTuple

# Without a writable home or MPLCONFIGDIR, matplotlib warns at import that it uses a temporary
# cache folder. For a daemon's user that is normal.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


class Box(NamedTuple):
    """A rectangle of the picture in pixels, ``y`` downwards."""

    x: int
    y: int
    width: int
    height: int


WIDTH, HEIGHT = 768, 340  # of every picture, px
MARGIN = 16
SIDE = 252  # of the square panels: 9 px for each of the glyph's 28
TOP = 72  # of all panels
ORIGINAL_PANEL = Box(MARGIN, TOP, SIDE, SIDE)
GLYPH_PANEL = Box(ORIGINAL_PANEL.x + SIDE + 14, TOP, SIDE, SIDE)
