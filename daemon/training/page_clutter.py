"""What is on a page besides the writing: rings, boxes, frames, lines, dirt, shadows, the desk."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from daemon.reading.glyph import Floats

_SHIFT = 4  # OpenCV draws at a sixteenth of a pixel


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page while it is drawn.

    Attributes:
        pixels: (H, W, 3) uint8 BGR, changed in place.
        colour: (3,) of the paper.
        pen: (3,) of the pen.
        written: top, bottom, left and right of the writing; ``None`` if there is none.
        ink: (N, 2), x and y of the writing's pixels.
        cells: (N, 2), left and right of each digit's box, if it is written into boxes.
    """

    pixels: Floats
    colour: Floats
    pen: Floats
    written: tuple[int, int, int, int] | None
    ink: Floats
    cells: Floats | None = None


def make_paper(height: int, width: int, colour: Floats, rng: Generator) -> Floats:
    """Return the pixels of an empty page, with grain on a part of them."""
    pixels = np.empty((height, width, 3), np.float32)
    pixels[:] = colour
    if rng.random() < 0.4:
        coarse = max(2, int(height / rng.uniform(2, 40))), max(2, int(width / rng.uniform(2, 40)))
        cloud = rng.normal(0, rng.uniform(1, 6), coarse).astype(np.float32)
        pixels += cv2.resize(cloud, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    return pixels.clip(0, 255).astype(np.uint8)


def add_print(sheet: Sheet, rng: Generator, *, may_ring: bool) -> None:
    """Draw what is printed on the paper or drawn around the digit, each at random."""
    if rng.random() < 0.22:
        _draw_rules(sheet, rng)
    if sheet.written is not None and rng.random() < 0.04:
        _draw_dotted_line(sheet, sheet.written, rng)
    if sheet.written is not None and sheet.cells is not None and rng.random() < 0.9:
        _draw_cells(sheet, sheet.written, sheet.cells, rng)
    elif sheet.written is not None and may_ring and rng.random() < 0.5:
        _draw_ring(sheet, sheet.written, rng)
    elif sheet.written is not None and rng.random() < 0.3:
        _draw_box(sheet, sheet.written, rng)
    if rng.random() < 0.14:
        _draw_frame(sheet, rng)


def _draw_ring(sheet: Sheet, written: tuple[int, int, int, int], rng: Generator) -> None:
    """Draw a ring around the writing: printed and even, or by hand and wobbly.

    It touches the writing nowhere, and is wider than most 0s: a stroke in a narrow ring, or one
    that reaches the ring on both sides, is a slashed 0.
    """
    top, bottom, left, right = written
    middle = np.array(((left + right) / 2, (top + bottom) / 2))
    half = np.array(((right - left) / 2, (bottom - top) / 2))
    narrow = half / half.max() if rng.random() < 0.5 else np.ones(2)
    shape = np.maximum(narrow, 0.7)
    reach = shape * np.hypot(*((sheet.ink - middle) / shape).T).max()
    wide = max(1, round(rng.uniform(0.02, 0.14) * half.max()))
    reach = reach * rng.uniform(1.15, 1.7) + 1 + wide / 2
    by_hand = rng.random() < 0.6
    if by_hand:
        start = rng.uniform(0, 2 * np.pi)
        angle = np.linspace(start, start + 2 * np.pi * rng.uniform(0.9, 1.12), 48)
        away = np.ones(48)
        for order in (1, 2, 3):
            away += rng.normal(0, 0.05 / order) * np.cos(order * angle + rng.uniform(0, 6.3))
        away *= np.linspace(1, rng.uniform(0.9, 1.12), 48)
        middle = middle + rng.normal(0, 0.06, 2) * half
    else:
        angle, away = np.linspace(0, 2 * np.pi, 64), np.ones(64)
    points = middle + reach * away[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    colour = _choose_line_colour(sheet, rng, same=0.6 if by_hand else 0.3)
    _draw_curve(sheet, points, colour, wide, closed=not by_hand)
    if by_hand and rng.random() < 0.08:  # somebody went round twice
        _draw_curve(sheet, middle + (points - middle) * 1.08, sheet.pen, wide, closed=False)


def _draw_box(sheet: Sheet, written: tuple[int, int, int, int], rng: Generator) -> None:
    """Draw a single box around the writing, or a row of boxes."""
    top, bottom, left, right = written
    half = np.array(((right - left) / 2, (bottom - top) / 2))
    middle = np.array(((left + right) / 2, (top + bottom) / 2)) + rng.normal(0, 0.08, 2) * half
    reach = np.maximum(half, 0.5 * half.max()) * rng.uniform(1.15, 2.0, 2) + 3
    if rng.random() < 0.5:
        reach[:] = reach.max()
    colour = _choose_line_colour(sheet, rng, same=0.25)
    wide = max(1, round(rng.uniform(0.015, 0.1) * half.max()))
    corners = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1)))
    wobble = rng.normal(0, 0.03, (4, 2)) if rng.random() < 0.3 else np.zeros((4, 2))
    _draw_curve(sheet, middle + reach * (corners + wobble), colour, wide, closed=True)
    if rng.random() < 0.4:
        for side in (-2, 2):
            neighbour = middle + np.array((side * reach[0] + rng.integers(0, 2) * side * 3, 0))
            _draw_curve(sheet, neighbour + reach * corners, colour, wide, closed=True)


