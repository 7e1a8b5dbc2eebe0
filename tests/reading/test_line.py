"""Strips: a line of writing as the line reader sees it."""

import math

import cv2
import numpy as np
import pytest

from daemon.reading import line


def write(
    text: str, slope: float = 0.0, height: int = 60, pen: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Return dark writing on light paper, and its mask."""
    width = len(text) * height + 80
    drawn = np.zeros((height + 60 + int(abs(slope) * width), width), np.uint8)
    base = 30 + height - min(0, slope) * width
    for index, character in enumerate(text):
        at = (30 + index * height, int(base + slope * index * height))
        cv2.putText(
            drawn, character, at, cv2.FONT_HERSHEY_SIMPLEX, height / 22, 255, pen, cv2.LINE_AA
        )
    mask = drawn / np.float32(255)
    pixels = np.rint(210 - 150 * mask)[..., None].repeat(3, axis=2).astype(np.uint8)
    return pixels, mask


def box(strip: line.Strip) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of a strip's ink."""
    rows, columns = (np.flatnonzero((strip.pixels > 60).any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def test_a_strip_has_the_agreed_margins_and_width() -> None:
    for text in ("1", "47", "0471", "000111222333"):
        strip = line.make_strip(*write(text))
        assert strip.pixels.dtype == np.uint8
        assert strip.pixels.shape[0] == 32
        assert strip.pixels.shape[1] % 32 == 0
        top, bottom, left, right = box(strip)
        assert (top, bottom) == (3, 29)
        assert left in (8, 9)
        assert 8 <= strip.pixels.shape[1] - right < 42


def test_a_long_line_is_squeezed() -> None:
    assert line.make_strip(*write("12" * 40, height=30)).pixels.shape == (32, 1024)


@pytest.mark.parametrize("slope", [-0.3, 0.1, 0.3])
def test_a_slanted_line_is_levelled(slope: float) -> None:
    level, slanted = (line.make_strip(*write("888888", each)).pixels for each in (0.0, slope))
    middles = [
        float(pixels.sum(axis=1) @ np.arange(32)) / pixels.sum()
        for pixels in np.array_split(slanted[:, 8:-8], 2, axis=1)
    ]
    assert abs(middles[0] - middles[1]) < 1.5
    assert abs(level.shape[1] - slanted.shape[1]) <= 32


def test_a_single_slanted_stroke_stays_slanted() -> None:
    mask = np.zeros((100, 100), np.float32)
    cv2.line(mask, (70, 15), (35, 85), 1, 5)
    pixels = np.rint(230 - 200 * mask)[..., None].repeat(3, axis=2).astype(np.uint8)
    ink = line.make_strip(pixels, mask).pixels
    columns = np.arange(ink.shape[1])
    upper, lower = (
        float(part.sum(axis=0) @ columns) / part.sum() for part in (ink[:10], ink[-10:])
    )
    assert upper - lower > 5


def test_light_writing_on_dark_paper_gives_the_same_strip() -> None:
    pixels, mask = write("5038")
    dark, light = (
        line.make_strip(each, mask).pixels.astype(int) for each in (pixels, 255 - pixels)
    )
    assert np.abs(dark - light).max() <= 2


def test_hairlines_are_thickened() -> None:
    pixels, mask = write("5038", height=200, pen=1)
    ink = line.make_strip(pixels, mask).pixels
    strokes = cv2.distanceTransform((ink > 127).astype(np.uint8), cv2.DIST_L2, 3)
    assert 1.5 < 4 * strokes[strokes > 0].mean() - 2 < 3.5


def test_a_mask_of_another_resolution_fits() -> None:
    pixels, mask = write("5038")
    small = cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    whole, coarse = (line.make_strip(pixels, each).pixels.astype(int) for each in (mask, small))
    assert whole.shape == coarse.shape
    assert np.abs(whole - coarse).mean() < 12


def test_a_dash_is_not_blown_up() -> None:
    mask = np.zeros((60, 200), np.float32)
    mask[28:33, 30:170] = 1
    pixels = np.rint(230 - 200 * mask)[..., None].repeat(3, axis=2).astype(np.uint8)
    top, bottom, *_ = box(line.make_strip(pixels, mask))
    assert bottom - top < 12


def test_no_ink_gives_a_black_strip() -> None:
    paper = np.full((50, 90, 3), 200, np.uint8)
    on_paper = np.zeros((50, 90), np.float32)
    on_paper[20:30, 20:40] = 1
    for mask in (np.zeros_like(on_paper), on_paper):
        strip = line.make_strip(paper, mask)
        assert strip.pixels.shape == (32, 32)
        assert not strip.pixels.any()


def answer(*rows: dict[str, float]) -> np.ndarray:
    """Return logits of time steps: the probabilities of symbols, the rest is the blank's."""
    steps = np.full((len(rows), line.CLASSES), 1e-9)
    for step, row in zip(steps, rows, strict=True):
        for text, probability in row.items():
            step[(line.ALPHABET + "?").index(text)] = probability
        step[line.BLANK] = 1 - sum(row.values())
    return np.asarray(np.log(steps), np.float32)


def test_a_text_is_decoded_with_its_symbols() -> None:
    reading = line.decode(answer({}, {"4": 0.99}, {"4": 0.9}, {}, {"7": 0.6, "1": 0.3}, {}))
    assert reading.text == "47"
    assert reading.runner_up == "41"
    assert reading.log_probability == pytest.approx(math.log(0.999 * 0.6), abs=0.01)
    assert reading.margin == pytest.approx(math.log(2), abs=0.01)
    four, seven = reading.symbols
    assert (four.text, seven.text) == ("4", "7")
    assert four.confidence > 0.99
    assert seven.confidence == pytest.approx(0.6, abs=0.01)
    assert seven.alternative == "1"
    assert (four.column, seven.column) == pytest.approx((2 * line.STEP, 4.5 * line.STEP), abs=0.2)


def test_probabilities_of_single_digits_and_of_nothing_are_exact() -> None:
    reading = line.decode(answer({}, {"7": 0.6, "1": 0.3}, {}))
    assert reading.singles == pytest.approx([0, 0.3, 0, 0, 0, 0, 0, 0.6, 0, 0, 0.1], abs=1e-6)
    assert reading.text == "7"


def test_nothing_written_is_an_empty_text() -> None:
    reading = line.decode(answer({}, {}, {}))
    assert (reading.text, reading.symbols) == ("", ())
    assert reading.singles[10] == pytest.approx(1)


def test_other_signs_are_question_marks() -> None:
    assert line.decode(answer({"3": 0.9}, {}, {"?": 0.9})).text == "3?"


@pytest.mark.parametrize(
    ("rows", "text", "place", "alternative"),
    [
        ([{"4": 0.9}, {}, {"7": 0.6}], "47", 1, ""),
        ([{"4": 0.9}, {"7": 0.4}, {"5": 0.95}], "45", 0, "47"),
        ([{"7": 0.4}, {"5": 0.9}], "5", 0, "75"),
        ([{"0": 0.9}, {"0": 0.55}, {"0": 0.9}], "0", 0, "00"),
    ],
)
def test_the_doubtful_symbol_names_what_else_it_may_be(
    rows: list[dict[str, float]], text: str, place: int, alternative: str
) -> None:
    reading = line.decode(answer(*rows))
    assert reading.text == text
    doubtful = min(reading.symbols, key=lambda symbol: symbol.confidence)
    assert reading.symbols.index(doubtful) == place
    assert doubtful.alternative == alternative
