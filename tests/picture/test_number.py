"""The annotated picture of a number: decoded like in a viewer, and checked by its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.picture.number import Candidate
from daemon.picture.painter import Painter
from daemon.picture.text import Font
from daemon.records import Status, Symbol, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

# The regions of the picture: rows, columns.
HEADLINE = np.s_[6:30, 12:756]
STRIP = np.s_[72:324, 282:534]
CANDIDATES = np.s_[72:324, 548:756]

COLOURS = {Status.OK: (0, 126, 90), Status.UNSURE: (172, 98, 0)}
PAPER = np.full((40, 200, 3), 255, np.uint8)
RUNNER_UP = Candidate("0411", 0.25)
NUMBER = Verdict(Status.OK, "0471", 0.5)


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter()


def make_strip(width: int, columns: Sequence[float]) -> Pixels:
    """Return a strip with an upright stroke, 5 px wide, at each column."""
    strip = np.zeros((32, width), np.uint8)
    for column in columns:
        strip[3:29, max(0, round(column) - 2) : round(column) + 3] = 255
    return strip


def spread(text: str, confidence: float = 0.9) -> tuple[Symbol, ...]:
    """Return symbols that are 20 px apart."""
    return tuple(Symbol(each, confidence, 16.0 + 20 * i) for i, each in enumerate(text))


def look(
    painter: Painter,
    verdict: Verdict = NUMBER,
    symbols: tuple[Symbol, ...] = spread("0471"),
    runner_up: Candidate = RUNNER_UP,
    strip: Pixels | None = None,
) -> Pixels:
    """Return the picture as (340, 768, 3) RGB."""
    if strip is None:
        columns = [each.column for each in symbols]
        strip = make_strip(-(-round(columns[-1] + 16) // 32) * 32, columns)
    png = painter.paint_number(
        "0471.png", verdict, thumbnail=PAPER, strip=strip, symbols=symbols, runner_up=runner_up
    )
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    assert decoded.shape == (340, 768, 3)
    return decoded.astype(np.uint8)


def find(pixels: Pixels, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray((pixels == colour).all(axis=-1))


def find_rows(panel: Pixels) -> list[slice]:
    """Return the rows of pixels of each row of the strip: those that are black somewhere."""
    edges = np.diff(find(panel, (0, 0, 0)).any(axis=1).astype(int), prepend=0, append=0)
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True) if b - a > 20]


def find_bars(panel: Pixels, row: slice, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return the first and the last column of each bar below a row of the strip."""
    filled = find(panel[row.stop + 4 : row.stop + 9], colour).all(axis=0)
    edges = np.diff(filled.astype(int), prepend=0, append=0)
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return [(int(a), int(b)) for a, b in zip(starts, stops, strict=True)]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (NUMBER, "ok: 0471, 50.0% sure"),
        (
            Verdict(Status.UNSURE, "7,5", 0.5, reason="low confidence: digit 2 of 2, 5 or 6"),
            "unsure: perhaps 7,5, 50.0% sure (low confidence: digit 2 of 2, 5 or 6)",
        ),
        (Verdict(Status.UNSURE, reason="not a number"), "unsure: not a number"),
        (Verdict(Status.UNSURE, reason="no ink"), "unsure: no ink"),
        (
            Verdict(Status.UNSURE, "12", 0.9, reason="not expected"),
            "unsure: perhaps 12, 90.0% sure (not expected)",
        ),
        (
            Verdict(Status.UNSURE, "0471", None, None, "not expected: read 0417"),
            "unsure: perhaps 0471 (not expected: read 0417)",
        ),
    ],
)
def test_headline_gives_the_number_in_words(painter: Painter, verdict: Verdict, words: str) -> None:
    headline = 255 - look(painter, verdict)[HEADLINE].min(axis=-1).astype(float)
    expected = Font("DejaVuSans-Bold", 17).draw_line(words)
    rows, columns = np.nonzero(headline > 10)
    shown = np.nonzero(expected > 10)
    assert np.ptp(columns) == np.ptp(shown[1])
    assert np.ptp(rows) == np.ptp(shown[0])


