"""What the eye learns from: views of freshly composed pages, made by a second process."""

import multiprocessing
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading import eye
from daemon.reading.eye import VIEW, Count
from daemon.reading.glyph import Bytes
from daemon.training import data, ink_sources, pages
from daemon.training.ink_sources import InkUnit

UNIT = 512  # views per unit of work
REUSED = 4  # pages per ink: drawing ink takes as long as composing a page
_BOLD = 1.5  # the eye's target, as a multiple of how much of a pixel is covered
_FAINTEST = 40  # an ink must be brighter than this somewhere
_AHEAD = 3  # units that are composed ahead of training


class EyeBatch(NamedTuple):
    """Views of pages with the eye's targets.

    Attributes:
        pixels: (N, 96, 96, 3) uint8.
        ink: (N, 96, 96) uint8, 255 on the writing.
        counts: (N,) int64, none, one or several digits.
    """

    pixels: Bytes
    ink: Bytes
    counts: NDArray[np.int64]

    def part(self, of: slice) -> "EyeBatch":
        """Return some of the views."""
        return EyeBatch(*(array[of] for array in self))


class EyeStream:
    """An endless stream of views of fresh pages, which another process composes ahead.

    Args:
        sets: digits to draw the pages with.
        seed: of all units.
        first: number of the first unit, to continue a stream.
    """

    def __init__(self, sets: Sequence[data.Drawings], seed: int, first: int) -> None:
        self._sets = sets
        self._seed = seed
        self._number = first
        self._pending: deque[Future[EyeBatch]] = deque()
        self._left: EyeBatch | None = None
        # Spawn, because TensorFlow's threads may not survive a fork.
        self._worker = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown(cancel_futures=True)

    def take(self, count: int) -> EyeBatch:
        """Return the next views."""
        views = self._left or self._next_unit()
        while len(views.counts) < count:
            views = concatenate([views, self._next_unit()])
        self._left = views.part(slice(count, None))
        return views.part(slice(count))

    def _next_unit(self) -> EyeBatch:
        while len(self._pending) <= _AHEAD:
            inputs = _choose_inputs(self._sets, self._seed, self._number)
            self._pending.append(self._worker.submit(_compose_unit, *inputs))
            self._number += 1
        return self._pending.popleft().result()


def compose_unit(sets: Sequence[data.Drawings], seed: int, number: int) -> EyeBatch:
    """Return one unit of views; the same seed and number give the same unit."""
    return _compose_unit(*_choose_inputs(sets, seed, number))


def concatenate(batches: Sequence[EyeBatch]) -> EyeBatch:
    """Join batches into one."""
    return EyeBatch(*map(np.concatenate, zip(*batches, strict=True)))


def _choose_inputs(
    sets: Sequence[data.Drawings], seed: int, number: int
) -> tuple[Bytes, Bytes, tuple[int, int]]:
    """Return the arguments of ``_compose_unit``; half of the digits are of the first set."""
    rng = np.random.default_rng((seed, number))
    digits = []
    for _ in range(UNIT // REUSED):
        of = sets[0 if rng.random() < 0.5 else int(rng.integers(len(sets)))]
        image = of.images[rng.integers(len(of.images))]
        side = max(image.shape)
        digits.append(
            image if side == 28 else cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)
        )
    things = data.load_fashion()
    few = things[rng.integers(len(things), size=4)] if len(things) else things
    return np.stack(digits), few, (seed, number)


def _compose_unit(digits: Bytes, things: Bytes, seed: tuple[int, int]) -> EyeBatch:
    """Compose a unit of views from digits (N, 28, 28) and images of things (M, 28, 28)."""
    rng = np.random.default_rng(seed)
    ones, nones = _draw_inks(digits, things, rng)
    views = []
    for _ in range(REUSED * len(digits)):
        page = _compose_page(ones, nones, rng)
        views.append((*view_page(page), page.count))
    return EyeBatch(*map(np.array, zip(*views, strict=True)))


