"""Write numbers on a line: digits apart, close, touching or overlapping, with marks among them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from daemon.reading.eye import Count
from daemon.reading.glyph import Bytes, Floats, bounding_box
from daemon.training import marks, pens
from daemon.training.writing import Ink, Nib, Writing, brighten, crop_ink

MARKS = ".,-/:"
# How many digits: two to four mostly, as on forms, and up to twelve.
_LENGTHS = np.arange(2, 13)
_SHARES = np.array((30, 18, 15, 9, 8, 5, 4, 4, 3, 2, 2))
_TALL = 44  # height of a line, px: that of a digit on the canvas of ``pens``


@dataclass(frozen=True, slots=True)
class _Piece:
    """A digit or a mark: its ink, cropped, and how far its top is below that of the line, px."""

    ink: Bytes
    top: float


def choose_text(rng: Generator) -> str:
    """Return a pattern: ``0`` for each digit, ``1`` for one that is a 1, and marks."""
    count = int(rng.choice(_LENGTHS, p=_SHARES / _SHARES.sum()))
    digits = ["0"] * count
    for end in (0, -1):
        if rng.random() < 0.2:
            digits[end] = "1"
    kind = rng.random()
    if kind < 0.45:
        mark = MARKS[rng.choice(len(MARKS), p=(0.27, 0.3, 0.17, 0.12, 0.14))]
        for _ in range(1 if rng.random() < 0.75 else 2):
            digits.insert(int(rng.integers(1, len(digits))), mark)
    text = "".join(digits)
    if rng.random() < 0.08:
        text = "-" + text
    if rng.random() < 0.05:
        text += "-" if rng.random() < 0.5 else "."
    return text


def write_with_one_pen(lines: Sequence[Ink], rng: Generator) -> Writing:
    """Write a number whose digits are one-pixel lines, (64, 64) each, with one pen."""
    pieces = _choose_pieces(lines, 1.0, rng, hard=True)
    line, cells = _lay_out(pieces, rng)
    margin = 10
    padded = np.pad(line, margin) > 0
    ink = pens.redraw(padded, rng, thickest=8.0)
    # The ink's scale depends on the tool; the cells follow its box.
    top, bottom, left, right = bounding_box(ink > min(pens.HALF, int(ink.max()) // 2))
    tall = _TALL * (bottom - top) / line.shape[0]
    if cells is not None:
        cells = left + cells * ((right - left) / line.shape[1])
    return Writing(ink, Count.SEVERAL, cells=cells, tall=tall).crop()


def write_with_inks(inks: Sequence[Ink], rng: Generator) -> Writing:
    """Write a number whose digits keep their pens; at times one of them is struck out."""
    cropped = [Ink(brighten(crop_ink(ink.pixels)), ink.label) for ink in inks]
    strokes = [Nib.of(ink.pixels).wide * _TALL / max(ink.pixels.shape) for ink in cropped]
    # All digits of a number are written with the same pen.
    wanted = strokes[0]
    order = sorted(range(len(inks)), key=lambda each: abs(strokes[each] - wanted))
    alike = [cropped[each] for each in order[: max(1, len(inks) // 2)]]
    pieces = _choose_pieces(alike, max(1.0, wanted), rng, hard=False)
    line, cells = _lay_out(pieces, rng)
    return Writing(line, Count.SEVERAL, cells=cells, tall=_TALL).crop()


def _choose_pieces(
    inks: Sequence[Ink], thick: float, rng: Generator, *, hard: bool
) -> list[_Piece]:
    """Return the digits and marks of a number from left to right."""
    ones = [ink for ink in inks if ink.label == 1] or inks
    struck = rng.random() < 0.05 and not hard
    nib = Nib(thick, hard)
    pieces = []
    for symbol in choose_text(rng):
        if symbol in MARKS:
            pieces.append(_draw_mark(symbol, nib, rng))
            continue
        among = ones if symbol == "1" else inks
        ink = among[int(rng.integers(len(among)))]
        if struck and rng.random() < 0.3:
            pixels = marks.strike_out(ink, rng).mask
        else:
            pixels = crop_ink(ink.pixels)
        if not hard:
            tall = _TALL * rng.uniform(0.8, 1.0)
            scale = tall / max(pixels.shape)
            interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            pixels = brighten(
                cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=interpolation)
            )
        top = _TALL - pixels.shape[0] + rng.normal(0, 0.03) * _TALL
        pieces.append(_Piece(pixels, top))
    return pieces


def _draw_mark(mark: str, nib: Nib, rng: Generator) -> _Piece:
    """Draw a mark of a number for a line of ``_TALL`` px."""
    layer = np.zeros((2 * _TALL, 2 * _TALL), np.uint8)
    x, foot = 0.6 * _TALL, 1.4 * _TALL
    y = foot
    if mark in ".:":
        reach = nib.wide * rng.uniform(0.4, 0.9)
        foot -= rng.uniform(-0.05, 0.12) * _TALL
        heights = (foot, foot - rng.uniform(0.3, 0.6) * _TALL) if mark == ":" else (foot,)
        for y in heights:
            if rng.random() < 0.7:
                nib.dot(layer, np.array((x, y)), reach)
            else:
                end = np.array((x, y)) + rng.normal(0, 0.05, 2) * _TALL
                nib.draw(layer, np.stack((np.array((x, y)), end)))
    elif mark == ",":
        foot += rng.uniform(-0.12, 0.08) * _TALL
        down = rng.uniform(0.1, 0.32) * _TALL
        aside = down * rng.uniform(-0.1, 0.7)
        bow = rng.uniform(0, 0.25) * down
        points = np.array(((x, foot), (x + bow, foot + down / 2), (x - aside, foot + down)))
        nib.draw(layer, points)
    elif mark == "-":
        half = rng.uniform(0.1, 0.36) * _TALL
        y = foot - rng.uniform(0.3, 0.65) * _TALL
        lean = rng.normal(0, 0.1) * half
        nib.draw(layer, np.array(((x - half, y + lean), (x + half, y - lean))))
    else:
        high = rng.uniform(0.9, 1.4) * _TALL
        aside = high * rng.uniform(0.12, 0.6)
        foot += rng.uniform(0.0, 0.25) * _TALL
        points = np.array(((x - aside / 2, foot), (x + aside / 2, foot - high)))
        nib.draw(layer, np.clip(points, 1, 2 * _TALL - 2))
    top, bottom, left, right = bounding_box(layer)
    return _Piece(layer[top:bottom, left:right], top - 0.4 * _TALL)


def _lay_out(pieces: Sequence[_Piece], rng: Generator) -> tuple[Bytes, NDArray[np.float64] | None]:
    """Return a line of pieces, (h, w) uint8, cropped, and its cells; see ``Writing``."""
    spacing = rng.random()
    slope = np.tan(np.deg2rad(rng.uniform(-15, 15))) if rng.random() < 0.25 else 0.0
    least, most = _choose_gaps(spacing)
    boxed = rng.uniform(0.75, 1.4) * _TALL if rng.random() < 0.22 else 0.0  # a box for each
    room = sum(piece.ink.shape[1] for piece in pieces) + len(pieces) * (0.8 * _TALL + boxed)
    above = int(_TALL + abs(slope) * room)
    canvas = np.zeros((3 * _TALL + 2 * int(abs(slope) * room), int(room) + 2 * _TALL), np.uint8)
    reached = np.full(canvas.shape[0], -1e4)
    x = start = float(_TALL // 2)
    for index, piece in enumerate(pieces):
        high, wide = piece.ink.shape
        down = above - 0.4 * _TALL + piece.top + slope * (x - start)
        top = int(np.clip(down, 0, canvas.shape[0] - high))
        if boxed:
            x = start + index * boxed + (boxed - wide) / 2 + rng.normal(0, 0.07) * boxed
        elif index:
            x = _follow(reached, piece.ink, top, x) + rng.uniform(least, most) * _TALL
        left = int(np.clip(x, 1, canvas.shape[1] - wide - 1))
        there = canvas[top : top + high, left : left + wide]
        np.maximum(there, piece.ink, out=there)
        inked = piece.ink > pens.HALF
        last = np.where(inked.any(axis=1), wide - inked[:, ::-1].argmax(axis=1), -1e4) + left
        reached[top : top + high] = np.maximum(reached[top : top + high], last)
    top, bottom, left, right = bounding_box(canvas)
    edges = start + boxed * np.arange(len(pieces) + 1) - left
    cells = np.stack((edges[:-1], edges[1:]), axis=1) if boxed else None
    return canvas[top:bottom, left:right], cells


def _choose_gaps(spacing: float) -> tuple[float, float]:
    """Return the least and the most gap between neighbours, as shares of the height."""
    if spacing < 0.3:
        return 0.15, 0.6
    if spacing < 0.6:
        return 0.04, 0.18
    if spacing < 0.92:
        return -0.06, 0.03  # touching
    return -0.15, 0.0  # overlapping


def _follow(reached: Floats, ink: Bytes, top: int, before: float) -> float:
    """Return the x at which ink touches what stands to its left, but doesn't cover it."""
    near = cv2.dilate(reached.reshape(-1, 1), np.ones((5, 1), np.uint8)).ravel()
    inked = ink > pens.HALF
    first = np.where(inked.any(axis=1), inked.argmax(axis=1), 1e4)
    touching = float((near[top : top + len(first)] - first).max())
    box = float(reached.max())
    # Of neighbours that share no row, the box counts.
    return max(touching, box - 0.45 * _TALL, before + 2)
