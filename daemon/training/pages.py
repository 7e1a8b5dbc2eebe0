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
from daemon.training import page_clutter, pens
from daemon.training.page_clutter import Sheet

_FAINT = 60  # grey levels; ink and paper differ by at least this much on a page


@dataclass(frozen=True, slots=True)
class SyntheticPage:
    """A composed page.

    Attributes:
        pixels: (H, W, 3) uint8 BGR.
        mask: (H, W) uint8, 255 on what is written: the digit, the digits, or another thing.
        count: whether it is one digit.
    """

    pixels: Bytes
    mask: Bytes
    count: Count


def compose_drawing(ink: Bytes, count: Count, rng: Generator) -> SyntheticPage:
    """Draw ink as in a paint program: clean, mostly 28x28, any colours, often off centre.

    Args:
        ink: (h, w) uint8, white on black. A small one keeps its pixels.
        count: what the ink is.
        rng: the random generator.
    """
    ink = _crop(ink)
    if max(ink.shape) > 26 or rng.random() > 0.7:
        side = 28 if rng.random() < 0.5 else np.exp(rng.uniform(np.log(24), np.log(320)))
        ink = _resize(ink, side * rng.uniform(0.35, 0.93))
    canvas = _choose_canvas(ink.shape, rng)
    room = [canvas[axis] - ink.shape[axis] for axis in (0, 1)]
    if rng.random() < 0.6:
        at = [int(np.clip(rng.normal(side / 2, max(canvas) / 20), 0, side)) for side in room]
    else:
        at = [int(rng.integers(0, side + 1)) for side in room]
    alpha = np.zeros(canvas, np.uint8)
    alpha[at[0] : at[0] + ink.shape[0], at[1] : at[1] + ink.shape[1]] = ink
    pen, paper = _choose_paint(rng)
    strength = rng.uniform(0.3, 1.0) if rng.random() < 0.15 else 1.0
    pixels = _blend(np.full((*canvas, 3), paper), alpha * strength, pen)
    if rng.random() < 0.1:
        pixels = pens.compress(pixels, int(rng.integers(50, 95)))
    return SyntheticPage(pixels, alpha, count)


def _choose_canvas(ink: tuple[int, ...], rng: Generator) -> tuple[int, int]:
    """Return height and width of a canvas for ink: mostly 28x28 if it fits, sometimes oblong."""
    longest = max(ink)
    if longest <= 28 and rng.random() < 0.85:
        return 28, 28
    if rng.random() < 0.25:
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
    inks: Sequence[Bytes], count: Count, others: Sequence[Bytes], rng: Generator
) -> SyntheticPage:
    """Compose a page of paper, or a board.

    Args:
        inks: what is written, each (h, w) uint8, white on black: nothing, one thing, or several
            digits from left to right.
        count: what the inks are.
        others: inks for the neighbours that the page's edge cuts.
        rng: the random generator.
    """
    height = int(rng.integers(100, 216))
    width = int(np.clip(height * np.exp(rng.normal(0, 0.22)), 80, 260))
    colour, pen = _choose_stationery(rng)
    pixels = page_clutter.make_paper(height, width, colour, rng)
    alpha = _place_inks((height, width), inks, rng)
    found = bounding_box(alpha) if alpha.any() else None
    sheet = Sheet(pixels, colour, pen, found, np.argwhere(alpha > 0)[:, ::-1])
    page_clutter.add_print(sheet, rng, may_ring=count is Count.ONE)
    if others and rng.random() < 0.3:
        _write_neighbours(sheet, others, rng)
    if inks:
        _write(sheet, alpha, rng)
    if rng.random() < 0.12:
        page_clutter.add_specks(sheet, rng)
    page_clutter.add_light(sheet, rng)
    return _photograph(SyntheticPage(sheet.pixels, alpha, count), rng)


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


def _crop(ink: Bytes) -> Bytes:
    """Return ink cropped to its box, with its brightest pixel at 255."""
    ink = cv2.convertScaleAbs(ink, alpha=255 / int(ink.max()))
    top, bottom, left, right = bounding_box((ink > 40).astype(np.uint8))
    return np.asarray(ink[top:bottom, left:right])


