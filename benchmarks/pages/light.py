"""Light, shadows and camera of the evaluation pages."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.pages.ink import Floats, cloud, noise, tint, vary_colour


def add_light(chance: np.random.Generator, pixels: Floats, unevenness: float) -> Floats:
    """Return the page under a light that falls off by up to the share ``unevenness``."""
    # Light is smooth: a grid of 32 by 32 points, enlarged, saves 3 ms of 30 a page.
    side = 32
    angle = chance.uniform(0, 2 * np.pi)
    along = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    across, down = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    slope = (along[None, :] * across + along[:, None] * down) / (abs(across) + abs(down))
    patches = cloud(chance, (side, side), (side / 2, side / 2)) * np.float32(0.12)
    fall = np.clip(np.float32(0.5) + slope + patches, 0, 1) * np.float32(unevenness)
    exposure = 128 * chance.uniform(0.72, 1.02)
    lamp = vary_colour(chance, (exposure, exposure, exposure), 5)
    grid = tint((1 - fall) / np.float32(128), lamp)
    size = (pixels.shape[1], pixels.shape[0])
    return pixels * np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR), np.float32)


def shadow_mask(chance: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return the mask of a hard shadow: an edge, a phone's corner, or a hand's fingers."""
    size = float(max(shape))
    middle = np.array([shape[1], shape[0]]) * chance.uniform(0.25, 0.75, 2)
    angle = chance.uniform(0, 2 * np.pi)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-ahead[1], ahead[0]])
    mask = np.zeros(shape, np.uint8)
    form = chance.integers(3)
    if form == 0:
        corners = [aside * 3, -aside * 3, -aside * 3 + ahead * 3, aside * 3 + ahead * 3]
        _fill(mask, middle + size * np.array(corners))
    elif form == 1:
        wide = chance.uniform(0.15, 0.4)
        corners = [aside * wide, -aside * wide, -aside * wide + ahead * 3, aside * wide + ahead * 3]
        _fill(mask, middle + size * np.array(corners))
    else:
        _fingers(chance, mask, (middle, ahead, aside))
    soft = cv2.GaussianBlur(mask, (0, 0), chance.uniform(0.5, 0.006 * size + 0.6))
    return np.float32(soft) / 255  # type: ignore[return-value]


def _fill(mask: NDArray[np.uint8], corners: NDArray[np.float64]) -> None:
    cv2.fillPoly(mask, [corners.astype(np.int32)], (255,), cv2.LINE_AA)


def _fingers(
    chance: np.random.Generator,
    mask: NDArray[np.uint8],
    frame: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Draw two to four fingers side by side that come from a hand beyond the page."""
    middle, ahead, aside = frame
    size = float(max(mask.shape))
    thick = chance.uniform(0.09, 0.16) * size
    count = int(chance.integers(2, 5))
    for finger in range(count):
        offset = (finger - (count - 1) / 2) * thick * 1.15
        tip = middle + aside * offset + ahead * size * chance.uniform(0, 0.12)
        knuckle = tip + (ahead + aside * 0.1 * (finger - count / 2)) * size * 2
        ends = [tuple(map(int, end)) for end in (tip, knuckle)]
        cv2.line(mask, ends[0], ends[1], (255,), round(thick), cv2.LINE_AA)
    palm = middle + ahead * size * chance.uniform(0.6, 0.8)
    cv2.circle(mask, tuple(map(int, palm)), round(1.1 * count * thick / 2), (255,), -1, cv2.LINE_AA)


def photograph(
    chance: np.random.Generator, pixels: Floats, blur: float, grain: float
) -> NDArray[np.uint8]:
    """Return the page as a camera or a scanner records it.

    ``blur`` is the lens's standard deviation in pixels, ``grain`` the sensor's in grey levels.
    """
    if blur:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), blur), np.float32)
    shape = (pixels.shape[0], pixels.shape[1])
    speckle = tint(noise(chance, shape), (grain, grain, grain))
    if grain > 3:  # a sensor in poor light shows its colour noise
        colours = np.asarray(cv2.merge([noise(chance, shape) for _ in range(3)]), np.float32)
        speckle = speckle * np.float32(0.7) + colours * np.float32(grain * 0.5)
    return np.asarray(cv2.add(pixels, speckle, dtype=cv2.CV_8U), np.uint8)
