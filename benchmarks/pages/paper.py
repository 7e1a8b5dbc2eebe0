"""Surfaces of the evaluation pages: paper, boards, desks, rules."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.pages.ink import (
    Colour,
    Floats,
    Pen,
    cloud,
    lay,
    lines_mask,
    noise,
    tint,
    vary_colour,
)

_PAPERS: tuple[Colour, ...] = (
    (248, 249, 249),  # white, four times as frequent as each other paper
    (243, 245, 246),
    (250, 247, 245),
    (238, 240, 241),
    (212, 236, 245),  # cream
    (222, 241, 249),
    (214, 214, 212),  # recycled grey
    (190, 240, 250),  # yellow
    (242, 228, 208),  # pale blue
    (214, 238, 214),  # pale green
    (222, 216, 244),  # pink
)
_BOARDS: tuple[Colour, ...] = ((66, 88, 44), (58, 76, 52), (42, 42, 42), (52, 50, 50), (98, 66, 34))
_DESKS: tuple[Colour, ...] = (
    (72, 112, 160),  # oak
    (45, 70, 108),  # walnut
    (110, 160, 200),  # beech
    (38, 36, 36),  # black
    (128, 104, 70),  # blue
    (84, 110, 70),  # green cutting mat
    (125, 125, 128),  # concrete
)
_WOODS = 3  # the first desks have a wood grain


def paper(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return empty paper, shape (height, width, 3), in levels of 0 to 255."""
    colour = vary_colour(chance, _PAPERS[chance.integers(len(_PAPERS))], 4)
    grain = noise(chance, shape) * np.float32(chance.uniform(0.3, 2.5))
    if chance.random() < 1 / 2:
        grain = cv2.GaussianBlur(grain, (0, 0), chance.uniform(0.5, 1.2)) * 2  # type: ignore[assignment]
    stains = cloud(chance, shape, (shape[0] / 5, shape[1] / 5)) * np.float32(chance.uniform(0, 2))
    return _shade(colour, grain + stains)


def _shade(colour: Colour, levels: Floats) -> Floats:
    """Return a surface of one colour, with ``levels`` added to each channel."""
    return np.asarray(cv2.merge([levels + np.float32(channel) for channel in colour]), np.float32)


def board(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return a dark board with the smears of a dry sponge, shape (height, width, 3)."""
    colour = vary_colour(chance, _BOARDS[chance.integers(len(_BOARDS))], 6)
    height, width = shape
    long, short = chance.uniform(0.3, 0.9), chance.uniform(0.02, 0.08)
    # Smears are streaks: made on a larger field so that turning it leaves no corner empty.
    field = (int(1.5 * max(shape)),) * 2
    streaks = cloud(chance, field, (short * height, long * width))
    turn = cv2.getRotationMatrix2D((field[0] / 2, field[0] / 2), chance.uniform(-60, 60), 1)
    turn[0, 2] -= (field[0] - width) / 2
    turn[1, 2] -= (field[0] - height) / 2
    streaks = np.asarray(cv2.warpAffine(streaks, turn, (width, height)), np.float32)
    patches = cloud(chance, shape, (height / 3, width / 3))
    dust = np.clip(streaks * np.float32(0.6) + patches * np.float32(0.6), 0, 2)
    dust = dust * np.float32(chance.uniform(4, 14)) + noise(chance, shape) * 3
    return _shade(colour, dust)


def desk(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return the top of a desk, wood or plain, shape (height, width, 3)."""
    kind = int(chance.integers(len(_DESKS)))
    colour = vary_colour(chance, _DESKS[kind], 14)
    height, width = shape
    texture = noise(chance, shape) * np.float32(chance.uniform(1, 5))
    if kind < _WOODS:
        fine, long = max(1.2, 0.006 * height), 0.6 * width
        texture = texture + cloud(chance, shape, (fine, long)) * np.float32(chance.uniform(4, 9))
        texture = texture + cloud(chance, shape, (0.06 * height, 0.8 * width)) * 9
        if chance.random() < 1 / 2:
            texture = cv2.resize(texture[::-1].T, (width, height))  # type: ignore[assignment]
    else:
        texture = texture + cloud(chance, shape, (height / 4, width / 4)) * 4
    return tint(1 + texture / np.float32(128), colour)


def rules(chance: np.random.Generator, pixels: Floats, spacing: float, *, squared: bool) -> Floats:
    """Return the paper with pale parallel lines ``spacing`` pixels apart, or with squares."""
    shape = (pixels.shape[0], pixels.shape[1])
    height, width = shape
    tilt = np.tan(np.radians(chance.normal(0, 1.2)))
    reach = 2 * max(shape)
    first = np.arange(chance.uniform(0, 1) * spacing - reach / 4, reach, spacing)
    lines = [np.array([[0, y], [width, y + tilt * width]]) for y in first]
    if squared:
        lines += [np.array([[x, 0], [x - tilt * height, height]]) for x in first]
    colours: tuple[Colour, ...] = (
        (220, 185, 150),
        (200, 200, 198),
        (205, 175, 205),
        (195, 215, 160),
    )
    colour = vary_colour(chance, colours[chance.integers(len(colours))], 12)
    line = float(np.clip(spacing * chance.uniform(0.02, 0.05), 0.7, 3))
    mask = lines_mask(shape, lines, line)
    pixels = lay(chance, pixels, mask, Pen(colour, 0, 0, 0), chance.uniform(0.6, 1))
    if not squared and chance.random() < 1 / 4:
        x = width * (chance.uniform(0.04, 0.14) if chance.random() < 2 / 3 else 0.92)
        margin = lines_mask(shape, [np.array([[x, 0], [x - tilt * height, height]])], line)
        pixels = lay(chance, pixels, margin, Pen((150, 140, 232), 0, 0, 0), 0.8)
    return pixels
