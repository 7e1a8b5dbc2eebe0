"""Sheets of paper, and drawings, with what pens and presses left on them, as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import ink, light, paper
from benchmarks.pages.ink import Floats, Pen

_CONTRAST = 60  # grey levels between a pen and the paper
_DARK = (42.0, 38.0, 38.0)  # blue, green, red of a pen that contrasts with any paper
_DRAWN = 0.4  # the share of drawings as in a paint program, with neither light nor noise


@dataclass(frozen=True)
class Layer:
    """What a pen covers of a sheet: (height, width) float32, 0 to 1."""

    mask: Floats
    pen: Pen


def printed_pen(chance: np.random.Generator) -> Pen:
    """Return the ink of a printed line: black, grey, or the blue or red of a form."""
    colours = ((35, 35, 35), (110, 110, 110), (165, 165, 165), (160, 110, 60), (80, 80, 200))
    colour = ink.vary_colour(chance, colours[chance.integers(len(colours))], 12)
    return Pen(colour, 0, 0, 0.05)


def encode_sheet(chance: np.random.Generator, layers: Sequence[Layer]) -> tuple[str, bytes]:
    """Return a file's ending and content: dark ink on lighter paper, as a PNG or a JPEG.

    Args:
        chance: decides about paper, light, camera and format.
        layers: the lowest first.
    """
    pixels = _draw(layers) if chance.random() < _DRAWN else _photograph(chance, layers)
    ending, settings = ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if chance.random() < 1 / 3:
        ending, settings = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, int(chance.integers(60, 96))]
    _, data = cv2.imencode(ending, pixels, settings)
    return ending, data.tobytes()


def _draw(layers: Sequence[Layer]) -> NDArray[np.uint8]:
    """Return ink on white, without any texture."""
    pixels = np.full((*layers[0].mask.shape, 3), 255, np.float32)
    for layer in layers:
        dry = ink.tint(1 - layer.mask, (1, 1, 1))
        pixels = pixels * dry + ink.tint(layer.mask, layer.pen.colour)
    return np.asarray(np.rint(pixels), np.uint8)


def _photograph(chance: np.random.Generator, layers: Sequence[Layer]) -> NDArray[np.uint8]:
    """Return ink on paper, as a scanner or a phone records it."""
    height, width = layers[0].mask.shape
    pixels = paper.paper(chance, (height, width))
    lightness = float(pixels.mean())
    for layer in layers:
        pen = layer.pen
        if lightness - float(np.mean(pen.colour)) < _CONTRAST:
            pen = replace(pen, colour=_DARK)
        pixels = ink.lay(chance, pixels, layer.mask, pen)
    pixels = light.add_light(chance, pixels, chance.uniform(0, 0.25))
    blur = chance.uniform(0.2, 0.4 + 0.001 * max(height, width)) if chance.random() < 1 / 2 else 0
    return light.photograph(chance, pixels, blur, chance.uniform(0, 4))
