"""Text: drawn like matplotlib's, shortened and wrapped to fit, with any characters."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from daemon.picture.text import ELLIPSIS, OVERHANG, PLACEHOLDER, Font, shorten, wrap

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def font() -> Font:
    return Font("DejaVuSans", 12)


def cut(ink: np.ndarray) -> np.ndarray:
    """Return the image cropped to its ink."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@pytest.mark.parametrize("text", ["7", "Å", "99.8%", "digit", "no ink", "Zähler", "jij", "1741"])
def test_text_looks_the_same_as_matplotlibs(font: Font, text: str) -> None:
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=(2, 1), dpi=72)
        agg = FigureCanvasAgg(figure)
        figure.text(20 / 144, 40 / 72, text, size=12, family="DejaVu Sans", va="baseline")
        agg.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(agg.buffer_rgba())  # type: ignore[no-untyped-call]
    theirs, ours = cut(255 - pixels[..., 0]), cut(font.draw_line(text))
    assert theirs.shape == ours.shape
    assert np.abs(theirs.astype(int) - ours).max() <= 1


def test_combining_accents_are_drawn_on_the_preceding_letter(font: Font) -> None:
    plain, accented = font.draw_line("x"), font.draw_line("x\u0301")  # there is no such letter
    assert (accented >= plain).all()
    assert (accented > plain).any()


def test_line_is_as_wide_as_width_returns(font: Font) -> None:
    for text in ("", "i", "WWW", "jjj", "e\u0301", "a long line of words, 99.9%"):
        assert font.draw_line(text).shape == (font.height, font.width(text) + 2 * OVERHANG)


@pytest.mark.parametrize(
    "odd", ["\n", "\t", "\0", "\udcff", "日", "\u202e", "\u200d", "\U0010ffff"]
)
def test_undrawable_characters_are_replaced_by_a_placeholder(font: Font, odd: str) -> None:
    assert font.replace_undrawable(f"a{odd}b") == f"a{PLACEHOLDER}b"
    assert font.draw_line(PLACEHOLDER).any()


def test_drawable_characters_are_kept(font: Font) -> None:
    assert font.replace_undrawable("$x_1$ Ärger №7 “q” 😀") == "$x_1$ Ärger №7 “q” 😀"
    assert font.replace_undrawable("Za\u0308hler") == "Zähler"  # as macOS writes names


def test_long_name_keeps_both_ends(font: Font) -> None:
    name = "first" + "m" * 245 + "7.png"
    short = shorten(font, name, 300)
    assert 260 < font.width(short) <= 300
    assert short.startswith("first")
    assert short.endswith("7.png")
    assert short.count(ELLIPSIS) == 1


def test_name_that_fits_is_unchanged(font: Font) -> None:
    assert shorten(font, "digit7.png", font.width("digit7.png")) == "digit7.png"


WORDS = "the file is cut short: /a/very/long/path/that/no/line/can/hold/in/one/piece.png ends here"


@pytest.mark.parametrize("width", [60, 100, 180, 2000])
def test_wrapped_lines_fit_and_lose_no_text(font: Font, width: int) -> None:
    lines = wrap(font, WORDS, width, lines=100)
    assert max(map(font.width, lines)) <= width
    assert "".join(lines).replace(" ", "") == WORDS.replace(" ", "")
    assert lines[0].split()[0] == "the"


def test_text_that_does_not_fit_ends_with_an_ellipsis(font: Font) -> None:
    lines = wrap(font, WORDS, 100, lines=3)
    assert len(lines) == 3
    assert max(map(font.width, lines)) <= 100
    said = "".join(lines).replace(" ", "")
    assert said.endswith(ELLIPSIS)
    assert WORDS.replace(" ", "").startswith(said.removesuffix(ELLIPSIS))


def test_last_line_that_just_fits_has_no_ellipsis(font: Font) -> None:
    lines = wrap(font, WORDS, 100, lines=100)
    assert wrap(font, WORDS, 100, lines=len(lines)) == lines


def test_cache_of_letters_is_bounded() -> None:
    font = Font("DejaVuSans", 12)
    characters = [c for c in map(chr, range(0x20, 0x2FFF)) if font.replace_undrawable(c) == c]
    assert len(characters) > 1600
    # The cache evicts as many letters as it adds. Five hundred letters take 250 kB.
    assert grown(lambda n: font.width(characters[n]), 1100, 1600) < 120_000


def test_cache_of_lines_is_bounded() -> None:
    font = Font("DejaVuSans", 12)
    # The cache evicts as many lines as it adds. Five hundred of these lines take a megabyte.
    assert grown(lambda n: font.draw_line(f"name {n}"), 600, 1100) < 200_000


def grown(use: Callable[[int], object], first: int, more: int) -> int:
    """Return how many more bytes are allocated after the later uses than after the first ones."""
    tracemalloc.start()
    try:
        for number in range(first):
            use(number)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(first, more):
            use(number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
