"""Write an evaluation set without a single digit: letters, words and symbols, blanks and noise.

``python -m benchmarks.unseen MNIST.npz FOLDER [--each 500] [--seed 1]``

It also has pairs of digits. With ``reads: number`` they are numbers: leave them out with
``digitd evaluate FOLDER --reads number --skip-traits pair``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np

from benchmarks import labels
from daemon.errors import DataError, describe
from daemon.training import data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

    Page = NDArray[Any]  # (H, W, 3) uint8

# Letters that don't look like a digit in any handwriting; a subset of those in the training data.
LETTERS = "AEFHKMNRWXkmwx"
# Words with at least two letters that look like no digit.
WORDS = (
    "absent", "Anna", "answer", "average", "cm", "exam", "from", "Hanna", "have", "kg", "Khan",
    "make", "man", "March", "Mark", "max", "mean", "Monday", "name", "New", "none", "north", "page",
    "Peter", "room", "team", "text", "total", "unknown", "WATER", "Week", "when", "worm", "year",
)  # fmt: skip
# Symbols that look neither like a digit nor like a mark of a number.
SYMBOLS = "+=?%#@*$\N{EURO SIGN}&\N{SECTION SIGN}\N{MULTIPLICATION SIGN}\N{DIVISION SIGN}"
# Debian's packages of the fonts that training never uses.
_PACKAGES = (
    "fonts-sjfonts fonts-ecolier-court fonts-femkeklaver fonts-dancingscript fonts-bwht "
    "fonts-dustin"
)
SIDE = 96  # side of a page with a letter or a symbol, and height of one with a word, px


def write(mnist: Path, folder: Path, *, seed: int, each: int) -> None:
    """Write a folder for ``digitd evaluate`` with each kind of images.

    Args:
        mnist: MNIST's ``.npz``; the pairs are made of its test digits.
        folder: created if missing; gets ``labels.csv`` and the images.
        seed: for all random generators.
        each: number of images of each kind.

    Raises:
        DataError: MNIST's file or all fonts are missing.
    """
    rng = np.random.default_rng(seed)
    fonts = data.find_fonts(held_out=True)
    if not fonts:
        raise DataError(
            f"{data.FONTS}: has none of the fonts of the letters, {', '.join(data.HELD_FONTS)}: "
            f"apt-get install {_PACKAGES}"
        )
    kinds = {
        "pair": ("multi", _pairs(data.load_test(mnist), rng)),
        "letter": ("none", _letters(rng, fonts)),
        "blank": ("none", _blanks(rng)),
        "noise": ("none", _noises(rng)),
        "word": ("none", _words(rng, fonts)),
        "symbol": ("none", _symbols(rng, fonts)),
    }
    with labels.table(folder) as add:
        for kind, (label, pages) in kinds.items():
            for index, page in zip(range(each), pages, strict=False):
                name = f"{kind}{index}.png"
                cv2.imwrite(str(folder / name), page)
                add(name, label, kind)


def _pairs(digits: data.Drawings, rng: Generator) -> Iterator[Page]:
    """Yield two unscaled 28 px digits side by side, from 8 px apart to 2 px overlapping."""
    while True:
        left, right = digits.images[rng.integers(0, len(digits.images), 2)]
        closer = int(rng.integers(0, 11))
        page = np.zeros((28, 56 - closer), np.uint8)
        page[:, :28] = left
        page[:, 28 - closer :] = np.maximum(page[:, 28 - closer :], right)
        yield 255 - page


def _letters(rng: Generator, fonts: tuple[Path, ...]) -> Iterator[Page]:
    """Yield a dark letter from a held-out font on white paper, 40 to 80 % of the page in size."""
    while True:
        ink = data.render_text(fonts[rng.integers(len(fonts))], str(rng.choice(list(LETTERS))))
        if ink is not None:
            yield _put(rng, ink)


def _symbols(rng: Generator, fonts: tuple[Path, ...]) -> Iterator[Page]:
    """Yield a dark symbol from a held-out font that has it, as ``_letters`` does."""
    while True:
        font, symbol = fonts[rng.integers(len(fonts))], str(rng.choice(list(SYMBOLS)))
        ink = data.render_text(font, symbol) if data.has_characters(font, symbol) else None
        if ink is not None:
            yield _put(rng, ink)


def _put(rng: Generator, ink: Page) -> Page:
    """Return a white page with a character, (h, w) uint8, white on black."""
    scale = SIDE * rng.uniform(0.4, 0.8) / max(ink.shape)
    small: Page = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    page = np.full((SIDE, SIDE), 255, np.uint8)
    top, left = (int(rng.integers(2, SIDE - side - 1)) for side in small.shape)
    page[top : top + small.shape[0], left : left + small.shape[1]] -= small
    return page


def _words(rng: Generator, fonts: tuple[Path, ...]) -> Iterator[Page]:
    """Yield a dark word from a held-out font on white paper, on a page as wide as it needs."""
    while True:
        ink = data.render_text(fonts[rng.integers(len(fonts))], str(rng.choice(WORDS)))
        if ink is None:
            continue
        scale = SIDE * rng.uniform(0.3, 0.7) / ink.shape[0]
        small: Page = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = small.shape
        page = np.full((SIDE, width + int(rng.integers(8, SIDE))), 255, np.uint8)
        top = int(rng.integers(2, SIDE - height - 1))
        left = int(rng.integers(2, page.shape[1] - width - 1))
        page[top : top + height, left : left + width] -= small
        yield page


def _blanks(rng: Generator) -> Iterator[Page]:
    """Yield a page of one colour, or with a gentle brightness gradient."""
    while True:
        side = int(rng.choice((28, 120, 400)))
        page = np.full((side, side, 3), rng.integers(0, 256, 3), np.float32)
        if rng.random() < 0.5:  # half of the pages
            page *= np.linspace(rng.uniform(0.6, 1), 1, side, dtype=np.float32)[:, None]
        yield page.clip(0, 255).astype(np.uint8)


def _noises(rng: Generator) -> Iterator[Page]:
    """Yield sensor noise: coarse or fine, grey or coloured, weak or strong."""
    while True:
        side = int(rng.choice((28, 120, 400)))
        noise: Page = rng.normal(0, 1, (side, side, int(rng.choice((1, 3)))))
        coarse = rng.uniform(0.0, 2.0)
        if coarse > 0.5:  # a smaller blur would not change the noise
            noise = cv2.GaussianBlur(noise, (0, 0), coarse).reshape(side, side, -1)
        noise *= rng.uniform(2, 45) / noise.std()
        yield (rng.integers(60, 196) + noise).clip(0, 255).astype(np.uint8)


@click.command()
@click.argument("mnist", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--each", default=500, show_default=True, help="Images of each kind.")
@click.option("--seed", default=1, show_default=True, help="The same seed, the same bytes.")
def main(mnist: Path, folder: Path, each: int, seed: int) -> None:
    """Write images that show no single digit into FOLDER, with their labels.csv."""
    try:
        write(mnist, folder, seed=seed, each=each)
    except (DataError, OSError) as fault:
        raise click.ClickException(describe(fault)) from fault


if __name__ == "__main__":
    main()