def _draw_cells(
    sheet: Sheet, written: tuple[int, int, int, int], cells: Floats, rng: Generator
) -> None:
    """Draw the boxes of a form, one for each digit, which the digits may touch or leave."""
    top, bottom, *_ = written
    size = bottom - top
    above, below = rng.uniform(-0.06, 0.4, 2) * size
    colour = _choose_line_colour(sheet, rng, same=0.2)
    wide = max(1, round(rng.uniform(0.015, 0.07) * size))
    apart = rng.uniform(0.02, 0.12) * size if rng.random() < 0.4 else 0.0
    only_comb = rng.random() < 0.15  # open at the top
    for left, right in cells + np.array((apart, -apart)):
        y = (top + bottom) / 2 if only_comb else top - above
        points = np.array(((left, y), (left, bottom + below), (right, bottom + below), (right, y)))
        _draw_curve(sheet, points, colour, wide, closed=not only_comb)


def _draw_dotted_line(sheet: Sheet, written: tuple[int, int, int, int], rng: Generator) -> None:
    """Draw a dotted line to write on, across the page or a little longer than the writing."""
    top, bottom, left, right = written
    size = bottom - top
    if rng.random() < 0.5:
        left, right = 0, sheet.pixels.shape[1]
    y = bottom + rng.uniform(-0.06, 0.25) * size
    colour = _choose_line_colour(sheet, rng, same=0.2)
    reach = max(0.5, rng.uniform(0.01, 0.04) * size)
    step = reach * rng.uniform(3, 8)
    for x in np.arange(left - rng.uniform(0, 0.5) * size, right + rng.uniform(0, 0.5) * size, step):
        centre = (round(x * 2**_SHIFT), round(y * 2**_SHIFT))
        cv2.circle(
            sheet.pixels, centre, int(reach * 2**_SHIFT), colour.tolist(), -1, cv2.LINE_AA, _SHIFT
        )


def _draw_frame(sheet: Sheet, rng: Generator) -> None:
    """Draw a frame near the page's border, sometimes with another colour outside it."""
    height, width = sheet.pixels.shape[:2]
    inset = int(rng.uniform(0, 0.08) * min(height, width))
    wide = max(1, round(rng.uniform(0.005, 0.06) * min(height, width)))
    if sheet.written is not None:
        top, bottom, left, right = sheet.written
        room = min(top, left, height - bottom, width - right) - inset - 2
        wide = min(wide, room)
        if wide < 1:
            return
    dark = rng.uniform(0, 90, 3) if sheet.colour.mean() > 110 else rng.uniform(120, 255, 3)
    colour = dark if rng.random() < 0.8 else sheet.pen
    if inset and rng.random() < 0.25:
        for edge in (np.s_[:inset], np.s_[-inset:], np.s_[:, :inset], np.s_[:, -inset:]):
            sheet.pixels[edge] = colour
    stop = np.array((width, height)) - inset - wide / 2
    start = np.full(2, inset + wide / 2)
    points = np.array((start, (stop[0], start[1]), stop, (start[0], stop[1])))
    _draw_curve(sheet, points, colour, wide, closed=True)