def _resize(ink: Bytes, longest: float) -> Bytes:
    """Return ink scaled to a longest side, with its edges as sharp as before."""
    scale = longest / max(ink.shape)
    size = max(2, round(ink.shape[1] * scale)), max(2, round(ink.shape[0] * scale))
    if scale < 1:
        # A line that gets thinner than a pixel does not fade on paper.
        small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
        return cv2.convertScaleAbs(small, alpha=255 / max(1, int(small.max())))
    grown: Floats = cv2.resize(ink, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    steep = min(scale, 6.0)
    return np.asarray(np.clip((grown - 120) * steep + 120, 0, 255), np.uint8)


def _place_inks(page: tuple[int, int], inks: Sequence[Bytes], rng: Generator) -> Bytes:
    """Place inks on a page, (H, W) uint8: a single one mostly near the middle, several in a row."""
    alpha = np.zeros(page, np.uint8)
    if not inks:
        return alpha
    height, width = page
    share = np.exp(rng.uniform(np.log(0.2 if rng.random() < 0.9 else 0.08), np.log(0.82)))
    tall = share * min(page)
    turn = rng.normal(0, 7)
    placed = []
    for ink in inks:
        size = 1.0 if len(inks) == 1 else rng.uniform(0.75, 1.0)
        placed.append(_rotate(_resize(_crop(ink), tall * size), turn))
    gap = int(rng.uniform(0.04, 0.5) * tall)
    total = sum(ink.shape[1] for ink in placed) + gap * (len(placed) - 1)
    if total > 0.94 * width:
        shrink = 0.94 * width / total
        placed = [_resize(ink, max(2.0, max(ink.shape) * shrink)) for ink in placed]
        gap = int(gap * shrink)
        total = sum(ink.shape[1] for ink in placed) + gap * (len(placed) - 1)
    left = int(np.clip(rng.normal((width - total) / 2, 0.1 * width), 1, max(1, width - total - 1)))
    middle = rng.normal(height / 2, 0.1 * height)
    for ink in placed:
        high, wide = ink.shape
        top = int(np.clip(middle - high / 2 + rng.normal(0, 0.05 * tall), 1, height - high - 1))
        there = alpha[top : top + high, left : left + wide]
        np.maximum(there, ink[: there.shape[0], : there.shape[1]], out=there)
        left += wide + gap
    return alpha


def _rotate(ink: Bytes, degrees: float) -> Bytes:
    """Return ink rotated, with a shape that holds all of it."""
    height, width = ink.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    size = int(width * cos + height * sin) + 2, int(width * sin + height * cos) + 2
    turn[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(ink, turn, size)


def _write(sheet: Sheet, alpha: Bytes, rng: Generator) -> None:
    """Write with a pen: uneven pressure, and chalk or pencil with gaps."""
    pressed = alpha.astype(np.float32)
    kind = rng.random()
    if kind < 0.35:
        least, most = (0.75, 1.0) if kind < 0.2 else (0.4, 1.3)
        grain = rng.uniform(least, most, alpha.shape)
        pressed *= np.minimum(grain, 1).astype(np.float32)
    sheet.pixels[:] = _blend(sheet.pixels, pressed * rng.uniform(0.8, 1.0), sheet.pen)


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
        ink = _resize(
            _crop(others[int(rng.integers(len(others)))]),
            size * (rng.uniform(0.9, 1.5) if large else rng.uniform(0.5, 1.2)),
        )
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


def _blend(pixels: Floats, alpha: Floats, colour: Floats) -> Bytes:
    """Return pixels with a colour laid over them; ``alpha`` is 0 to 255."""
    share = (alpha.astype(np.float32) / 255)[..., None]
    laid = pixels + share * (colour.astype(np.float32) - pixels)
    return np.asarray(np.rint(laid).clip(0, 255), np.uint8)


def _photograph(page: SyntheticPage, rng: Generator) -> SyntheticPage:
    """Return the page as a camera or a scanner sees it."""
    pixels, mask = page.pixels, page.mask
    if rng.random() < 0.35:
        pixels, mask = _tilt(pixels, mask, rng)
    if mask.any() and rng.random() < 0.2:
        pixels, mask = _crop_around_writing(pixels, mask, rng)
    if rng.random() < 0.05:
        pixels, mask = _add_bars(pixels, mask, rng)
    if rng.random() < 0.5:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 1.6)))
    if rng.random() < 0.5:
        channels = 3 if rng.random() < 0.5 else 1
        grain = rng.standard_normal((*mask.shape, channels), np.float32) * rng.uniform(1, 9)
        pixels = (pixels + grain).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        pixels = pens.compress(pixels, int(rng.integers(30, 92)))
    return SyntheticPage(pixels, mask, page.count)


def _tilt(pixels: Bytes, mask: Bytes, rng: Generator) -> tuple[Bytes, Bytes]:
    """Return pixels and mask in perspective, with the corners moved by up to 12 %."""
    height, width = mask.shape
    corners = np.array(((0, 0), (width, 0), (width, height), (0, height)), np.float32)
    size = np.array((width, height), np.float32)
    moved = corners + (rng.uniform(-0.12, 0.12, (4, 2)) * size * rng.random()).astype(np.float32)
    to = cv2.getPerspectiveTransform(corners, moved)
    if mask.any():
        top, bottom, left, right = bounding_box(mask)
        box = np.array([[(left, top), (right, top), (right, bottom), (left, bottom)]], np.float32)
        reached = cv2.perspectiveTransform(box, to)[0]
        if (reached < 1).any() or (reached > size - 1).any():
            return pixels, mask
    mode = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    desk = tuple(rng.uniform(10, 230, 3).tolist())
    return (
        cv2.warpPerspective(pixels, to, (width, height), borderMode=mode, borderValue=desk),
        cv2.warpPerspective(mask, to, (width, height)),
    )


def _crop_around_writing(pixels: Bytes, mask: Bytes, rng: Generator) -> tuple[Bytes, Bytes]:
    """Return a part of the page around what is written, as the second look takes."""
    top, bottom, left, right = bounding_box(mask)
    least = 4 + max(bottom - top, right - left)
    margin = int(least * rng.uniform(0.1, 0.6))
    rows = slice(max(0, top - margin), bottom + margin)
    columns = slice(max(0, left - margin), right + margin)
    return np.ascontiguousarray(pixels[rows, columns]), np.ascontiguousarray(mask[rows, columns])


def _add_bars(pixels: Bytes, mask: Bytes, rng: Generator) -> tuple[Bytes, Bytes]:
    """Return the page between two bars of one colour, like a photo with another aspect ratio."""
    first, last = (int(side) for side in rng.uniform(0, 0.8, 2) * max(mask.shape))
    bars = (first, last, 0, 0) if rng.random() < 0.5 else (0, 0, first, last)
    colour = (0.0, 0.0, 0.0) if rng.random() < 0.6 else tuple(rng.uniform(0, 256, 3).tolist())
    return (
        cv2.copyMakeBorder(pixels, *bars, cv2.BORDER_CONSTANT, value=colour),
        cv2.copyMakeBorder(mask, *bars, cv2.BORDER_CONSTANT),
    )
