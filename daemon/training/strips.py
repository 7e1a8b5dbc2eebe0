"""Compose strips of numbers for the line reader to learn from.

A strip is composed from digits of one hand: a text is chosen, its digits and marks are placed along
a line of writing, and the result is degraded as pages, cameras and the eye's mask degrade it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain, pairwise, zip_longest
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.errors import DataError
from daemon.reading import line
from daemon.reading.glyph import Bytes, Floats, bounding_box, measure_stroke
from daemon.records import DIGITS
from daemon.training import ink_sources, line_writing, number_texts, pens
from daemon.training.ink_sources import NOT_A_DIGIT, InkUnit
from daemon.training.line_writing import TALL
from daemon.training.processes import open_processes
from daemon.training.writing import brighten

_WIDEST = 64  # px; inks that are wider are left out
# Share of the strings whose digits come from each group of inks; see glyph_batches.SHARES. A group
# that is not listed gets _OTHER_SHARE.
_SHARES = {"mnist": 0.42, "pencil": 0.16, "strokes": 0.12, "fonts": 0.06}
_OTHER_SHARE = 0.06
_MIXED = 0.1  # share of the strings whose digits come from all groups
_ALIKE = 8  # inks of which the one whose strokes are most like the number's is chosen
# Each ink is drawn a little differently each time: standard deviations of its rotation and slant,
# of the logarithm of its width, and of the displacement of its points, px. Without this the
# validation loss of a reader that has seen a million strips rises while that of training falls.
_TURN, _SLANT, _WIDTH, _BEND = 0.06, 0.08, 0.1, 0.9
_FIELDS = 512  # of displacements, which are generated once
_VISIBLE = 50  # pixels of an ink that are brighter are in its box
_ROOM = 5  # px around an ink that is distorted
# Share of the strips without boxes that are in one box, and of those in boxes of which the eye has
# left something.
_IN_ONE_BOX, _SIDES_LEFT = 0.1, 0.4
_FAINTEST = 0.2  # an ink must be brighter than this somewhere
UNIT = 1024  # strips in a unit of work
_AHEAD = 4  # units that are composed ahead of training
COLUMNS = 8192  # of the strips in a batch, together


class Written(NamedTuple):
    """A text that is written on a line.

    Attributes:
        ink: (h, w) uint8, white on black.
        symbols: the classes of its symbols.
        sides: (N,) the columns of the sides of its boxes, if it is written into boxes.
    """

    ink: Bytes
    symbols: list[int]
    sides: Floats | None = None


class StripBatch(NamedTuple):
    """Strips of one width with their texts.

    Attributes:
        pixels: (N, 32, W, 1) uint8.
        texts: (N, L) int32, the symbols' classes; padded with -1.
    """

    pixels: Bytes
    texts: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class InkPool:
    """Inks to compose strips of, each scaled to a height of 40 px.

    Attributes:
        pixels: (N, 40, 64) uint8, white on black, at the left.
        widths: (N,) of the inks, px.
        strokes: (N,) mean widths of their strokes, px.
        labels: (N,) 0 to 10, the last one for letters and scribbles.
        groups: (N,) the group of each.
    """

    pixels: Bytes
    widths: NDArray[np.int64]
    strokes: NDArray[np.float64]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]


def load_pool(path: Path) -> InkPool:
    """Return a pool that ``draw_pool`` has written."""
    with np.load(path) as stored:
        return InkPool(**stored)


def draw_pool(units: Sequence[InkUnit], folder: Path, on_unit: Callable[[int], None]) -> Path:
    """Draw the inks of units, but for those that are too wide.

    Args:
        units: only inks that stand for themselves are drawn: no pairs, no photographs of things.
        folder: where the pool is cached.
        on_unit: called with the number of units that are done.

    Returns:
        The file of the pool.
    """
    cached = folder / f"inks-{ink_sources.cache_key(units)}.npz"
    if cached.exists():
        on_unit(len(units))
        return cached
    parts = []
    with open_processes() as workers:
        for part in workers.map(_draw_unit, units):
            parts.append(part)
            on_unit(1)
    whole = cached.with_suffix(".part.npz")
    arrays: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(InkPool)
    }
    np.savez_compressed(whole, **arrays)
    whole.replace(cached)
    return cached


def _draw_unit(unit: InkUnit) -> InkPool:
    """Draw a unit's inks."""
    pixels, widths, strokes, labels = [], [], [], []
    if not _stands_alone(unit):
        unit = replace(unit, maker="as it is", images=unit.images[:0], labels=unit.labels[:0])
    for ink, label in ink_sources.draw_inks(unit, np.random.default_rng(unit.seed)):
        if ink.max() < 60:
            continue
        bright = cv2.convertScaleAbs(ink, alpha=255 / int(ink.max()))
        top, bottom, left, right = bounding_box(bright > _VISIBLE)
        cut = bright[top:bottom, left:right]
        scale = TALL / cut.shape[0]
        width = max(2, round(cut.shape[1] * scale))
        if width > _WIDEST:
            continue
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        there = np.zeros((TALL, _WIDEST), np.uint8)
        small = cv2.resize(cut, (width, TALL), interpolation=interpolation)
        # A fine line that is scaled down would be fainter than the other digits of its number.
        there[:, :width] = brighten(small)
        pixels.append(there)
        widths.append(width)
        strokes.append(max(1.0, measure_stroke(there / np.float32(255))))
        labels.append(label)
    return InkPool(
        np.array(pixels, np.uint8).reshape(-1, TALL, _WIDEST),
        np.array(widths, np.int64),
        np.array(strokes, np.float64),
        np.array(labels, np.int64),
        np.full(len(labels), unit.group),
    )


