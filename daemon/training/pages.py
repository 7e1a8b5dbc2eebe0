"""Compose synthetic pages to train on: ink on paper, with what else is on people's pages.

A page is drawn in the order in which a real one comes about: the paper, what is printed on it, the
writing, then shadows and the desk, then the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from daemon.reading.eye import Count
from daemon.reading.glyph import Bytes, Floats, bounding_box
from daemon.training import page_clutter, pens, photograph
from daemon.training.page_clutter import Sheet
from daemon.training.writing import Writing, crop_ink

_LOWEST = 9.0  # of a line of writing on a page, px; lower digits can hardly be read
_FAINT = 60  # grey levels; ink and paper differ by at least this much on a page


@dataclass(frozen=True, slots=True)
class SyntheticPage:
    """A composed page.

    Attributes:
        pixels: (H, W, 3) uint8 BGR.
        mask: (H, W) uint8, 255 on what is written: the digit, the number, or another thing, with
            the marks that belong to it.
        count: whether it is one digit.
        tall: height of a line of writing, px; 0 if there is none.
    """

    pixels: Bytes
    mask: Bytes
    count: Count
    tall: float = 0.0


def compose_drawing(writing: Writing, rng: Generator) -> SyntheticPage:
    """Draw as in a paint program: clean, mostly 28x28, any colours, often off centre.

    Args:
        writing: what is drawn. A small one keeps its pixels, and so do fine lines at times.
        rng: the random generator.
    """
    writing = _choose_drawn_size(writing.crop(), rng)
    shape = writing.ink.shape
    canvas = _choose_canvas(shape, rng)
    room = [canvas[axis] - shape[axis] for axis in (0, 1)]
    if rng.random() < 0.6:
        at = [int(np.clip(rng.normal(side / 2, max(canvas) / 20), 0, side)) for side in room]
    else:
        at = [int(rng.integers(0, side + 1)) for side in room]
    margins = (at[0], room[0] - at[0]), (at[1], room[1] - at[1])
    writing = writing.change([np.pad(layer, margins) for layer in writing.layers], cells=None)
    pen, paper = _choose_paint(rng)
    strength = rng.uniform(0.3, 1.0) if rng.random() < 0.15 else 1.0
    pixels = np.empty((*canvas, 3), np.uint8)
    pixels[:] = np.rint(paper)
    pixels = _blend(pixels, writing.ink * strength, pen)
    for layer in writing.layers[1:]:
        other = _choose_contrasting(paper, rng) if rng.random() < 0.2 else pen
        pixels = _blend(pixels, layer * strength, other)
    mask = writing.mask
    if writing.count is Count.ONE and rng.random() < 0.05:
        pixels, mask = photograph.cut_at_edge(pixels, mask, rng)
    if rng.random() < 0.1:
        pixels = pens.compress(pixels, int(rng.integers(50, 95)))
    return SyntheticPage(pixels, mask, writing.count, writing.tall)


def _choose_drawn_size(writing: Writing, rng: Generator) -> Writing:
    """Return a writing, cropped, in the size in which it is drawn."""
    high, wide = writing.ink.shape
    longest = max(high, wide)
    is_long = writing.count is Count.SEVERAL and wide > 2 * high
    is_small = longest <= 26 or (is_long and high <= 26)
    is_large = longest > 110  # by a fine pen, or a brush
    kept = 0.7 if is_small else 0.4 * is_large
    if rng.random() < kept:
        return writing
    if is_long and rng.random() < 0.6:
        return _resize(writing, np.exp(rng.uniform(np.log(9), np.log(90))) / high)
    side = 28 if rng.random() < 0.5 else np.exp(rng.uniform(np.log(24), np.log(320)))
    return _resize(writing, side * rng.uniform(0.35, 0.93) / longest)


def _resize(writing: Writing, scale: float) -> Writing:
    """Return a writing scaled, but not lower than ``_LOWEST``."""
    return writing.resize(max(scale, _LOWEST / writing.tall) if writing.tall else scale)


def _choose_canvas(ink: tuple[int, ...], rng: Generator) -> tuple[int, int]:
    """Return height and width of a canvas for ink: mostly 28x28 if it fits, sometimes oblong."""
    longest = max(ink)
    if longest <= 28 and rng.random() < 0.85:
        return 28, 28
    if rng.random() < 0.25 or ink[1] > 2.2 * ink[0]:
        margins = np.rint(longest * rng.uniform(0.02, 0.5, 2)).astype(int)
        return int(ink[0] + margins[0]), int(ink[1] + margins[1])
    side = round(longest / rng.uniform(0.35, 0.95))
    return side, side


def compose_set_image(ink: Bytes) -> SyntheticPage:
    """Return an image of a data set as a page: white ink on black, with a margin."""
    alpha = np.pad(ink, max(2, max(ink.shape) // 8))
    return SyntheticPage(cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), alpha, Count.ONE)


def compose_noise(rng: Generator) -> SyntheticPage:
    """Return a page of noise, coarse or fine, grey or coloured, or of one colour."""
    side = 28 if rng.random() < 0.4 else int(np.exp(rng.uniform(np.log(20), np.log(300))))
    pixels = np.empty((side, side, 3), np.float32)
    pixels[:] = rng.uniform(0, 256, 3) if rng.random() < 0.5 else rng.uniform(0, 256)
    if rng.random() < 0.9:
        grain = rng.standard_normal((side, side, 3 if rng.random() < 0.5 else 1), np.float32)
        if rng.random() < 0.6:
            soft = cv2.GaussianBlur(grain, (0, 0), float(rng.uniform(0.4, 3)))
            grain = np.asarray(soft, np.float32).reshape(grain.shape)
        pixels += grain * np.float32(np.exp(rng.uniform(0, np.log(60))) / grain.std())
    return SyntheticPage(
        pixels.clip(0, 255).astype(np.uint8), np.zeros((side, side), np.uint8), Count.NONE
    )


def compose_paper(
    writing: Writing | None, others: Sequence[Bytes], words: Sequence[Bytes], rng: Generator
) -> SyntheticPage:
    """Compose a page of paper, or a board.

    Args:
        writing: what is written; ``None`` for an empty page.
        others: inks for the neighbours that the page's edge cuts.
        words: inks of words near the writing.
        rng: the random generator.
    """
    (height, width), placed = _place(writing, rng)
    colour, pen = _choose_stationery(rng)
    pixels = page_clutter.make_paper(height, width, colour, rng)
    sheet = Sheet(pixels, colour, pen, None, np.zeros((0, 2)))
    may_ring = False
    if placed is not None:
        whole = placed.whole
        points = np.argwhere(whole > 0)[:, ::-1]
        sheet = Sheet(pixels, colour, pen, bounding_box(whole), points, placed.cells)
        may_ring = placed.count is Count.ONE and placed.beside is None
    page_clutter.add_print(sheet, rng, may_ring=may_ring)
    if others and rng.random() < 0.36:
        _write_neighbours(sheet, others, rng)
    if words:
        _write_words(sheet, words, rng)
    if placed is not None:
        _write(sheet, placed, rng)
    if rng.random() < 0.12:
        page_clutter.add_specks(sheet, rng)
    page_clutter.add_light(sheet, rng)
    if placed is None:
        blank = np.zeros((height, width), np.uint8)
        return SyntheticPage(*photograph.photograph(sheet.pixels, blank, rng), Count.NONE)
    pixels, mask = photograph.photograph(
        sheet.pixels, placed.mask, rng, is_one=placed.count is Count.ONE
    )
    return SyntheticPage(pixels, mask, placed.count, placed.tall)


def _choose_paint(rng: Generator) -> tuple[Floats, Floats]:
    """Return the colours of pen and canvas in a paint program, BGR."""
    black, white = np.zeros(3), np.full(3, 255.0)
    kind = rng.random()
    if kind < 0.46:
        return black, white
    if kind < 0.66:
        return white, black
    if kind < 0.8:
        return _choose_contrasting(white, rng), white
    ground = rng.uniform(0, 256, 3)
    return _choose_contrasting(ground, rng), ground


def _choose_contrasting(ground: Floats, rng: Generator) -> Floats:
    """Return a random colour that can be seen on another one."""
    while True:
        colour = rng.uniform(0, 256, 3)
        if np.abs(colour - ground).max() > 110:
            return colour


def _choose_stationery(rng: Generator) -> tuple[Floats, Floats]:
    """Return the colours of paper and pen, or of board and chalk, BGR."""
    grey = rng.normal(0, 1) * 12
    if rng.random() < 0.14:
        board = np.clip(rng.uniform(15, 90) + rng.normal(0, 14, 3), 5, 120)
        chalk = np.clip(rng.uniform(board.max() + 90, 255) + rng.normal(0, 12, 3), 0, 255)
        return board, chalk
    sheet = np.clip(rng.uniform(140, 255) + grey + rng.normal(0, 10, 3), 110, 255)
    while True:
        pen = np.clip(rng.uniform(0, 130) + rng.normal(0, 40, 3), 0, 215)
        if sheet.min() - pen.min() > _FAINT and sheet.mean() - pen.mean() > 40:
            return sheet, pen


def _place(writing: Writing | None, rng: Generator) -> tuple[tuple[int, int], Writing | None]:
    """Return a page's height and width, and the writing on it, (H, W)."""
    if writing is not None and writing.count is Count.SEVERAL and rng.random() < 0.85:
        return _place_line(writing, rng)
    height = int(rng.integers(100, 216))
    width = int(np.clip(height * np.exp(rng.normal(0, 0.22)), 80, 260))
    if rng.random() < 0.06:  # a field for a number
        height = int(rng.integers(50, 110))
        width = int(height * np.exp(rng.uniform(np.log(1.3), np.log(6.0))))
    if writing is None:
        return (height, width), None
    share = np.exp(rng.uniform(np.log(0.2 if rng.random() < 0.9 else 0.08), np.log(0.82)))
    writing = writing.crop()
    # A number is as high as a digit, if the page is wide enough.
    longest = max(writing.ink.shape[0], writing.ink.shape[1] / 4)
    placed = writing.resize(share * min(height, width) / longest)
    if placed.cells is None:
        placed = placed.rotate(rng.normal(0, 7)).crop()
    high, wide = placed.ink.shape
    fit = min(1.0, 0.94 * width / wide, 0.94 * height / high)
    if fit < 1:
        placed = placed.resize(fit)
    return (height, width), _paste(placed, (height, width), rng)


