"""What the eye learns from: views of freshly composed pages, made by a process beside training."""

# The probability of each kind of page is a literal where it is drawn.
# ruff: noqa: PLR2004

from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import count as numbers
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from daemon.reading import eye
from daemon.reading.eye import VIEW, Count
from daemon.training import data, fonts, inks, negatives, pages
from daemon.training.inks import Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    # OpenCV's type hints don't carry the pixel dtype; each docstring gives it.
    Bytes = NDArray[Any]

UNIT = 512  # views per unit of work
REUSED = 4  # pages per ink: drawing ink takes as long as composing a page
_BOLD = 1.5  # what the eye should answer, as a multiple of how much of a pixel is covered
_FAINTEST = 40  # an ink must be brighter than this somewhere
_AHEAD = 3  # units that are made ahead of training


@dataclass(frozen=True, slots=True)
class Views:
    """Views of pages with what the eye should say of them.

    Attributes:
        pixels: (N, 96, 96, 3) uint8.
        ink: (N, 96, 96) uint8, 255 on what is written.
        counts: (N,) int64, none, one or several digits.
    """

    pixels: Bytes
    ink: Bytes
    counts: NDArray[np.int64]

    def part(self, of: slice) -> Views:
        """Return some of the views."""
        return Views(self.pixels[of], self.ink[of], self.counts[of])


class Stream:
    """Fresh views without end, made by another process some units ahead."""

    def __init__(self, units: Iterator[Views]) -> None:
        self._units = units
        self._left = joined([])

    def take(self, count: int) -> Views:
        """Return the next views."""
        while len(self._left.counts) < count:
            self._left = joined([self._left, next(self._units)])
        taken = self._left.part(slice(count))
        self._left = self._left.part(slice(count, None))
        return taken


@contextmanager
def stream(sets: Sequence[data.Drawings], seed: int, first: int) -> Iterator[Stream]:
    """Give a stream of views of digits of data sets; the unit ``first`` comes first."""
    # Spawn, because TensorFlow's threads may not survive a fork.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as worker:
        yield Stream(_units(worker, sets, seed, first))
        worker.shutdown(cancel_futures=True)


