"""The annotated picture: decoded like in a viewer, and checked by its pixels."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.picture.painter import Painter
from daemon.picture.text import Font
from daemon.records import Status, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

# The regions of the picture: rows, columns.
HEADLINE = np.s_[6:30, 12:756]
NAME = np.s_[34:50, 12:756]
ORIGINAL = np.s_[72:324, 16:268]
SEEN = np.s_[72:324, 282:534]
RIGHT = np.s_[50:324, 548:756]
BARS = slice(585, 695)
SPACING = 252 / 11  # px from bar to bar

COLOURS = {Status.OK: (0, 126, 90), Status.UNSURE: (172, 98, 0), Status.ERROR: (158, 10, 35)}

LIKELY_7 = (0.01, 0.02, 0.0, 0.25, 0.0, 0.0, 0.0, 0.5, 0.0, 0.1, 0.12)
OK = Verdict(Status.OK, "7", 0.5, LIKELY_7)
UNSURE = Verdict(Status.UNSURE, "7", 0.5, LIKELY_7, "low confidence")
NO_DIGIT = Verdict(Status.UNSURE, None, 0.5, LIKELY_7, "not a digit")
BLANK = Verdict(Status.UNSURE, reason="no ink")
ERROR = Verdict(Status.ERROR, reason="the file is empty")
VERDICTS = {"ok": OK, "unsure": UNSURE, "no digit": NO_DIGIT, "blank": BLANK, "error": ERROR}

PAPER = np.full((28, 28, 3), 255, np.uint8)
GLYPH = (np.arange(784) % 256).astype(np.uint8).reshape(28, 28)
NO_INK = np.zeros((28, 28), np.uint8)


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter()


def look(
    painter: Painter,
    verdict: Verdict = OK,
    name: str = "digit7.png",
    thumbnail: Pixels = PAPER,
    glyph: Pixels = GLYPH,
    start: bytes = b"",
) -> Pixels:
    """Return the picture as (340, 768, 3) RGB."""
    if verdict.status is Status.ERROR:
        png = painter.paint_unreadable(name, verdict.reason, start)
    else:
        png = painter.paint(name, verdict, thumbnail=thumbnail, glyph=glyph)
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    assert decoded.shape == (340, 768, 3)
    return decoded.astype(np.uint8)


def has(pixels: Pixels, colour: tuple[int, int, int]) -> bool:
    return bool((pixels == colour).all(axis=-1).any())


def cut(ink: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the image cropped to its visible ink."""
    seen = ink.astype(float) > 10
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(float)


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(kind + body),)
        found.append((kind, body))
        at += 12 + length
    return found


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("thumbnail", "kinds"),
    [
        (PAPER, [b"IHDR", b"PLTE", b"IDAT", b"IEND"]),
        (noise(150, 252), [b"IHDR", b"IDAT", b"IEND"]),
    ],
)
def test_picture_is_a_valid_png(painter: Painter, thumbnail: Pixels, kinds: list[bytes]) -> None:
    found = chunks(painter.paint("digit7.png", OK, thumbnail=thumbnail, glyph=GLYPH))
    assert [kind for kind, _ in found] == kinds
    channels = 1 if b"PLTE" in kinds else 3
    assert len(zlib.decompress(found[-2][1])) == 340 * (1 + 768 * channels)
    assert look(painter, thumbnail=thumbnail).std() > 10


