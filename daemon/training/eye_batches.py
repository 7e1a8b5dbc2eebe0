"""What the eye learns from: views of freshly composed pages, made by a second process."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading import eye
from daemon.reading.eye import VIEW, Count
from daemon.reading.glyph import Bytes
from daemon.training import data, ink_sources, marks, number_lines, pages, pens
from daemon.training.ink_sources import InkUnit
from daemon.training.processes import open_processes
from daemon.training.writing import Ink, Writing

UNIT = 512  # views per unit of work
REUSED = 4  # pages per ink: drawing ink takes as long as composing a page
# The eye's target, as a multiple of how much of a pixel is covered: at least, and at most for a
# hairline on a large page, whose mean becomes _FULL.
_BOLD, _BOLDEST, _FULL = 1.5, 4.0, 190
_TRACE = 12  # a pixel with less of the mask is not covered
_HALF = 127  # a pixel brighter than this is ink
_FAINTEST = 40  # an ink must be brighter than this somewhere
# Each page is shown so many times, from the second time on in other colours: composing a page takes
# longer than learning from it.
SHOWN = 3
_DELAY = 6  # units between a page and its next time
_AHEAD = 3  # units that are composed ahead of training
# A pixel of the target ink whose loss doesn't count: a stroke that the side of a tile cuts may
# belong to the number or not. No pixel that ``view_page`` scales has this value.
UNKNOWN = 1
UNCOUNTED = -1  # the count of a tile: its loss doesn't count either
_CUT = VIEW // 5  # so much of a view is unknown at a side that cuts the line of writing, px
# What a page has on it, and how often. Most people drop single digits.
CONTENTS = {
    "digit": 0.43,
    "underlined": 0.04,
    "marked": 0.11,
    "number": 0.18,
    "tile": 0.13,
    "other": 0.06,
    "nothing": 0.03,
    "noise": 0.02,
}
_WORDS = 24  # words rendered for a unit


class EyeBatch(NamedTuple):
    """Views of pages with the eye's targets.

    Attributes:
        pixels: (N, 96, 96, 3) uint8.
        ink: (N, 96, 96) uint8, 255 on the writing, ``UNKNOWN`` where it doesn't matter.
        counts: (N,) int64, a ``Count`` or ``UNCOUNTED``.
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
        self._rng = np.random.default_rng((seed, first))
        self._pending: deque[Future[EyeBatch]] = deque()
        self._again: deque[EyeBatch] = deque()
        self._left: EyeBatch | None = None
        self._worker = open_processes(1)

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
        if len(self._again) > _DELAY * (SHOWN - 1):
            return recolour(self._again.popleft(), self._rng)
        while len(self._pending) <= _AHEAD:
            inputs = _choose_inputs(self._sets, self._seed, self._number)
            self._pending.append(self._worker.submit(_compose_unit, *inputs))
            self._number += 1
        unit = self._pending.popleft().result()
        self._again.extend([unit] * (SHOWN - 1))
        return unit


def compose_unit(
    sets: Sequence[data.Drawings], seed: int, number: int, content: str | None = None
) -> EyeBatch:
    """Return one unit of views; the same arguments give the same unit.

    Args:
        sets: digits to draw the pages with.
        seed: of all units.
        number: of the unit.
        content: what all pages have on them, a key of ``CONTENTS``; ``None`` for a mixture.
    """
    return _compose_unit(*_choose_inputs(sets, seed, number), content)


def recolour(views: EyeBatch, rng: Generator) -> EyeBatch:
    """Return views with other colours, brighter or darker, at times as their negatives."""
    pixels = views.pixels.copy()
    for view in pixels:
        view[:] = view[..., rng.permutation(3)]
        shades = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.3))
        if rng.random() < 0.3:
            shades = 1 - shades
        view[:] = cv2.LUT(view, np.rint(255 * shades).astype(np.uint8))
    return views._replace(pixels=pixels)


def concatenate(batches: Sequence[EyeBatch]) -> EyeBatch:
    """Join batches into one."""
    return EyeBatch(*map(np.concatenate, zip(*batches, strict=True)))


def _choose_inputs(
    sets: Sequence[data.Drawings], seed: int, number: int
) -> tuple[Bytes, NDArray[np.int64], Bytes, tuple[int, int]]:
    """Return the arguments of ``_compose_unit``; half of the digits are of the first set."""
    rng = np.random.default_rng((seed, number))
    digits, labels = [], []
    for _ in range(UNIT // REUSED):
        of = sets[0 if rng.random() < 0.5 else int(rng.integers(len(sets)))]
        index = rng.integers(len(of.images))
        image = of.images[index]
        side = max(image.shape)
        digits.append(
            image if side == 28 else cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)
        )
        labels.append(int(of.labels[index]))
    things = data.load_fashion()
    few = things[rng.integers(len(things), size=4)] if len(things) else things
    return np.stack(digits), np.array(labels), few, (seed, number)


