"""Make the packs that ship with the program, for learning and for comparing models.

``python -m benchmarks.packs DATA [--out daemon/assets] [--seed 1]``

DATA is a folder with the sets of ``SETS``. The replay pack is made from the share of each set that
training uses, the regression pack from the share that it holds out; see docs/training.md.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np

from benchmarks import letters
from daemon.assets import REGRESSION_PACK, REPLAY_PACK, SHIPPED_MODEL
from daemon.errors import DataError, describe
from daemon.models import packs
from daemon.reading import line, model
from daemon.reading.eye import Count
from daemon.records import DIGITS, Reads, is_number
from daemon.training import data, glyph_batches, ink_sources, pages, pens, shown_strips, strips
from daemon.training.ink_sources import NOT_A_DIGIT, InkUnit
from daemon.training.train import HELD_OUT
from daemon.training.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.random import Generator

    from daemon.reading.glyph import Bytes
    from daemon.training.data import Drawings

SETS = "bhmsds_digits", "pendigits_render", "optdigits32", "semeion"
_SOURCES = """\
Digits:
- BHMSDS, photographed paper: MIT.
- UCI Pen-Based Recognition of Handwritten Digits, strokes rendered (E. Alpaydin, F. Alimoglu):
  CC BY 4.0.
- UCI Optical Recognition of Handwritten Digits, original bitmaps (E. Alpaydin, C. Kaynak):
  CC BY 4.0.
- UCI Semeion Handwritten Digit (Semeion Research Center): CC BY 4.0.
The last three were changed: thinned and redrawn, put on pages, scaled to glyphs and strips.
- digits drawn from digitd's own strokes: MIT, as digitd.
Not a digit:
- scribbles, signs and marks drawn by digitd: MIT, as digitd.
"""
_FONT_SOURCE = """\
- letters and symbols rendered from fonts under the SIL Open Font License 1.1, which does not
  extend to what is rendered: {}.
