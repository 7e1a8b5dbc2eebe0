"""See a page as a camera or a scanner does: in perspective, cropped, blurred, with noise."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator

from daemon.reading.glyph import Bytes, Floats, bounding_box
from daemon.training import pens


def photograph(
    pixels: Bytes, mask: Bytes, rng: Generator, *, is_one: bool = False
) -> tuple[Bytes, Bytes]:
    """Return a page and its mask as a camera or a scanner sees them.

    Args:
        pixels: (H, W, 3) uint8 BGR.
        mask: (H, W) uint8.
        rng: the random generator.
        is_one: whether it has one digit, of which the edge may cut off a little.
    """
    if rng.random() < 0.35:
        pixels, mask = _tilt(pixels, mask, rng)
    if is_one and rng.random() < 0.1 and (mask > pens.HALF).any():
        if rng.random() < 0.5:
            pixels, mask = cut_at_edge(pixels, mask, rng)
        else:
            pixels, mask = _cut_out(pixels, mask, rng)
    elif mask.any() and rng.random() < 0.2:
        pixels, mask = _crop_around_writing(pixels, mask, rng)
    if rng.random() < 0.05:
        pixels, mask = _add_bars(pixels, mask, rng)
    if rng.random() < 0.5:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 1.6)))
    if rng.random() < 0.5:
        grain = _choose_grain(mask.shape, 3 if rng.random() < 0.5 else 1, rng)
        pixels = (pixels + grain * np.float32(rng.uniform(1, 9))).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        pixels = pens.compress(pixels, int(rng.integers(30, 92)))
    return pixels, mask


def cut_at_edge(pixels: Bytes, mask: Bytes, rng: Generator) -> tuple[Bytes, Bytes]:
    """Return the page without a margin, so that its edge cuts off a little of the digit."""
    box = list(bounding_box(mask))
    top, bottom, left, right = box
    sizes = (bottom - top, bottom - top, right - left, right - left)
    for side in rng.choice(4, 1 if rng.random() < 0.7 else 2, replace=False):
        lost = round(rng.uniform(0.0, 0.12) * sizes[side])
        box[side] += lost if side in {0, 2} else -lost
        if side == 0:
            pixels, mask = pixels[box[0] :], mask[box[0] :]
            box[1] -= box[0]
        elif side == 1:
            pixels, mask = pixels[: box[1]], mask[: box[1]]
        elif side == 2:
            pixels, mask = pixels[:, box[2] :], mask[:, box[2] :]
            box[3] -= box[2]
        else:
            pixels, mask = pixels[:, : box[3]], mask[:, : box[3]]
    return np.ascontiguousarray(pixels), np.ascontiguousarray(mask)


@lru_cache(maxsize=1)
def _make_grain() -> Floats:
    return np.random.default_rng(0).standard_normal((640, 1024, 3), np.float32)


def _choose_grain(page: tuple[int, ...], channels: int, rng: Generator) -> Floats:
    """Return white noise for a page, (H, W, channels) float32.

    It is a random part of a larger field: drawing 40,000 values takes as long as writing a digit.
    """
    field = _make_grain()
    free = [field.shape[axis] - page[axis] for axis in (0, 1)]
    if min(free) < 0:
        return rng.standard_normal((*page, channels), np.float32)
    top, left = (int(rng.integers(0, room + 1)) for room in free)
    return field[top : top + page[0], left : left + page[1], :channels]


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


def _cut_out(pixels: Bytes, mask: Bytes, rng: Generator) -> tuple[Bytes, Bytes]:
    """Return the digit cut out of a form: with hardly a margin, at a low resolution."""
    top, bottom, left, right = bounding_box(mask)
    longest = max(bottom - top, right - left)
    margins = (longest * rng.uniform(0.0, 0.18, 4)).astype(int)
    rows = slice(max(0, top - margins[0]), bottom + margins[1])
    columns = slice(max(0, left - margins[2]), right + margins[3])
    scale = min(1.0, rng.uniform(14, 50) / longest)
    return (
        cv2.resize(pixels[rows, columns], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA),
        cv2.resize(mask[rows, columns], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA),
    )


def _add_bars(pixels: Bytes, mask: Bytes, rng: Generator) -> tuple[Bytes, Bytes]:
    """Return the page between two bars of one colour, like a photo with another aspect ratio."""
    first, last = (int(side) for side in rng.uniform(0, 0.8, 2) * max(mask.shape))
    bars = (first, last, 0, 0) if rng.random() < 0.5 else (0, 0, first, last)
    colour = (0.0, 0.0, 0.0) if rng.random() < 0.6 else tuple(rng.uniform(0, 256, 3).tolist())
    return (
        cv2.copyMakeBorder(pixels, *bars, cv2.BORDER_CONSTANT, value=colour),
        cv2.copyMakeBorder(mask, *bars, cv2.BORDER_CONSTANT),
    )
