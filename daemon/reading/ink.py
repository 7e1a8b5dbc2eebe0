"""Pixels to ink to the 28x28 that the model sees: the same code for training and for serving."""

# Two lines, two digits, two boxes: a count is clearest as itself.
# ruff: noqa: PLR2004

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# OpenCV's hints know no exact type of pixel; each docstring says which it is.
Bytes = NDArray[Any]
Floats = NDArray[Any]


GLYPH = 28  # the model's side, px: MNIST's
BOX = 20  # longest side of the ink within it, px: MNIST's (LeCun et al. 1998)

# Ink whose box is this long is left as it is, unscaled: MNIST's own digits come out
# unblurred (their boxes, less the faintest edge pixels, are 18 to 20).
AS_IS = range(18, BOX + 1)
# Strokes thinner than this are thickened, glyph px. A pencil line at 28x28 is 1, most of
# MNIST is 2 to 4.
THINNEST_STROKE = 2.0
# Where strokes are measured and thickened the ink is at least this long, px: at four times
# the glyph's scale a quarter of a pixel counts.
FINE = 4 * BOX

# Colour distances are Euclidean in 8-bit BGR: black to white is 441.
SHADOW = 0.12  # share of the border along which a shadow lies; a stroke crosses it ...
PALE = 0.7  # ... and is darker: half of a shadow is paler than this share of the ink
SAMPLE = 8192  # pixels are enough to tell a quantile by
WITHIN_QUARTER = 0.3186  # a quarter of a normal distribution is within so many deviations
FLATTEST = 8.0  # paper whose border strays less than this has no shading to take off
SHADED = 16  # px a side under which a shade cannot be told from a stroke
FAINTEST = 14.0  # contrast under which nothing was drawn: JPEG and sensor noise reach 10
NOISY = 0.06  # noise over this share of the ink's contrast is smoothed: a quarter of WEAK
STANDS_OUT = 6.0  # standard deviations of the paper that ink is above: noise alone reaches 4.5
WEAK, STRONG = 0.25, 0.5  # hysteresis, as shares of the ink's own contrast

SMALLEST, SMALLEST_PX = 0.025, 4  # a stroke is this long, as a share of the page and in px
# A component with at least this share of the main one's ink is a stroke, and belongs to it
# when no farther than this share of its size: the floating hat of a 5.
HAT, HAT_REACH = 0.03, 0.5
# Less than that is dirt, unless it is this near: a crumb of a broken stroke.
CRUMB, CRUMB_REACH = 0.005, 0.1
MOST_STROKES = 32  # heaviest ones looked at: noise has thousands, and each is held to each
RULE_SPAN = 0.7  # a straight line over this share of a side was printed there
RULE_THICK = 0.04  # ... if it is thinner than this share
BOXED = 0.4  # a box to write in is at least this share of the page's width and height ...
FOUR_CORNERED, HOLLOW = 0.88, 0.35  # ... fills its own rectangle so far, with so little ink
TALL = 0.6  # a second digit is at least this share of the tallest one's height
ANOTHER = 0.3  # ... and has at least this share of its ink, where it lies farther off
EVEN = 0.98  # share of a line that is of one colour where it is a bar's or a frame's ...
FRAME = 0.9  # ... and of the line behind it that is of another

NO_INK = "no ink"
SEVERAL = "several digits"


@dataclass(frozen=True, slots=True)
class Drawing:
    """What was drawn: (28, 28) uint8, white ink on black, zeros if none; ``flaw`` says why."""

    glyph: Bytes
    flaw: str = ""


def trace(pixels: Bytes) -> Drawing:
    """Find the ink and bring it to the model's size and place.

    Args:
        pixels: (H, W, 3) uint8, any colours; 512 px a side is plenty.
    """
    contrast = _contrast(_without_frame(pixels))
    if contrast is None:
        return Drawing(_blank(), NO_INK)
    parts = _parts(_out_of_shadow(contrast))
    if parts is None:
        return Drawing(_blank(), NO_INK)
    ink, several = parts
    return Drawing(_glyph(ink), SEVERAL if several else "")