def _place_line(writing: Writing, rng: Generator) -> tuple[tuple[int, int], Writing]:
    """Return a page for a line of writing, up to ten times as wide as high, and the line on it."""
    placed = writing.crop()
    if placed.cells is None and rng.random() < 0.6:
        placed = placed.rotate(rng.normal(0, 5)).crop()
    high, wide = placed.ink.shape
    height = high * np.exp(rng.uniform(np.log(1.1), np.log(4.0)))
    width = wide * np.exp(rng.uniform(np.log(1.03), np.log(2.2)))
    height = max(height, width / 10)
    area = np.exp(rng.uniform(np.log(9_000), np.log(48_000)))
    placed = _resize(placed, float(np.sqrt(area / (height * width))))
    scale = placed.ink.shape[1] / wide
    page = max(placed.ink.shape[0] + 3, round(height * scale)), round(width * scale) + 3
    return page, _paste(placed, page, rng)


def _paste(writing: Writing, page: tuple[int, int], rng: Generator) -> Writing:
    """Return writing on a page, mostly near its middle."""
    high, wide = writing.ink.shape
    room = page[0] - high, page[1] - wide
    top, left = (
        int(np.clip(rng.normal(free / 2, 0.1 * side + 0.15 * free), min(1, free), max(0, free - 1)))
        for free, side in zip(room, (min(page), min(page)), strict=True)
    )
    margins = (top, room[0] - top), (left, room[1] - left)
    cells = None if writing.cells is None else writing.cells + left
    return writing.change([np.pad(layer, margins) for layer in writing.layers], cells=cells)