@dataclass(frozen=True, slots=True)
class _Inks:
    """What the pages of a unit are written with.

    Attributes:
        lines: digits as one-pixel lines, (64, 64) each.
        digits: digits drawn with all tools.
        originals: digits as they are in their sets.
        others: what is not a digit.
        words: rendered, white on black.
    """

    lines: list[Ink]
    digits: list[Ink]
    originals: list[Ink]
    others: list[Bytes]
    words: list[Bytes]

    @property
    def anything(self) -> list[Bytes]:
        """Inks that the edge of a page may cut."""
        return [*(ink.pixels for ink in self.digits), *self.others]


def _compose_unit(
    digits: Bytes,
    labels: NDArray[np.int64],
    things: Bytes,
    seed: tuple[int, int],
    content: str | None = None,
) -> EyeBatch:
    """Compose a unit of views from digits (N, 28, 28) and images of things (M, 28, 28)."""
    rng = np.random.default_rng(seed)
    inks = _draw_inks(digits, labels, things, rng)
    anything = inks.anything
    contents, shares = list(CONTENTS), np.array(list(CONTENTS.values()))
    views = []
    for _ in range(REUSED * len(digits)):
        chosen = content or str(rng.choice(contents, p=shares))
        views.append(_compose_view(chosen, inks, anything, rng))
    return EyeBatch(*map(np.array, zip(*views, strict=True)))