def trace_ink(ink: Bytes) -> Drawing:
    """Trace training data: (H, W) uint8, white ink on black, given a margin to be paper."""
    margin = max(2, max(ink.shape) // 8)
    return trace(cv2.cvtColor(np.pad(ink, margin), cv2.COLOR_GRAY2BGR))


def _blank() -> Bytes:
    return np.zeros((GLYPH, GLYPH), np.uint8)


def _without_frame(pixels: Bytes) -> Bytes:
    """Peel off black bars, scan edges and printed frames.

    An edge's run of evenly coloured lines goes when the line behind it is nearly all of
    another colour. A page's own margin stays: what follows it is mostly margin still.
    """
    top, bottom, left, right = 0, pixels.shape[0], 0, pixels.shape[1]
    for _ in range(8):  # a margin, a frame within it, and the soft edges of both
        before = (top, bottom, left, right)
        top += _peel(pixels[top:bottom, left:right])
        bottom -= _peel(pixels[top:bottom, left:right][::-1])
        left += _peel(pixels[top:bottom, left:right].transpose(1, 0, 2))
        right -= _peel(pixels[top:bottom, left:right].transpose(1, 0, 2)[::-1])
        if (top, bottom, left, right) == before:
            break
    if (bottom - top, right - left) == pixels.shape[:2]:
        return pixels
    inside = pixels[top:bottom, left:right]
    # Where nothing is left inside, the "frame" was the drawing: a 1 from edge to edge.
    if min(inside.shape[:2]) < min(pixels.shape[:2]) // 3 or np.ptp(inside) < FAINTEST:
        return pixels
    return inside


def _peel(lines: Bytes) -> int:
    """Count the first lines that are a bar of their own."""
    if len(lines) < 2:
        return 0
    width = lines.shape[1]
    colour = np.sort(lines[0], axis=0)[width // 2].astype(np.float32)
    low, high = colour - FAINTEST, colour + FAINTEST
    if cv2.countNonZero(cv2.inRange(lines[:1], low, high)) < EVEN * width:
        return 0
    alike = cv2.reduce(cv2.inRange(lines, low, high), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    shares = alike[:, 0] / (255 * width)
    count = int((shares >= EVEN).argmin())
    return count if shares[count] <= 1 - FRAME else 0


def _contrast(pixels: Bytes) -> Floats | None:
    """Contrast to the paper along the ink's own colour, 0 where there is none.

    Returns:
        (H, W) float32, about 0 to 1 where 1 is the ink's own contrast; ``None`` where
        nothing stands out.
    """
    away = pixels.astype(np.float32)
    away -= _paper(away)
    distance = np.sqrt(cv2.transform(away * away, np.ones((1, 3), np.float32)))
    peak = _peak(distance)
    if peak < FAINTEST:
        return None
    strongest = away[distance > STRONG * peak]
    # Ink is what the strongest contrasts have in common; glare, or the other side of the
    # noise, lies in the other direction.
    direction = strongest.sum(axis=0)
    direction /= np.linalg.norm(direction) + 1e-6
    contrast: Floats = cv2.transform(away, direction[None])
    if _noise(contrast) > NOISY * peak:
        contrast = cv2.GaussianBlur(contrast, (0, 0), 0.6 if max(contrast.shape) < FINE else 1.2)
        peak = _peak(contrast)
    if peak < max(FAINTEST, STANDS_OUT * _spread(contrast)):
        return None
    contrast /= peak
    return np.maximum(contrast, 0.0, out=contrast)


def _peak(contrast: Floats) -> float:
    """Contrast of the ink proper: the mean of the strongest thousandth, of 8 pixels at least."""
    # A histogram, since a partial sort of an image that is nearly all zeros takes 18 ms.
    counts = cv2.calcHist([contrast], [0], None, [448], [0, 448]).ravel()[::-1]
    taken = np.minimum(counts.cumsum(), max(8, contrast.size // 1000))
    # How many were taken by each level, summed over levels one apart: the sum of what was taken.
    return float((taken.sum() - taken[-1] / 2) / max(taken[-1], 1))


def _noise(contrast: Floats) -> float:
    """Standard deviation of the paper's noise, from the differences of neighbouring pixels.

    The lower quartile of them is not moved by strokes, which are most of a tight crop.
    """
    steps = np.abs(contrast[:, 1:] - contrast[:, :-1]).ravel()
    if not steps.size:
        return 0.0
    return _quantile(steps, 0.25) / (WITHIN_QUARTER * 2**0.5)  # a difference has two


def _spread(contrast: Floats) -> float:
    """Standard deviation of the paper, texture and noise, by the lower quartile of distances."""
    return _quantile(np.abs(contrast), 0.25) / WITHIN_QUARTER


def _paper(pixels: Floats) -> Floats:
    """Colour of the bare paper: (3,), or (H, W, 3) where it is unevenly lit.

    The shade is a quadratic surface fitted around the ink: it cannot follow a stroke, however
    broad, so that no ink is eaten. (Closing over the strokes instead follows the edge of a
    shadow, but ate the insides of brush strokes and of tight crops: measured, left out.)
    """
    border = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    colour: Floats = np.sort(border, axis=0)[len(border) // 2]
    height, width = pixels.shape[:2]
    # Ink that touches the border covers less than a quarter of it.
    stray = _quantile(np.abs(border - colour).max(axis=1), 0.75)
    if stray < FLATTEST or min(height, width) < SHADED:
        return colour
    scale = min(1.0, 48 / max(height, width))  # 48 px hold all that a quadratic can say
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    terms = _quadratic(*small.shape[:2])
    seen = small.reshape(-1, 3)
    shade = np.broadcast_to(colour, seen.shape)
    # Iteratively reweighted least squares: each round trusts what is near the last surface.
    for reach in (80.0, 40.0, 24.0, 16.0, 16.0):
        off = np.linalg.norm(seen - shade, axis=1)
        trust = np.sqrt(np.exp(-0.5 * (off / reach) ** 2))[:, None]
        fit = np.linalg.lstsq(terms * trust, seen * trust, rcond=None)[0]
        shade = terms @ fit
    # Between its 48 px the surface is as good as flat: enlarging it is ten times faster.
    return cv2.resize(shade.astype(np.float32).reshape(small.shape), (width, height))


def _quadratic(height: int, width: int) -> Floats:
    """(H * W, 6) float32: 1, x, y, x2, xy, y2 at each pixel, -1 to 1 across the image."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    x, y = x.ravel(), y.ravel()
    return np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), axis=1)


def _parts(contrast: Floats) -> tuple[Floats, bool] | None:
    """Keep the strokes of the digit: no specks, no ruled lines, nothing from the next box.

    Returns:
        The ink, (h, w) float32 from 0 to 1, cut to its box; and whether it is plainly
        several digits. ``None`` where no stroke is left.
    """
    mask = (contrast > WEAK).astype(np.uint8)
    count, labels, stats = _components(mask)
    # With too few pixels a printed line cannot be told from a stroke.
    if max(mask.shape) >= FINE and (printed := _printed(mask, labels, stats)).any():
        count, labels, stats = _components(mask & ~printed)
    strong = np.bincount(labels[contrast > STRONG], minlength=count)
    weight = np.bincount(labels.ravel(), contrast.ravel(), minlength=count)
    weight[0] = 0
    main = int(np.where(strong, weight, 0).argmax())
    smallest = max(SMALLEST_PX, SMALLEST * max(mask.shape))
    if not main or max(stats[main, 2:4]) < smallest:
        return None
    kept = _belonging(stats, weight, strong, main)
    chosen = np.zeros(count, np.uint8)
    chosen[kept] = 1
    keep = chosen[labels]
    top, bottom, left, right = _box(keep)
    # The strokes' soft edges, a pixel wide, lie outside the mask.
    edge = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    ink = contrast[edge] * cv2.dilate(keep[edge], np.ones((3, 3), np.uint8))
    full = _quantile(ink[ink > STRONG], 0.6)
    weight[kept] = 0
    others = stats[weight >= ANOTHER * contrast[keep > 0].sum()]
    several = _several(stats[kept]) or _another(others, bottom - top, mask.shape)
    return np.minimum(ink / full, 1.0), several


def _out_of_shadow(contrast: Floats) -> Floats:
    """Take off a shadow with an edge: along the border like no stroke, and paler than ink."""
    border = np.zeros(contrast.shape, np.uint8)
    border[[0, -1]] = border[:, [0, -1]] = 1
    least = SHADOW * border.sum()
    mask = (contrast > WEAK).astype(np.uint8)
    if (mask & border).sum() < least:
        return contrast
    count, labels, _ = _components(mask)
    touching = np.bincount(labels[border > 0], minlength=count)
    for index in np.flatnonzero(touching[1:] >= least) + 1:
        inside = labels == index
        level = _quantile(contrast[inside], 0.5)
        if level < PALE:
            contrast[inside] = np.maximum(contrast[inside] - level, 0) / (1 - level)
    return contrast


def _components(mask: Bytes) -> tuple[int, NDArray[Any], NDArray[Any]]:
    """Label what is connected: how many, (H, W) labels, and OpenCV's table of each; 0 is paper."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return count, labels, stats


def _printed(mask: Bytes, labels: NDArray[Any], stats: NDArray[Any]) -> Bytes:
    """Find what was printed on the page: boxes to write in, ruled and squared lines."""
    height, width = mask.shape
    printed = np.zeros_like(mask)
    large = (stats[:, 2] > BOXED * width) & (stats[:, 3] > BOXED * height)
    if len(stats) > 2:  # a page, a box and something in it
        for index in np.flatnonzero(large)[1:]:
            box = (labels == index).astype(np.uint8)
            if _box_like(box):
                printed |= box
    left: Bytes = mask & ~printed
    thick = max(3, int(RULE_THICK * max(height, width)))
    for length, shape, crossed in (
        (int(RULE_SPAN * width), (1, -1), left.sum(axis=1).max()),
        (int(RULE_SPAN * height), (-1, 1), left.sum(axis=0).max()),
    ):
        if crossed < length:  # no line has ink enough
            continue
        along = np.ones(length, np.uint8).reshape(shape)
        across = np.ones(thick, np.uint8).reshape(shape[::-1])
        lines: Bytes = cv2.morphologyEx(left, cv2.MORPH_OPEN, along)
        # Where the ink is broad across the line, it is a brush's, or a stroke's that crosses.
        broad: Bytes = cv2.morphologyEx(left, cv2.MORPH_OPEN, across)
        printed |= _to_the_edge(lines) & ~broad
    return printed


def _to_the_edge(lines: Bytes) -> Bytes:
    """Keep the lines that run to the page's edge, as no 1 and no bar of a 7 does."""
    count, labels, stats = _components(lines)
    if count == 1:
        return lines
    left, top, width, height = stats[:, :4].T
    ends = (left == 0) | (top == 0)
    ends |= (left + width == lines.shape[1]) | (top + height == lines.shape[0])
    ends[0] = False
    kept: Bytes = ends[labels].astype(np.uint8)
    return kept


def _box_like(mask: Bytes) -> bool:
    """Tell a closed box from a 0: an ellipse fills 0.785 of the rectangle around it."""
    outline = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
    inside = cv2.contourArea(outline)
    (_, (width, height), _) = cv2.minAreaRect(outline)
    return bool(inside > FOUR_CORNERED * width * height and mask.sum() < HOLLOW * inside)


def _belonging(
    stats: NDArray[Any], weight: NDArray[Any], strong: NDArray[Any], main: int
) -> list[int]:
    """Components that are strokes of the drawing, grown from the main one outwards."""
    if len(stats) == 2:  # paper and the main one
        return [main]
    boxes = stats[:, : cv2.CC_STAT_AREA]
    size = max(boxes[main, 2:])
    hat = (weight >= HAT * weight[main]) & (strong > 0)
    reach = np.where(hat, HAT_REACH, CRUMB_REACH) * size
    kept = [main]
    heaviest = np.argsort(-weight)[:MOST_STROKES].tolist()
    waiting = [i for i in heaviest if i != main and weight[i] >= CRUMB * weight[main]]
    grown = True
    while grown and waiting:
        near = [i for i in waiting if any(_gap(boxes[i], boxes[j]) <= reach[i] for j in kept)]
        grown = bool(near)
        kept += near
        waiting = [i for i in waiting if i not in near]
    return kept


def _gap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Distance between two boxes (left, top, width, height), px."""
    across = max(one[0], other[0]) - min(one[0] + one[2], other[0] + other[2])
    down = max(one[1], other[1]) - min(one[1] + one[3], other[1] + other[3])
    return float(np.hypot(max(across, 0), max(down, 0)))


def _several(stats: NDArray[Any]) -> bool:
    """Tell whether tall parts stand side by side, in a box wider than it is high.

    Two halves of one 0, or a 4 in two strokes, stand side by side too, but in a box that is
    higher than wide; those the model judges.
    """
    if len(stats) < 2:
        return False
    left, top, width, height = stats[:, :4].T
    tall = height >= TALL * height.max()
    if tall.sum() < 2:
        return False
    order = np.argsort(left[tall])
    starts, ends = left[tall][order], (left + width)[tall][order]
    apart = bool((starts[1:] >= ends[:-1]).any())
    wide = (left + width).max() - left.min() > (top + height).max() - top.min()
    return apart and bool(wide)


def _another(stats: NDArray[Any], height: int, page: tuple[int, ...]) -> bool:
    """Tell whether another drawing as tall lies farther off; one cut by the edge is no matter."""
    left, top, width, tall = stats[:, :4].T
    inside = (left > 0) & (top > 0) & (left + width < page[1]) & (top + tall < page[0])
    return bool((inside & (tall >= TALL * height)).any())


def _quantile(values: Floats, share: float) -> float:
    """Value that so large a share is below; `np.percentile` takes ten times as long for few.

    Sorting takes 3 us where `np.partition` takes 38: mostly paper is mostly equal values.
    """
    flat = values.ravel()
    flat = flat[:: 1 + flat.size // SAMPLE]
    index = min(int(share * flat.size), flat.size - 1)
    return float(np.sort(flat)[index])


def _box(mask: Bytes) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _glyph(ink: Floats) -> Bytes:
    """Scale ink into the glyph's box, hairlines thickened, and centre it by mass."""
    top, bottom, left, right = _box((ink > WEAK / 2).astype(np.uint8))
    ink = ink[top:bottom, left:right]
    longest = max(ink.shape)
    scale = 1.0 if longest in AS_IS else BOX / longest
    # Bring small drawings to where their strokes can be measured.
    finer = max(1.0, FINE / BOX * scale)
    fine: Floats = ink
    if finer > 1.0:
        fine = cv2.resize(ink, None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    wanted = THINNEST_STROKE * finer / scale
    missing = (wanted - _stroke_width(fine)) / 2
    if missing > 0.25 * finer:  # less than a quarter of a pixel a side is not seen
        fine = _thicken(fine, missing)
    elif scale == 1.0:
        return _centred(ink)
    shrink = BOX / max(fine.shape)
    height, width = (max(1, round(side * shrink)) for side in fine.shape)
    small = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return _centred(small / max(float(small.max()), STRONG))


def _stroke_width(ink: Floats) -> float:
    """Mean stroke width, px: across a stroke w wide the distances to its edge average w/4 + 1/2."""
    core: Bytes = (ink > STRONG).astype(np.uint8)
    core = cv2.copyMakeBorder(core, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(core, cv2.DIST_L2, 3)
    inside = distance[core > 0]
    return 4 * float(inside.mean()) - 2 if inside.size else 0.0


def _thicken(ink: Floats, by: float) -> Floats:
    """Grow strokes by so many px on each side, round, with a soft edge."""
    margin = int(np.ceil(by)) + 1
    ink = np.pad(ink, margin)
    away = cv2.distanceTransform((ink <= STRONG).astype(np.uint8), cv2.DIST_L2, 5)
    thick: Floats = np.maximum(ink, np.clip(by + 1 - away, 0, 1))
    return thick


def _centred(ink: Floats) -> Bytes:
    """Put ink of at most 28x28 where its centre of mass is the glyph's middle, if it fits."""
    height, width = ink.shape
    total = float(ink.sum()) or 1.0
    down = float(ink.sum(axis=1) @ np.arange(height)) / total
    across = float(ink.sum(axis=0) @ np.arange(width)) / total
    top = min(max(round(GLYPH / 2 - 0.5 - down), 0), GLYPH - height)
    left = min(max(round(GLYPH / 2 - 0.5 - across), 0), GLYPH - width)
    glyph = np.zeros((GLYPH, GLYPH), np.float32)
    glyph[top : top + height, left : left + width] = ink
    return np.rint(glyph * 255).astype(np.uint8)
