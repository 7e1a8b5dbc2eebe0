"""What is read in the benchmarks: small PNGs and photographs, made from the samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLES = Path(__file__).parent.parent / "samples"
_SIDE = 28  # 79 % of what people drop is exactly 28x28
_PHOTO = (1632, 1224)  # 2 megapixels


def _inks() -> list[NDArray[Any]]:
    """Read the samples as dark ink on white, (28, 28) uint8."""
    inks = []
    for path in sorted(_SAMPLES.glob("digit*.png")):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert grey is not None  # noqa: S101 - the samples are in the repository
        small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        inks.append(small if small[0, 0] > 127 else 255 - small)
    return inks


def small_pngs(folder: Path, count: int) -> None:
    """Write ``digit1.png`` and on: 28x28, each turned and moved a little, no two alike."""
    chance = np.random.default_rng(7)
    inks = _inks()
    for number in range(1, count + 1):
        cv2.imwrite(str(folder / f"digit{number}.png"), _vary(chance, inks[number % len(inks)]))


def six_digits(folder: Path, count: int) -> None:
    """Write ``number1.png`` and on: 168x28, six digits as of ``small_pngs`` side by side."""
    chance = np.random.default_rng(7)
    inks = _inks()
    for number in range(1, count + 1):
        row = [_vary(chance, inks[each]) for each in chance.integers(0, len(inks), 6)]
        cv2.imwrite(str(folder / f"number{number}.png"), np.hstack(row))


def _vary(chance: np.random.Generator, ink: NDArray[Any]) -> NDArray[Any]:
    """Return (28, 28) ink turned and moved a little."""
    middle = (_SIDE / 2, _SIDE / 2)
    turn = cv2.getRotationMatrix2D(middle, chance.uniform(-12, 12), chance.uniform(0.8, 1.05))
    turn[:, 2] = turn[:, 2] + chance.uniform(-1.5, 1.5, 2)
    return cv2.warpAffine(ink, turn, (_SIDE, _SIDE), borderValue=(255,))


def photos(folder: Path, count: int) -> None:
    """Write ``digit1.png`` and on: JPEGs of 2 megapixels, shaded paper with noise."""
    chance = np.random.default_rng(7)
    inks = _inks()
    width, height = _PHOTO
    shade = np.linspace(225, 170, width, dtype=np.float32)[None, :].repeat(height, axis=0)
    for number in range(1, count + 1):
        page = shade + chance.normal(0, 4, shade.shape).astype(np.float32)
        ink = cv2.resize(inks[number % len(inks)], (700, 700), interpolation=cv2.INTER_CUBIC)
        page[300:1000, 400:1100] *= np.clip(ink, 40, 255) / 255
        done, data = cv2.imencode(".jpg", np.clip(page, 0, 255).astype(np.uint8))
        assert done  # noqa: S101 - JPEG takes any grey picture
        (folder / f"digit{number}.png").write_bytes(data.tobytes())
