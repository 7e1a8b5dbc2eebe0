"""Pages that the tests draw, and the shipped model's reading of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.assets import SHIPPED_MODEL
from daemon.reading import model, reader

Pixels = NDArray[Any]  # OpenCV's type hints don't carry the pixel dtype

MNIST = np.load(Path(__file__).parent.parent / "tests" / "data" / "mnist-small.npz")
DIGITS: list[Pixels] = [
    MNIST["x_test"][np.flatnonzero(MNIST["y_test"] == digit)[0]] for digit in range(10)
]


def png(pixels: Pixels) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def read(data: bytes) -> reader.DecodedImage:
    return reader.find_digit(shipped(), data, max_megapixels=50)


@lru_cache(maxsize=1)
def shipped() -> model.Model:
    return model.load(SHIPPED_MODEL)


def large(digit: int, side: int = 280) -> Pixels:
    """Return a digit's ink, 0 to 1, enlarged smoothly."""
    grown = cv2.resize(DIGITS[digit], (side, side), interpolation=cv2.INTER_CUBIC)
    grown = cv2.GaussianBlur(grown, (0, 0), side / 60)
    return np.clip((grown.astype(float) - 90) / 110, 0, 1)


def painted(
    inked: Pixels, pen: tuple[int, ...] = (40, 30, 30), paper: object = (235, 240, 240)
) -> Pixels:
    share = inked[..., None]
    sheet = np.broadcast_to(np.asarray(paper, float), (*inked.shape, 3))
    mixed: Pixels = sheet * (1 - share) + np.array(pen) * share
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def alike(one: Pixels, other: Pixels) -> float:
    """Return the similarity of two glyphs at the best shift by a pixel; 1 is identical."""
    best = -1.0
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            moved = np.roll(one, (down, across), (0, 1))
            best = max(best, float(np.corrcoef(moved.ravel(), other.ravel())[0, 1]))
    return best
