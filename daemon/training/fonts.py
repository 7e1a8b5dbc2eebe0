"""Render digits, letters and symbols from the fonts installed on the training machine."""

# The literal 2 (px of ink) is clearer than a named constant.
# ruff: noqa: PLR2004

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLDER = Path("/usr/share/fonts")  # where Debian's font packages install
SIZE = 64  # font size for rendering, px
DIGITS = "0123456789"
# Letters and symbols that nobody would mistake for a digit. Characters that many people write
# like a digit are excluded: O o D Q (0), I l i | (1), Z z (2), E (3, mirrored), S s (5), b G (6),
# T F (7), B (8), g q (9), y Y (4), J j, and similar ones.
NO_DIGITS = "AHKLMNPRUVWXacdefhkmnprtuvwx&@#%*+=?<>{}$~^αδλμπφψωΔΣΨΩЖЮШФßæñ"
# Held-out fonts: no model is trained on them, so letters can be measured on unseen handwriting.
KEPT_APART = ("Delphine", "Ecolier", "femkeklaver", "DancingScript", "BecauseWeLearn", "Domestic")


def found(*, kept_apart: bool = False) -> tuple[Path, ...]:
    """Return the fonts that have the ten digits and the Latin letters, sorted by path.

    Args:
        kept_apart: return the held-out fonts instead of those for training.
    """
    files = sorted((*FOLDER.rglob("*.ttf"), *FOLDER.rglob("*.otf")))
    return tuple(
        path
        for path in files
        if any(name in path.name for name in KEPT_APART) == kept_apart and _usable(path)
    )


def rendered(font: Path, text: str) -> NDArray[np.uint8] | None:
    """Return a text as (H, W) uint8, white on black, cropped to its ink.

    ``None`` if there is no ink or the text is too wide.
    """
    face = _face(font)
    left, top, right, bottom = face.getbbox(text)
    if right - left < 2 or bottom - top < 2 or right - left > 8 * SIZE:
        return None
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, font=face, fill=255)
    ink = np.asarray(canvas)
    return ink if ink.max() > 0 else None


def has(font: Path, text: str) -> bool:
    """Return whether a font has a glyph for every character, not just its missing-glyph box."""
    missing = _pixels(font, "\uffff")
    return all(_pixels(font, character) not in {missing, b""} for character in text)


@lru_cache(maxsize=512)
def _face(font: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font, SIZE)


@lru_cache(maxsize=65536)
def _pixels(font: Path, character: str) -> bytes:
    return bytes(_face(font).getmask(character))


def _usable(font: Path) -> bool:
    try:
        return has(font, DIGITS) and has(font, "AHKaehkmnx")
    except OSError:  # a bitmap font, or one that FreeType cannot scale
        return False


def drawable(font: Path, characters: Sequence[str]) -> list[str]:
    """Return the characters that a font has glyphs for."""
    return [character for character in characters if has(font, character)]