def _draw_rules(sheet: Sheet, rng: Generator) -> None:
    """Rule the paper: lines, squares, or a single line to write on."""
    height, width = sheet.pixels.shape[:2]
    size = height if sheet.written is None else sheet.written[1] - sheet.written[0]
    colour = _choose_rule_colour(sheet, rng)
    wide = 1 if rng.random() < 0.7 else 2
    if sheet.written is not None and rng.random() < 0.2:
        y = sheet.written[1] + rng.uniform(-0.05, 0.25) * size
        points = np.array(((0, y), (width, y + rng.normal(0, 0.02) * width)))
        _draw_curve(sheet, points, colour, wide, closed=False)
        return
    gap = max(6.0, size * np.exp(rng.uniform(np.log(0.2), np.log(1.8))))
    tilt = rng.normal(0, 0.02)
    squared = rng.random() < 0.5
    for y in np.arange(rng.uniform(0, gap), height, gap):
        ends = np.array(((0, y), (width, y + tilt * width)))
        _draw_curve(sheet, ends, colour, wide, closed=False)
    if squared:
        for x in np.arange(rng.uniform(0, gap), width, gap):
            ends = np.array(((x, 0), (x - tilt * height, height)))
            _draw_curve(sheet, ends, colour, wide, closed=False)
    elif rng.random() < 0.2:  # a margin
        x = rng.uniform(0.03, 0.2) * width
        red = np.array((90.0, 90, 220))
        _draw_curve(sheet, np.array(((x, 0), (x, height))), red, wide, closed=False)


def add_specks(sheet: Sheet, rng: Generator) -> None:
    """Scatter specks, clear of the writing."""
    height, width = sheet.pixels.shape[:2]
    for _ in range(int(rng.integers(1, 12))):
        at = rng.uniform(0, 1, 2) * (width, height)
        if sheet.written is not None:
            top, bottom, left, right = sheet.written
            if left - 3 < at[0] < right + 3 and top - 3 < at[1] < bottom + 3:
                continue
        reach = float(np.exp(rng.uniform(np.log(0.4), np.log(2.0))))
        mixed = sheet.colour + (sheet.pen - sheet.colour) * rng.uniform(0.3, 1)
        centre = tuple(int(c * 2**_SHIFT) for c in at)
        cv2.circle(
            sheet.pixels, centre, int(reach * 2**_SHIFT), mixed.tolist(), -1, cv2.LINE_AA, _SHIFT
        )


def add_light(sheet: Sheet, rng: Generator) -> None:
    """Light the page: a gradient, a shadow with an edge, and the desk at an edge."""
    pixels = sheet.pixels.astype(np.float32)
    height, width = pixels.shape[:2]
    if rng.random() < 0.45:
        corners = rng.uniform(1 - rng.uniform(0, 0.5), 1, (2, 2)).astype(np.float32)
        pixels *= cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    if rng.random() < 0.42:
        for _ in range(1 if rng.random() < 0.8 else 2):
            _cast_shadow(pixels, rng)
    if rng.random() < 0.18:
        _lay_desk(pixels, sheet.written, rng)
    sheet.pixels[:] = pixels.clip(0, 255)


def _cast_shadow(pixels: Floats, rng: Generator) -> None:
    """Darken a part of the page behind the edge of a shadow, hard or soft."""
    height, width = pixels.shape[:2]
    size = np.array((width, height))
    shade: Floats = np.zeros((height, width), np.float32)
    kind = rng.random()
    if kind < 0.65:
        outline = (
            _outline_edge if kind < 0.3 else _outline_slab if kind < 0.5 else _outline_jagged
        )(size, rng)
        cv2.fillPoly(shade, [np.rint(outline).astype(np.int32)], 1.0)
    elif kind < 0.9:
        _cast_hand(shade, rng)
    else:
        centre = tuple(int(c) for c in rng.uniform(-0.1, 1.1, 2) * size)
        axes = tuple(int(c) for c in rng.uniform(0.2, 0.8, 2) * size)
        cv2.ellipse(shade, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, -1)
    soft = rng.uniform(0, 3) if rng.random() < 0.7 else rng.uniform(3, 12)
    if soft > 0.3:
        shade = cv2.GaussianBlur(shade, (0, 0), soft)
    pixels *= 1 - (shade * rng.uniform(0.15, 0.7))[..., None]


def _outline_edge(size: Floats, rng: Generator) -> Floats:
    """Return the outline of all on one side of a line, or of a strip: a finger, a pen."""
    angle = rng.uniform(0, 2 * np.pi)
    towards = np.array((np.cos(angle), np.sin(angle)))
    along = np.array((-towards[1], towards[0])) * 4 * size.max()
    edge = size * rng.uniform(0.1, 0.9, 2)
    far = edge + towards * 4 * size.max()
    if rng.random() < 0.3:
        far = edge + towards * rng.uniform(0.08, 0.4) * size.min()
    return np.array((edge - along, edge + along, far + along, far - along))


def _outline_slab(size: Floats, rng: Generator) -> Floats:
    """Return the outline of the shadow of a phone or a book."""
    middle = rng.uniform(-0.2, 1.2, 2) * size
    sides = rng.uniform(0.2, 1.1, 2) * size
    box = cv2.boxPoints((middle.tolist(), sides.tolist(), float(rng.uniform(0, 90))))
    corners = np.asarray(box, np.float64) + rng.normal(0, 0.04, (4, 2)) * sides
    return np.asarray(corners)