def _write(sheet: Sheet, writing: Writing, rng: Generator) -> None:
    """Write with a pen: uneven pressure, and chalk or pencil with gaps."""
    kind = rng.random()
    share = rng.uniform(0.8, 1.0)
    for layer in writing.layers:
        pressed = layer.astype(np.float32)
        if kind < 0.35:
            least, most = (0.75, 1.0) if kind < 0.2 else (0.4, 1.3)
            grain = rng.uniform(least, most, layer.shape)
            pressed *= np.minimum(grain, 1).astype(np.float32)
        pen = sheet.pen
        if layer is not writing.ink and rng.random() < 0.3:
            pen = _choose_other_pen(sheet.colour, rng)
        sheet.pixels[:] = _blend(sheet.pixels, pressed * share, pen)


def _choose_other_pen(paper: Floats, rng: Generator) -> Floats:
    """Return the colour of another pen, often red."""
    bright = paper.mean() > 110
    if bright and rng.random() < 0.5:
        return np.asarray(rng.uniform((10, 10, 150), (70, 70, 230)))
    return np.asarray(rng.uniform(0, 120, 3) if bright else rng.uniform(150, 255, 3))


def _write_words(sheet: Sheet, words: Sequence[Bytes], rng: Generator) -> None:
    """Write or print words on the lines around the writing, clear of it."""
    if sheet.written is None:
        return
    height, width = sheet.pixels.shape[:2]
    top, bottom, left, right = sheet.written
    size = bottom - top
    colour = sheet.pen if rng.random() < 0.5 else _choose_other_pen(sheet.colour, rng)
    for word in words:
        high = size * rng.uniform(0.3, 0.9)
        scale = high / word.shape[0]
        ink = cv2.resize(word, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        high, wide = ink.shape
        gap = size * rng.uniform(0.25, 1.2) + 2
        side = int(rng.integers(4))
        level = bottom - high + rng.normal(0, 0.08) * size
        along = rng.uniform(-0.5 * wide, width - 0.5 * wide)
        x, y = (
            (left - gap - wide, level),
            (right + gap, level),
            (along, top - gap - high),
            (along, bottom + gap),
        )[side]
        if x + wide < 3 or y + high < 3 or x > width - 3 or y > height - 3:
            continue
        shift = np.array(((1.0, 0, round(x)), (0, 1, round(y))))
        layer = cv2.warpAffine(ink, shift, (width, height))
        sheet.pixels[:] = _blend(sheet.pixels, layer, colour)


def _write_neighbours(sheet: Sheet, others: Sequence[Bytes], rng: Generator) -> None:
    """Write one to three other things that the edge of the page cuts, clear of the digit."""
    height, width = sheet.pixels.shape[:2]
    if sheet.written is None:
        return
    top, bottom, left, right = sheet.written
    size = bottom - top
    for _ in range(int(rng.integers(1, 4))):
        # A large one shows a side as tall as the digit, which looks like another digit.
        large = rng.random() < 0.5
        chosen = crop_ink(others[int(rng.integers(len(others)))])
        wanted = size * (rng.uniform(0.9, 1.5) if large else rng.uniform(0.5, 1.2))
        ink = Writing(chosen, Count.ONE).resize(wanted / max(chosen.shape)).ink
        high, wide = ink.shape
        side = int(rng.integers(4))
        shown = rng.uniform(0.12, 0.7)
        along = rng.uniform(-0.3, 1.0)
        if side < 2:
            reach = int(shown * wide)
            if reach + 3 >= (left if side == 0 else width - right):
                continue
            x = reach - wide if side == 0 else width - reach
            y = int(np.clip(top + along * size * 0.5, -high // 2, height - high // 2))
        else:
            reach = int(shown * high)
            if reach + 3 >= (top if side == 2 else height - bottom):
                continue
            y = reach - high if side == 2 else height - reach
            x = int(along * width)
        layer = cv2.warpAffine(ink, np.array(((1.0, 0, x), (0, 1, y))), (width, height))
        sheet.pixels[:] = _blend(sheet.pixels, layer, sheet.pen)


def _blend(pixels: Bytes, alpha: Floats, colour: Floats) -> Bytes:
    """Return pixels, uint8, with a colour laid over them; ``alpha`` is 0 to 255."""
    seen = (alpha > 0).astype(np.uint8)
    if not seen.any():
        return pixels
    # Most of a page is paper: the box around the ink has a third of its pixels.
    top, bottom, left, right = bounding_box(seen)
    laid = pixels.copy()
    part = laid[top:bottom, left:right]
    share = np.multiply(alpha[top:bottom, left:right], 1 / 255, dtype=np.float32)[..., None]
    mixed = part + share * (colour.astype(np.float32) - part)
    part[:] = np.rint(mixed).clip(0, 255)
    return laid