def _draw_inks(digits: Bytes, labels: NDArray[np.int64], things: Bytes, rng: Generator) -> _Inks:
    """Draw all inks of a unit."""
    third = len(digits) // 3
    few = max(2, third // 4)
    traced = ink_sources.trace(digits[: 2 * third], rng)
    lines = [Ink(line, int(label)) for line, label in zip(traced, labels, strict=False)]
    for _ in range(6 * few):
        digit = pens.choose_digit(rng)
        lines.append(Ink(pens.draw_digit(digit, rng), digit))
    lines = [ink for ink in lines if ink.pixels.any()]
    drawn = [Ink(pens.redraw(pens.break_some(ink.pixels, rng), rng), ink.label) for ink in lines]
    originals = [
        Ink(image, int(label))
        for image, label in zip(digits[2 * third :], labels[2 * third :], strict=True)
    ]
    others = [InkUnit("doodles", "", 2 * few)]
    words: list[Bytes] = []
    if data.find_fonts():
        fonts = InkUnit("fonts", "", few)
        drawn += [Ink(ink, label) for ink, label in ink_sources.draw_inks(fonts, rng)]
        others.append(InkUnit("letters", "", 2 * few))
        words = ink_sources.render_words(_WORDS, rng)
    nones = [ink for unit in others for ink, _ in ink_sources.draw_inks(unit, rng)]
    originals = _normalize(originals)
    return _Inks(
        lines,
        [*_normalize(drawn), *originals],
        originals,
        [ink.pixels for ink in _normalize([Ink(each, 0) for each in [*nones, *things]])],
        words,
    )


def _normalize(inks: list[Ink]) -> list[Ink]:
    """Return inks with their brightest pixel at 255, without those that are hardly visible."""
    visible = [ink for ink in inks if ink.pixels.max() > _FAINTEST]
    return [
        Ink(cv2.convertScaleAbs(ink.pixels, alpha=255 / int(ink.pixels.max())), ink.label)
        for ink in visible
    ]


def _compose_view(
    content: str, inks: _Inks, anything: list[Bytes], rng: Generator
) -> tuple[Bytes, Bytes, int]:
    """Return a view of a fresh page, its target ink, and its count."""
    if content == "tile":
        page = _compose_number(inks, anything, rng, drawn=0.15)
        return (*_view_tile(page, rng), UNCOUNTED)
    page = _compose_page(content, inks, anything, rng)
    return (*view_page(page), page.count)


def _compose_page(
    content: str, inks: _Inks, anything: list[Bytes], rng: Generator
) -> pages.SyntheticPage:
    """Compose a page with a content, a key of ``CONTENTS``."""
    if content == "noise":
        return pages.compose_noise(rng)
    if content == "digit":
        return _compose_one_digit(inks, anything, rng)
    if content == "number":
        return _compose_number(inks, anything, rng, drawn=0.35)
    others = _choose(anything, 3, rng)
    writing = None
    if content == "underlined":
        (ink,) = _choose(inks.digits, 1, rng)
        writing = marks.underline(Writing(ink.pixels, Count.ONE).crop(), rng)
    elif content == "marked":
        (ink,) = _choose(inks.digits, 1, rng)
        writing = marks.mark(ink, rng)
    elif content == "other":
        among = inks.words if inks.words and rng.random() < 0.25 else inks.others
        writing = Writing(_choose(among, 1, rng)[0], Count.NONE)
    if writing is not None and rng.random() < 0.5:
        return pages.compose_drawing(writing, rng)
    return pages.compose_paper(writing, others, _choose_words(inks, rng), rng)


def _compose_number(
    inks: _Inks, anything: list[Bytes], rng: Generator, *, drawn: float
) -> pages.SyntheticPage:
    """Compose a page with a number: a share of them drawn, the others on paper."""
    if rng.random() < 0.5:
        writing = number_lines.write_with_one_pen(_choose(inks.lines, 16, rng), rng)
    else:
        among = inks.originals if rng.random() < 0.6 else inks.digits
        writing = number_lines.write_with_inks(_choose(among, 16, rng), rng)
    if rng.random() < 0.15:
        writing = marks.underline(writing, rng)
    if rng.random() < drawn:
        return pages.compose_drawing(writing, rng)
    return pages.compose_paper(writing, _choose(anything, 3, rng), _choose_words(inks, rng), rng)


def _compose_one_digit(inks: _Inks, anything: list[Bytes], rng: Generator) -> pages.SyntheticPage:
    (ink,) = _choose(inks.digits, 1, rng)
    kind = rng.random()
    if kind < 0.1:
        return pages.compose_set_image(ink.pixels)
    writing = Writing(ink.pixels, Count.ONE)
    if ink.label in marks.CROSSED and rng.random() < 0.12:
        writing = marks.cross_as_written(ink, rng)
    if kind < 0.5:
        return pages.compose_drawing(writing, rng)
    words = _choose_words(inks, rng)
    return pages.compose_paper(writing, _choose(anything, 3, rng), words, rng)


_T = TypeVar("_T")


def _choose(among: Sequence[_T], count: int, rng: Generator) -> list[_T]:
    return [among[index] for index in rng.integers(len(among), size=count)]


def _choose_words(inks: _Inks, rng: Generator) -> list[Bytes]:
    """Return words to write next to the digits: mostly none."""
    if not inks.words or rng.random() < 0.82:
        return []
    return _choose(inks.words, int(rng.integers(1, 4)), rng)


def view_page(page: pages.SyntheticPage) -> tuple[Bytes, Bytes]:
    """Return a page's view and the view of its mask, (96, 96, 3) and (96, 96) uint8."""
    height, width = page.mask.shape
    return _view(page, np.s_[0:height, 0:width])


def _view_tile(page: pages.SyntheticPage, rng: Generator) -> tuple[Bytes, Bytes]:
    """Return a view of a part of a page, about 2.5 times as high as the line of writing."""
    height, width = page.mask.shape
    side = max(8, round(page.tall * rng.uniform(1.8, 3.2)))
    inked = np.flatnonzero(page.mask > _HALF)
    y, x = divmod(int(rng.choice(inked)), width) if len(inked) else (height // 2, width // 2)
    top = int(np.clip(y - side / 2 + rng.normal(0, 0.1) * side, 0, max(0, height - side)))
    left = int(np.clip(x - rng.random() * side, 0, max(0, width - side)))
    pixels, ink = _view(page, np.s_[top : min(height, top + side), left : min(width, left + side)])
    if left > 0:
        ink[:, :_CUT] = UNKNOWN
    if left + side < width:
        ink[:, -_CUT:] = UNKNOWN
    return pixels, ink


def _view(page: pages.SyntheticPage, region: tuple[slice, slice]) -> tuple[Bytes, Bytes]:
    view = eye.crop_view(page.pixels, region)
    part = page.mask[region]
    mask = np.zeros((VIEW, VIEW), np.uint8)
    there = mask[view.inside]
    method = cv2.INTER_AREA if max(part.shape) > VIEW else cv2.INTER_LINEAR
    resized = cv2.resize(part, (there.shape[1], there.shape[0]), interpolation=method)
    # A line that covers a third of a pixel is still a line, and so is one that covers a fifth if
    # nothing on the page covers more.
    covered = resized[resized > _TRACE]
    usual = float(covered.mean()) if covered.size else 255.0
    there[:] = cv2.convertScaleAbs(resized, alpha=max(_BOLD, min(_BOLDEST, _FULL / usual)))
    return view.pixels, mask
