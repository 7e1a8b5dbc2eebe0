"""Show all inks to the trained eye, cache its glyphs, and draw augmented batches from them."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading import eye, litert
from daemon.reading.eye import Count
from daemon.reading.glyph import GLYPH, Bytes
from daemon.training import ink_sources, pages, pens
from daemon.training.ink_sources import NOT_A_DIGIT, InkUnit
from daemon.training.processes import open_processes
from daemon.training.writing import Writing

# Each group's share of a batch. Together with the number of glyphs in the group it determines how
# often a glyph is repeated. MNIST has the largest share because it has its own accuracy target.
# Pencils come next because people draw with them. The other sets and styles keep the model from
# overfitting to MNIST's handwriting. A set that is not listed here gets OTHER_SHARE.
SHARES = {
    "mnist": 0.31,
    "paper": 0.18,
    "pencil": 0.13,
    "not a digit": 0.12,
    "strokes": 0.1,
    "marked": 0.07,
    "fonts": 0.03,
    "optdigits32": 0.01,
    "semeion": 0.01,
}
OTHER_SHARE = 0.025
NEIGHBOURS = 3  # how many other inks the edge of a page may cut
_FAINTEST = 60  # an ink must be at least this bright somewhere
_PREFETCHED = 8  # batches

GlyphBatch = tuple[Bytes, NDArray[np.int64]]
"""The classifier's input, (N, 28, 28, 1) uint8, and the labels, (N,)."""

# Displacement fields are generated once and sampled: generating one takes longer than applying it.
WARPS = 4096
# Standard deviations of each transform. They follow what works for MNIST in the literature
# (Simard et al. 2003; Ciresan et al. 2010 rotate by 7.5 to 15 degrees and scale by 15 %).
TURN, SLANT, SCALE, SHIFT, BEND = 0.10, 0.12, 0.07, 0.7, 0.6
# Fractions of glyphs whose strokes are thickened, thinned, blurred or dimmed.
GROWN, SHRUNK, SOFTENED, DIMMED = 0.08, 0.08, 0.12, 0.15
# Fraction of glyphs drawn with a skipping pen, and the minimum and maximum gap in a stroke, px.
# It teaches the model that a loop with a small gap is still a loop.
SKIPPED, GAPS = 0.10, (3, 4)


class GlyphCache(NamedTuple):
    """The eye's glyphs of all inks.

    Attributes:
        glyphs: (N, 28, 28) uint8.
        counts: (N, 4) float32, the eye's probabilities of each ``Count``.
        labels: (N,) int64, 0 to 10.
        groups: (N,) the group of each.
    """

    glyphs: Bytes
    counts: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]

    def draw_batches(
        self, rng: Generator, strength: float, steps: int, size: int
    ) -> Iterator[GlyphBatch]:
        """Draw batches by the groups' shares, and augment them.

        Args:
            rng: the random generator.
            strength: of the augmentation; see ``Augmenter``.
            steps: how many batches.
            size: glyphs in a batch.
        """
        augment = Augmenter(rng, strength)
        groups = np.unique(self.groups)
        members = [np.flatnonzero(self.groups == group) for group in groups]
        shares = _shares(groups)
        for _ in range(steps):
            drawn = rng.choice(len(groups), size, p=shares / shares.sum())
            which = np.array([rng.choice(members[group]) for group in drawn])
            yield augment(self.glyphs[which])[..., None], self.labels[which]

    def choose_examples(self, count: int) -> Bytes:
        """Return at most ``count`` glyphs, chosen by the groups' shares; always the same."""
        groups, sizes = np.unique(self.groups, return_counts=True)
        shares = (_shares(groups) / sizes)[np.searchsorted(groups, self.groups)]
        which = np.random.default_rng(0).choice(
            len(shares), min(count, len(shares)), replace=False, p=shares / shares.sum()
        )
        return self.glyphs[which]


def _shares(groups: NDArray[np.str_]) -> NDArray[np.float64]:
    return np.array([SHARES.get(str(group), OTHER_SHARE) for group in groups])


def gather(
    units: Sequence[InkUnit], network: bytes, folder: Path, on_unit: Callable[[int], None]
) -> GlyphCache:
    """Return the glyphs: from the cache in ``folder``, or made and cached there.

    Args:
        units: the inks to show.
        network: the compiled eye.
        folder: the cache.
        on_unit: called with the number of units that are done.
    """
    cached = folder / f"pool-{ink_sources.cache_key(units, network)}.npz"
    if cached.exists():
        on_unit(len(units))
    else:
        parts = []
        with open_processes() as workers:
            for part in workers.map(partial(_show_unit, network), units):
                parts.append(part)
                on_unit(1)
        glyphs = GlyphCache(*map(np.concatenate, zip(*parts, strict=True)))
        whole = cached.with_suffix(".part.npz")
        np.savez_compressed(whole, **glyphs._asdict())
        whole.replace(cached)
    with np.load(cached) as stored:
        return GlyphCache(**stored)


_load_eye = lru_cache(maxsize=1)(litert.load_eye)  # once in each worker process


def _show_unit(network: bytes, unit: InkUnit) -> GlyphCache:
    """Show a unit's inks to the eye; pages on which it finds no ink are discarded."""
    segment = _load_eye(network)
    rng = np.random.default_rng(unit.seed)
    glyphs, counts, labels, groups = [], [], [], []
    for page, label, group in _compose_pages(unit, rng):
        found = eye.detect(segment, page.pixels)
        if found.glyph.any():
            glyphs.append(found.glyph)
            counts.append(found.counts)
            labels.append(label)
            groups.append(group)
    return GlyphCache(
        np.array(glyphs, np.uint8).reshape(-1, GLYPH, GLYPH),
        np.array(counts, np.float32).reshape(-1, len(Count)),
        np.array(labels, np.int64),
        np.array(groups, np.str_),
    )


