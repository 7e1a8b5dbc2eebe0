"""Where ink comes from: digits of the sets, redrawn, from strokes and fonts; and "not a digit"."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading.glyph import Bytes, bounding_box
from daemon.records import DIGITS
from daemon.training import data, marks, pens
from daemon.training.writing import Ink

NOT_A_DIGIT = DIGITS  # the label
CHUNK = 1000  # inks per unit of work; each unit has its own random stream
REDRAWN = 2  # how often each set except MNIST is redrawn with other tools
STROKES, FONTS, NOT, MARKED = 36_000, 12_000, 48_000, 20_000
# Letters and symbols that nobody would mistake for a digit. Characters that many people write
# like a digit are excluded: O o D Q (0), I l i | (1), Z z (2), E (3, mirrored), S s (5), b G (6),
# T F (7), B (8), g q (9), y Y (4), J j, and similar ones.
NO_DIGITS = "AHKLMNPRUVWXacdefhkmnprtuvwx&@#%*+=?<>{}$~^αδλμπφψωΔΣΨΩЖЮШФßæñ"


_CAPITALS, _LETTERS = "ABCDEFGHKLMNPRSTUVWXYZ", "aabcdeeefghiijklmnnooprrsttuuvwyz"


@dataclass(frozen=True, slots=True)
class InkUnit:
    """One unit of work for a process.

    Attributes:
        maker: what makes the inks; a key of ``_MAKERS``.
        group: the group of glyphs that they count towards.
        count: how many inks.
        seed: of the unit's random generator.
        images: (N, H, W) uint8, the input of makers that need one.
        labels: (N,) int64 of ``images``.
    """

    maker: str
    group: str
    count: int
    seed: int = 0
    images: Bytes = field(default_factory=lambda: np.zeros((0, 28, 28), np.uint8))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def plan(sets: Sequence[data.Drawings], seed: int, scale: float) -> list[InkUnit]:
    """Split all inks into units of work.

    Args:
        sets: digits to train on.
        seed: for all random generators.
        scale: multiplies the number of generated inks; the sets themselves keep their size.
    """
    units: list[InkUnit] = []

    def add_given(maker: str, group: str, images: Bytes, labels: NDArray[np.int64]) -> None:
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            count = len(labels[part])
            units.append(
                InkUnit(maker, group, count, seed + len(units), images[part], labels[part])
            )

    def add_generated(maker: str, group: str, count: int) -> None:
        for start in range(0, round(count * scale), CHUNK):
            size = min(CHUNK, round(count * scale) - start)
            units.append(InkUnit(maker, group, size, seed + len(units)))

    for drawings in sets:
        add_given("as it is", drawings.name, drawings.images, drawings.labels)
        times = REDRAWN * scale * (0.25 if drawings.name == data.MNIST else 1)
        count = round(times * len(drawings.labels))
        order = np.random.default_rng(seed).permutation(count) % len(drawings.labels)
        add_given("redrawn", "pencil", drawings.images[order], drawings.labels[order])
    add_generated("strokes", "strokes", STROKES)
    if data.find_fonts():
        add_generated("fonts", "fonts", FONTS)
        add_generated("letters", "not a digit", NOT // 3)
    few = data.load_fashion()[: round(NOT * scale / 12)]
    add_given("as it is", "not a digit", few, np.full(len(few), NOT_A_DIGIT))
    add_generated("doodles", "not a digit", NOT // 4)
    count = round(MARKED * scale / len(sets))
    for drawings in sets:
        order = np.random.default_rng(seed + 1).integers(0, len(drawings.labels), count)
        add_given("marked", "marked", drawings.images[order], drawings.labels[order])
    for drawings in sets:
        count = round(NOT * scale / 3 / len(sets))
        order = np.random.default_rng(seed).integers(0, len(drawings.labels), count)
        images = drawings.images[order]
        add_given("beside", "not a digit", images, np.full(count, NOT_A_DIGIT))
    return units


def cache_key(units: Sequence[InkUnit], network: bytes = b"") -> str:
    """Return the key of what is made of units, and with a compiled network."""
    key = hashlib.sha256(network)
    for unit in units:
        key.update(f"{unit.maker} {unit.count} {unit.seed}".encode())
        key.update(np.ascontiguousarray(unit.images).tobytes())
    return key.hexdigest()[:12]


def draw_inks(unit: InkUnit, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    """Yield a unit's inks, (H, W) uint8, white on black, with their labels, 0 to 10."""
    return _MAKERS[unit.maker](unit, rng)


def _copy_set(unit: InkUnit, _: Generator) -> Iterator[tuple[Bytes, int]]:
    for image, label in zip(unit.images, unit.labels, strict=True):
        yield image, int(label)


def trace(images: Bytes, rng: Generator) -> NDArray[np.bool_]:
    """Return digits (N, H, W) as one-pixel lines, (N, 64, 64), distorted a little."""
    distorted = np.stack([pens.distort(image, rng, 0.7) for image in images])
    return pens.thin(distorted > pens.HALF)


