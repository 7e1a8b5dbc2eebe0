"""Find the digit's strokes in ink contrast; discard specks, ruled lines and neighbouring boxes."""

# The literal 2 (lines, digits, boxes) is clearer than a named constant.
# ruff: noqa: PLR2004

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.reading.glyph import FINE, Bytes, Floats, bounding_box
from daemon.reading.paper import STRONG, WEAK, components, quantile

_SMALLEST, _SMALLEST_PX = 0.025, 4  # minimum length of a stroke, as a share of the page and in px

_RULE_SPAN = 0.7  # a straight line over this share of a side is a printed line ...
_RULE_THICK = 0.04  # ... if it is thinner than this share of a side
_BOXED = 0.4  # a printed box spans at least this share of the page's width and height ...
# ... its outline fills at least this share of its rectangle, and its ink less than this share of
# the outline.
_FOUR_CORNERED, _HOLLOW = 0.88, 0.35

# A component with at least this share of the main component's ink is a stroke. It belongs to the
# digit if it is no farther away than this share of the main component's size, such as the detached
# top bar of a 5.
_HAT, _HAT_REACH = 0.03, 0.5
# A lighter component, down to this share, belongs only if it is this close: a fragment of a broken
# stroke. Anything else is dirt.
_CRUMB, _CRUMB_REACH = 0.005, 0.1
# Only the heaviest components are considered: noise has thousands, and each pair is compared.
_MOST_STROKES = 32

_TALL = 0.6  # a second digit has at least this share of the tallest one's height ...
_ANOTHER = 0.3  # ... and, if it is farther away, at least this share of its ink


@dataclass(frozen=True, slots=True)
class Strokes:
    """The strokes of a drawing.

    Attributes:
        ink: (h, w) float32, 0 to 1, cropped to the strokes' bounding box.
        mask: (H, W) uint8, 1 on the strokes; the same size as the contrast.
        several: whether they are clearly several digits.
    """

    ink: Floats
    mask: Bytes
    several: bool


def find(contrast: Floats) -> Strokes | None:
    """Return the digit's strokes without specks, ruled lines and parts of neighbouring boxes.

    Args:
        contrast: (H, W) float32, about 0 to 1; see ``paper.Contrast``.

    Returns:
        The strokes, or ``None`` if there are none.
    """
    mask = (contrast > WEAK).astype(np.uint8)
    count, labels, stats = components(mask)
    # In small images a printed line cannot be told from a stroke.
    if max(mask.shape) >= FINE and (printed := _printed(mask, labels, stats)).any():
        count, labels, stats = components(mask & ~printed)
    strong = np.bincount(labels[contrast > STRONG], minlength=count)
    weight = np.bincount(labels.ravel(), contrast.ravel(), minlength=count)
    weight[0] = 0
    main = int(np.where(strong, weight, 0).argmax())
    smallest = max(_SMALLEST_PX, _SMALLEST * max(mask.shape))
    if not main or max(stats[main, 2:4]) < smallest:
        return None
    kept = _belonging(stats, weight, strong, main)
    chosen = np.zeros(count, np.uint8)
    chosen[kept] = 1
    keep = chosen[labels]
    top, bottom, left, right = bounding_box(keep)
    # The strokes' soft edges, one pixel wide, lie outside the mask.
    edge = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    ink = contrast[edge] * cv2.dilate(keep[edge], np.ones((3, 3), np.uint8))
    full = quantile(ink[ink > STRONG], 0.6)
    weight[kept] = 0
    others = stats[weight >= _ANOTHER * contrast[keep > 0].sum()]
    several = _several(stats[kept]) or _another(others, bottom - top, mask.shape)
    return Strokes(np.minimum(ink / full, 1.0), keep, several)


