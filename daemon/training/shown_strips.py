"""Show composed pages with numbers to the trained eye: strips as the workers make them.

The line reader learns from them as well as from strips that are composed without a page, and its
confidence is fitted to them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from itertools import compress
from math import ceil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading import line, litert
from daemon.reading.eye import Count
from daemon.reading.glyph import Bytes
from daemon.reading.scan import detect_line
from daemon.training import line_writing, marks, pages, strips
from daemon.training.processes import open_processes
from daemon.training.strips import Composer, StripBatch, Written, load_pool
from daemon.training.writing import Writing

PAGES = 250  # in a unit of work
_DRAWN = 0.35  # share of the pages that are drawings; the others are paper
_NEIGHBOURED = 0.5  # share of the sheets of paper that may have neighbours which the edge cuts
_UNDERLINED = 0.12  # share of the numbers that have a line or dots under them
# A strip is learnt from if so much of the writing was found, so much of each piece of it, and so
# little else, as a share of it. Of a strip without its comma the reader would learn to invent one.
_FOUND, _OF_EACH, _ELSE = 0.85, 0.4, 0.3
# How much a strip is changed each time: standard deviations of the logarithm of its width, and of
# its slant.
_STRETCH, _SLANT = 0.07, 0.08
_HALF = 127


@dataclass(frozen=True, slots=True)
class ShownStrips:
    """The eye's strips of composed pages.

    Attributes:
        columns: (32, sum of all widths) uint8, the strips side by side.
        widths: (N,) of the strips, px.
        texts: (N, L) int32, the symbols' classes, padded with -1.
        left_out: (N,) float32, the highest probability of ink that is not in the strip.
        is_found: (N,) bool, whether the eye found the writing and little else.
    """

    columns: Bytes
    widths: NDArray[np.int64]
    texts: NDArray[np.int32]
    left_out: NDArray[np.float32]
    is_found: NDArray[np.bool_]

    def __iter__(self) -> Iterator[tuple[Bytes, list[int]]]:
        """Return each strip, (32, W) uint8, with its symbols."""
        ends = np.cumsum(self.widths)
        for end, width, text in zip(ends, self.widths, self.texts, strict=True):
            yield self.columns[:, end - width : end], text[text >= 0].tolist()

    def draw_batches(self, rng: Generator) -> list[StripBatch]:
        """Return the strips that were found, each a little changed, in random order in batches."""
        found = compress(self, self.is_found)
        changed = [(_change(strip, rng), symbols) for strip, symbols in found]
        return strips.batch_by_width(
            [each for each in changed if strips.has_room(each[1], each[0].shape[1])], rng
        )


def gather(
    pool: Path,
    eye: bytes,
    seed: int,
    units: int,
    folder: Path,
    on_unit: Callable[[int], None],
    *,
    distorts: bool = False,
) -> ShownStrips:
    """Return the eye's strips: from the cache in ``folder``, or made and cached there.

    Args:
        pool: the file of the inks.
        eye: compiled for LiteRT.
        seed: of all pages.
        units: of 250 pages each.
        folder: the cache.
        on_unit: called with the number of units that are done.
        distorts: whether each ink is drawn a little differently each time, for training.
    """
    key = sha256(eye + f"{pool.name} {seed} {units} {distorts}".encode()).hexdigest()[:12]
    cached = folder / f"strips-{key}.npz"
    if cached.exists():
        on_unit(units)
    else:
        shown: list[_Shown] = []
        with open_processes() as workers:
            for part in workers.map(partial(_show_unit, pool, eye, seed, distorts), range(units)):
                shown.extend(part)
                on_unit(1)
        whole = cached.with_suffix(".part.npz")
        longest = max(len(each.symbols) for each in shown)
        np.savez_compressed(
            whole,
            columns=np.concatenate([each.strip for each in shown], axis=1),
            widths=np.array([each.strip.shape[1] for each in shown]),
            texts=np.array(
                [each.symbols + [-1] * (longest - len(each.symbols)) for each in shown], np.int32
            ),
            left_out=np.array([each.left_out for each in shown], np.float32),
            is_found=np.array([each.is_found for each in shown]),
        )
        whole.replace(cached)
    with np.load(cached) as stored:
        return ShownStrips(**stored)


def _change(strip: Bytes, rng: Generator) -> Bytes:
    """Return a strip, (32, W) uint8, stretched, slanted, thickened or thinned a little.

    There are so few strips that the line reader would learn them by heart.
    """
    stretch, slant = np.exp(rng.normal(0, _STRETCH)), rng.normal(0, _SLANT)
    reach = abs(slant) * line.HEIGHT / 2
    end = int(np.flatnonzero(strip.any(axis=0))[-1]) + 1
    side, middle = line.SIDE, line.HEIGHT / 2
    width = line.pad_width(ceil(side + (end - side) * stretch + 2 * reach))
    to = np.array(((stretch, slant, side - side * stretch - slant * middle + reach), (0, 1, 0)))
    changed = cv2.warpAffine(strip, to, (width, line.HEIGHT))
    kind = rng.random()
    kernel = np.ones((2, 1) if rng.random() < 0.5 else (1, 2), np.uint8)
    if kind < 0.15:
        changed = cv2.dilate(changed, kernel)
    elif kind < 0.3:
        changed = cv2.erode(changed, kernel)
    elif kind < 0.45:
        changed = cv2.GaussianBlur(changed, (0, 0), float(rng.uniform(0.4, 0.9)))
    changed = cv2.convertScaleAbs(changed, alpha=rng.uniform(0.75, 1.25))
    return changed if changed.any() else strip


# Once in each worker process.
_load_eye = lru_cache(maxsize=1)(litert.load_eye)
_load_composer = lru_cache(maxsize=1)(
    lambda pool, distorts: Composer(load_pool(pool), distorts=distorts)
)


class _Shown(NamedTuple):
    """One element of ``ShownStrips``; the strip is (32, W) uint8."""

    strip: Bytes
    symbols: list[int]
    left_out: float
    is_found: bool


def _show_unit(pool: Path, eye: bytes, seed: int, distorts: bool, number: int) -> list[_Shown]:  # noqa: FBT001 - mapped over
    """Show a unit's pages to the eye; those on which it finds no ink are left out."""
    cv2.setNumThreads(1)
    segment, composer = _load_eye(eye), _load_composer(pool, distorts)
    rng = np.random.default_rng((seed, number))
    shown = []
    for _ in range(PAGES):
        written = composer.write(rng)
        symbols = written.symbols
        page = _compose_page(written, composer, rng)
        found = detect_line(segment, page.pixels)
        strip = found.strip.pixels
        if strip.any() and strips.has_room(symbols, strip.shape[1]):
            is_found = _is_found(found.mask, page.mask)
            shown.append(_Shown(strip, symbols, found.left_out, is_found))
    return shown


