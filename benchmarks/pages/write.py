"""Draw the pages of each kind and write them with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import labels
from benchmarks.pages import ink, light
from benchmarks.pages.kinds import KINDS
from benchmarks.pages.scene import Page, Scene
from daemon.errors import DataError, describe

_ATTEMPTS = 40  # 3 pages of 1,200 were drawn again, none twice (seed 7)
_CONTRAST = 45  # grey levels between ink and the paper beside it
_HEIGHTS = (0.19, 0.8)  # the digit's height as a share of the page's
_NEIGHBOURS = 3


@dataclass(frozen=True)
class Digits:
    """Digits of MNIST: images of shape (n, 28, 28) and their labels of shape (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def load(file: Path) -> Digits:
    """Return the test images of an ``mnist.npz``.

    Raises:
        DataError: The file is missing or has no test images.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return Digits(arrays["x_test"], arrays["y_test"])
    except OSError as fault:
        raise DataError(f"{describe(fault)}; name Keras's mnist.npz") from fault
    except (KeyError, ValueError, BadZipFile) as fault:
        raise DataError(f"{file}: no arrays x_test and y_test; name Keras's mnist.npz") from fault


def with_digits(
    mnist: Path, write: Callable[[Digits], Iterator[str]], length: int, label: str
) -> None:
    """Load the test digits of MNIST, and write files of them with a progress bar.

    Raises:
        ClickException: something cannot be read or written.
    """
    try:
        with click.progressbar(write(load(mnist)), length=length, label=label) as bar:
            for _ in bar:
                pass
    except (DataError, OSError) as fault:
        raise click.ClickException(describe(fault)) from fault


def write_pages(digits: Digits, folder: Path, each: int, seed: int) -> Iterator[str]:
    """Write ``each`` pages of each kind and labels.csv; yield each file's name when written."""
    order = np.random.default_rng(seed).permutation(len(digits.labels))
    with labels.table(folder) as add:
        for index, kind in enumerate(KINDS):
            for number in range(each):
                chance = np.random.default_rng([seed, index, number])
                chosen = int(order[(index * each + number) % len(order)])
                image = draw(chance, kind, digits, chosen)
                ending, data = _encode(chance, image)
                name = f"{kind}-{number + 1:04}{ending}"
                (folder / name).write_bytes(data)
                add(name, int(digits.labels[chosen]), kind)
                yield name


def draw(chance: np.random.Generator, kind: str, digits: Digits, chosen: int) -> NDArray[np.uint8]:
    """Return a page of a kind with the chosen digit, shape (height, width, 3), BGR.

    Raises:
        DataError: No attempt was legible.
    """
    for _ in range(_ATTEMPTS):
        others = chance.integers(len(digits.labels), size=_NEIGHBOURS)
        images = digits.images[[chosen, *others]]
        page = KINDS[kind](Scene(chance, _shape(chance), ink.random_pen(chance), images))
        image = _photograph(chance, kind, page)
        if _is_legible(image, page.digit):
            return image
    raise DataError(f"MNIST's test image {chosen}: illegible as {kind}; choose another seed")


def _shape(chance: np.random.Generator) -> tuple[int, int]:
    """Return the height and width of a page: 120 to 900 pixels, width 0.7 to 1.4 of the height."""
    root = np.sqrt(np.exp(chance.uniform(np.log(0.7), np.log(1.4))))
    least, most = 120 * np.sqrt(1.4), 900 / np.sqrt(1.4)
    side = least * (most / least) ** (chance.random() ** 1.2)  # small pages are more frequent
    return round(float(side / root)), round(float(side * root))


def _photograph(chance: np.random.Generator, kind: str, page: Page) -> NDArray[np.uint8]:
    """Return the page as a scanner or, at an angle, a phone records it."""
    size = max(page.digit.shape)
    if kind == "perspective":
        blur = chance.uniform(0.3, 0.3 + 0.0025 * size)
        return light.photograph(chance, page.pixels, blur, chance.uniform(1.5, 7))
    pixels = light.add_light(chance, page.pixels, chance.uniform(0, 0.25))
    blur = chance.uniform(0.3, 0.4 + 0.0015 * size) if chance.random() < 2 / 3 else 0
    return light.photograph(chance, pixels, blur, chance.uniform(0, 3.5))


def _is_legible(image: NDArray[np.uint8], digit: ink.Floats) -> bool:
    """Return whether the digit is whole, neither tiny nor huge, and contrasts with its paper."""
    inside = (digit > 1 / 2).astype(np.uint8)
    rows, columns = digit.shape
    left, top, width, height = cv2.boundingRect(inside)
    if left == 0 or top == 0 or left + width == columns or top + height == rows:
        return False
    if not _HEIGHTS[0] <= height / rows <= _HEIGHTS[1]:
        return False
    # A digit of 80 pixels is enough to judge contrast, and takes a tenth of the time.
    shrink = min(1.0, 80 / height)
    size = (round(columns * shrink), round(rows * shrink))
    small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    mask = cv2.resize(digit, size, interpolation=cv2.INTER_AREA)
    grey = np.asarray(small, np.float32)
    # The paper beside each point: a blur that leaves out the ink.
    bare = np.asarray(cv2.dilate(mask, np.ones((3, 3), np.uint8)) < 1 / 10, np.float32)
    spread = 0.06 * height * shrink + 2
    share = np.maximum(cv2.GaussianBlur(bare, (0, 0), spread), 1e-3)
    around = cv2.GaussianBlur(grey * bare, (0, 0), spread) / share
    core = np.asarray(mask) > 0.6  # not the stroke's soft edge
    return float(np.percentile(np.abs(around - grey)[core], 30)) >= _CONTRAST


def _encode(chance: np.random.Generator, image: NDArray[np.uint8]) -> tuple[str, bytes]:
    """Return the file's extension and bytes: half JPEG of quality 40 to 95, half PNG."""
    if chance.random() < 1 / 2:
        ending, settings = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, int(chance.integers(40, 96))]
    else:
        ending, settings = ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, data = cv2.imencode(ending, image, settings)
    return ending, data.tobytes()