def _stands_alone(unit: InkUnit) -> bool:
    is_thing = unit.group == "not a digit" and unit.maker == "as it is"
    return unit.maker != "beside" and not is_thing


class Composer:
    """Composes strips from a pool of inks.

    Args:
        pool: the inks.
        distorts: whether each is drawn a little differently each time, for training.

    Raises:
        DataError: the pool lacks a digit.
    """

    def __init__(self, pool: InkPool, *, distorts: bool = False) -> None:
        self._pool = pool
        self._distorts = distorts
        groups = np.unique(pool.groups[pool.labels < DIGITS])
        shares = np.array([_SHARES.get(str(group), _OTHER_SHARE) for group in groups])
        self._shares = shares / shares.sum()
        order = np.lexsort((pool.labels, pool.groups))
        self._members = [
            [order[(pool.groups[order] == g) & (pool.labels[order] == d)] for d in range(DIGITS)]
            for g in groups
        ]
        for digit in range(DIGITS):
            if not any(len(members[digit]) for members in self._members):
                raise DataError(
                    f"there is no ink of a {digit} to compose numbers of: add images to --data, or "
                    "raise --scale"
                )
        self._others = np.flatnonzero(pool.labels == NOT_A_DIGIT)
        shape = TALL + 2 * _ROOM, _WIDEST + 2 * _ROOM
        self._fields = _draw_fields(shape, np.random.default_rng(0))
        self._grid = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)[::-1]

    def compose(self, rng: Generator) -> tuple[Bytes, list[int]]:
        """Compose one strip; returns its pixels, (32, W) uint8, and its symbols' classes."""
        while True:
            written, symbols, sides = self.write(rng)
            if sides is None and rng.random() < _IN_ONE_BOX:
                sides = _stand_beside(written, rng)
            if sides is not None and rng.random() < _SIDES_LEFT:
                written = line_writing.leave_sides(written, sides, rng)
            ink = line_writing.degrade(written / np.float32(255), rng)
            if float(ink.max()) > _FAINTEST:
                strip = line.fit(ink)
                if has_room(symbols, strip.shape[1]):
                    return strip, symbols

    def choose_inks(self, count: int, rng: Generator) -> list[Bytes]:
        """Return some inks, (40, w) uint8 each."""
        chosen = rng.integers(len(self._pool.labels), size=count)
        return [self._pool.pixels[which, :, : self._pool.widths[which]] for which in chosen]

    def write(self, rng: Generator) -> Written:
        """Write a text along a line."""
        text = number_texts.choose(rng)
        group = int(rng.choice(len(self._shares), p=self._shares))
        is_mixed = rng.random() < _MIXED
        gap = line_writing.choose_gap(rng)
        size = 1.0
        symbols: list[int] = []
        canvas = line_writing.Canvas(len(text))
        cell = gap.cell * TALL
        sides = line_writing.START + cell * np.arange(len(text) + 1)
        stroke = 4.0
        wave = rng.normal(0, 0.03) if rng.random() < 0.5 else 0.0
        for index, character in enumerate(text):
            drift = wave * TALL * np.sin(index / 2) + rng.normal(0, 0.03) * TALL
            size = 1 + rng.normal(0, 0.07)
            if character.isdigit() or character in "xX":
                if is_mixed:
                    group = int(rng.choice(len(self._shares), p=self._shares))
                alike = None if is_mixed or not symbols else stroke
                ink, stroke = self._choose_ink(character, group, alike, rng)
            else:
                ink = line_writing.draw_mark(character, stroke * rng.uniform(0.8, 1.3), rng)
                size = 1.0
            if cell:
                middle = sides[index : index + 2].mean() + rng.normal(0, 0.07) * cell
                canvas.add_at(ink, float(middle), size, drift)
            else:
                canvas.add(ink, gap.choose(rng), size, drift, touching=gap.is_touching)
            kind = line.ALPHABET.find(character) if character not in "xX" else line.OTHER
            if kind != line.OTHER or symbols[-1:] != [line.OTHER]:
                symbols.append(kind)
        return Written(canvas.ink(), symbols, sides if cell else None)

    def _choose_ink(
        self, character: str, group: int, stroke: float | None, rng: Generator
    ) -> tuple[Bytes, float]:
        """Return an ink, (h, w) uint8, and the width of its strokes.

        Args:
            character: that it shall be.
            group: of inks.
            stroke: the width of the strokes of the same number, px; ``None`` for any.
            rng: the random generator.
        """
        if character == "x" and len(self._others):
            which = int(rng.choice(self._others))
        else:
            digit = int(rng.integers(DIGITS)) if character in "xX" else int(character)
            members = self._members[group][digit]
            while not len(members):
                members = self._members[int(rng.integers(len(self._members)))][digit]
            some = members[rng.integers(len(members), size=1 if stroke is None else _ALIKE)]
            near = np.abs(self._pool.strokes[some] - (stroke or 0.0))
            which = int(some[near.argmin()])
        ink = self._pool.pixels[which, :, : self._pool.widths[which]]
        if self._distorts:
            ink = self._distort(ink, rng)
        wide = float(self._pool.strokes[which])
        if character == "X":
            ink = line_writing.strike(ink, int(self._pool.labels[which]), wide, rng)
        return ink, wide

    def _distort(self, ink: Bytes, rng: Generator) -> Bytes:
        """Return an ink, (40, w) uint8, rotated, slanted, stretched and bent a little."""
        padded = np.pad(ink, _ROOM)
        high, wide = padded.shape
        middle = np.array((wide / 2, high / 2), np.float32)
        x, y = self._grid[:, :high, :wide] - middle[:, None, None]
        turn, slant = rng.normal(0, (_TURN, _SLANT))
        stretch = np.exp(rng.normal(0, _WIDTH))
        bend = self._fields[rng.integers(_FIELDS), :, :high, :wide] * np.float32(rng.uniform(0, 2))
        bend = bend + middle[:, None, None]
        across = np.float32(stretch) * x + np.float32(slant - turn) * y + bend[0]
        down = np.float32(turn) * x + y + bend[1]
        moved = cv2.remap(padded, across, down, cv2.INTER_LINEAR)
        top, bottom, left, right = bounding_box(moved > _VISIBLE)
        if top == bottom:
            return ink
        return cv2.resize(moved[top:bottom, left:right], (right - left, TALL))