def _compose_page(written: Written, composer: Composer, rng: Generator) -> pages.SyntheticPage:
    count = Count.ONE if len(written.symbols) == 1 else Count.SEVERAL
    sides = written.sides
    cells = None if sides is None else np.stack((sides[:-1], sides[1:]), axis=1)
    writing = Writing(written.ink, count, cells=cells, tall=float(line_writing.TALL)).crop()
    if rng.random() < _UNDERLINED:
        writing = marks.underline(writing, rng)
    if cells is None and rng.random() < _DRAWN:
        return pages.compose_drawing(writing, rng)
    others = composer.choose_inks(3, rng) if rng.random() < _NEIGHBOURED else []
    return pages.compose_paper(writing, others, [], rng)


def _is_found(mask: Bytes, target: Bytes) -> bool:
    """Return whether a mask covers each piece of the target, (H, W) uint8, and little else."""
    wanted, found = target > _HALF, mask > 0
    count, labels = cv2.connectedComponents(wanted.astype(np.uint8))
    sizes = np.bincount(labels[wanted], minlength=count)[1:]
    covered = np.bincount(labels[wanted & found], minlength=count)[1:]
    near = cv2.dilate(wanted.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    whole = max(1, int(sizes.sum()))
    return bool(
        covered.sum() >= _FOUND * whole
        and (covered >= _OF_EACH * sizes)[sizes > 1].all()
        and (found & ~near).sum() <= _ELSE * whole
    )


def mix(
    composed: Iterator[StripBatch], shown: ShownStrips, rng: Generator, share: float
) -> Iterator[StripBatch]:
    """Return an endless stream of batches, a share of which are of the eye's strips."""
    left: Sequence[StripBatch] = []
    while True:
        if rng.random() >= share:
            yield next(composed)
            continue
        if not left:
            left = shown.draw_batches(rng)
        *left, batch = left
        yield batch