def _units(
    worker: ProcessPoolExecutor, sets: Sequence[data.Drawings], seed: int, first: int
) -> Iterator[Views]:
    waiting: deque[Future[Views]] = deque()
    for number in numbers(first):
        waiting.append(worker.submit(_made, *_sample(sets, seed, number)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()


def one(sets: Sequence[data.Drawings], seed: int, number: int) -> Views:
    """Return one unit of views; each number gives the same unit every time."""
    return _made(*_sample(sets, seed, number))


def joined(some: Sequence[Views]) -> Views:
    """Join views."""
    none = Views(
        np.zeros((0, VIEW, VIEW, 3), np.uint8),
        np.zeros((0, VIEW, VIEW), np.uint8),
        np.zeros(0, int),
    )
    return Views(
        *(
            np.concatenate([getattr(each, field.name) for each in (none, *some)])
            for field in fields(Views)
        )
    )


def _made(digits: Bytes, things: Bytes, seed: tuple[int, int], size: int) -> Views:
    """Compose a unit of views from digits (N, 28, 28) and images of things (M, 28, 28)."""
    rng = np.random.default_rng(seed)
    ones, nones = _drawn(digits, things, rng)
    pixels = np.empty((size, VIEW, VIEW, 3), np.uint8)
    ink = np.empty((size, VIEW, VIEW), np.uint8)
    counts = np.empty(size, np.int64)
    for index in range(size):
        page = _page(ones, nones, rng)
        pixels[index], ink[index] = viewed(page)
        counts[index] = page.count
    return Views(pixels, ink, counts)


def viewed(page: pages.Page) -> tuple[Bytes, Bytes]:
    """Return a page's view and the view of its mask, (96, 96, 3) and (96, 96) uint8."""
    height, width = page.mask.shape
    seen = eye.view(page.pixels, np.s_[0:height, 0:width])
    mask = np.zeros((VIEW, VIEW), np.uint8)
    there = mask[seen.inside]
    way = cv2.INTER_AREA if max(height, width) > VIEW else cv2.INTER_LINEAR
    scaled = cv2.resize(page.mask, (there.shape[1], there.shape[0]), interpolation=way)
    # A line that covers a third of a pixel is still a line.
    there[:] = cv2.convertScaleAbs(scaled, alpha=_BOLD)
    return seen.pixels, mask


def _sample(
    sets: Sequence[data.Drawings], seed: int, number: int
) -> tuple[Bytes, Bytes, tuple[int, int], int]:
    """Return the digits for a unit, half of them from one set, things, the seed, and the size."""
    rng = np.random.default_rng((seed, number))
    taken = []
    for _ in range(UNIT // REUSED):
        of = sets[0 if rng.random() < 0.5 else int(rng.integers(len(sets)))]
        image = of.images[rng.integers(len(of.images))]
        side = max(image.shape)
        taken.append(
            image if side == 28 else cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)
        )
    things = negatives.things()
    few = things[rng.integers(len(things), size=4)] if len(things) else things
    return np.stack(taken), few, (seed, number), UNIT


def _drawn(digits: Bytes, things: Bytes, rng: Generator) -> tuple[list[Bytes], list[Bytes]]:
    """Return inks of digits and inks of what is not a digit."""
    third = len(digits) // 3
    few = max(2, third // 4)
    given = np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64)
    redrawn = digits[: 2 * third], np.zeros(2 * third, np.int64)
    works = [Work("redrawn", "", 2 * third, 0, *redrawn), Work("strokes", "", 6 * few, 0, *given)]
    other = [Work("doodles", "", 2 * few, 0, *given)]
    if fonts.found():
        works.append(Work("fonts", "", few, 0, *given))
        other.append(Work("letters", "", 2 * few, 0, *given))
    ones = [ink for work in works for ink, _ in inks.drawn(work, rng)]
    nones = [ink for work in other for ink, _ in inks.drawn(work, rng)]
    ones += list(digits[2 * third :])
    nones += list(things)
    return _bright(ones), _bright(nones)


def _bright(some: list[Bytes]) -> list[Bytes]:
    """Return inks with their brightest pixel at 255, without those that can hardly be seen."""
    seen = [ink for ink in some if ink.max() > _FAINTEST]
    return [cv2.convertScaleAbs(ink, alpha=255 / int(ink.max())) for ink in seen]


def _page(ones: list[Bytes], nones: list[Bytes], rng: Generator) -> pages.Page:
    """Compose a page: one digit, several, something else, or nothing at all."""
    contents = ("digit", "several", "other", "nothing", "noise")
    content = rng.choice(contents, p=(0.66, 0.12, 0.12, 0.06, 0.04))
    if content == "digit":
        return _with_a_digit(ones, nones, rng)
    if content == "noise":
        return pages.noise(rng)
    others = _some(ones, 3, rng)
    is_drawing = rng.random() < 0.5
    if content == "several":
        several = _some(ones, int(rng.choice((2, 3, 4), p=(0.7, 0.2, 0.1))), rng)
        if is_drawing:
            return pages.drawing(negatives.beside(several, rng), Count.SEVERAL, rng)
        return pages.paper(several, Count.SEVERAL, others, rng)
    if content == "other" and is_drawing:
        return pages.drawing(_some(nones, 1, rng)[0], Count.NONE, rng)
    return pages.paper(_some(nones, int(content == "other"), rng), Count.NONE, others, rng)


def _with_a_digit(ones: list[Bytes], nones: list[Bytes], rng: Generator) -> pages.Page:
    (ink,) = _some(ones, 1, rng)
    kind = rng.random()
    if kind < 0.1:
        return pages.plain(ink)
    if kind < 0.5:
        return pages.drawing(ink, Count.ONE, rng)
    return pages.paper([ink], Count.ONE, _some([*ones, *nones], 3, rng), rng)


def _some(of: list[Bytes], number: int, rng: Generator) -> list[Bytes]:
    return [of[index] for index in rng.integers(len(of), size=number)]
