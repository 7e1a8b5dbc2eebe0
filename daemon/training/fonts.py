"""Digits, letters and signs rendered from the fonts of the machine that trains."""

# Two pixels of ink are clearest as themselves.
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
SIZE = 64  # px a letter is rendered at
DIGITS = "0123456789"
# Letters and signs that nobody would take for a digit. Left out are those that many hands
# write as one: O o D Q (0), I l i | (1), Z z (2), E (3, mirrored), S s (5), b G (6), T F (7),
# B (8), g q (9), y Y (4), J j, and the like.
NO_DIGITS = "AHKLMNPRUVWXacdefhkmnprtuvwx&@#%*+=?<>{}$~^αδλμπφψωΔΣΨΩЖЮШФßæñ"
# Fonts that no model is trained on, so that letters can be measured on unseen hands.
KEPT_APART = ("Delphine", "Ecolier", "femkeklaver", "DancingScript", "BecauseWeLearn", "Domestic")


def found(*, kept_apart: bool = False) -> tuple[Path, ...]:
    """Find the fonts that have the ten digits and the Latin letters, in a fixed order."""
    files = sorted((*FOLDER.rglob("*.ttf"), *FOLDER.rglob("*.otf")))
    return tuple(
        path
        for path in files
        if any(name in path.name for name in KEPT_APART) == kept_apart and _usable(path)
    )


def rendered(font: Path, text: str) -> NDArray[np.uint8] | None:
    """Render a text, (H, W) uint8 cut to its ink, white on black; ``None`` if it has none."""
    face = _face(font)
    left, top, right, bottom = face.getbbox(text)
    if right - left < 2 or bottom - top < 2 or right - left > 8 * SIZE:
        return None
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, font=face, fill=255)
    ink = np.asarray(canvas)
    return ink if ink.max() > 0 else None


def has(font: Path, text: str) -> bool:
    """Tell whether a font draws each character, not its box for a missing one."""
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
    """Keep the characters that a font has."""
    return [character for character in characters if has(font, character)]
