"""Draw a digit in a paint program at 28x28, or on a larger canvas, a scan or a photo."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.styles.shapes import Array, Shape, add_tremor, happens

_SMALL = 28  # px, the side of the paint program's canvas
_TRIES = 500  # drawings with one pen


@dataclass(frozen=True, slots=True)
class Pen:
    """A pen: its width in px, whether its edge is hard, and how far ends taper."""

    width: float
    hard: bool
    taper: float


def _ink(strokes: list[Array], pen: Pen, size: tuple[int, int]) -> Array:
    """Return how much of each pixel the pen covers, (H, W), 0 to 1; points are in px."""
    if pen.hard and pen.width == 1:
        pencil = Image.new("L", size)
        for stroke in strokes:
            # A mouse reports its place about once a pixel; denser points make every step a corner.
            seen = np.concatenate([stroke[:-1:4], stroke[-1:]])
            steps = [(math.floor(x), math.floor(y)) for x, y in seen]
            ImageDraw.Draw(pencil).line(steps, fill=255)
        return np.asarray(pencil) / 255
    fine = 8 if max(size) <= _SMALL else 3
    large = Image.new("L", (size[0] * fine, size[1] * fine))
    draw = ImageDraw.Draw(large)
    for stroke in strokes:
        along = np.linspace(0, 1, len(stroke))
        full = np.interp(np.minimum(along, 1 - along), [0, 0.2], [1 - pen.taper, 1])
        for (x, y), radius in zip(fine * stroke, fine * pen.width / 2 * full, strict=True):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    covered = np.asarray(large.reduce(fine)) / 255
    return np.round(covered) if pen.hard else covered


def _encloses(ink: Array) -> bool:
    """Return whether the ink encloses at least two pixels of an image of at most 56 px."""
    drawn = Image.fromarray((255 * ink).astype(np.uint8))
    drawn.thumbnail((2 * _SMALL, 2 * _SMALL), Image.Resampling.BOX)
    mask = Image.new("L", (drawn.width + 2, drawn.height + 2))
    mask.paste(drawn.point([0] * 96 + [255] * 160), (1, 1))
    ImageDraw.floodfill(mask, (0, 0), 255)
    return mask.histogram()[0] > 1


def _draw_legible(
    draw: Callable[[Generator], Shape], side: int, size: tuple[int, int], chance: Generator
) -> tuple[Array, Pen]:
    """Return the ink of one digit, and its pen; draw again until a person could read it.

    The kind of pen stays the same meanwhile, or wide pens would become rare. Only a brush that
    closes the gaps of each shape becomes narrower.
    """
    paint_pen, share = _paint_pen(chance), chance.uniform(0.03, 0.12)
    taper = chance.uniform(0, 0.5)
    tries = 0
    while True:
        tries += 1
        if tries % _TRIES == 0:
            paint_pen = replace(paint_pen, width=max(1.0, paint_pen.width - 1))
        shape = draw(chance)
        strokes = add_tremor(shape.strokes, chance)
        points = np.concatenate(strokes)
        extent = np.ptp(points, axis=0)
        long = side * chance.uniform(0.45, 0.9)
        pen = paint_pen if side == _SMALL else Pen(max(1.2, share * long), hard=False, taper=taper)
        scale = (long - pen.width) / extent.max()
        if shape.room * scale < pen.width + max(1.3, 0.05 * long):
            continue
        free = np.maximum(0, (np.array(size) - scale * extent - pen.width) / 2 - 1)
        offset = np.clip(chance.normal(0, side / 16, 2), -side / 7, side / 7)
        centre = np.array(size) / 2 + np.clip(offset, -free, free)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        ink = _ink([centre + scale * (stroke - middle) for stroke in strokes], pen, size)
        if shape.closed is None or _encloses(ink) == shape.closed:
            return ink, pen


def _paint_pen(chance: Generator) -> Pen:
    """Return a pencil of 1 px, a pen of 2 to 3 px or a brush of up to 4 px."""
    kind = chance.choice(3, p=[0.3, 0.4, 0.3])
    if kind == 0:
        return Pen(1, hard=True, taper=0)
    if kind == 1:
        return Pen(float(chance.integers(2, 4)), hard=happens(chance, 0.5), taper=0)
    return Pen(chance.uniform(1.5, 4), hard=happens(chance, 0.2), taper=chance.uniform(0, 0.4))


def paint(draw: Callable[[Generator], Shape], chance: Generator) -> Image.Image:
    """Return a 28x28 image as drawn in a paint program."""
    ink, _ = _draw_legible(draw, _SMALL, (_SMALL, _SMALL), chance)
    kind = chance.choice(4, p=[0.62, 0.14, 0.14, 0.1])
    if kind == 0:
        return _blend(ink, np.zeros(3), np.full(3, 255.0)).convert("L")
    if kind == 1:
        return _blend(ink, _colour(chance), np.full(3, 255.0))
    if kind == 2:  # white on black
        return _blend(ink, np.full(3, 255.0), np.zeros(3)).convert("L")
    colour = _colour(chance) if happens(chance, 0.4) else np.zeros(3)
    return _paint_transparent(ink, colour)


def _colour(chance: Generator) -> Array:
    """Return a colour dark enough for white paper, (3,)."""
    colour = chance.uniform(0, 230, 3)
    colour[chance.integers(3)] *= 0.2
    return colour * min(1.0, 115 / float(colour @ [0.299, 0.587, 0.114]))


def _blend(ink: Array, colour: Array, paper: Array) -> Image.Image:
    """Return ink of a colour on paper, (3,) or (H, W, 3), as RGB."""
    pixels = paper + ink[..., None] * (colour - paper)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _paint_transparent(ink: Array, colour: Array) -> Image.Image:
    """Return ink of a colour on a transparent background, RGBA."""
    image = _blend(np.ones_like(ink), colour, colour)
    image.putalpha(Image.fromarray(np.rint(255 * ink).astype(np.uint8)))
    return image


def photograph(draw: Callable[[Generator], Shape], chance: Generator) -> Image.Image:
    """Return an image of 60 to 400 px, some with uneven paper, blur and noise."""
    width = round(math.exp(chance.uniform(math.log(60), math.log(400))))
    stretch = chance.uniform(0.75, 1.33) if happens(chance, 0.5) else 1.0
    height = min(400, max(60, round(width * stretch)))
    ink, pen = _draw_legible(draw, min(width, height), (width, height), chance)
    if happens(chance, 0.06):
        return _paint_transparent(ink, _colour(chance))
    colour, paper = _colour(chance) * chance.uniform(0.2, 1), chance.uniform(205, 255, 3)
    if happens(chance, 0.4):
        colour, paper = chance.uniform(0, 50) * np.ones(3), np.full(3, 255.0)
    elif happens(chance, 0.12):  # chalk
        colour, paper = chance.uniform(200, 255) * np.ones(3), chance.uniform(10, 70, 3)
    page = np.broadcast_to(paper, (height, width, 3))
    if happens(chance, 0.5):
        angle, depth = chance.uniform(0, 2 * np.pi), chance.uniform(0.04, 0.22)
        rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        slope = math.cos(angle) * (columns - 0.5) + math.sin(angle) * (rows - 0.5)
        page = page * (1 - depth * (slope + 0.71) / 1.42)[..., None]
    image = _blend(ink, colour, page)
    if happens(chance, 0.4):
        image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0.1, 0.35) * pen.width))
    if happens(chance, 0.5):
        noise = chance.normal(0, chance.uniform(1, 9), (height, width, 1))
        image = _blend(np.zeros((height, width)), colour, np.asarray(image) + noise)
    return image.convert("L") if happens(chance, 0.3) else image
