"""Run all training data through the reader and cache the resulting 28x28 glyphs by group."""

# The probabilities of tools and kinds are literals where they are drawn.
# ruff: noqa: PLR2004

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daemon.reading import ink
from daemon.reading.glyph import GLYPH
from daemon.reading.image import PREPROCESSING_VERSION
from daemon.reading.model import CLASSES
from daemon.training import data, fonts, hands, negatives, strokes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

NOT_A_DIGIT = CLASSES - 1
CHUNK = 1000  # drawings per unit of work; each unit has its own random stream
RECIPE = 2  # increment this when the same settings produce a different pool

# Each group's share of a batch. Together with the number of glyphs in the group it determines how
# often a glyph is repeated. MNIST has the largest share because it has its own accuracy target.
# Pencils come next because people draw with them. The other sets and styles keep the model from
# overfitting to MNIST's handwriting. A set not listed here gets SET.
SHARES = {
    "mnist": 0.54,
    "pencil": 0.14,
    "not a digit": 0.11,
    "strokes": 0.07,
    "fonts": 0.035,
    "optdigits32": 0.015,
    "semeion": 0.015,
}
SET = 0.035
REDRAWN = 2  # how often each set except MNIST is redrawn with other tools
STROKES, FONTS, NOT = 24_000, 12_000, 48_000


@dataclass(frozen=True, slots=True)
class Pool:
    """Glyphs (N, 28, 28) uint8 with labels (N,) 0 to 10 and the group (N,) each is from."""

    glyphs: Bytes
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]

    def split(self, share: float, seed: int) -> tuple[Pool, Pool]:
        """Return (rest, held out), where ``share`` is held out; the seed fixes the split."""
        order = np.random.default_rng(seed).permutation(len(self.labels))
        cut = round(share * len(order))
        return self._only(order[cut:]), self._only(order[:cut])

    def _only(self, which: NDArray[np.int64]) -> Pool:
        return Pool(self.glyphs[which], self.labels[which], self.groups[which])


@dataclass(frozen=True, slots=True)
class Work:
    """One unit of work for a process: the maker, the number of glyphs, the seed, the input."""

    maker: str
    group: str
    count: int
    seed: int
    images: Bytes
    labels: NDArray[np.int64]


def gather(
    sets: Sequence[data.Drawings],
    folder: Path,
    *,
    seed: int,
    scale: float = 1.0,
    tell: Callable[[float], None],
) -> Pool:
    """Return the pool: from the cache in ``folder``, or built and cached there.

    Args:
        sets: digits to train on.
        folder: the cache.
        seed: for all random generators.
        scale: multiplies the number of generated glyphs; the sets themselves keep their size.
        tell: called with the fraction done, 0 to 1.
    """
    work = _planned(sets, seed, scale)
    kept = folder / f"pool-{_key(work)}.npz"
    if not kept.exists():
        parts = []
        # Spawn, because TensorFlow's threads may not survive a fork.
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as workers:
            for done, part in enumerate(workers.map(_made, work), 1):
                parts.append(part)
                tell(done / len(work))
        folder.mkdir(parents=True, exist_ok=True)
        whole = kept.with_suffix(".part.npz")
        np.savez_compressed(
            whole,
            glyphs=np.concatenate([glyphs for glyphs, _ in parts]),
            labels=np.concatenate([labels for _, labels in parts]),
            groups=np.repeat([w.group for w in work], [len(labels) for _, labels in parts]),
        )
        whole.replace(kept)
    with np.load(kept) as arrays:
        return Pool(arrays["glyphs"], arrays["labels"], arrays["groups"])


def as_it_is(drawings: data.Drawings) -> Pool:
    """Run a set through the reader for evaluation; no drawing is discarded."""
    glyphs = np.stack([ink.trace_ink(image).glyph for image in drawings.images])
    return Pool(glyphs, drawings.labels, np.repeat(drawings.name, len(glyphs)))


def share(group: str) -> float:
    """Return a group's share of each batch, before normalisation to a sum of 1."""
    return SHARES.get(group, SET)


def _key(work: Sequence[Work]) -> str:
    key = hashlib.sha256(f"{PREPROCESSING_VERSION} {RECIPE}".encode())
    for piece in work:
        key.update(f"{piece.maker} {piece.count} {piece.seed}".encode())
        key.update(np.ascontiguousarray(piece.images).tobytes())
    return key.hexdigest()[:12]


