"""The twelve kinds of evaluation pages: a digit and its surroundings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import ink, light, paper
from benchmarks.pages.frames import box, drawn_ring, printed_ring, thick_frame
from benchmarks.pages.ink import Floats, Pen, Place
from benchmarks.pages.scene import Page, Scene
from benchmarks.pages.words import letters, scribble

Kind: TypeAlias = Callable[[Scene], Page]


def plain(scene: Scene) -> Page:
    """Write on empty paper."""
    return scene.write(paper.paper(scene.chance, scene.shape), scene.place(0.22, 0.75))


def desk(scene: Scene) -> Page:
    """Write on a sheet with the desk visible along one or two edges."""
    chance = scene.chance
    rows, columns = scene.shape
    # The sheet's edges left, top, right, bottom, as shares of the page; -1 is out of sight.
    strips = np.full(4, -1.0)
    shown = chance.permutation(4)[: chance.integers(1, 3)]
    strips[shown] = chance.uniform(0.04, 0.2, len(shown))
    left, top, right, bottom = strips * [columns, rows, columns, rows]
    corners = np.array(
        [
            [left, top],
            [columns - right, top],
            [columns - right, rows - bottom],
            [left, rows - bottom],
        ]
    )
    slope = np.tan(np.radians(chance.normal(0, 2)))
    centre = np.array([columns, rows]) / 2
    corners = corners + (corners - centre)[:, ::-1] * [-slope, slope]
    sheet = np.zeros(scene.shape, np.uint8)
    cv2.fillPoly(sheet, [np.round(corners * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    inside = np.asarray(sheet, np.float32) / np.float32(255)
    cast = np.asarray(cv2.GaussianBlur(inside, (0, 0), 0.008 * scene.side + 0.5), np.float32)
    beside = (1 - inside) * (1 - np.float32(chance.uniform(0, 0.6)) * cast)
    pixels = paper.paper(chance, scene.shape) * ink.tint(inside, (1, 1, 1))
    pixels = pixels + paper.desk(chance, scene.shape) * ink.tint(beside, (1, 1, 1))
    tilt = abs(slope) / 2 + 0.02
    least = np.maximum(strips, 0) + tilt
    return scene.write(
        pixels, scene.place(0.22, 0.65, (least[0], least[1], 1 - least[2], 1 - least[3]))
    )


def hard_shadow(scene: Scene) -> Page:
    """Write on paper with a hard-edged shadow across it."""
    page = plain(scene)
    kept = 100 * scene.chance.uniform(0.42, 0.75)
    blue, green, red = ink.vary_colour(scene.chance, (kept, kept, kept), 3)
    taken = (1 - blue / 100, 1 - green / 100, 1 - red / 100)
    shadow = ink.tint(light.shadow_mask(scene.chance, scene.shape), taken)
    return replace(page, pixels=page.pixels * (1 - shadow))


def ruled(scene: Scene) -> Page:
    """Write on ruled paper."""
    place = scene.place(0.22, 0.75)
    spacing = max(9, place.height * scene.chance.uniform(0.3, 1.4))
    pixels = paper.paper(scene.chance, scene.shape)
    return scene.write(paper.rules(scene.chance, pixels, spacing, squared=False), place)


def squared(scene: Scene) -> Page:
    """Write on squared paper."""
    place = scene.place(0.22, 0.75)
    spacing = max(7, place.height * scene.chance.uniform(0.2, 1.1))
    pixels = paper.paper(scene.chance, scene.shape)
    return scene.write(paper.rules(scene.chance, pixels, spacing, squared=True), place)


def neighbour(scene: Scene) -> Page:
    """Write in the middle, next to digits or words that the page's edge cuts."""
    chance = scene.chance
    rows, columns = scene.shape
    place = scene.place(0.32, 0.6, (0.2, 0.15, 0.8, 0.85))
    half = place.height * scene.stroke.aspect / 2
    others = np.zeros(scene.shape, np.float32)
    sides = chance.permutation(["left", "right", "left", "right", "top", "bottom"])
    for number, side in enumerate(dict.fromkeys(sides[: chance.integers(1, 4)]), 1):
        if side in {"top", "bottom"}:
            free = (
                place.y - place.height / 2 if side == "top" else rows - place.y - place.height / 2
            )
            others = np.maximum(others, _line(scene, side == "top", free))
            continue
        other = scene.trace_image(number)
        height = place.height * chance.uniform(0.75, 1)
        width = height * other.aspect
        free = place.x - half if side == "left" else columns - place.x - half
        shown = min(width * chance.uniform(0.2, 0.5), 0.3 * height, 0.65 * free)
        x = shown - width / 2 if side == "left" else columns - shown + width / 2
        beside = Place(x, place.y + chance.normal(0, 0.06) * place.height, height)
        others = np.maximum(others, ink.digit_mask(scene.shape, other, beside))
    pixels = ink.lay(chance, paper.paper(chance, scene.shape), others, scene.pen)
    return scene.write(pixels, place)


