"""Where a picture says the ink is, and how a page is cropped to it."""

from __future__ import annotations

import numpy as np
import pytest

from daemon.picture.canvas import encode_png
from daemon.picture.ink import HEAD_BYTES, InkPlace, locate, read_place

PAGE = (504, 378)
SMALL = InkPlace(100, 200, 120, 230, *PAGE)


def test_picture_stores_the_place_of_its_ink() -> None:
    mask = np.zeros((378, 504), np.uint8)
    mask[200:230, 100:120] = 1
    assert locate(mask) == SMALL
    picture = encode_png(np.zeros((340, 768, 3), np.uint8), place=SMALL)
    assert read_place(picture[:HEAD_BYTES]) == SMALL
    assert locate(np.zeros((5, 5), np.uint8)) is None


def test_place_ends_where_its_chunk_ends() -> None:
    canvas = np.zeros((1, 1, 3), np.uint8)
    for right in range(200, 500):  # of 300 checksums, about 12 begin with a digit
        place = InkPlace(100, 200, right, 230, *PAGE)
        assert read_place(encode_png(canvas, place=place)[:HEAD_BYTES]) == place


def chunk(text: bytes) -> bytes:
    body = b"digitd ink\0" + text
    return bytes(33) + len(body).to_bytes(4) + b"tEXt" + body + b"1234"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        encode_png(np.zeros((340, 768, 3), np.uint8)),
        bytes(HEAD_BYTES),
        chunk(b"1 2 3 4 5 9 "),
        chunk(b"1 2 3 4 5"),
        chunk(b"1 2 3 4 5 -6"),
        chunk(b"1 2 3 4 2 9"),  # beyond the page
        chunk(b"3 2 3 4 5 9"),  # empty
        chunk(b"1 2 3 4 999999 9"),
    ],
)
def test_what_stores_no_place_has_none(head: bytes) -> None:
    assert read_place(head) is None


@pytest.mark.parametrize(
    "place",
    [
        SMALL,
        InkPlace(0, 0, 5, 30, *PAGE),
        InkPlace(490, 350, 504, 378, *PAGE),
        InkPlace(50, 100, 250, 130, *PAGE),  # a number
        InkPlace(50, 100, 90, 102, *PAGE),  # a dash
    ],
)
def test_crop_shows_the_ink_and_what_is_next_to_it(place: InkPlace) -> None:
    crop = place.crop()
    assert crop is not None
    assert crop.is_valid
    assert crop.left <= place.left < place.right <= crop.right
    assert crop.top <= place.top < place.bottom <= crop.bottom
    high = place.bottom - place.top
    assert crop.right - crop.left >= 1.2 * high
    assert crop.bottom - crop.top >= min(1.8 * high, high + place.top)
    assert crop.bottom - crop.top <= max(2 * high, place.right - place.left)


def test_page_that_the_ink_fills_is_not_cropped() -> None:
    assert InkPlace(100, 50, 300, 350, *PAGE).crop() is None


def test_crop_is_the_same_part_of_a_larger_image() -> None:
    rows, columns = SMALL.scaled(5040, 3780)
    assert (rows, columns) == (slice(2000, 2300), slice(1000, 1200))
    rows, columns = InkPlace(0, 0, 1, 1, *PAGE).scaled(8, 8)
    assert (rows, columns) == (slice(0, 1), slice(0, 1))
