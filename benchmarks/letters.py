"""Letters and symbols drawn from our own strokes, for what is not a digit in the regression pack.

They are nowhere in training, whose letters are from fonts, nor in ``benchmarks.unseen``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.hand_shapes import read_points
from daemon.training import pens

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

# Strokes, separated by "/", as in ``hand_shapes``. A point that is written twice is a sharp corner;
# the others are rounded.
_SHAPES = {
    "A": "0: 50 50 :: / 17 87",
    "E": "90 10 10 1: 1: 9: / 15 75",
    "F": "90 10 10 1: / 15 75",
    "H": "10 1: / 80 8: / 15 85",
    "K": "10 1: / 80 15 15 8:",
    "M": "0: 10 10 56 56 90 90 ::",
    "N": "1: 10 10 8: 8: 80",
    "R": "1: 10 10 60 82 83 60 15 / 45 8:",
    "W": "00 2: 2: 51 51 8: 8: :0",
    "X": "00 9: / 90 0:",
    "a": "84 53 26 28 4: 6: 86 83 83 88 9:",
    "d": "85 54 26 28 4: 6: 87 / 80 8:",
    "e": "16 86 74 43 15 18 4: 7: 88",
    "h": "10 1: / 17 34 64 76 7:",
    "k": "20 2: / 73 26 26 7:",
    "m": "13 1: / 15 33 43 55 5: / 55 63 83 95 9:",
    "n": "13 1: / 16 34 64 76 7:",
    "u": "13 18 3: 5: 77 / 73 7:",
    "w": "03 2: 2: 55 55 8: 8: :3",
    "x": "13 8: / 83 1:",
    "+": "52 58 / 25 85",
    "=": "14 84 / 17 87",
    "#": "31 1: / 80 6: / 04 94 / 07 97",
    "*": "51 59 / 13 87 / 83 17",
    "?": "12 30 60 83 64 55 57 / 59 5:",
    "%": "90 0: / 20 00 03 23 32 20 / 77 66 69 89 98 77",
    "&": "9: 34 22 40 61 52 15 08 3: 6: 96",
    "<": "82 15 15 88",
    ">": "22 85 85 28",
    "@": "75 54 37 58 75 75 78 97 93 50 12 07 2: 8:",
}


def draw_letter(letter: str, rng: Generator) -> NDArray[np.bool_]:
    """Draw a letter or symbol of ``LETTERS`` as a one-pixel line on (64, 64)."""
    aspect, slant = rng.uniform(0.65, 1.0), rng.normal(-0.1, 0.15)
    turn = np.deg2rad(rng.normal(0, 5))
    to = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    to = to @ np.array([[aspect, slant * aspect], [0, 1]]) * 44
    canvas = np.zeros((pens.SIDE, pens.SIDE), np.uint8)
    for stroke in _SHAPES[letter].split("/"):
        points = read_points(stroke)
        moved = points + rng.normal(0, 0.03, points.shape)
        corner = np.all(points[1:] == points[:-1], axis=1)
        moved[1:][corner] = moved[:-1][corner]
        line = pens.round_corners(moved - 0.5) @ to.T + pens.SIDE / 2 + rng.normal(0, 0.8, 2)
        pens.draw_polyline(canvas, line)
    return canvas > 0


LETTERS = tuple(_SHAPES)
