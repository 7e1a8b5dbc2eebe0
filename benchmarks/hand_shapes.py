"""The shapes of digits in synthetic hands: plain ones, and oddities that people can read.

They are our own, and no training uses them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Strokes, separated by "/", in a box of 10x10: x and y of each point, x to the right, y down, with
# ":" for 10. The line goes through the points; one that is written twice is a sharp corner.
PLAIN = {
    0: "50 22 15 28 5: 88 85 82 50",
    1: "23 50 50 5:",
    2: "22 50 72 74 1: 1: 9:",
    3: "21 50 72 45 45 87 6: 19",
    4: "40 06 06 96 / 63 6:",
    5: "80 20 20 15 15 54 87 69 4: 18",
    6: "70 32 17 4: 78 66 35 17",
    7: "00 90 90 4:",
    8: "72 50 22 44 76 6: 3: 27 54 72",
    9: "82 50 22 44 74 82 / 82 7:",
}

ODD = {
    "0 dotted": "50 22 15 28 5: 88 85 82 50 / 54 55 56",
    "0 barred": "50 22 15 28 5: 88 85 82 50 / 52 58",
    "0 curled": "53 64 73 71 50 22 15 28 5: 88 85 72 51",
    "0 tailed": "50 22 15 28 5: 88 85 72 51 51 70 :0",
    "0 open": "42 24 16 28 5: 88 86 83 70 50",
    "0 spiral": "55 46 54 63 74 67 48 26 23 41 71 94 97 6:",
    "0 lens": "50 50 23 15 27 5: 5: 77 85 73 50 50",
    "0 plus": "50 22 15 28 5: 88 85 82 50 / 53 57 / 35 75",
    "0 two strokes": "40 22 15 28 4: / 60 82 95 88 6:",
    "1 wedge": "09 40 40 6:",
    "1 crossed": "23 50 50 5: / 25 85",
    "1 looped": "17 64 71 60 43 47 6: 89",
    "1 hooked": "23 50 50 48 5: 79",
    "1 based": "14 50 50 5: / 0: ::",
    "1 roofed": "05 03 50 50 5:",
    "1 flag right": "5: 50 50 83",
    "1 bulb": "50 41 52 61 50 / 52 5:",
    "1 double": "40 4: / 60 6:",
    "2 looped": "21 50 72 65 38 1: 08 17 38 69 99",
    "2 barred": "10 90 90 0: 0: :: / 25 75",
    "2 angular": "14 50 70 65 1: 1: 9:",
    "2 tall": "21 50 72 75 57 5: 5: 9:",
    "2 swan": "34 13 31 52 64 48 1: 1: 58 8: :9",
    "2 kink": "21 50 72 64 36 36 7: 7: :8",
    "2 tail down": "21 50 72 64 18 18 97 97 8:",
    "3 angular": "10 80 80 44 44 88 88 1:",
    "3 looped": "11 50 82 64 44 35 46 55 66 88 5: 19",
    "3 curled": "11 50 82 54 54 86 79 4: 18 26 37",
    "3 two curls": "33 22 30 71 73 54 54 87 6: 29 17 38",
    "3 flat": "10 80 80 43 43 86 89 4: 1:",
    "3 three bars": "10 90 / 25 85 / 0: 9: / 90 9:",
    "3 bowl": "10 80 80 44 44 76 79 4: 18 36 55",
    "4 closed": "60 15 15 95 / 60 6:",
    "4 chair": "20 26 26 86 / 80 8:",
    "4 cup": "20 15 36 65 85 / 80 8:",
    "4 looped": "50 06 06 76 94 82 63 66 6:",
    "4 low": "40 08 08 98 / 65 6:",
    "4 lightning": "70 16 16 86 / 84 5:",
    "4 flag": "50 05 05 95 / 52 5: 5: 8:",
    "4 wide top": "00 25 25 85 / :0 6:",
    "5 S": "82 60 31 23 44 75 87 69 4: 19",
    "5 bare": "20 15 15 54 87 69 3: 18",
    "5 square": "90 10 10 15 15 85 85 8: 8: 1:",
    "5 far roof": "30 25 25 54 87 69 3: 19 / 60 :0",
    "5 steep roof": "23 16 16 54 87 69 3: 19 / 23 90",
    "5 low roof": "20 25 25 64 87 69 3: 19 / 22 92",
    "5 closed": "90 20 20 15 15 54 87 69 3: 18 26 36",
    "5 straight": "80 30 30 25 25 65 9:",
    "6 b": "20 27 3: 7: 88 75 46 28",
    "6 spiral": "81 40 13 17 4: 78 76 55 46",
    "6 square": "80 10 10 1: 1: 9: 9: 95 95 15",
    "6 hooked": "62 71 50 23 17 4: 78 76 55 27",
    "6 low bowl": "60 34 18 3: 6: 78 57 28",
    "6 delta": "81 50 42 64 86 79 5: 28 26 44 64",
    "6 roofed": "90 40 40 15 18 4: 78 76 45 16",
    "6 slash": "90 15 15 18 4: 7: 88 76 45 16",
    "7 two bars": "02 00 00 90 90 4: / 34 84 / 26 76",
    "7 hooked": "11 00 00 80 80 54 47 4: 69",
    "7 long serif": "05 00 00 90 90 5:",
    "7 high bar": "00 90 90 4: / 23 93",
    "7 waved": "03 20 51 90 90 54 4: / 25 75",
    "7 low bar": "00 90 90 4: / 18 78",
    "7 bent": "00 90 94 56 4:",
    "7 curled": "22 02 10 60 90 90 5: 28 17",
    "8 two rings": "50 32 44 64 72 50 / 56 28 3: 7: 88 56",
    "8 hourglass": "10 90 90 1: 1: 9: 9: 10",
    "8 B": "20 2: / 20 61 73 55 25 / 25 76 88 6: 2:",
    "8 open": "81 50 22 44 76 78 5: 28 26 54 92",
    "8 small head": "50 41 52 61 50 / 52 15 18 5: 88 85 52",
    "8 small foot": "50 12 14 57 84 82 50 / 57 48 5: 68 57",
    "8 S and bar": "81 50 22 44 76 78 5: 19 / 90 1:",
    "8 boxes": "20 80 80 2: 2: 8: 8: 80 80 / 20 20 25 25 85",
    "9 g": "82 50 22 24 45 74 82 / 81 88 6: 3: 18",
    "9 q": "72 50 22 24 45 73 / 70 7: 98",
    "9 square": "80 20 20 25 25 85 / 80 8:",
    "9 spiral": "54 43 52 72 83 65 34 12 30 60 93 96 6:",
    "9 flag": "73 51 23 35 55 73 / 90 7:",
    "9 wave": "82 50 22 24 45 74 82 / 82 86 58 7:",
    "9 curled": "82 50 22 24 45 74 82 87 6: 38 46 67",
    "9 open": "70 30 12 24 55 83 / 80 7:",
    "0 Q": "50 22 15 28 5: 88 85 82 50 / 57 9:",
    "0 ribbon": "10 73 96 8: 4: 06 23 90",
    "0 crossbar": "50 22 15 28 5: 88 85 82 50 / 05 :5",
    "1 I": "20 80 / 50 5: / 2: 8:",
    "1 J": "33 60 60 58 4: 18",
    "1 arrow": "50 5: / 24 50 50 84",
    "1 roof and foot": "05 03 50 50 5: / 2: 8:",
    "1 loop and foot": "17 64 71 60 43 4: / 1: 8:",
    "2 curl top": "54 33 31 50 72 74 1: 1: 9:",
    "2 Q": "23 41 72 75 58 29 07 28 5: 9:",
    "2 crossed foot": "21 50 72 74 1: 1: 9: / 58 5:",
    "2 knee": "02 30 52 45 37 37 87 87 8:",
    "3 loop tail": "10 80 80 44 44 76 79 4: 2: 17 47 9:",
    "3 top loop": "45 33 31 50 72 54 54 87 6: 19",
    "3 two loops": "42 31 20 40 72 65 44 35 46 75 87 5: 38 27 47",
    "4 sail": "60 17 17 67 / 60 6:",
    "4 swoosh": "70 40 15 26 86 / 83 7:",
    "4 y": "10 14 46 74 / 80 77 4: 18",
    "4 footed": "50 05 05 95 / 52 5: / 2: 9:",
    "4 tailed": "50 06 06 96 / 63 68 4: 18",
    "5 looped": "90 40 21 32 41 24 25 65 88 5: 18",
    "5 sigma": "93 61 31 24 46 77 68 4: 29",
    "5 cedilla": "80 20 20 14 14 53 75 66 37 / 46 58 4: 29",
    "5 loop end": "80 20 20 14 14 54 77 59 38 47 9:",
    "6 G": "81 50 23 17 4: 78 86 86 46",
    "6 crossing": "70 32 17 4: 78 86 54 25 07",
    "6 alpha": "70 42 17 2: 5: 67 45 25 48 9:",
    "6 snail": "90 50 13 17 4: 88 85 53 35 47 66",
    "7 three bars": "00 90 90 4: / 33 93 / 25 85 / 27 77",
    "7 corner loop": "01 61 90 81 72 91 4:",
    "7 F": "00 90 90 4: / 55 95",
    "7 footed": "00 90 90 4: / 1: 7:",
    "7 loop foot": "00 90 90 56 4: 29 18 58 89",
    "8 rings apart": "50 32 43 63 72 50 / 57 38 4: 6: 78 57",
    "8 ribbon": "2: 74 72 50 22 24 8:",
    "8 tilted": "92 70 41 43 65 67 39 0: 08 27 65 84 92",
    "8 crossed": "72 50 22 44 76 6: 3: 27 54 72 / 25 85",
    "9 g loop": "82 50 22 24 45 74 82 82 87 5: 29 17 96",
    "9 apart": "50 22 24 45 64 62 50 / 80 7:",
    "9 right tail": "82 50 22 24 45 74 82 82 89 9: :7",
    "9 alpha": "90 44 24 12 30 51 77 8:",
    "9 hook": "82 50 22 24 45 74 82 82 89 6: 28 27",
}


def parse(strokes: str) -> list[Array]:
    """Return strokes as points close to each other, (N, 2), in a unit box."""
    return [_curve(read_points(stroke)) for stroke in strokes.split("/")]


def read_points(stroke: str) -> Array:
    """Return the points of a stroke as they are written above, (N, 2), in a unit box."""
    values = [10 if each == ":" else int(each) for each in stroke.replace(" ", "")]
    return np.array(values, np.float64).reshape(-1, 2) / 10


def _curve(points: Array) -> Array:
    """Return a smooth line through points (Catmull and Rom 1974), sharp where one is repeated."""
    parts = []
    for index, (start, end) in enumerate(pairwise(points)):
        before, after = points[max(0, index - 1)], points[min(len(points) - 1, index + 2)]
        if (start == end).all():
            continue
        along = np.linspace(0, 1, 8, endpoint=False)[:, None]
        parts.append(
            start
            + (end - before) / 2 * along
            + (before - 2.5 * start + 2 * end - after / 2) * along**2
            + ((start - end) * 1.5 + (after - before) / 2) * along**3
        )
    return np.concatenate([*parts, points[-1:]])