@pytest.mark.parametrize("status", COLOURS)
def test_each_symbol_is_marked_where_it_was_found(painter: Painter, status: Status) -> None:
    symbols = tuple(
        Symbol(text, confidence, column)
        for text, confidence, column in (
            *(("0", 1.0, 20.0), ("4", 0.25, 50.0), ("7", 0.75, 74.0), ("1", 1.0, 104.0)),
        )
    )
    picture = look(painter, Verdict(status, "0471", 0.5, reason="x"), symbols)
    panel = picture[STRIP]
    (row,) = find_rows(panel)
    strokes = find(panel, (255, 255, 255))[(row.start + row.stop) // 2]
    black = np.flatnonzero(find(panel[row], (0, 0, 0)).any(axis=0))
    scale = (row.stop - row.start) / 32
    bars = find_bars(panel, row, COLOURS[status])
    assert len(bars) == 4
    for symbol, (first, last) in zip(symbols, bars, strict=True):
        centre = black[0] + symbol.column * scale
        assert strokes[round(centre)]
        assert last - first + 1 == pytest.approx(24 * symbol.confidence, abs=1)
        assert first == pytest.approx(centre - 12, abs=1.5)
        # Its character is below the bar.
        text = panel[row.stop + 10 : row.stop + 24, first - 2 : first + 26]
        width = np.ptp(np.flatnonzero((text.min(axis=-1) < 200).any(axis=0)))
        ink = Font("DejaVuSans-Bold", 12).draw_line(symbol.text)
        assert width == pytest.approx(np.ptp(np.flatnonzero((ink > 90).any(axis=0))), abs=1)


@pytest.mark.parametrize(
    ("count", "rows"), [(1, 1), (2, 1), (4, 1), (8, 1), (9, 2), (12, 2), (16, 2), (24, 3), (32, 4)]
)
def test_long_strip_is_wrapped_between_its_symbols(painter: Painter, count: int, rows: int) -> None:
    symbols = spread("7" * count, confidence=1.0)
    panel = look(painter, Verdict(Status.OK, "7" * count, 0.9), symbols)[STRIP]
    found = find_rows(panel)
    assert len(found) == rows
    bars = [find_bars(panel, row, COLOURS[Status.OK]) for row in found]
    assert sum(map(len, bars)) == count
    assert max(map(len, bars)) - min(map(len, bars)) <= 1
    # 48 px are enough to read a digit; of the longest numbers, digits keep the strip's own size.
    assert found[0].stop - found[0].start >= (48 if count <= 16 else 32)
    for row, marks in zip(found, bars, strict=True):
        # Between the first and the last black pixel are as many whole strokes as marks below.
        white = find(panel, (255, 255, 255))[(row.start + row.stop) // 2]
        black = np.flatnonzero(~white)
        steps = np.diff(white[black[0] : black[-1] + 1].astype(int))
        assert (steps == 1).sum() == (steps == -1).sum() == len(marks)


def test_short_strip_is_shown_unchanged(painter: Painter) -> None:
    strip = np.zeros((32, 64), np.uint8)
    strip[3:29, 8:48] = np.random.default_rng(7).integers(1, 256, (26, 40))
    symbols = (Symbol("4", 0.9, 18.0), Symbol("2", 0.9, 38.0))
    panel = look(painter, symbols=symbols, strip=strip)[STRIP]
    (row,) = find_rows(panel)
    shown = cv2.resize(strip[:, :56], (252, 144), interpolation=cv2.INTER_NEAREST)
    assert row.stop - row.start == 144
    assert np.abs(panel[row].astype(int) - shown[..., None]).max() <= 1


def test_both_candidates_have_a_bar_for_their_confidence(painter: Painter) -> None:
    panel = look(painter)[CANDIDATES][:, :150]  # without the percentages
    best = find(panel, COLOURS[Status.OK]).sum(axis=1).max()
    assert best == pytest.approx(0.5 * 142, abs=1)
    grey: NDArray[np.bool_] = np.abs(panel.astype(int) - 150).max(axis=-1) <= 1
    assert grey.sum(axis=1).max() == pytest.approx(0.25 * 142, abs=1)
    other = look(painter, runner_up=Candidate("0417", 0.25))[CANDIDATES][:, :150]
    assert not np.array_equal(other, panel)


@pytest.mark.parametrize("reason", ["low confidence: digit 3 of 4, 7 or 1", "not a number"])
def test_reason_is_written_below_the_candidates(painter: Painter, reason: str) -> None:
    def panel(reason: str) -> Pixels:
        return look(painter, Verdict(Status.UNSURE, "0471", 0.5, reason=reason))[CANDIDATES]

    plain = panel("")
    differs: NDArray[np.bool_] = (panel(reason) != plain).any(axis=(1, 2))
    assert (plain[differs] == 255).all()
    assert np.flatnonzero(differs)[0] > 110


def test_picture_without_ink_says_so(painter: Painter) -> None:
    nothing = look(
        painter,
        Verdict(Status.UNSURE, reason="no ink"),
        (),
        Candidate("", None),
        np.zeros((32, 32), np.uint8),
    )
    assert not find(nothing[STRIP], (0, 0, 0)).any()
    ink: NDArray[np.bool_] = nothing[STRIP].max(axis=-1) < 160
    assert 50 < ink.sum() < 1000
    assert not find(nothing[CANDIDATES], COLOURS[Status.UNSURE]).any()
    assert (nothing[CANDIDATES].max(axis=-1) < 128).any()


@given(
    text=st.text("0123456789.,-/:?", min_size=1, max_size=40),
    width=st.integers(1, 32),
    seed=st.integers(0, 1000),
    reason=st.text(st.characters(), max_size=200),
)
@settings(max_examples=30, deadline=None)
def test_any_symbols_in_any_strip_can_be_drawn(
    painter: Painter, text: str, width: int, seed: int, reason: str
) -> None:
    rng = np.random.default_rng(seed)
    columns = np.sort(rng.uniform(0, 32 * width, len(text)))
    symbols = tuple(
        Symbol(each, float(rng.random()), float(column))
        for each, column in zip(text, columns, strict=True)
    )
    strip = rng.integers(0, 2, (32, 32 * width), np.uint8) * 255
    verdict = Verdict(Status.UNSURE, text, 0.5, reason=reason)
    picture = look(painter, verdict, symbols, Candidate(text * 2, 0.5), strip)
    inside = np.zeros((340, 768), bool)
    inside[6:326, 14:756] = True
    inside[71:325, 269:281] = inside[71:325, 535:546] = False
    assert (picture[~inside] == 255).all()
    assert find(picture[HEADLINE], COLOURS[Status.UNSURE]).any()
