"""Generate images of "not a digit": letters, symbols, scribbles, objects, groups of digits."""

# The probability of each kind is a literal where the kind is drawn.
# ruff: noqa: PLR2004

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from daemon.training import fonts, hands, strokes

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    # OpenCV's type hints don't carry the pixel dtype; each docstring gives it.
    Bytes = NDArray[Any]

# Where Debian's dataset-fashion-mnist installs (MIT licence).
FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
_IDX_HEADER = 16  # bytes before the pixels


# Kept, because reading them takes 0.3 s and `views` draws some for each unit.
@lru_cache(maxsize=1)
def things() -> Bytes:
    """Return Fashion-MNIST's training images, (N, 28, 28); N is 0 if it is not installed."""
    if not FASHION.exists():
        return np.zeros((0, 28, 28), np.uint8)
    with gzip.open(FASHION) as file:
        return np.frombuffer(file.read(), np.uint8, offset=_IDX_HEADER).reshape(-1, 28, 28)


def scribble(rng: Generator) -> NDArray[np.bool_]:
    """Draw a random curve as a one-pixel line on (64, 64): knots, zigzags, spirals."""
    canvas = np.zeros((hands.SIDE, hands.SIDE), np.uint8)
    for _ in range(rng.integers(1, 4)):
        count = int(rng.integers(5, 14))
        kind = rng.random()
        if kind < 0.4:
            points = rng.uniform(6, 58, (count, 2))
        elif kind < 0.7:
            along = np.linspace(6, 58, count)
            points = np.stack((along, 32 + 22 * (-1.0) ** np.arange(count)), axis=1)
            points = points[:, :: int(rng.choice((1, -1)))] + rng.normal(0, 4, (count, 2))
        else:  # a spiral of two turns or more
            angle = np.linspace(0, rng.uniform(4, 8) * np.pi, 40)
            radius = np.linspace(2, 26, 40)[:, None]
            points = 32 + radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)
        strokes.line(canvas, strokes.rounded(points, int(rng.integers(0, 4))))
    return canvas > 0


def sign(rng: Generator) -> NDArray[np.bool_]:
    """Draw a symbol (minus, cross, tick, arrow, box, ...) as a one-pixel line on (64, 64)."""
    shapes: tuple[tuple[tuple[tuple[float, float], ...], ...], ...] = (
        (((0.0, 0.5), (1.0, 0.5)),),  # minus
        (((0.0, 0.35), (1.0, 0.35)), ((0.0, 0.65), (1.0, 0.65))),  # equals
        (((0.0, 0.0), (1.0, 1.0)), ((1.0, 0.0), (0.0, 1.0))),  # cross
        (((0.5, 0.0), (0.5, 1.0)), ((0.0, 0.5), (1.0, 0.5))),  # plus
        (((0.0, 0.5), (0.35, 1.0), (0.35, 1.0), (1.0, 0.0)),),  # tick
        (((0, 0), (0, 0), (1, 0), (1, 0), (1, 1), (1, 1), (0, 1), (0, 1), (0, 0), (0, 0)),),  # box
        (((0.5, 0), (0.5, 0), (1, 1), (1, 1), (0, 1), (0, 1), (0.5, 0), (0.5, 0)),),  # triangle
        (((0.0, 0.5), (1.0, 0.5)), ((0.65, 0.2), (1.0, 0.5), (1.0, 0.5), (0.65, 0.8))),  # arrow
        (((0.0, 0.6), (0.25, 0.2), (0.5, 0.5), (0.75, 0.8), (1.0, 0.4)),),  # wave
        (((0.0, 1.0), (0.0, 0.0), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0), (1.0, 0.0)),),  # N
        (((0.0, 0.0), (0.5, 1.0), (0.5, 1.0), (1.0, 0.0)),),  # V
        (((0.0, 1.0), (0.2, 0.0), (0.5, 0.7), (0.8, 0.0), (1.0, 1.0)),),  # M
    )
    canvas = np.zeros((hands.SIDE, hands.SIDE), np.uint8)
    size = rng.uniform(30, 50, 2)
    for stroke in shapes[rng.integers(len(shapes))]:
        points = np.array(stroke) - 0.5 + rng.normal(0, 0.03, (len(stroke), 2))
        strokes.line(canvas, strokes.rounded(points, 2) * size + hands.SIDE / 2)
    return canvas > 0


def letters(font: Path, rng: Generator) -> Bytes | None:
    """Render one to three letters or symbols that don't look like digits."""
    characters = fonts.drawable(font, fonts.NO_DIGITS)
    count = 1 if rng.random() < 0.85 else int(rng.integers(2, 4))
    return fonts.rendered(font, "".join(rng.choice(characters, count)))


def beside(inks: list[Bytes], rng: Generator) -> Bytes:
    """Return digits side by side, (H, W): apart, touching or slightly overlapping."""
    height = 40
    sized = []
    for ink in inks:
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        scale = height * rng.uniform(0.75, 1.0) / cut.shape[0]
        width = min(max(2, round(cut.shape[1] * scale)), 2 * height)
        sized.append(cv2.resize(cut, (width, max(2, round(cut.shape[0] * scale)))))
    canvas = np.zeros((height, sum(ink.shape[1] for ink in sized) + 15 * len(sized)), np.uint8)
    left = 0
    for ink in sized:
        top = int(rng.integers(0, height - ink.shape[0] + 1))
        place = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
        np.maximum(place, ink, out=place)
        left += ink.shape[1] + int(rng.integers(-4, 13))
        left = max(left, 0)
    return canvas