def _line(scene: Scene, top: bool, free: float) -> Floats:  # noqa: FBT001
    """Return the mask of a line of words that the page's upper or lower edge cuts."""
    chance = scene.chance
    height = min(scene.shape[0] * chance.uniform(0.08, 0.16), 1.2 * free)
    shown = min(height * chance.uniform(0.35, 0.7), 0.65 * free)
    above = shown - height if top else scene.shape[0] - shown
    make = letters if chance.random() < 2 / 5 else scribble
    return make(chance, scene.shape, float(above), float(height))


def chalk(scene: Scene) -> Page:
    """Write with light chalk on a dark board."""
    chance = scene.chance
    colours = ((235, 238, 238), (228, 232, 234), (180, 226, 238), (205, 195, 235), (235, 220, 190))
    colour = ink.vary_colour(chance, colours[chance.integers(len(colours))], 6)
    pen = Pen(colour, chance.uniform(70, 130), chance.uniform(0, 0.3), chance.uniform(0.3, 0.65))
    scene = replace(scene, pen=pen)
    place = scene.place(0.25, 0.75)
    pixels = paper.board(chance, scene.shape)
    dust = cv2.GaussianBlur(
        ink.digit_mask(scene.shape, scene.stroke, place), (0, 0), 0.03 * place.height
    )
    pixels = pixels + np.float32(chance.uniform(4, 22)) * np.asarray(dust, np.float32)[:, :, None]
    return scene.write(pixels, place)


def perspective(scene: Scene) -> Page:
    """Photograph a page from an angle of up to 25 degrees."""
    chance = scene.chance
    base = chance.choice(np.array(["plain", "plain", "ruled", "squared"]))
    rows, columns = scene.shape
    place = scene.place(0.3, 0.6, (0.12, 0.12, 0.88, 0.88))
    pixels = paper.paper(chance, scene.shape)
    if base != "plain":
        spacing = max(9, place.height * chance.uniform(0.3, 1))
        pixels = paper.rules(chance, pixels, spacing, squared=bool(base == "squared"))
    page = scene.write(pixels, place)
    view = _view(chance, scene.shape)
    size = (columns, rows)
    seen = cv2.warpPerspective(page.pixels, view, size, flags=cv2.INTER_LINEAR)
    sheet = cv2.warpPerspective(np.ones(scene.shape, np.float32), view, size)
    digit = cv2.warpPerspective(page.digit, view, size)
    beside = 1 - np.asarray(sheet, np.float32)
    table = paper.desk(chance, scene.shape) * ink.tint(beside, (1, 1, 1))
    pixels = light.add_light(chance, np.asarray(seen + table, np.float32), chance.uniform(0.1, 0.4))
    return Page(pixels, np.asarray(digit, np.float32))


def _view(chance: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the homography of a camera that looks at the page from an angle."""
    rows, columns = shape
    tip, swing = np.radians(chance.uniform(-25, 25, 2))
    turn = np.radians(chance.normal(0, 3))
    about_x = [[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]]
    about_y = [[np.cos(swing), 0, np.sin(swing)], [0, 1, 0], [-np.sin(swing), 0, np.cos(swing)]]
    about_z = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    rotation = np.array(about_z) @ np.array(about_x) @ np.array(about_y)
    distance = chance.uniform(1.3, 2.5) * max(shape)
    zoom = chance.uniform(0.95, 1.2)
    centred = np.array([[1, 0, -columns / 2], [0, 1, -rows / 2], [0, 0, 1]])
    plane = np.column_stack([rotation[:, 0], rotation[:, 1], [0, 0, distance]])
    lens = np.diag([zoom * distance, zoom * distance, 1])
    back = np.array([[1, 0, columns / 2], [0, 1, rows / 2], [0, 0, 1]])
    return np.asarray(back @ lens @ plane @ centred, np.float64)


KINDS: dict[str, Kind] = {
    "plain": plain,
    "printed-ring": printed_ring,
    "drawn-ring": drawn_ring,
    "box": box,
    "thick-frame": thick_frame,
    "desk": desk,
    "hard-shadow": hard_shadow,
    "ruled": ruled,
    "squared": squared,
    "neighbour": neighbour,
    "chalk": chalk,
    "perspective": perspective,
}