@pytest.mark.parametrize("verdict", VERDICTS.values(), ids=VERDICTS)
@pytest.mark.parametrize("thumbnail", [PAPER, noise(50, 40)])
def test_headline_has_the_status_colour(
    painter: Painter, verdict: Verdict, thumbnail: Pixels
) -> None:
    headline = look(painter, verdict, thumbnail=thumbnail)[HEADLINE]
    assert {s for s, colour in COLOURS.items() if has(headline, colour)} == {verdict.status}


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (OK, "ok: 7, 50.0% sure"),
        (UNSURE, "unsure: perhaps 7, 50.0% sure (low confidence)"),
        (NO_DIGIT, "unsure: not a digit"),
        (BLANK, "unsure: no ink"),
        (ERROR, "error: could not be read"),
        # Even the highest probability is not shown as 100 %.
        (Verdict(Status.OK, "0", 1.0, (1.0, *[0.0] * 10)), "ok: 0, >99.9% sure"),
        (Verdict(Status.OK, "0", 0.99949, (1.0, *[0.0] * 10)), "ok: 0, 99.9% sure"),
    ],
)
def test_headline_gives_the_verdict_in_words(
    painter: Painter, verdict: Verdict, words: str
) -> None:
    paper_to_ink = 255 - look(painter, verdict)[HEADLINE].min(axis=-1).astype(float)
    ink = cut(paper_to_ink * 255 / (255 - min(COLOURS[verdict.status])))
    expected = cut(Font("DejaVuSans-Bold", 17).draw_line(words))
    # There are 32 tints for 256 coverages, and the lightest is nearly white.
    assert ink.shape == expected.shape
    assert np.abs(ink - expected).max() < 10


@pytest.mark.parametrize("chosen", range(10))
@pytest.mark.parametrize("thumbnail", [PAPER, noise(50, 40)])
def test_bar_of_the_chosen_digit_is_highlighted(
    painter: Painter, chosen: int, thumbnail: Pixels
) -> None:
    probabilities = [0.02] * 11
    probabilities[chosen] = 0.8
    probabilities[chosen - 1] = 0.04
    verdict = Verdict(Status.OK, str(chosen), 0.8, tuple(probabilities))
    bars = look(painter, verdict, thumbnail=thumbnail)[72:324, BARS]
    coloured = (bars == COLOURS[Status.OK]).all(axis=-1)
    rows = np.flatnonzero(coloured.any(axis=1))
    assert int(rows.mean() / SPACING) == chosen
    assert len(rows) >= 10
    # The bar's length is its probability times the length of the track.
    assert coloured.sum(axis=1).max() == pytest.approx(0.8 * 108, abs=1)


def test_bar_lengths_are_proportional_to_the_probabilities(painter: Painter) -> None:
    picture = look(painter, NO_DIGIT)
    lengths = [
        int((picture[72 + round(SPACING * (bar + 0.5)), BARS].max(axis=-1) < 200).sum())
        for bar in range(11)
    ]
    assert lengths == pytest.approx([108 * p for p in LIKELY_7], abs=1)
    assert not has(picture[RIGHT], COLOURS[Status.UNSURE])


def test_probabilities_are_shown_to_a_tenth_of_a_percent(painter: Painter) -> None:
    def value(p: float) -> Pixels:
        return look(painter, Verdict(Status.OK, "7", 0.5, (*LIKELY_7[:3], p, *LIKELY_7[4:])))[RIGHT]

    assert np.array_equal(value(0.2601), value(0.2599))
    assert not np.array_equal(value(0.260), value(0.261))


def test_small_original_is_enlarged_without_smoothing(painter: Painter) -> None:
    original = noise(28, 28)
    shown = look(painter, thumbnail=original)[ORIGINAL]
    assert np.array_equal(shown, original.repeat(9, axis=0).repeat(9, axis=1))


def test_tiny_grey_original_is_enlarged_without_smoothing(painter: Painter) -> None:
    original = np.where(noise(8, 8)[..., :1] < 128, 0, 255).astype(np.uint8).repeat(3, axis=2)
    shown = look(painter, thumbnail=original)[ORIGINAL][2:-2, 2:-2]
    assert np.array_equal(shown, original.repeat(31, axis=0).repeat(31, axis=1))


