"""Pens and strokes of the evaluation pages: digits, lines and rings drawn as coverage masks.

A mask is a float32 array of the page's height and width: 0 where the paper shows, 1 under ink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats: TypeAlias = NDArray[np.float32]
Colour: TypeAlias = tuple[float, float, float]  # blue, green, red, as OpenCV has them

_ENLARGED = 8  # a stroke is kept at 8 times MNIST's resolution
_MIDDLE = 115.0  # the grey level at which MNIST's strokes have their width
_WIDEST = 0.16  # of the digit's height; a wider line is a brush's
_NECK = 5  # pixels of the enlarged digit, 3 % of its height
_GRAIN = 256  # pixels; independent noise repeats after so many
_FRACTION_BITS = 4  # OpenCV draws at sixteenths of a pixel


@dataclass(frozen=True)
class Pen:
    """A pen: its colour, how much paper it leaves bare, and its stroke width.

    ``level`` is the grey level of MNIST at which the stroke ends: lower is wider. ``thinning`` is
    the share of the stroke's width that is then taken away. ``grain`` is the share of the ink that
    the paper's texture keeps off.
    """

    colour: Colour
    level: float
    thinning: float
    grain: float


@dataclass(frozen=True)
class Stroke:
    """A digit cut to its bounding box: shape (height, width), 1 inside the stroke."""

    inside: Floats

    @property
    def aspect(self) -> float:
        """The width divided by the height."""
        height, width = self.inside.shape
        return float(width / height)

    @property
    def line(self) -> float:
        """The stroke's width divided by the digit's height."""
        distance = cv2.distanceTransform((self.inside > 0).astype(np.uint8), cv2.DIST_L2, 3)
        return float(4 * distance[distance > 0].mean() / self.inside.shape[0])

    def reach(self, flattening: float) -> float:
        """Return the digit's greatest distance from its middle, divided by its height.

        The horizontal distance counts ``1 / flattening``, the vertical one ``flattening``.
        """
        height, width = self.inside.shape
        rows, columns = np.nonzero(self.inside)
        across = (columns - width / 2) / flattening
        down = (rows - height / 2) * flattening
        return float(np.hypot(across, down).max() / height)


@dataclass(frozen=True)
class Place:
    """Where a digit stands: its middle and its height, in pixels."""

    x: float
    y: float
    height: float


def noise(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return noise with a standard deviation of 1, independent within 256 pixels."""
    rows, columns = shape
    some = (min(rows, _GRAIN), min(columns, _GRAIN))
    tile = chance.standard_normal(some, dtype=np.float32)
    if some == shape:
        return tile
    return np.tile(tile, (-(-rows // some[0]), -(-columns // some[1])))[:rows, :columns]


def cloud(
    chance: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float]
) -> Floats:
    """Return smooth noise whose hills are about ``cells`` pixels high and wide."""
    small = (int(shape[0] / cells[0]) + 2, int(shape[1] / cells[1]) + 2)
    coarse = noise(chance, small)
    grown = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown, np.float32)


def tint(levels: Floats, colour: Colour) -> Floats:
    """Return levels of shape (height, width) times a colour, shape (height, width, 3).

    ``cv2.merge`` takes a fifth of the time of numpy's broadcasting over the last axis.
    """
    return np.asarray(cv2.merge([levels * np.float32(channel) for channel in colour]), np.float32)


def random_pen(chance: np.random.Generator) -> Pen:
    """Return a ballpoint, a pencil, a felt pen, or a red or green pen."""
    ballpoint, pencil, felt = (0.12, (0.25, 0.6)), (0.45, (0.1, 0.45)), (0.04, (0.0, 0.0))
    choices: list[tuple[Colour, tuple[float, tuple[float, float]]]] = [
        ((150, 62, 32), ballpoint),
        ((48, 42, 40), ballpoint),
        ((82, 80, 80), pencil),
        ((34, 30, 30), felt),
        ((135, 50, 25), felt),
        ((48, 40, 190), ballpoint if chance.random() < 1 / 2 else felt),
        ((62, 112, 28), ballpoint if chance.random() < 1 / 2 else felt),
    ]
    colour, (grain, (least, most)) = choices[chance.integers(len(choices))]
    return Pen(
        colour=vary_colour(chance, colour, 10),
        level=chance.uniform(80, 150),
        thinning=chance.uniform(least, most),
        grain=grain * chance.uniform(0.6, 1.2),
    )


def vary_colour(chance: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """Return the colour with each channel changed by up to ``spread``."""
    blue, green, red = np.clip(np.array(colour) + chance.uniform(-spread, spread, 3), 0, 255)
    return float(blue), float(green), float(red)


def trace(image: NDArray[np.uint8], pen: Pen, turn: float, lean: float) -> Stroke:
    """Return a 28x28 digit as a pen writes it, turned by degrees and leaning.

    A pen that would break a stroke or close a loop is made more like MNIST's own.
    """
    side = image.shape[0] * _ENLARGED
    large = cv2.resize(np.float32(image), (side, side), interpolation=cv2.INTER_LANCZOS4)  # type: ignore[call-overload]
    affine = cv2.getRotationMatrix2D((side / 2, side / 2), turn, 0.9)
    affine = affine @ np.array([[1, lean, -lean * side / 2], [0, 1, 0], [0, 0, 1]])
    large = np.asarray(cv2.warpAffine(large, affine, (side, side)), np.float32)
    smooth = np.asarray(cv2.GaussianBlur(large, (0, 0), _ENLARGED * 0.5), np.float32)
    # Some of MNIST's strokes are so faint that they break at the usual level.
    models = {level: _inside(large, level, 0) for level in (_MIDDLE, 85.0, 55.0)}
    middle = min(models, key=lambda level: len(_areas(models[level])))
    inside = models[middle]
    widening = pen.level - _MIDDLE if middle == _MIDDLE else 0
    thinning = max(pen.thinning, 1 - _WIDEST / Stroke(_crop(inside)).line)
    for tamed in (1, 0.6, 0.3, 0):
        written = _inside(smooth, middle + tamed * widening, tamed * thinning)
        if _has_same_form(written, inside):
            return Stroke(_crop(written))
    return Stroke(_crop(inside))


def _crop(inside: NDArray[np.uint8]) -> Floats:
    """Return the ink's bounding box."""
    left, top, width, height = cv2.boundingRect(inside)
    return np.asarray(inside[top : top + height, left : left + width], np.float32)


def _inside(large: Floats, level: float, thinning: float) -> NDArray[np.uint8]:
    """Return 1 where the enlarged digit is inked, 0 elsewhere."""
    inside = (large > level).astype(np.uint8)
    if not thinning:
        return inside
    # Keep what is deep inside the stroke for its local width: thin strokes don't break.
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    near = cv2.dilate(depth, np.ones((2 * _ENLARGED + 1,) * 2, np.uint8))
    return np.asarray(depth > thinning * np.maximum(near, 1), np.uint8)


def _has_same_form(written: NDArray[np.uint8], model: NDArray[np.uint8]) -> bool:
    """Return whether both have as many pieces and loops, and the written loops are open."""
    # Necks of a few pixels hold the stroke together here, but not on the page.
    firm = np.asarray(cv2.erode(written, np.ones((_NECK, _NECK), np.uint8)), np.uint8)
    pieces = len(_areas(model))
    if len(_areas(written)) != pieces or len(_areas(firm)) != pieces:
        return False
    loops, model_loops = _areas(1 - written), _areas(1 - model)
    # The largest area of paper is that around the digit.
    return len(loops) == len(model_loops) and sum(loops[:-1]) >= 0.6 * sum(model_loops[:-1])


def _areas(inside: NDArray[np.uint8]) -> list[int]:
    """Return the areas of the pieces of at least one of MNIST's pixels, the smallest first."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(inside)
    areas = sorted(boxes[1:, cv2.CC_STAT_AREA].tolist())
    return [area for area in areas if area >= _ENLARGED**2]


def digit_mask(shape: tuple[int, int], stroke: Stroke, place: Place) -> Floats:
    """Return the mask of a digit on the page; what lies beyond the page's edge is cut off."""
    scale = place.height / stroke.inside.shape[0]
    spread = max(1.8, 0.5 / scale)  # smooths the steps of the stroke's own pixels
    border = int(3 * spread) + 1
    framed = cv2.copyMakeBorder(
        stroke.inside, border, border, border, border, cv2.BORDER_CONSTANT, value=(0,)
    )
    soft = cv2.GaussianBlur(framed, (0, 0), spread)
    affine = np.array([[scale, 0, place.x], [0, scale, place.y]])
    affine[:, 2] -= scale * np.array([soft.shape[1] / 2, soft.shape[0] / 2])
    found = cv2.warpAffine(soft, affine, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    # An edge of the blurred stroke rises by 0.4 / spread per pixel; make it one page pixel wide.
    gain = max(1.0, scale * spread / 0.4 * 0.8)
    return np.asarray(np.clip(0.5 + (found - 0.5) * np.float32(gain), 0, 1), np.float32)


def line_mask(shape: tuple[int, int], points: NDArray[np.float64], width: float) -> Floats:
    """Return the mask of a line through points of shape (n, 2), x before y."""
    return lines_mask(shape, [points], width)


def lines_mask(
    shape: tuple[int, int], lines: Sequence[NDArray[np.float64]], width: float
) -> Floats:
    """Return the mask of several lines of one width; lines below a pixel are paler instead."""
    drawn = np.zeros(shape, np.uint8)
    steps = [np.round(line * 2**_FRACTION_BITS).astype(np.int32) for line in lines]
    thickness = max(1, round(width))
    cv2.polylines(drawn, steps, False, (255,), thickness, cv2.LINE_AA, _FRACTION_BITS)  # noqa: FBT003 - OpenCV's
    return np.asarray(drawn, np.float32) * np.float32(min(1.0, width) / 255)


def _tooth(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return the noise of a surface's texture, which grows with the picture of it."""
    cell = max(shape) / 160
    return cloud(chance, shape, (cell, cell)) if cell > 1 else noise(chance, shape)


def lay(
    chance: np.random.Generator, pixels: Floats, mask: Floats, pen: Pen, strength: float = 1
) -> Floats:
    """Return the page, shape (height, width, 3), with ink laid over the mask."""
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    if not width:
        return pixels
    part = np.s_[top : top + height, left : left + width]
    cover = mask[part] * np.float32(strength)
    if pen.grain:
        tooth = np.clip(0.5 + 0.6 * _tooth(chance, (height, width)), 0, 1)
        patch = max(4.0, max(height, width) / 10)
        flow = np.clip(0.5 + 0.4 * cloud(chance, (height, width), (patch, patch)), 0, 1)
        cover = cover * (1 - np.float32(pen.grain / 2) * (tooth + flow))
    inked = pixels.copy()
    dry = tint(1 - cover, (1, 1, 1))
    inked[part] = pixels[part] * dry + tint(cover, pen.colour)
    return inked