def _outline_jagged(size: Floats, rng: Generator) -> Floats:
    """Return the outline of the shadow of a hand or a head, with corners and bays."""
    middle = rng.uniform(-0.2, 1.2, 2) * size
    turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 12))))
    away = rng.uniform(0.2, 0.9, len(turns)) * rng.uniform(0.3, 1) * size.max()
    corners = away * np.stack((np.cos(turns), np.sin(turns)))
    return np.asarray(middle + corners.T)


def _cast_hand(shade: Floats, rng: Generator) -> None:
    """Draw the shadow of a hand and its one to five fingers into ``shade``, (H, W) float32."""
    height, width = shade.shape
    size = np.array((width, height))
    angle = rng.uniform(0, 2 * np.pi)
    away = rng.uniform(0.4, 0.9) * size.max()
    palm = size / 2 + away * np.array((np.cos(angle), np.sin(angle)))
    thick = rng.uniform(0.04, 0.22) * size.min()
    for _ in range(int(rng.integers(1, 6))):
        tip = size * rng.uniform(0.05, 0.95, 2)
        finger = np.rint((palm, tip)).astype(np.int32)
        wide = max(2, round(thick * rng.uniform(0.7, 1.2)))
        cv2.polylines(shade, [finger], isClosed=False, color=1.0, thickness=wide)
    across = round(thick * rng.uniform(1, 3))
    cv2.circle(shade, np.rint(palm).astype(int).tolist(), across, 1.0, -1)


def _lay_desk(pixels: Floats, written: tuple[int, int, int, int] | None, rng: Generator) -> None:
    """Lay the desk along one or two edges, clear of the writing."""
    height, width = pixels.shape[:2]
    for _ in range(1 if rng.random() < 0.75 else 2):
        side = int(rng.integers(4))
        room = 0.35 * (height if side < 2 else width)
        if written is not None:
            top, bottom, left, right = written
            room = min(room, (top, height - bottom, left, width - right)[side] - 2)
        if room < 3:
            continue
        first, last = rng.uniform(0.3, 1.0, 2) * room * rng.uniform(0.3, 1.0)
        corners = np.array(
            (
                ((0, 0), (width, 0), (width, last), (0, first)),
                ((0, height), (width, height), (width, height - last), (0, height - first)),
                ((0, 0), (0, height), (last, height), (first, 0)),
                ((width, 0), (width, height), (width - last, height), (width - first, 0)),
            )[side]
        )
        desk = np.zeros((height, width), np.uint8)
        cv2.fillPoly(
            desk, [np.rint(corners * 2**_SHIFT).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT
        )
        colour = rng.uniform(0, 1, 3) * rng.uniform(20, 235)
        if rng.random() < 0.5:  # wood
            colour = np.array((0.45, 0.65, 0.9)) * rng.uniform(50, 220)
        grain = rng.normal(0, rng.uniform(0, 12), (height, 1, 1) if side < 2 else (1, width, 1))
        pixels += (desk / np.float32(255))[..., None] * (colour + grain - pixels).astype(np.float32)


def _choose_line_colour(sheet: Sheet, rng: Generator, *, same: float) -> Floats:
    """Return the colour of a ring or a box: the pen's, or another one; pale or strong."""
    if rng.random() < same:
        return np.asarray(sheet.pen + rng.normal(0, 8, 3))
    bright = sheet.colour.mean() > 110
    other = rng.uniform(0, 140, 3) if bright else rng.uniform(130, 255, 3)
    return np.asarray(sheet.colour + (other - sheet.colour) * rng.uniform(0.35, 1))


def _choose_rule_colour(sheet: Sheet, rng: Generator) -> Floats:
    """Return the colour of a ruled line: pale blue, grey or red; at times as dark as ink."""
    target = np.array(((200.0, 120, 60), (90, 90, 90), (90, 90, 200))[rng.integers(3)])
    if sheet.colour.mean() < 110:
        target = 255 - target / 2
    return np.asarray(sheet.colour + (target - sheet.colour) * rng.uniform(0.2, 1.0))


def _draw_curve(sheet: Sheet, points: Floats, colour: Floats, wide: int, *, closed: bool) -> None:
    """Draw a line through points (N, 2), x and y in px."""
    fixed = np.rint(points * 2**_SHIFT).astype(np.int32)
    cv2.polylines(sheet.pixels, [fixed], closed, colour.tolist(), wide, cv2.LINE_AA, _SHIFT)
