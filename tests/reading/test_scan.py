"""Where a number is on a page: in tiles along the line of writing."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.reading.eye import Segmentation
from daemon.reading.scan import LineDetection, detect_line, touches_left

Pixels = NDArray[Any]  # OpenCV's type hints don't carry the pixel dtype

ONE = np.array([0, 1, 0, 0], np.float32)


class Threshold:
    """Stands in for the eye: dark pixels are ink, but pieces that a side cuts are missed."""

    def __init__(self) -> None:
        self.views = 0

    def __call__(self, view: Pixels) -> Segmentation:
        self.views += 1
        dark = (view.mean(axis=2) < 110).astype(np.uint8)
        _, labels = cv2.connectedComponents(dark)
        cut = np.union1d(labels[:, 0], labels[:, -1])
        whole = (dark > 0) & ~np.isin(labels, cut)
        return Segmentation(whole.astype(np.float32), ONE)


def write(
    text: str, page: tuple[int, int], at: tuple[int, int], tall: int, slope: float = 0.0
) -> tuple[Pixels, Pixels]:
    """Return a page and the mask of its writing: pixels (H, W, 3), mask (H, W)."""
    mask = np.zeros(page, np.uint8)
    for index, each in enumerate(text):
        x = at[0] + index * tall
        place = (x, int(at[1] + slope * index * tall))
        cv2.putText(mask, each, place, cv2.FONT_HERSHEY_SIMPLEX, tall / 21, 1, max(2, tall // 8))
    pixels = np.where(mask[..., None] > 0, 40, 220).astype(np.uint8).repeat(3, axis=2)
    return pixels, mask


def overlap(found: LineDetection, mask: Pixels) -> float:
    return float((found.mask & mask).sum() / (found.mask | mask).sum())


def count_columns(found: LineDetection) -> int:
    """Return the number of separate pieces that the strip has from left to right."""
    inked = (found.strip.pixels > 100).any(axis=0).astype(int)
    return int((np.diff(inked, prepend=0) == 1).sum())


@pytest.mark.parametrize(
    ("text", "page", "at", "tall", "slope"),
    [
        ("888888888", (90, 520), (20, 70), 50, 0.0),
        ("8888888", (300, 900), (30, 120), 60, 0.2),
        ("8888888", (300, 900), (30, 220), 60, -0.2),
        ("888", (900, 1200), (700, 500), 50, 0.0),
        ("88888888888888888888", (40, 820), (10, 33), 38, 0.0),
    ],
)
def test_a_long_or_small_number_is_found_in_tiles(
    text: str, page: tuple[int, int], at: tuple[int, int], tall: int, slope: float
) -> None:
    pixels, mask = write(text, page, at, tall, slope)
    eye = Threshold()
    found = detect_line(eye, pixels)
    assert eye.views > 1
    assert overlap(found, mask) > 0.75
    assert count_columns(found) == len(text)


def test_a_large_number_is_looked_at_once() -> None:
    pixels, mask = write("88", (120, 150), (15, 100), 70)
    eye = Threshold()
    found = detect_line(eye, pixels)
    assert eye.views == 1
    assert overlap(found, mask) > 0.75
    assert found.left_out == 0


def test_commas_stay_and_specks_go() -> None:
    pixels, mask = write("8  8", (120, 260), (20, 90), 55)
    comma = mask.copy()
    cv2.line(comma, (100, 88), (96, 100), 1, 6)
    pixels[comma > 0] = 40
    pixels[29:31, 99:101] = pixels[50, 120] = 40
    found = detect_line(Threshold(), pixels)
    assert overlap(found, comma) > 0.75
    assert count_columns(found) == 3
    assert not found.mask[28:32, 98:102].any()
    assert found.left_out == 1


def test_a_page_without_ink_has_a_black_strip() -> None:
    for page in ((60, 60), (40, 400)):
        found = detect_line(Threshold(), np.full((*page, 3), 220, np.uint8))
        assert not found.strip.pixels.any()
        assert not found.mask.any()
        assert found.mask.shape == page


def draw_dash(start: int, thick: int = 7) -> tuple[Pixels, Pixels]:
    """Return a page with a dash from a column on, and an 8; and their mask."""
    pixels, mask = write(" 8", (100, 200), (60, 80), 60)
    cv2.line(mask, (start, 50), (90, 50), 1, thick)
    pixels[mask > 0] = 40
    return pixels, mask


@pytest.mark.parametrize(("start", "thick"), [(50, 7), (24, 15)])
def test_a_minus_touches_nothing(start: int, thick: int) -> None:
    pixels, mask = draw_dash(start, thick)
    seen = cv2.erode(mask, np.ones((1, 3), np.uint8))  # masks are not exact
    assert not touches_left(pixels, seen)


def test_a_dash_that_begins_at_the_edge_touches_it() -> None:
    assert touches_left(*draw_dash(0))


@pytest.mark.parametrize(("box", "touches"), [(42, True), (25, False)])
def test_a_dash_that_begins_at_a_box_touches_it(*, box: int, touches: bool) -> None:
    pixels, mask = draw_dash(50)
    cv2.rectangle(pixels, (box, 10), (195, 95), (60, 60, 60), 3)
    assert touches_left(pixels, mask) is touches
