"""Lines of words for the evaluation pages, printed or scribbled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.pages.ink import Floats, lines_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORDS = ("total", "name", "room", "date", "page", "sum of", "order", "table", "please", "amount")


def letters(
    chance: np.random.Generator, shape: tuple[int, int], top: float, height: float
) -> Floats:
    """Return the mask of printed words in a line of ``height`` pixels that starts at ``top``."""
    sheet = Image.new("L", (shape[1], shape[0]))
    words = " ".join(chance.choice(_WORDS, 12))
    font = ImageFont.load_default(max(6, height))
    left = -chance.uniform(0, 2) * height
    ImageDraw.Draw(sheet).text((left, top), words, fill=255, font=font)
    return np.asarray(sheet, np.float32) / np.float32(255)


def scribble(
    chance: np.random.Generator, shape: tuple[int, int], top: float, height: float
) -> Floats:
    """Return the mask of joined-up words, ``height`` pixels from ascender to descender."""
    lines = []
    x = -chance.uniform(0, 1) * height
    while x < shape[1]:
        word = _word(chance, int(chance.integers(3, 8))) * height
        lines.append(word + np.array([x, top]))
        x += float(word[:, 0].max()) + chance.uniform(0.25, 0.6) * height
    return lines_mask(shape, lines, max(1, height * chance.uniform(0.04, 0.08)))


def _word(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return the points (x, y) of a word of ``count`` loops in a line of height 1."""
    points = []
    for letter in range(count):
        phase = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        upper, lower = 0.38 + chance.normal(0, 0.03), 0.7 + chance.normal(0, 0.02)
        form = chance.random()
        if form < 1 / 5:
            upper = 0.05
        elif form < 1 / 3:
            lower = 0.98
        y = (upper + lower) / 2 + (lower - upper) / 2 * np.cos(phase)
        x = (letter + phase / (2 * np.pi)) * 0.36 + chance.uniform(0.04, 0.16) * np.sin(phase)
        points.append(np.stack([x + 0.2 * (0.7 - y), y], axis=1))
    return np.concatenate(points)