def _stand_beside(ink: Bytes, rng: Generator) -> NDArray[np.float64]:
    """Return the columns of the sides of a box around ink, (2,)."""
    *_, left, right = bounding_box(ink > _VISIBLE)
    away = rng.uniform(0.05, 0.5, 2) * TALL
    return np.array((left - away[0], right + away[1]))


def _draw_fields(shape: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    """Return smooth random displacements, (512, 2, h, w), px."""
    high, wide = shape
    fields = [pens.warp_field(high, _BEND, rng, wide) for _ in range(2 * _FIELDS)]
    return np.stack(fields).reshape(_FIELDS, 2, high, wide)


def compose_unit(pool: InkPool, seed: int, number: int) -> list[StripBatch]:
    """Return one unit of strips in batches; the same seed and number give the same unit."""
    return _batch(Composer(pool), np.random.default_rng((seed, number)))


def _batch(composer: Composer, rng: Generator) -> list[StripBatch]:
    return batch_by_width([composer.compose(rng) for _ in range(UNIT)], rng)


def batch_by_width(strips: Iterable[tuple[Bytes, list[int]]], rng: Generator) -> list[StripBatch]:
    """Return strips in batches of about the same width, in random order."""
    batches: list[StripBatch] = []
    batch: list[tuple[Bytes, list[int]]] = []
    for strip in sorted(strips, key=lambda strip: strip[0].shape[1]):
        if strip[0].shape[1] * (len(batch) + 1) > COLUMNS:
            batches.append(stack(batch))
            batch = []
        batch.append(strip)
    batches.append(stack(batch))
    return [batches[index] for index in rng.permutation(len(batches))]


def has_room(symbols: Sequence[int], width: int) -> bool:
    """Return whether CTC can read the symbols in a strip of this width.

    It needs a step for each symbol, and one between two that are the same.
    """
    repeats = sum(one == following for one, following in pairwise(symbols))
    return len(symbols) + repeats <= width // line.STEP


def stack(strips: Sequence[tuple[Bytes, list[int]]]) -> StripBatch:
    """Join strips; the narrower ones are padded with black."""
    width = max(pixels.shape[1] for pixels, _ in strips)
    longest = max(len(symbols) for _, symbols in strips)
    texts = np.full((len(strips), max(1, longest)), -1, np.int32)
    pixels = np.zeros((len(strips), line.HEIGHT, width, 1), np.uint8)
    for index, (strip, symbols) in enumerate(strips):
        pixels[index, :, : strip.shape[1], 0] = strip
        texts[index, : len(symbols)] = symbols
    return StripBatch(pixels, texts)


def unstack(batches: Iterable[StripBatch]) -> Iterator[tuple[Bytes, list[int]]]:
    """Yield the strips of batches, (32, W) uint8 each, without padding, and their symbols."""
    for batch in batches:
        for padded, text in zip(batch.pixels[..., 0], batch.texts, strict=True):
            end = line.pad_width(int(np.flatnonzero(padded.any(axis=0))[-1]) + 1)
            yield np.ascontiguousarray(padded[:, :end]), text[text >= 0].tolist()


class StripStream:
    """An endless stream of batches of fresh strips, which another process composes ahead.

    Args:
        pool: the file of the inks.
        seed: of all units.
        first: number of the first unit, to continue a stream.
    """

    def __init__(self, pool: Path, seed: int, first: int) -> None:
        self._seed = seed
        self._number = first
        self._pending: deque[Future[list[StripBatch]]] = deque()
        self._worker = open_processes(1, partial(_open_composer, pool))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[StripBatch]:
        before: list[StripBatch] = []
        while True:
            while len(self._pending) <= _AHEAD:
                self._pending.append(self._worker.submit(_compose, self._seed, self._number))
                self._number += 1
            unit = self._pending.popleft().result()
            # Each strip is learnt twice: composing one takes as long as learning it.
            yield from chain.from_iterable(zip_longest(unit, before, fillvalue=unit[0]))
            before = unit


def take(stream: Iterable[StripBatch], count: int) -> list[Bytes]:
    """Return the next strips of a stream, (32, W) uint8."""
    strips: list[Bytes] = []
    for batch in stream:
        strips.extend(batch.pixels[..., 0])
        if len(strips) >= count:
            break
    return strips[:count]


_composer: list[Composer] = []  # of a worker process


def _open_composer(pool: Path) -> None:
    cv2.setNumThreads(1)  # a strip is too small to share
    _composer.append(Composer(load_pool(pool), distorts=True))


def _compose(seed: int, number: int) -> list[StripBatch]:
    return _batch(_composer[0], np.random.default_rng((seed, number)))
