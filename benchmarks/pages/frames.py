"""The evaluation pages with a line around the digit: rings, boxes and frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import ink, paper
from benchmarks.pages.ink import Pen, Place
from benchmarks.pages.scene import Page, Scene


def _printed_pen(chance: np.random.Generator) -> Pen:
    colours = (
        (40, 40, 40),
        (95, 95, 95),
        (150, 90, 40),
        (50, 50, 180),
        (70, 110, 50),
        (20, 20, 20),
    )
    return Pen(ink.vary_colour(chance, colours[chance.integers(len(colours))], 10), 0, 0, 0.05)


def _ring(scene: Scene, loosest: float) -> tuple[Place, NDArray[np.float64]]:
    """Return a place for a digit and, around it, the (x, y) half axes of a ring with a gap."""
    chance = scene.chance
    rows, columns = scene.shape
    flattening = float(np.exp(chance.normal(0, 0.08))) * scene.stroke.aspect**0.15
    radius = chance.uniform(0.3, 0.45) * scene.side
    axes = radius * np.array([flattening, 1 / flattening])
    axes = axes * min(1, 0.46 * rows / axes[1], 0.46 * columns / axes[0])
    height = float(axes[1]) * flattening / scene.stroke.reach(flattening)
    height = height / chance.uniform(1.2, loosest)
    slack = np.array([columns, rows]) / 2 - axes * 1.06
    x, y = np.array([columns, rows]) / 2 + slack * chance.uniform(-0.9, 0.9, 2)
    return Place(float(x), float(y), height), axes


def printed_ring(scene: Scene) -> Page:
    """Write inside a printed circle or ellipse, single or double."""
    chance = scene.chance
    place, axes = _ring(scene, 1.7)
    angles = np.linspace(0, 2 * np.pi, 200)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    width = float(axes.min()) * chance.uniform(0.015, 0.09)
    middle = np.array([place.x, place.y]) + axes * chance.normal(0, 0.02, 2)
    rings = [middle + axes * around]
    if chance.random() < 1 / 6:
        width = min(width, 0.03 * float(axes.min()))
        rings.append(middle + (axes + 2.5 * max(width, 1)) * around)
    mask = ink.lines_mask(scene.shape, rings, max(0.8, width))
    pixels = paper.paper(chance, scene.shape)
    pixels = ink.lay(chance, pixels, mask, _printed_pen(chance), chance.uniform(0.7, 1))
    return scene.write(pixels, place)


def drawn_ring(scene: Scene) -> Page:
    """Write inside a ring drawn by hand, which wobbles and need not close."""
    chance = scene.chance
    place, axes = _ring(scene, 1.6)
    sweep = np.radians(chance.uniform(325, 400))
    steps = np.linspace(0, 1, 240)
    angles = chance.uniform(0, 2 * np.pi) + steps * sweep * chance.choice([-1, 1])
    radius = np.full_like(steps, 1.03)
    for wave in (1, 2, 3, 5):
        radius += chance.normal(0, 0.045 / wave) * np.sin(wave * angles + chance.uniform(0, 6.3))
    # The hand drifts outwards, so that the end misses the beginning.
    radius += abs(chance.normal(0, 0.06)) * steps
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]
    middle = np.array([place.x, place.y])
    same = chance.random() < 1 / 2
    pen = scene.pen if same else ink.random_pen(chance)
    share = scene.stroke.line if same else chance.uniform(0.03, 0.1)
    width = float(np.clip(share * place.height * chance.uniform(0.8, 1.05), 1, 0.12 * axes.min()))
    mask = ink.line_mask(scene.shape, middle + axes * around, width)
    pixels = ink.lay(chance, paper.paper(chance, scene.shape), mask, pen)
    return scene.write(pixels, place)


def _rectangle(
    middle: NDArray[np.float64], half: NDArray[np.float64], corner: float, turn: float
) -> NDArray[np.float64]:
    """Return the outline of a rectangle with rounded corners, turned by an angle in radians."""
    points = []
    for quarter, (right, down) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        angles = np.pi / 2 * (quarter + np.linspace(0, 1, 12))
        arc = np.stack([np.cos(angles), np.sin(angles)], axis=1) * corner
        points.append(np.array([right, down]) * (half - corner) + arc)
    outline = np.concatenate([*points, points[0][:1]])
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(middle + outline @ rotation, np.float64)


def box(scene: Scene) -> Page:
    """Write inside a printed box, sometimes one of a row on a form."""
    chance = scene.chance
    rows, columns = scene.shape
    half = scene.side * chance.uniform(0.3, 0.44) * np.exp(chance.normal(0, 0.08, 2))
    half = np.minimum(half, [0.46 * columns, 0.46 * rows])
    room = 2 * min(half[1], half[0] / scene.stroke.aspect)
    height = room * chance.uniform(0.5, 0.82)
    middle = np.array([columns, rows]) / 2 + (
        np.array([columns, rows]) / 2 - half
    ) * chance.uniform(-0.7, 0.7, 2)
    slack = half - height * np.array([scene.stroke.aspect, 1]) / 2
    x, y = middle + slack * chance.uniform(-0.6, 0.6, 2)
    corner = float(half.min()) * (chance.uniform(0.08, 0.4) if chance.random() < 2 / 5 else 0)
    width = float(np.clip(half.min() * chance.uniform(0.01, 0.06), 0.8, 14))
    turn = np.radians(chance.normal(0, 1.5))
    apart = 2 * half + (chance.uniform(0.05, 0.3) * half.min() if chance.random() < 3 / 5 else 0)
    cells = [(0, 0)]
    if chance.random() < 2 / 5:
        cells += [(-1, 0), (1, 0)] if chance.random() < 2 / 3 else [(0, -1), (0, 1)]
    along = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    outlines = [_rectangle(middle + (apart * cell) @ along, half, corner, turn) for cell in cells]
    mask = ink.lines_mask(scene.shape, outlines, width)
    pixels = paper.paper(chance, scene.shape)
    pixels = ink.lay(chance, pixels, mask, _printed_pen(chance), chance.uniform(0.7, 1))
    return scene.write(pixels, Place(float(x), float(y), height))


def thick_frame(scene: Scene) -> Page:
    """Write inside a thick dark frame near the page's border."""
    chance = scene.chance
    rows, columns = scene.shape
    width = max(3.0, chance.uniform(0.012, 0.035) * scene.side)
    inset = width / 2 + chance.uniform(0.01, 0.07, 4) * scene.side
    left, top = inset[0], inset[1]
    right, bottom = columns - inset[2], rows - inset[3]
    middle, half = (
        np.array([left + right, top + bottom]) / 2,
        np.array([right - left, bottom - top]) / 2,
    )
    corner = float(half.min()) * (chance.uniform(0.04, 0.2) if chance.random() < 1 / 3 else 0)
    turn = np.radians(chance.normal(0, 0.4))
    mask = ink.line_mask(scene.shape, _rectangle(middle, half, corner, turn), width)
    colour = ink.vary_colour(chance, (45, 40, 40), 30)
    pixels = ink.lay(chance, paper.paper(chance, scene.shape), mask, Pen(colour, 0, 0, 0.05))
    edge = float(inset.max() + 1.5 * width)
    free = (edge / columns, edge / rows, 1 - edge / columns, 1 - edge / rows)
    return scene.write(pixels, scene.place(0.22, 0.7, free))
