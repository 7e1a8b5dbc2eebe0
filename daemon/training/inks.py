"""Draw the inks that pages are composed of: digits of data sets, redrawn, from curves and fonts."""

# The probabilities of tools and kinds are literals where they are drawn.
# ruff: noqa: PLR2004

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daemon.records import DIGITS
from daemon.training import data, fonts, hands, negatives, strokes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

NOT_A_DIGIT = DIGITS
CHUNK = 1000  # inks per unit of work; each unit has its own random stream
REDRAWN = 2  # how often each set except MNIST is redrawn with other tools
STROKES, FONTS, NOT = 36_000, 12_000, 48_000


@dataclass(frozen=True, slots=True)
class Work:
    """One unit of work for a process: the maker, the number of inks, the seed, the input."""

    maker: str
    group: str
    count: int
    seed: int
    images: Bytes
    labels: NDArray[np.int64]


def plan(sets: Sequence[data.Drawings], seed: int, scale: float) -> list[Work]:
    """Split all inks into units of work.

    Args:
        sets: digits to train on.
        seed: for all random generators.
        scale: multiplies the number of generated inks; the sets themselves keep their size.
    """
    work: list[Work] = []
    nothing = np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64)

    def plan_given(maker: str, group: str, images: Bytes, labels: NDArray[np.int64]) -> None:
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            count = len(labels[part])
            work.append(Work(maker, group, count, seed + len(work), images[part], labels[part]))

    def plan_made(maker: str, group: str, count: int) -> None:
        for start in range(0, round(count * scale), CHUNK):
            size = min(CHUNK, round(count * scale) - start)
            work.append(Work(maker, group, size, seed + len(work), *nothing))

    for drawings in sets:
        plan_given("as it is", drawings.name, drawings.images, drawings.labels)
        times = REDRAWN * scale * (0.25 if drawings.name == data.MNIST else 1)
        count = round(times * len(drawings.labels))
        order = np.random.default_rng(seed).permutation(count) % len(drawings.labels)
        plan_given("redrawn", "pencil", drawings.images[order], drawings.labels[order])
    plan_made("strokes", "strokes", STROKES)
    if fonts.found():
        plan_made("fonts", "fonts", FONTS)
        plan_made("letters", "not a digit", NOT // 3)
    things = negatives.things()
    if len(things):
        few = things[: round(NOT * scale / 12)]
        plan_given("as it is", "not a digit", few, np.full(len(few), NOT_A_DIGIT))
    plan_made("doodles", "not a digit", NOT // 4)
    for drawings in sets:
        count = round(NOT * scale / 3 / len(sets))
        order = np.random.default_rng(seed).integers(0, len(drawings.labels), count)
        images = drawings.images[order]
        plan_given("beside", "not a digit", images, np.full(count, NOT_A_DIGIT))
    return work


def drawn(work: Work, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    """Yield a unit's inks, (H, W) uint8, white on black, with their labels, 0 to 10."""
    return _MAKERS[work.maker](work, rng)


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
        digit = strokes.some_digit(rng)
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
        line = negatives.scribble(rng) if rng.random() < 0.5 else negatives.sign(rng)
        yield hands.redrawn(line, rng), NOT_A_DIGIT


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
