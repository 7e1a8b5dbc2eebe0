"""What somebody writes in one place: a digit, a number on a line, and strokes around them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading.eye import Count
from daemon.reading.glyph import Bytes, Floats, bounding_box

_INSIDE = 0.6  # this quantile of the brighter half of the pixels is the inside of strokes
VISIBLE = 40  # a pixel of ink brighter than this is part of its box
_SHIFT = 4  # OpenCV draws at a sixteenth of a pixel


@dataclass(frozen=True, slots=True)
class Ink:
    """One thing that is written, in the colours of MNIST.

    Attributes:
        pixels: (h, w) uint8, white on black.
        label: the digit, 0 to 9, or ``ink_sources.NOT_A_DIGIT``.
    """

    pixels: Bytes
    label: int


@dataclass(frozen=True, slots=True)
class Writing:
    """What is written in one place, in layers of the same shape (h, w) uint8, white on black.

    Attributes:
        ink: the digit, or the number with its marks.
        count: what it is.
        strokes: marks on or next to it that belong to the mask, and may have another colour.
        beside: strokes that don't belong to the mask: a line or dots under the digit.
        cells: (N, 2) float64, left and right of each digit's box on a form, px.
        tall: height of a line of writing, px, of a number.
    """

    ink: Bytes
    count: Count
    strokes: Bytes | None = None
    beside: Bytes | None = None
    cells: NDArray[np.float64] | None = None
    tall: float = 0.0

    @property
    def layers(self) -> list[Bytes]:
        """The layers that there are."""
        return [each for each in (self.ink, self.strokes, self.beside) if each is not None]

    def change(self, layers: Sequence[Bytes], **others: Any) -> "Writing":
        """Return a copy with other layers, in the order of ``layers``."""
        left = iter(layers)
        return replace(
            self,
            ink=next(left),
            strokes=None if self.strokes is None else next(left),
            beside=None if self.beside is None else next(left),
            **others,
        )

    def crop(self) -> "Writing":
        """Return the writing cropped to its box, with its brightest pixel at 255."""
        ink = cv2.convertScaleAbs(self.ink, alpha=255 / max(1, int(self.ink.max())))
        whole = self.change([ink, *self.layers[1:]])
        top, bottom, left, right = bounding_box(whole.whole > VISIBLE)
        cells = None if self.cells is None else self.cells - left
        return whole.change([each[top:bottom, left:right] for each in whole.layers], cells=cells)

    def resize(self, scale: float) -> "Writing":
        """Return the writing scaled, with its edges as sharp as before."""
        cells = None if self.cells is None else self.cells * scale
        resized = [_resize(each, scale) for each in self.layers]
        return self.change(resized, cells=cells, tall=self.tall * scale)

    def rotate(self, degrees: float) -> "Writing":
        """Return the writing rotated, with a shape that holds all of it; without its cells."""
        return self.change([_rotate(each, degrees) for each in self.layers], cells=None)

    @property
    def mask(self) -> Bytes:
        """What the eye shall find, (h, w) uint8."""
        return self.ink if self.strokes is None else np.maximum(self.ink, self.strokes)

    @property
    def whole(self) -> Bytes:
        """All layers, (h, w) uint8."""
        return self.mask if self.beside is None else np.maximum(self.mask, self.beside)


def brighten(ink: Bytes) -> Bytes:
    """Return ink, not black, scaled so that the inside of its strokes is white."""
    full = np.quantile(ink[ink > ink.max() // 2], _INSIDE)
    return cv2.convertScaleAbs(ink, alpha=255 / full)


def crop_ink(ink: Bytes) -> Bytes:
    """Return ink cropped to its box, with its brightest pixel at 255."""
    ink = cv2.convertScaleAbs(ink, alpha=255 / int(ink.max()))
    top, bottom, left, right = bounding_box((ink > VISIBLE).astype(np.uint8))
    return np.asarray(ink[top:bottom, left:right])


def _resize(ink: Bytes, scale: float) -> Bytes:
    size = max(2, round(ink.shape[1] * scale)), max(2, round(ink.shape[0] * scale))
    if scale < 1:
        # A line that gets thinner than a pixel does not fade on paper.
        small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
        return cv2.convertScaleAbs(small, alpha=255 / max(1, int(small.max())))
    grown: Floats = cv2.resize(ink, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    steep = min(scale, 6.0)
    return np.asarray(np.clip((grown - 120) * steep + 120, 0, 255), np.uint8)


def _rotate(ink: Bytes, degrees: float) -> Bytes:
    height, width = ink.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    size = int(width * cos + height * sin) + 2, int(width * sin + height * cos) + 2
    turn[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(ink, turn, size)


@dataclass(frozen=True, slots=True)
class Nib:
    """A pen that draws strokes beside ink that exists already.

    Attributes:
        wide: width of its strokes, px.
        hard: whether they have hard edges, like those of a paint program's pencil.
    """

    wide: float
    hard: bool

    @classmethod
    def of(cls, ink: Bytes) -> "Nib":
        """Return the pen that ink (h, w) seems to be written with."""
        core = cv2.copyMakeBorder((ink > 127).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        away = cv2.distanceTransform(core, cv2.DIST_L2, 3)
        inside = away[core > 0]
        wide = 4 * float(inside.mean()) - 2 if inside.size else 1.0
        inked = np.count_nonzero(ink)
        soft = inked - np.count_nonzero(ink > 250)
        return cls(max(1.0, wide), hard=bool(soft < 0.06 * inked))

    def draw(self, layer: Bytes, points: Floats) -> None:
        """Draw a stroke through points (N, 2), x and y in px, into ``layer``, in place."""
        fixed = np.rint(points * 2**_SHIFT).astype(np.int32)
        kind = cv2.LINE_8 if self.hard else cv2.LINE_AA
        cv2.polylines(layer, [fixed], False, 255, max(1, round(self.wide)), kind, _SHIFT)  # noqa: FBT003

    def dot(self, layer: Bytes, at: Floats, reach: float) -> None:
        """Draw a dot of a radius in px into ``layer``, in place."""
        centre = tuple(int(c) for c in np.rint(at * 2**_SHIFT))
        kind = cv2.LINE_8 if self.hard else cv2.LINE_AA
        cv2.circle(layer, centre, max(4, int(reach * 2**_SHIFT)), 255, -1, kind, _SHIFT)


def choose_nib(ink: Bytes, rng: Generator) -> Nib:
    """Return the pen of an ink, or another one."""
    nib = Nib.of(ink)
    if rng.random() < 0.25:
        return replace(nib, wide=nib.wide * float(rng.uniform(0.5, 1.8)))
    return nib


def bend(points: Floats, size: float, rng: Generator) -> Floats:
    """Return a stroke's points (N, 2) as by an unsteady hand: straight, curved or wavy.

    Args:
        points: its corners.
        size: of the digit, px.
        rng: the random generator.
    """
    steps = 8
    share = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = [a + (b - a) * share for a, b in pairwise(points)]
    fine = np.concatenate((*parts, points[-1:]))
    along = np.linspace(0, 1, len(fine))
    kind = rng.random()
    if kind < 0.4:
        wave = np.zeros(len(fine))
    elif kind < 0.75:
        wave = rng.normal(0, 0.07) * np.sin(np.pi * along)
    else:
        phase = rng.uniform(0, 6.3)
        wave = rng.uniform(0.01, 0.07) * np.sin(rng.uniform(6, 25) * along + phase)
    across = np.array((-1.0, 1.0)) * (points[-1] - points[0])[::-1]
    across = across / max(float(np.hypot(*across)), 1.0)
    jitter = rng.normal(0, 0.008, fine.shape)
    return np.asarray(fine + size * (wave[:, None] * across + jitter))
