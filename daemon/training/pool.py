"""Show all training inks to the eye and cache the 28x28 glyphs that it gives, by group."""

# The probability of each kind of page is a literal where it is drawn.
# ruff: noqa: PLR2004

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from daemon.reading import eye, model
from daemon.reading.eye import Count
from daemon.reading.glyph import GLYPH
from daemon.training import inks, pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

# Each group's share of a batch. Together with the number of glyphs in the group it determines how
# often a glyph is repeated. MNIST has the largest share because it has its own accuracy target.
# Pencils come next because people draw with them. The other sets and styles keep the model from
# overfitting to MNIST's handwriting. A set not listed here gets SET.
SHARES = {
    "mnist": 0.34,
    "paper": 0.2,
    "pencil": 0.14,
    "not a digit": 0.12,
    "strokes": 0.1,
    "fonts": 0.03,
    "optdigits32": 0.01,
    "semeion": 0.01,
}
SET = 0.025
NEIGHBOURS = 3  # how many other inks may be cut by the edge of a page


@dataclass(frozen=True, slots=True)
class Pool:
    """What the eye gave.

    Attributes:
        glyphs: (N, 28, 28) uint8.
        counts: (N, 3) float32, its probabilities of none, one and several digits.
        labels: (N,) int64, 0 to 10.
        groups: (N,) the group of each.
    """

    glyphs: Bytes
    counts: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]


def gather(
    work: Sequence[inks.Work], look: bytes, folder: Path, *, tell: Callable[[int], None]
) -> Pool:
    """Return the pool: from the cache in ``folder``, or made and cached there.

    Args:
        work: the inks to show.
        look: the compiled eye.
        folder: the cache.
        tell: called with the number of units that are done.
    """
    kept = folder / f"pool-{_key(work, look)}.npz"
    if kept.exists():
        tell(len(work))
    else:
        parts = []
        # Spawn, because TensorFlow's threads may not survive a fork.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(mp_context=spawn, initializer=_open, initargs=(look,)) as workers:
            for part in workers.map(_made, work):
                parts.append(part)
                tell(1)
        whole = kept.with_suffix(".part.npz")
        joined = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Pool)
        }
        np.savez_compressed(whole, **joined)  # type: ignore[arg-type]
        whole.replace(kept)
    with np.load(kept) as arrays:
        return Pool(*(arrays[field.name] for field in fields(Pool)))


def share(group: str) -> float:
    """Return a group's share of each batch, before normalisation to a sum of 1."""
    return SHARES.get(group, SET)


def _key(work: Sequence[inks.Work], look: bytes) -> str:
    key = hashlib.sha256(look)
    for piece in work:
        key.update(f"{piece.maker} {piece.count} {piece.seed}".encode())
        key.update(np.ascontiguousarray(piece.images).tobytes())
    return key.hexdigest()[:12]


_looks: list[eye.Look] = []  # the eye of a worker process


def _open(network: bytes) -> None:
    _looks[:] = [model.compiled_eye(network)]


def _made(work: inks.Work) -> Pool:
    """Show a unit's inks to the eye; pages on which it finds no ink are discarded."""
    (look,) = _looks
    rng = np.random.default_rng(work.seed)
    glyphs, counts, labels, groups = [], [], [], []
    for page, label, group in _pages(work, rng):
        found = eye.find(look, page.pixels)
        if found.glyph.any():
            glyphs.append(found.glyph)
            counts.append(found.counts)
            labels.append(label)
            groups.append(group)
    return Pool(
        np.array(glyphs, np.uint8).reshape(-1, GLYPH, GLYPH),
        np.array(counts, np.float32).reshape(-1, len(Count)),
        np.array(labels, np.int64),
        np.array(groups, np.str_),
    )


def _pages(work: inks.Work, rng: Generator) -> Iterator[tuple[pages.Page, int, str]]:
    """Yield pages with the unit's inks, each with its label and group.

    A data set's image becomes a page as it is. It and all other inks become a drawing or a page of
    paper.
    """
    others: list[Bytes] = []
    for ink, label in inks.drawn(work, rng):
        if ink.max() < 60:
            continue
        count = Count.NONE if label == inks.NOT_A_DIGIT else Count.ONE
        others = [ink, *others[: NEIGHBOURS - 1]]
        is_set = work.maker == "as it is" and label != inks.NOT_A_DIGIT
        if is_set:
            yield pages.plain(ink), label, work.group
        if rng.random() < (0.7 if is_set else 0.4):
            group = "paper" if count is Count.ONE else work.group
            yield pages.paper([ink], count, others, rng), label, group
        else:
            yield pages.drawing(ink, count, rng), label, work.group