def test_grey_levels_are_preserved(painter: Painter) -> None:
    original = np.arange(2, 254, dtype=np.uint8)[:, None, None].repeat(252, 1).repeat(3, 2)
    shown = look(painter, thumbnail=original)[ORIGINAL]
    assert np.abs(shown.astype(int) - original).max() <= 1


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (200, 1, (252, 1)),
        (1, 200, (1, 252)),
        (34, 252, (34, 252)),
        (504, 112, (252, 56)),
        (150, 100, (252, 168)),
        (70, 98, (140, 196)),
        (1, 1, (252, 252)),
        (504, 504, (252, 252)),
    ],
)
@pytest.mark.parametrize("colour", [(20, 60, 200), (90, 90, 90)])
def test_original_keeps_its_proportions(
    painter: Painter, height: int, width: int, box: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    original = np.full((height, width, 3), colour, np.uint8)
    shown = look(painter, thumbnail=original)[ORIGINAL].astype(int)
    mask = np.asarray((np.abs(shown - colour) <= 1).all(axis=-1))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert (len(rows), len(columns)) == box
    assert mask.sum() == box[0] * box[1]
    # It is centred, whatever its shape.
    assert rows.mean() == pytest.approx(125.5, abs=1)
    assert columns.mean() == pytest.approx(125.5, abs=1)


@pytest.mark.parametrize("thumbnail", [PAPER, noise(50, 40)])
def test_glyph_is_shown_unchanged(painter: Painter, thumbnail: Pixels) -> None:
    seen = look(painter, thumbnail=thumbnail)[SEEN]
    expected = GLYPH.repeat(9, axis=0).repeat(9, axis=1)[..., None]
    assert np.abs(seen.astype(int) - expected).max() <= 1


def test_panel_without_a_glyph_has_a_note(painter: Painter) -> None:
    panel = look(painter, BLANK, glyph=NO_INK)[SEEN]
    ink: NDArray[np.bool_] = panel.max(axis=-1) < 160
    assert 50 < ink.sum() < 1000
    assert np.flatnonzero(ink.any(axis=1)).mean() == pytest.approx(125.5, abs=3)
    assert np.flatnonzero(ink.any(axis=0)).mean() == pytest.approx(125.5, abs=3)


def test_reason_is_shown_in_place_of_the_bars(painter: Painter) -> None:
    def right(reason: str) -> Pixels:
        return look(painter, Verdict(Status.UNSURE, reason=reason))[RIGHT]

    said = right("no ink")
    assert not np.array_equal(said, right("several digits"))
    assert np.array_equal(right("some reason"), right("some\nreason"))
    # No track of a bar is visible behind it.
    assert (said[-150:] == 255).all()


def test_picture_of_an_unreadable_file_shows_the_reason(painter: Painter) -> None:
    picture = look(painter, ERROR)
    expected = cut(Font("DejaVuSans", 15).draw_line("the file is empty"))
    said = picture[70:95, 12:756].max(axis=-1).astype(float)
    ink = cut(255 - said)
    assert ink.shape == expected.shape
    assert np.corrcoef(ink.ravel(), expected.ravel())[0, 1] > 0.99
    # An empty file has no first bytes to show.
    assert (picture[120:] == 255).all()


def test_picture_of_an_unreadable_file_shows_its_first_bytes(painter: Painter) -> None:
    def dump(start: bytes) -> Pixels:
        return look(painter, ERROR, start=start)[180:]

    pdf = dump(b"%PDF-1.4")
    rows = np.flatnonzero((pdf.max(axis=-1) < 128).any(axis=1))
    assert 0 < rows[0] < 20  # the caption
    assert not np.array_equal(pdf, dump(b"%PDF-1.5"))
    assert not np.array_equal(pdf, dump(b"%PDF-1.4\x00"))
    # A megabyte looks the same as its first 96 bytes.
    assert np.array_equal(dump(bytes(range(96))), dump(bytes(range(96)) + b"x" * 1_000_000))


ENDLESS = "cannot be read: " + "error: (-215) !buf.empty() in 'imdecode_', " * 200 + "x" * 5000
LONG = "m" * 255


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Status.ERROR, reason=ENDLESS),
        Verdict(Status.ERROR, reason="x" * 5000),
        Verdict(Status.UNSURE, reason=ENDLESS),
        Verdict(Status.UNSURE, "7", 0.5, LIKELY_7, ENDLESS),
        Verdict(Status.UNSURE, None, 0.5, LIKELY_7, ENDLESS),
        Verdict(Status.OK, "7", 1.0, (1.0,) * 11),
    ],
)
def test_nothing_is_drawn_beyond_the_margins(painter: Painter, verdict: Verdict) -> None:
    picture = look(painter, verdict, LONG, start=b"m" * 96)
    inside = np.zeros((340, 768), bool)
    inside[6:326, 14:756] = True
    assert (picture[~inside] == 255).all()
    assert (picture[HEADLINE].min(axis=-1) < 128).any()