"""
_LETTER_SOURCE = "- letters and symbols drawn from digitd's own strokes: MIT, as digitd.\n"
# Of the training's fonts, those whose authors give them away under the OFL.
_FONTS = (
    "Andika-Regular", "BebasNeue-Regular", "CabinSketch-Regular", "Comfortaa-Regular",
    "ComicNeue-Regular", "ComicNeue-Italic", "Courier Prime.otf", "Courier Prime Italic",
    "Havana-Regular", "Humor-Sans", "Joscelyn-Regular", "KaushanScript-Regular", "KleeOne-Regular",
    "Lato-Regular", "Lato-Light", "Lato-Italic", "LeckerliOne-Regular", "LobsterTwo-Regular",
    "Quicksand-Regular", "RocknRollOne-Regular", "Stick-Regular", "YuseiMagic-Regular",
)  # fmt: skip

# The replay pack: how many inks of each kind are shown to the eye.
_COPIED, _REDRAWN, _MARKED, _PAIRS = 900, 1300, 380, 140  # of the sets
_STROKES, _DOODLES, _LETTERS = 700, 260, 640
# Strips are kept if they were found and are not too wide: longer ones take too much room.
_STRIP_UNITS, _STRIPS, _WIDEST = 10, 1100, 192  # px
# Grey levels are rounded to multiples of this, which saves a third of the file; JPEG loses more.
_COARSE = 8
# The regression pack: all digits that are held out are in it, each as it is and redrawn so many
# times. BHMSDS is ordered by digit, so that only nines are held out: at most so many of a digit.
_AGAIN, _OF_ONE = 2, 80
_NUMBERS, _LONGEST = 500, 6  # characters
_OTHERS = {"letter": 200, "word": 80, "doodle": 120, "pair": 80, "marked": 60, "nothing": 60}
_PAPER = 0.15  # share of the pages that are paper; the others are drawings
_BIGGEST = 2500  # bytes of a PNG; what is bigger is a JPEG
_QUALITY = 50  # of a JPEG


def split(folder: Path) -> tuple[tuple[Drawings, ...], tuple[Drawings, ...]]:
    """Return what training uses of the sets, and what it holds out, balanced, no picture twice.

    Raises:
        DataError: a set is missing or broken.
    """
    sets = data.load([folder / f"{name}.npz" for name in SETS]).training
    training, held = data.hold_out(sets, HELD_OUT)
    seen = {image.tobytes() for drawings in training for image in drawings.images}
    return training, tuple(_choose_new(drawings, seen) for drawings in held)


def _choose_new(drawings: Drawings, seen: set[bytes]) -> Drawings:
    """Return at most ``_OF_ONE`` pictures of each digit that are not ``seen``; they are added."""
    kept: list[int] = []
    counts = [0] * DIGITS
    for index, (image, label) in enumerate(zip(drawings.images, drawings.labels, strict=True)):
        if image.tobytes() not in seen and counts[label] < _OF_ONE:
            seen.add(image.tobytes())
            counts[label] += 1
            kept.append(index)
    return data.Drawings(drawings.name, drawings.images[kept], drawings.labels[kept])


def find_fonts() -> list[Path]:
    """Return the installed fonts of ``_FONTS``.

    Raises:
        DataError: there are none.
    """
    found = [path for path in data.find_fonts() if path.name.startswith(_FONTS)]
    if not found:
        raise DataError(f"{data.FONTS}: has none of the fonts: install those in docs/training.md")
    return found


# --- The replay pack ---


def make_replay(training: Sequence[Drawings], eye: bytes, seed: int, work: Path) -> dict[str, Any]:
    """Return the arrays of the replay pack; see ``packs.ReplayPack``.

    Args:
        training: what training uses of the sets.
        eye: compiled for LiteRT.
        seed: of all random generators.
        work: a folder where each stage is cached.
    """
    units = _plan(training, seed)
    with _progress("glyphs", len(units)) as on_unit:
        glyphs = glyph_batches.gather(units, eye, work, on_unit)
    with _progress("inks", len(units)) as on_unit:
        pool = strips.draw_pool(units, work, on_unit)
    with _progress("strips", _STRIP_UNITS) as on_unit:
        shown = shown_strips.gather(pool, eye, seed, _STRIP_UNITS, work, on_unit)
    kept = [
        (strip, text, left_out)
        for (strip, text), left_out, found in zip(
            shown, shown.left_out, shown.is_found, strict=True
        )
        if found and strip.shape[1] <= _WIDEST
    ][:_STRIPS]
    longest = max(len(text) for _, text, _ in kept)
    return {
        "glyphs": _round(glyphs.glyphs),
        "counts": glyphs.counts.astype(np.float16),
        "labels": glyphs.labels.astype(np.uint8),
        "columns": _round(np.concatenate([strip for strip, _, _ in kept], axis=1)),
        "widths": np.array([strip.shape[1] for strip, _, _ in kept], np.uint16),
        "texts": np.array([text + [-1] * (longest - len(text)) for _, text, _ in kept], np.int8),
        "left_out": np.array([left_out for _, _, left_out in kept], np.float16),
        "sources": np.array(_SOURCES + _FONT_SOURCE.format(_name_fonts())),
    }


def _round(pixels: Bytes) -> Bytes:
    """Return grey levels rounded to multiples of ``_COARSE``, of which the last is 255."""
    rounded: Bytes = np.minimum(np.rint(pixels / _COARSE) * _COARSE, 255).astype(np.uint8)
    return rounded


def _name_fonts() -> str:
    return ", ".join(sorted({path.stem for path in find_fonts()}))


def _plan(training: Sequence[Drawings], seed: int) -> list[InkUnit]:
    """Return what is shown to the eye, in units of work."""
    rng = np.random.default_rng(seed)
    units: list[InkUnit] = []
    for drawings in training:
        for maker, count in (("as it is", _COPIED), ("redrawn", _REDRAWN), ("marked", _MARKED)):
            images, labels = _choose(drawings, count // len(training), rng)
            group = "marked" if maker == "marked" else drawings.name
            units.append(InkUnit(maker, group, len(labels), seed + len(units), images, labels))
        images, labels = _choose(drawings, _PAIRS // len(training), rng)
        none = np.full(len(labels), NOT_A_DIGIT)
        units.append(InkUnit("beside", "beside", len(none), seed + len(units), images, none))
    for maker, count in (("strokes", _STROKES), ("doodles", _DOODLES)):
        units.append(InkUnit(maker, maker, count, seed + len(units)))
    inks = _render_letters(_LETTERS, rng)
    none = np.full(len(inks) // 2, NOT_A_DIGIT)
    for maker, images in (("as it is", inks[::2]), ("redrawn", inks[1::2])):
        units.append(InkUnit(maker, "letters", len(none), seed + len(units), images, none))
    return units


def _choose(drawings: Drawings, count: int, rng: Generator) -> tuple[Bytes, Any]:
    """Return images and labels of a set, as many of each digit."""
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(drawings.labels == digit), count // DIGITS, replace=False)
            for digit in range(DIGITS)
        ]
    )
    return drawings.images[chosen], drawings.labels[chosen]


def _render_letters(count: int, rng: Generator) -> Bytes:
    """Return letters and symbols of fonts, distorted, (N, 64, 64)."""
    fonts = find_fonts()
    inks: list[Bytes] = []
    while len(inks) < count:
        ink = ink_sources.render_letters(fonts[rng.integers(len(fonts))], rng)
        if ink is not None:
            inks.append(pens.distort(ink, rng))
    return np.stack(inks)


# --- The regression pack ---


@dataclass(frozen=True, slots=True)
class _Image:
    """An image of the regression pack; ``modes`` are those in which it is read."""

    pixels: Bytes
    group: str
    text: str
    modes: tuple[Reads, ...]


def make_regression(held: Sequence[Drawings], seed: int, work: Path) -> dict[str, Any]:
    """Return the arrays of the regression pack.

    Args:
        held: what training holds out of the sets.
        seed: of all random generators.
        work: a folder where inks are cached.

    Returns:
        ``files``, the bytes of all images, and ``sizes`` (N,); for each case the index of its
        ``image``, its ``group``, ``reads`` and ``text``; and ``sources``.
    """
    files: list[bytes] = []
    cases: list[tuple[int, str, str, str]] = []
    images = chain(
        _digits(held, np.random.default_rng((seed, 1))),
        _numbers(held, seed, work),
        _others(held, np.random.default_rng((seed, 2))),
    )
    count = (1 + _AGAIN) * sum(len(each.labels) for each in held) + _NUMBERS + sum(_OTHERS.values())
    with _progress("images", count) as on_image:
        for made in images:
            cases += [(len(files), made.group, str(mode), made.text) for mode in made.modes]
            files.append(encode(made.pixels))
            on_image(1)
    image, group, reads, text = zip(*cases, strict=True)
    return {
        "files": np.frombuffer(b"".join(files), np.uint8),
        "sizes": np.array([len(each) for each in files], np.uint32),
        "image": np.array(image, np.uint16),
        "group": np.array(group),
        "reads": np.array(reads),
        "text": np.array(text),
        "sources": np.array(_SOURCES + _LETTER_SOURCE),
    }


def encode(pixels: Bytes) -> bytes:
    """Return an image file of (H, W, 3) BGR: a PNG, or a JPEG if that would be big."""
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    png = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    if len(png) <= _BIGGEST:
        return png
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _put(ink: Bytes, count: Count, rng: Generator) -> Bytes:
    """Return a drawing with ink, or a page of paper, (H, W, 3) BGR."""
    if rng.random() < _PAPER:
        return pages.compose_paper(Writing(ink, count), (), (), rng).pixels
    return pages.compose_drawing(Writing(ink, count), rng).pixels


def _digits(held: Sequence[Drawings], rng: Generator) -> Iterator[_Image]:
    """Yield each digit as it is, and redrawn with other tools."""
    for drawings in held:
        for image, label in zip(drawings.images, drawings.labels, strict=True):
            pixels = pages.compose_set_image(image).pixels
            yield _Image(pixels, packs.DIGITS, str(label), (Reads.DIGIT,))
        for _ in range(_AGAIN):
            for ink, label in ink_sources.draw_inks(_unit("redrawn", drawings), rng):
                yield _Image(_put(ink, Count.ONE, rng), packs.DIGITS, str(label), (Reads.DIGIT,))


def _unit(maker: str, drawings: Drawings, seed: int = 0) -> InkUnit:
    count = len(drawings.labels)
    return InkUnit(maker, drawings.name, count, seed, drawings.images, drawings.labels)


def _numbers(held: Sequence[Drawings], seed: int, work: Path) -> Iterator[_Image]:
    """Yield numbers of one to six characters, marks among them."""
    units = [
        _unit(maker, drawings, seed + index)
        for index, drawings in enumerate(held)
        for maker in ("as it is", "redrawn")
    ]
    composer = strips.Composer(strips.load_pool(strips.draw_pool(units, work, lambda _: None)))
    rng = np.random.default_rng((seed, 3))
    made = 0
    while made < _NUMBERS:
        ink, symbols, _ = composer.write(rng)
        text = line.spell(symbols)
        if len(text) <= _LONGEST and is_number(text):
            made += 1
            pixels = _put(ink, Count.ONE if len(text) == 1 else Count.SEVERAL, rng)
            yield _Image(pixels, packs.NUMBERS, text, (Reads.NUMBER,))


def _others(held: Sequence[Drawings], rng: Generator) -> Iterator[_Image]:
    """Yield what is not a digit."""
    kinds = {
        "letter": _draw_letters(rng),
        "word": _draw_words(rng),
        "doodle": _draw_doodles(rng),
        "pair": _place_pairs(held, rng),
        "marked": _mark_digits(held, rng),
        "nothing": _leave_blank(rng),
    }
    for kind, images in kinds.items():
        # Two digits, or a digit with a sign, are a number.
        modes = (Reads.DIGIT,) if kind in {"pair", "marked"} else (Reads.DIGIT, Reads.NUMBER)
        for _, pixels in zip(range(_OTHERS[kind]), images, strict=False):
            yield _Image(pixels, packs.NOT_A_DIGIT, "", modes)


def _draw_letters(rng: Generator) -> Iterator[Bytes]:
    while True:
        drawn = letters.draw_letter(str(rng.choice(letters.LETTERS)), rng)
        yield _put(pens.redraw(drawn, rng), Count.NONE, rng)


def _draw_words(rng: Generator) -> Iterator[Bytes]:
    small = [each for each in letters.LETTERS if each.islower()]
    while True:
        some = [letters.draw_letter(str(rng.choice(small)), rng) for _ in range(rng.integers(2, 6))]
        word = ink_sources.place_side_by_side([255 * each.astype(np.uint8) for each in some], rng)
        traced = pens.thin(word[None] > pens.HALF)[0]
        padded = np.pad(traced, ((0, pens.SIDE - len(word)), (0, 0)))
        yield _put(pens.redraw(padded, rng), Count.NONE, rng)


def _draw_doodles(rng: Generator) -> Iterator[Bytes]:
    while True:
        for ink, _ in ink_sources.draw_inks(InkUnit("doodles", "doodles", 1), rng):
            yield _put(ink, Count.NONE, rng)


def _place_pairs(held: Sequence[Drawings], rng: Generator) -> Iterator[Bytes]:
    while True:
        digits = held[int(rng.integers(len(held)))].images
        inks = [digits[index] for index in rng.integers(len(digits), size=2)]
        yield _put(ink_sources.place_side_by_side(inks, rng), Count.SEVERAL, rng)


def _mark_digits(held: Sequence[Drawings], rng: Generator) -> Iterator[Bytes]:
    while True:
        drawings = held[int(rng.integers(len(held)))]
        at = int(rng.integers(len(drawings.labels)))
        unit = _unit("marked", drawings.part(slice(at, at + 1)))
        for ink, _ in ink_sources.draw_inks(unit, rng):
            yield _put(ink, Count.MARKED, rng)


def _leave_blank(rng: Generator) -> Iterator[Bytes]:
    while True:
        yield pages.compose_paper(None, (), (), rng).pixels
        page = pages.compose_noise(rng)
        if max(page.pixels.shape) <= 2 * pens.SIDE:  # larger noise takes too much room
            yield page.pixels


# --- The command ---


@contextmanager
def _progress(label: str, count: int) -> Iterator[Callable[[int], None]]:
    with click.progressbar(length=count, label=label) as bar:
        yield bar.update


def _save(path: Path, arrays: dict[str, Any]) -> None:
    np.savez_compressed(path, **arrays)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=REPLAY_PACK.parent,
    help="Folder for both packs; by default, where the program has them.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed, the same packs.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder where each stage is cached.",
)
def main(folder: Path, out: Path, seed: int, work: Path) -> None:
    """Make the replay and the regression pack from the sets in FOLDER."""
    try:
        training, held = split(folder)
        work.mkdir(parents=True, exist_ok=True)
        _save(out / REGRESSION_PACK.name, make_regression(held, seed, work))
        eye = model.read_file(SHIPPED_MODEL)[1][model.EYE_MEMBER]
        _save(out / REPLAY_PACK.name, make_replay(training, eye, seed, work))
    except (DataError, OSError) as fault:
        raise click.ClickException(describe(fault)) from fault


if __name__ == "__main__":
    main()