def _printed(mask: Bytes, labels: NDArray[Any], stats: NDArray[Any]) -> Bytes:
    """Return a mask of what was printed on the page: boxes to write in, ruled lines, grids."""
    height, width = mask.shape
    printed = np.zeros_like(mask)
    large = (stats[:, 2] > _BOXED * width) & (stats[:, 3] > _BOXED * height)
    if len(stats) > 2:  # the page, a box and something in it
        for index in np.flatnonzero(large)[1:]:
            box = (labels == index).astype(np.uint8)
            if _box_like(box):
                printed |= box
    left: Bytes = mask & ~printed
    thick = max(3, int(_RULE_THICK * max(height, width)))
    for length, shape, crossed in (
        (int(_RULE_SPAN * width), (1, -1), left.sum(axis=1).max()),
        (int(_RULE_SPAN * height), (-1, 1), left.sum(axis=0).max()),
    ):
        if crossed < length:  # no row or column has enough ink
            continue
        along = np.ones(length, np.uint8).reshape(shape)
        across = np.ones(thick, np.uint8).reshape(shape[::-1])
        lines: Bytes = cv2.morphologyEx(left, cv2.MORPH_OPEN, along)
        # Ink that is thick across the line is a brush stroke or a stroke that crosses the line.
        broad: Bytes = cv2.morphologyEx(left, cv2.MORPH_OPEN, across)
        printed |= _to_the_edge(lines) & ~broad
    return printed


def _to_the_edge(lines: Bytes) -> Bytes:
    """Return the lines that reach the page's edge, unlike a 1 or the bar of a 7."""
    count, labels, stats = components(lines)
    if count == 1:
        return lines
    left, top, width, height = stats[:, :4].T
    ends = (left == 0) | (top == 0)
    ends |= (left + width == lines.shape[1]) | (top + height == lines.shape[0])
    ends[0] = False
    kept: Bytes = ends[labels].astype(np.uint8)
    return kept


def _box_like(mask: Bytes) -> bool:
    """Return whether a component is a closed box and not a 0.

    An ellipse fills only 0.785 of its bounding rectangle.
    """
    outline = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
    inside = cv2.contourArea(outline)
    (_, (width, height), _) = cv2.minAreaRect(outline)
    return bool(inside > _FOUR_CORNERED * width * height and mask.sum() < _HOLLOW * inside)


def _belonging(
    stats: NDArray[Any], weight: NDArray[Any], strong: NDArray[Any], main: int
) -> list[int]:
    """Return the indices of the digit's components, grown outwards from the main one."""
    if len(stats) == 2:  # the paper and the main component
        return [main]
    boxes = stats[:, : cv2.CC_STAT_AREA]
    size = max(boxes[main, 2:])
    hat = (weight >= _HAT * weight[main]) & (strong > 0)
    reach = np.where(hat, _HAT_REACH, _CRUMB_REACH) * size
    kept = [main]
    heaviest = np.argsort(-weight)[:_MOST_STROKES].tolist()
    waiting = [i for i in heaviest if i != main and weight[i] >= _CRUMB * weight[main]]
    grown = True
    while grown and waiting:
        near = [i for i in waiting if any(_gap(boxes[i], boxes[j]) <= reach[i] for j in kept)]
        grown = bool(near)
        kept += near
        waiting = [i for i in waiting if i not in near]
    return kept


def _gap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the distance between two boxes (left, top, width, height), px."""
    across = max(one[0], other[0]) - min(one[0] + one[2], other[0] + other[2])
    down = max(one[1], other[1]) - min(one[1] + one[3], other[1] + other[3])
    return float(np.hypot(max(across, 0), max(down, 0)))


def _several(stats: NDArray[Any]) -> bool:
    """Return whether tall components are side by side in a box that is wider than high.

    The halves of a broken 0 and the two strokes of a 4 are side by side too, but in a box that is
    higher than wide. Those are left to the model.
    """
    if len(stats) < 2:
        return False
    left, top, width, height = stats[:, :4].T
    tall = height >= _TALL * height.max()
    if tall.sum() < 2:
        return False
    order = np.argsort(left[tall])
    starts, ends = left[tall][order], (left + width)[tall][order]
    apart = bool((starts[1:] >= ends[:-1]).any())
    wide = (left + width).max() - left.min() > (top + height).max() - top.min()
    return apart and bool(wide)


def _another(stats: NDArray[Any], height: int, page: tuple[int, ...]) -> bool:
    """Return whether a second, similarly tall drawing lies farther away and within the page.

    Drawings that touch the page's edge don't count.
    """
    left, top, width, tall = stats[:, :4].T
    inside = (left > 0) & (top > 0) & (left + width < page[1]) & (top + tall < page[0])
    return bool((inside & (tall >= _TALL * height)).any())