def _compose_pages(unit: InkUnit, rng: Generator) -> Iterator[tuple[pages.SyntheticPage, int, str]]:
    """Yield pages with the unit's inks, each with its label and group.

    A data set's image becomes a page as it is. It and all other inks become a drawing or a page of
    paper.
    """
    others: list[Bytes] = []
    for ink, label in ink_sources.draw_inks(unit, rng):
        if ink.max() < _FAINTEST:
            continue
        count = Count.NONE if label == NOT_A_DIGIT else Count.ONE
        others = [ink, *others[: NEIGHBOURS - 1]]
        is_set = unit.maker == "as it is" and label != NOT_A_DIGIT
        if is_set:
            yield pages.compose_set_image(ink), label, unit.group
        if rng.random() < (0.7 if is_set else 0.4):
            group = "paper" if count is Count.ONE else unit.group
            yield pages.compose_paper(Writing(ink, count), others, (), rng), label, group
        else:
            yield pages.compose_drawing(Writing(ink, count), rng), label, unit.group


class Augmenter:
    """Augments batches of glyphs; the same seed gives the same result.

    Args:
        rng: the random generator.
        strength: scales every transform; 1 uses the constants above, 0 changes nothing.
    """

    def __init__(self, rng: Generator, strength: float = 1.0) -> None:
        self._rng = rng
        self._strength = strength
        self._warps = np.stack([pens.warp_field(GLYPH, 1.0, rng) for _ in range(WARPS)])
        y, x = np.mgrid[0:GLYPH, 0:GLYPH].astype(np.float32) - (GLYPH - 1) / 2
        self._grid = np.stack((x, y))

    def __call__(self, glyphs: Bytes) -> Bytes:
        """Return augmented copies of glyphs (N, 28, 28) uint8."""
        across, down = self._maps(len(glyphs))
        rare = 1 / max(self._strength, 1e-3)
        tools = self._rng.random(len(glyphs)) * rare
        dims = self._rng.random(len(glyphs)) * rare
        skips = self._rng.random(len(glyphs)) * rare
        varied = np.empty_like(glyphs)
        for index, glyph in enumerate(glyphs):
            moved = cv2.remap(glyph, across[index], down[index], cv2.INTER_LINEAR)
            if skips[index] < SKIPPED:
                self._skip(moved)
            moved = self._other_tool(moved, tools[index])
            if dims[index] < DIMMED:
                moved = cv2.convertScaleAbs(moved, alpha=self._rng.uniform(0.75, 1.2))
            varied[index] = moved
        return varied

    def _maps(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the source x and y, (N, 28, 28) each, of every pixel of the augmented glyphs."""
        rng, strength = self._rng, self._strength
        turn, slant = rng.normal(0, strength, (2, count)) * ((TURN,), (SLANT,))
        wide, high = np.exp(rng.normal(0, SCALE * strength, (2, count)))
        cos, sin = np.cos(turn), np.sin(turn)
        # Scale first, then slant, then rotate by `turn`.
        to = np.stack(
            (cos * wide, (cos * slant - sin) * high, sin * wide, (sin * slant + cos) * high)
        ).astype(np.float32)[:, :, None, None]
        x, y = self._grid
        shift = rng.normal(0, SHIFT * strength, (2, count, 1, 1)).astype(np.float32)
        bend = BEND * strength * rng.random((1, count, 1, 1)).astype(np.float32) * 2
        fields = self._warps[rng.integers(0, WARPS, (2, count))]
        middle = (GLYPH - 1) / 2
        moved = shift + bend * fields + np.float32(middle)
        return to[0] * x + to[1] * y + moved[0], to[2] * x + to[3] * y + moved[1]

    def _other_tool(self, glyph: Bytes, tool: float) -> Bytes:
        if tool < GROWN:
            grown = cv2.dilate(glyph, np.ones((2, 2), np.uint8))
            return cv2.addWeighted(glyph, 0.4, grown, 0.6, 0)
        if tool < GROWN + SHRUNK:
            shrunk = cv2.erode(glyph, np.ones((2, 2), np.uint8))
            return cv2.addWeighted(glyph, 0.5, shrunk, 0.5, 0)
        if tool < GROWN + SHRUNK + SOFTENED:
            return cv2.GaussianBlur(glyph, (0, 0), self._rng.uniform(0.4, 0.9))
        return glyph

    def _skip(self, glyph: Bytes) -> None:
        """Erase a small square of one stroke, in place."""
        inked = np.argwhere(glyph > pens.HALF)
        if len(inked):
            down, across = inked[self._rng.integers(len(inked))]
            reach = int(self._rng.integers(*GAPS, endpoint=True))
            top, left = max(0, down - reach // 2), max(0, across - reach // 2)
            glyph[top : top + reach, left : left + reach] = 0


def prefetch(batches: Iterator[GlyphBatch]) -> Iterator[GlyphBatch]:
    """Prefetch batches on a background thread."""
    with ThreadPoolExecutor(1) as thread:
        pending = deque(thread.submit(next, batches, None) for _ in range(_PREFETCHED))
        while (batch := pending.popleft().result()) is not None:
            pending.append(thread.submit(next, batches, None))
            yield batch