def _redraw_set(unit: InkUnit, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    for line, label in zip(trace(unit.images, rng), unit.labels, strict=True):
        if line.any():
            yield pens.redraw(pens.break_some(line, rng), rng), int(label)


def _draw_strokes(unit: InkUnit, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    for _ in range(unit.count):
        digit = pens.choose_digit(rng)
        yield pens.redraw(pens.draw_digit(digit, rng), rng), digit


def _draw_fonts(unit: InkUnit, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    fonts = data.find_fonts()
    inks: list[Bytes] = []
    labels: list[int] = []
    while len(inks) < unit.count:
        digit = int(rng.integers(10))
        text = data.render_text(fonts[rng.integers(len(fonts))], str(digit))
        if text is not None:
            inks.append(pens.distort(text, rng))
            labels.append(digit)
    yield from zip(_redraw_half(inks, rng), labels, strict=True)


def _draw_letters(unit: InkUnit, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    fonts = data.find_fonts()
    inks: list[Bytes] = []
    while len(inks) < unit.count:
        text = render_letters(fonts[rng.integers(len(fonts))], rng)
        if text is not None:
            inks.append(pens.distort(text, rng))
    for ink in _redraw_half(inks, rng):
        yield ink, NOT_A_DIGIT


def _redraw_half(inks: list[Bytes], rng: Generator) -> Iterator[Bytes]:
    """Yield rendered inks, (64, 64) each: half redrawn with other tools, 15 % scanned."""
    for ink, line in zip(inks, pens.thin(np.stack(inks) > pens.HALF), strict=True):
        tool = rng.random()
        if tool < 0.5 and line.any():
            yield pens.redraw(line, rng)
        elif tool < 0.65 and ink.any():
            yield pens.scan(ink, rng)
        else:
            yield ink


def _draw_doodles(unit: InkUnit, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    for _ in range(unit.count):
        line = pens.draw_scribble(rng) if rng.random() < 0.5 else pens.draw_sign(rng)
        yield pens.redraw(line, rng), NOT_A_DIGIT


def _draw_marked(unit: InkUnit, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    for (image, label), line in zip(_copy_set(unit, rng), trace(unit.images, rng), strict=True):
        ink = pens.redraw(line, rng) if line.any() and rng.random() < 0.7 else image
        if ink.max() > pens.HALF:
            yield marks.mark(Ink(ink, label), rng).mask, NOT_A_DIGIT


def _draw_groups(unit: InkUnit, rng: Generator) -> Iterator[tuple[Bytes, int]]:
    for image in unit.images:
        more = 1 if rng.random() < 0.8 else 2
        others = unit.images[rng.integers(0, len(unit.images), more)]
        yield place_side_by_side([image, *others], rng), NOT_A_DIGIT


# The keys are part of the glyph cache's key: to rename one makes every cache stale.
_MAKERS: dict[str, Callable[[InkUnit, Generator], Iterator[tuple[Bytes, int]]]] = {
    "as it is": _copy_set,
    "redrawn": _redraw_set,
    "strokes": _draw_strokes,
    "fonts": _draw_fonts,
    "letters": _draw_letters,
    "doodles": _draw_doodles,
    "beside": _draw_groups,
    "marked": _draw_marked,
}


def render_letters(font: Path, rng: Generator) -> Bytes | None:
    """Render one to three letters or symbols that don't look like digits."""
    characters = [each for each in NO_DIGITS if data.has_characters(font, each)]
    count = 1 if rng.random() < 0.85 else int(rng.integers(2, 4))
    return data.render_text(font, "".join(rng.choice(characters, count)))


def render_words(count: int, rng: Generator) -> list[Bytes]:
    """Render words of two to nine letters, (H, W) uint8 each, white on black."""
    fonts = data.find_fonts()
    words: list[Bytes] = []
    while len(words) < count:
        first = rng.choice(list(_CAPITALS if rng.random() < 0.5 else _LETTERS))
        others = rng.choice(list(_LETTERS), int(rng.integers(1, 9)))
        end = "" if rng.random() < 0.7 else str(rng.choice(list(".:,")))
        text = data.render_text(fonts[rng.integers(len(fonts))], f"{first}{''.join(others)}{end}")
        if text is not None:
            words.append(text)
    return words


def place_side_by_side(inks: list[Bytes], rng: Generator) -> Bytes:
    """Return digits side by side, (H, W): apart, touching or slightly overlapping."""
    height = 40
    resized = []
    for ink in inks:
        top, bottom, left, right = bounding_box(ink)
        cut = ink[top:bottom, left:right]
        scale = height * rng.uniform(0.75, 1.0) / cut.shape[0]
        width = min(max(2, round(cut.shape[1] * scale)), 2 * height)
        resized.append(cv2.resize(cut, (width, max(2, round(cut.shape[0] * scale)))))
    canvas = np.zeros((height, sum(ink.shape[1] for ink in resized) + 15 * len(inks)), np.uint8)
    left = 0
    for ink in resized:
        top = int(rng.integers(0, height - ink.shape[0] + 1))
        place = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
        np.maximum(place, ink, out=place)
        left = max(0, left + ink.shape[1] + int(rng.integers(-4, 13)))
    return canvas