def _planned(sets: Sequence[data.Drawings], seed: int, scale: float) -> list[Work]:
    """Split the whole pool into units of work."""
    work: list[Work] = []
    nothing = np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64)

    def plan(maker: str, group: str, images: Bytes, labels: NDArray[np.int64]) -> None:
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            count = len(labels[part])
            work.append(Work(maker, group, count, seed + len(work), images[part], labels[part]))

    def plan_made(maker: str, group: str, count: int) -> None:
        for start in range(0, round(count * scale), CHUNK):
            size = min(CHUNK, round(count * scale) - start)
            work.append(Work(maker, group, size, seed + len(work), *nothing))

    for drawings in sets:
        plan("as it is", drawings.name, drawings.images, drawings.labels)
        times = REDRAWN * scale * (0.25 if drawings.name == data.MNIST else 1)
        count = round(times * len(drawings.labels))
        order = np.random.default_rng(seed).permutation(count) % len(drawings.labels)
        plan("redrawn", "pencil", drawings.images[order], drawings.labels[order])
    plan_made("strokes", "strokes", STROKES)
    if fonts.found():
        plan_made("fonts", "fonts", FONTS)
        plan_made("letters", "not a digit", NOT // 3)
    things = negatives.things()
    if len(things):
        few = things[: round(NOT * scale / 12)]
        plan("as it is", "not a digit", few, np.full(len(few), NOT_A_DIGIT))
    plan_made("doodles", "not a digit", NOT // 4)
    for drawings in sets:
        count = round(NOT * scale / 3 / len(sets))
        order = np.random.default_rng(seed).integers(0, len(drawings.labels), count)
        plan("beside", "not a digit", drawings.images[order], np.full(count, NOT_A_DIGIT))
    return work


def _made(work: Work) -> tuple[Bytes, NDArray[np.int64]]:
    """Return one unit's glyphs (N, 28, 28) and labels; drawings without ink are discarded."""
    rng = np.random.default_rng(work.seed)
    drawn = _MAKERS[work.maker](work, rng)
    glyphs = [(ink.trace_ink(image).glyph, label) for image, label in drawn]
    seen = [(glyph, label) for glyph, label in glyphs if glyph.any()]
    if not seen:
        return np.zeros((0, GLYPH, GLYPH), np.uint8), np.zeros(0, np.int64)
    return np.stack([glyph for glyph, _ in seen]), np.array([label for _, label in seen])


def _as_it_is(work: Work, _: Generator) -> Iterator[tuple[Bytes, int]]:
    for image, label in zip(work.images, work.labels, strict=True):
        yield image, int(label)


def _redrawn(work: Work, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    bent = np.stack([hands.bent(image, rng, 0.7) for image in work.images])
    for line, label in zip(hands.thinned(bent > hands.HALF), work.labels, strict=True):
        if line.any():
            yield hands.redrawn(line, rng), int(label)


def _strokes(work: Work, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    for _ in range(work.count):
        digit = int(rng.integers(10))
        yield hands.redrawn(strokes.drawn(digit, rng), rng), digit


def _fonts(work: Work, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    faces = fonts.found()
    inks: list[Bytes] = []
    labels: list[int] = []
    while len(inks) < work.count:
        digit = int(rng.integers(10))
        rendered = fonts.rendered(faces[rng.integers(len(faces))], str(digit))
        if rendered is not None:
            inks.append(hands.bent(rendered, rng))
            labels.append(digit)
    yield from zip(_with_a_tool(inks, rng), labels, strict=True)


def _letters(work: Work, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    faces = fonts.found()
    inks: list[Bytes] = []
    while len(inks) < work.count:
        rendered = negatives.letters(faces[rng.integers(len(faces))], rng)
        if rendered is not None:
            inks.append(hands.bent(rendered, rng))
    for image in _with_a_tool(inks, rng):
        yield image, NOT_A_DIGIT


def _with_a_tool(inks: list[Bytes], rng: Generator) -> Iterator[Bytes]:
    """Yield the rendered inks, (64, 64) each: half redrawn with other tools, 15 % scanned."""
    for image, line in zip(inks, hands.thinned(np.stack(inks) > hands.HALF), strict=True):
        tool = rng.random()
        if tool < 0.5 and line.any():
            yield hands.redrawn(line, rng)
        elif tool < 0.65 and image.any():
            yield hands.scanned(image, rng)
        else:
            yield image


def _doodles(work: Work, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    for _ in range(work.count):
        kind = rng.random()
        if kind < 0.45:
            yield hands.redrawn(negatives.scribble(rng), rng), NOT_A_DIGIT
        elif kind < 0.8:
            yield hands.redrawn(negatives.sign(rng), rng), NOT_A_DIGIT
        else:
            yield negatives.blot(rng), NOT_A_DIGIT


def _beside(work: Work, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    for image in work.images:
        more = 1 if rng.random() < 0.8 else 2
        others = work.images[rng.integers(0, len(work.images), more)]
        yield negatives.beside([image, *others], rng), NOT_A_DIGIT


_MAKERS: dict[str, Callable[[Work, Generator], Iterator[tuple[Bytes, int]]]] = {
    "as it is": _as_it_is,
    "redrawn": _redrawn,
    "strokes": _strokes,
    "fonts": _fonts,
    "letters": _letters,
    "doodles": _doodles,
    "beside": _beside,
}