def _draw_inks(digits: Bytes, things: Bytes, rng: Generator) -> tuple[list[Bytes], list[Bytes]]:
    """Return inks of digits and inks of what is not a digit."""
    third = len(digits) // 3
    few = max(2, third // 4)
    redrawn, unchanged = digits[: 2 * third], digits[2 * third :]
    units = [
        InkUnit("redrawn", "", 2 * third, images=redrawn, labels=np.zeros(2 * third, np.int64)),
        InkUnit("strokes", "", 6 * few),
    ]
    others = [InkUnit("doodles", "", 2 * few)]
    if data.find_fonts():
        units.append(InkUnit("fonts", "", few))
        others.append(InkUnit("letters", "", 2 * few))
    ones = [ink for unit in units for ink, _ in ink_sources.draw_inks(unit, rng)]
    nones = [ink for unit in others for ink, _ in ink_sources.draw_inks(unit, rng)]
    return _normalize([*ones, *unchanged]), _normalize([*nones, *things])


def _normalize(inks: list[Bytes]) -> list[Bytes]:
    """Return inks with their brightest pixel at 255, without those that are hardly visible."""
    visible = [ink for ink in inks if ink.max() > _FAINTEST]
    return [cv2.convertScaleAbs(ink, alpha=255 / int(ink.max())) for ink in visible]


def _compose_page(ones: list[Bytes], nones: list[Bytes], rng: Generator) -> pages.SyntheticPage:
    """Compose a page: one digit, several, something else, or nothing at all."""
    contents = ("digit", "several", "other", "nothing", "noise")
    content = rng.choice(contents, p=(0.66, 0.12, 0.12, 0.06, 0.04))
    if content == "digit":
        return _compose_one_digit(ones, nones, rng)
    if content == "noise":
        return pages.compose_noise(rng)
    others = _choose(ones, 3, rng)
    is_drawing = rng.random() < 0.5
    if content == "several":
        several = _choose(ones, int(rng.choice((2, 3, 4), p=(0.7, 0.2, 0.1))), rng)
        if is_drawing:
            row = ink_sources.place_side_by_side(several, rng)
            return pages.compose_drawing(row, Count.SEVERAL, rng)
        return pages.compose_paper(several, Count.SEVERAL, others, rng)
    if content == "other" and is_drawing:
        return pages.compose_drawing(_choose(nones, 1, rng)[0], Count.NONE, rng)
    inks = _choose(nones, int(content == "other"), rng)
    return pages.compose_paper(inks, Count.NONE, others, rng)


def _compose_one_digit(
    ones: list[Bytes], nones: list[Bytes], rng: Generator
) -> pages.SyntheticPage:
    (ink,) = _choose(ones, 1, rng)
    kind = rng.random()
    if kind < 0.1:
        return pages.compose_set_image(ink)
    if kind < 0.5:
        return pages.compose_drawing(ink, Count.ONE, rng)
    return pages.compose_paper([ink], Count.ONE, _choose([*ones, *nones], 3, rng), rng)


def _choose(inks: list[Bytes], count: int, rng: Generator) -> list[Bytes]:
    return [inks[index] for index in rng.integers(len(inks), size=count)]


def view_page(page: pages.SyntheticPage) -> tuple[Bytes, Bytes]:
    """Return a page's view and the view of its mask, (96, 96, 3) and (96, 96) uint8."""
    height, width = page.mask.shape
    view = eye.crop_view(page.pixels, np.s_[0:height, 0:width])
    mask = np.zeros((VIEW, VIEW), np.uint8)
    there = mask[view.inside]
    method = cv2.INTER_AREA if max(height, width) > VIEW else cv2.INTER_LINEAR
    resized = cv2.resize(page.mask, (there.shape[1], there.shape[0]), interpolation=method)
    # A line that covers a third of a pixel is still a line.
    there[:] = cv2.convertScaleAbs(resized, alpha=_BOLD)
    return view.pixels, mask
