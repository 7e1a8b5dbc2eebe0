"""The pages that the eye learns from: numbers, marks, underlines, tiles."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.random import Generator

from daemon.reading.eye import Count
from daemon.training import data, eye_batches, marks, number_lines, pages, pens
from daemon.training.ink_sources import trace
from daemon.training.writing import Ink, Writing

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
CUT = 96 // 5


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eye_batches, "UNIT", 32)


def digits() -> list[Ink]:
    (drawings,) = data.load([SMALL]).training
    return [
        Ink(image, int(label))
        for image, label in zip(drawings.images[:40], drawings.labels[:40], strict=True)
    ]


def unit(content: str) -> eye_batches.EyeBatch:
    return eye_batches.compose_unit(data.load([SMALL]).training, 0, 0, content)


def strays(writing: Writing, rng: Generator) -> int:
    """Draw a writing, and count the pixels that differ from the paper outside the mask."""
    page = pages.compose_drawing(writing, rng)
    values, counts = np.unique(page.pixels.reshape(-1, 3), axis=0, return_counts=True)
    away = np.abs(page.pixels - values[counts.argmax()].astype(float)).max(axis=2)
    near = cv2.dilate(page.mask, np.ones((3, 3), np.uint8)) > 0
    return int(((away > 60) & ~near).sum())


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        ("digit", {Count.ONE}),
        ("underlined", {Count.ONE}),
        ("marked", {Count.MARKED}),
        ("number", {Count.SEVERAL}),
        ("tile", {eye_batches.UNCOUNTED}),
        ("other", {Count.NONE}),
        ("nothing", {Count.NONE}),
        ("noise", {Count.NONE}),
    ],
)
def test_each_content_has_its_count_and_its_ink(content: str, counts: set[int]) -> None:
    views = unit(content)
    assert set(views.counts) == counts
    has_ink = (views.ink > 127).any(axis=(1, 2))
    assert has_ink.mean() == pytest.approx(float(content not in {"nothing", "noise"}), abs=0.05)
    again = unit(content)
    assert np.array_equal(views.pixels, again.pixels)
    assert np.array_equal(views.ink, again.ink)


@pytest.mark.parametrize("change", [marks.strike_out, marks.put_sign])
def test_strokes_on_and_beside_a_digit_are_in_the_mask(
    change: Callable[[Ink, Generator], Writing],
) -> None:
    rng = np.random.default_rng(0)
    for ink in digits():
        writing = change(ink, rng)
        assert writing.count is Count.MARKED
        assert (writing.mask.astype(int) - writing.ink > 127).sum() > 5
        assert strays(writing, rng) == 0


def test_lines_and_dots_below_a_digit_are_not_in_the_mask() -> None:
    rng = np.random.default_rng(0)
    seen = 0
    for ink in digits():
        writing = marks.underline(Writing(ink.pixels, Count.ONE).crop(), rng)
        assert writing.count is Count.ONE
        assert writing.beside is not None
        assert writing.beside.any()
        assert not writing.mask[writing.beside > 127].any()
        seen += strays(writing, rng) > 0
    assert seen > 30  # a faint pen can be paler than the threshold


def test_slash_through_a_zero_and_bar_through_a_seven_leave_one_digit() -> None:
    rng = np.random.default_rng(0)
    for ink in digits():
        if ink.label in marks.CROSSED:
            writing = marks.cross_as_written(ink, rng)
            assert writing.count is Count.ONE
            assert writing.mask.sum() > Writing(ink.pixels, Count.ONE).crop().mask.sum()


def test_only_digits_that_cannot_be_another_are_turned() -> None:
    rng = np.random.default_rng(0)
    turned = {ink.label for ink in digits() if marks.turn(ink, rng) is not None}
    assert turned == {2, 3, 4, 5, 7}


def test_numbers_have_two_to_twelve_digits_and_marks_between_them() -> None:
    rng = np.random.default_rng(0)
    texts = [number_lines.choose_text(rng) for _ in range(500)]
    assert all(re.fullmatch("-?[01.,/:-]+[.-]?", text) for text in texts)
    assert {len(re.sub("[^01]", "", text)) for text in texts} == set(range(2, 13))
    assert set("".join(texts)) == {"0", "1", *number_lines.MARKS}
    assert sum(text[0] == "1" or text[-1] == "1" for text in texts) > 100


def test_number_is_one_writing_whose_mask_has_every_piece() -> None:
    rng = np.random.default_rng(0)
    images = np.stack([ink.pixels for ink in digits()])
    lines = [Ink(line, 0) for line in trace(images, rng)]
    wide = []
    for _ in range(20):
        for writing in (
            number_lines.write_with_one_pen(lines, rng),
            number_lines.write_with_inks(digits(), rng),
        ):
            assert writing.count is Count.SEVERAL
            assert 8 < writing.tall < 1.6 * writing.ink.shape[0]
            wide.append(writing.ink.shape[1] / writing.tall)
            if writing.cells is not None:
                widths = np.diff(writing.cells, axis=1)
                assert widths.min() > 0.5 * writing.tall
            assert strays(writing, rng) == 0
    assert min(wide) < 1.8
    assert max(wide) > 6


def test_only_the_cut_sides_of_tiles_are_unknown() -> None:
    unknown = unit("tile").ink == eye_batches.UNKNOWN
    assert not unknown[:, :, CUT:-CUT].any()
    sides = unknown[:, :, :CUT], unknown[:, :, -CUT:]
    for side in sides:
        cut = side.all(axis=(1, 2))
        assert (cut == side.any(axis=(1, 2))).all()
        assert 0.1 < cut.mean() < 0.95
    for content in ("digit", "number", "other"):
        assert not (unit(content).ink == eye_batches.UNKNOWN).any()


def test_hairline_on_a_large_page_is_ink() -> None:
    rng = np.random.default_rng(0)
    line = pens.draw_digit(3, rng)
    page = None
    while page is None or max(page.mask.shape) < 300:
        page = pages.compose_drawing(Writing(pens.draw_with_fine_pen(line, rng), Count.ONE), rng)
    _, ink = eye_batches.view_page(page)
    assert (ink > 127).sum() > 60


def test_shown_again_views_differ_only_in_colour() -> None:
    views = unit("digit")
    again = eye_batches.recolour(views, np.random.default_rng(0))
    assert np.array_equal(again.ink, views.ink)
    assert np.array_equal(again.counts, views.counts)
    assert (again.pixels != views.pixels).any(axis=(1, 2, 3)).mean() > 0.9
    # A stretched view remains stretched, and edges remain where they were.
    assert again.pixels.max(axis=(1, 2, 3)).min() > 250