def test_long_reason_fills_the_panel(painter: Painter) -> None:
    right = look(painter, Verdict(Status.UNSURE, reason=ENDLESS))[RIGHT]
    rows = np.flatnonzero((right.max(axis=-1) < 128).any(axis=1))
    columns = np.flatnonzero((right.max(axis=-1) < 128).any(axis=0))
    assert rows[-1] > 200
    assert columns[-1] > 160


def test_different_names_look_different(painter: Painter) -> None:
    names = [
        *("", "digit7.png", "digit8.png", "$x^2$", "x^2", "a\nb", "ab", "\udcff", "Zähler"),
        *("m" * 250 + "1.png", "m" * 250 + "2.png", "1" + LONG, "2" + LONG),
    ]
    assert len({look(painter, name=name)[NAME].tobytes() for name in names}) == len(names)


@given(name=st.text(st.characters(), max_size=300), reason=st.text(st.characters()))
@settings(max_examples=50, deadline=None)
def test_any_name_and_reason_can_be_drawn(painter: Painter, name: str, reason: str) -> None:
    picture = look(painter, Verdict(Status.ERROR, reason=reason), name)
    assert has(picture[HEADLINE], COLOURS[Status.ERROR])


def test_same_reading_gives_the_same_bytes(painter: Painter) -> None:
    first = painter.paint("digit7.png", OK, thumbnail=PAPER, glyph=GLYPH)
    painter.paint_unreadable(LONG, "empty", b"")
    assert painter.paint("digit7.png", OK, thumbnail=PAPER, glyph=GLYPH) == first
    assert Painter().paint("digit7.png", OK, thumbnail=PAPER, glyph=GLYPH) == first


def test_users_matplotlib_style_is_ignored(painter: Painter) -> None:
    with mpl.rc_context({"axes.linewidth": 5, "axes.titleweight": "bold", "axes.grid": True}):
        styled = look(Painter())
    assert np.array_equal(styled, look(painter))


def test_painter_logs_nothing_without_a_home_folder(tmp_path: Path) -> None:
    program = (
        "from daemon.picture.painter import Painter; "
        "p = Painter().paint_unreadable('\\udcff.png', 'x', b''); print(len(p))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"MPLCONFIGDIR": "/proc/none", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    assert int(done.stdout) > 1000


@pytest.mark.parametrize("side", [28, 252, 504])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("verdict", [OK, UNSURE])
def test_ink_is_outlined_in_the_status_colour(
    painter: Painter,
    side: int,
    colour: bool,  # noqa: FBT001 - a parameter
    verdict: Verdict,
) -> None:
    shown = np.full((min(side, 252), min(side, 252), 3), 255, np.uint8)
    if colour:
        shown[0, 0] = (200, 100, 50)
    mask = np.zeros((side, side), np.uint8)
    quarter = side // 4
    mask[quarter : 3 * quarter, quarter : 3 * quarter] = 1
    data = painter.paint("x.png", verdict, thumbnail=shown, glyph=GLYPH, mask=mask)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    line = (picture[ORIGINAL][..., ::-1] == COLOURS[verdict.status]).all(axis=2)
    rows, columns = np.nonzero(line)
    # The outline is one pixel wide, around the middle half of the panel, and nowhere else.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (62, 189, 62, 189)
    assert line.sum() == 4 * 127
