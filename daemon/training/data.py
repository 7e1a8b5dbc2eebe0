"""Load the training and test sets: images with labels, white ink on black."""

# The literals 3 (axes) and 9 (highest digit) are clearer than named constants.
# ruff: noqa: PLR2004

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daemon.errors import DataError
from daemon.training import frameworks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MNIST = "mnist"


@dataclass(frozen=True, slots=True)
class Drawings:
    """One set: ``images`` (N, H, W) uint8, white ink on black; ``labels`` (N,) 0 to 9."""

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def part(self, of: slice) -> Drawings:
        """Return some of the drawings."""
        return Drawings(self.name, self.images[of], self.labels[of])


@dataclass(frozen=True, slots=True)
class Sets:
    """The training sets, and MNIST's test digits if MNIST is one of them."""

    training: tuple[Drawings, ...]
    test: Drawings | None


def load(paths: Sequence[Path]) -> Sets:
    """Load ``.npz`` sets; without paths, download MNIST through ``keras.datasets``.

    A file contains ``images`` and ``labels``, or MNIST's four arrays under Keras's names.

    Raises:
        DataError: a file is missing or does not contain such a set.
    """
    if not paths:
        (x_train, y_train), (x_test, y_test) = _downloaded()
        return Sets((_drawings(MNIST, x_train, y_train),), _drawings(MNIST, x_test, y_test))
    training, test = [], None
    for path in paths:
        arrays = _arrays(path)
        if "x_train" in arrays:
            training.append(_drawings(MNIST, arrays["x_train"], arrays["y_train"], path))
            test = _drawings(MNIST, arrays["x_test"], arrays["y_test"], path)
        else:
            training.append(_drawings(path.stem, arrays["images"], arrays["labels"], path))
    return Sets(tuple(training), test)


def hold_out(
    sets: Sequence[Drawings], share: float
) -> tuple[tuple[Drawings, ...], tuple[Drawings, ...]]:
    """Split each set into training and validation data.

    The last images of each set are held out; in a set that is ordered by writer, these are the
    digits of other people.
    """
    cuts = [len(drawings.labels) - round(share * len(drawings.labels)) for drawings in sets]
    return (
        tuple(d.part(slice(cut)) for d, cut in zip(sets, cuts, strict=True)),
        tuple(d.part(slice(cut, None)) for d, cut in zip(sets, cuts, strict=True)),
    )


def load_test(path: Path) -> Drawings:
    """Load a set to evaluate on: MNIST's test digits, or all of any other set."""
    arrays = _arrays(path)
    if "x_test" in arrays:
        return _drawings(f"{MNIST} test", arrays["x_test"], arrays["y_test"], path)
    return _drawings(path.stem, arrays["images"], arrays["labels"], path)


def _arrays(path: Path) -> dict[str, NDArray[np.uint8]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not an .npz file of arrays: name another file") from error
    if {"x_train", "y_train", "x_test", "y_test"} <= set(arrays):
        return arrays
    if {"images", "labels"} <= set(arrays):
        return arrays
    raise DataError(
        f"{path}: has neither `images` and `labels` nor MNIST's x_train, y_train, x_test, y_test"
    )


def _drawings(
    name: str, images: NDArray[np.uint8], labels: NDArray[np.uint8], path: Path | None = None
) -> Drawings:
    """Return a set after checking its arrays; without ``path`` they were downloaded."""
    if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DataError(f"{path or name}: images must be (N, H, W) uint8, with N labels")
    if labels.size and not 0 <= labels.min() <= labels.max() <= 9:
        raise DataError(f"{path or name}: labels must be 0 to 9")
    return Drawings(name, images, labels.astype(np.int64))


def _downloaded() -> tuple[tuple[NDArray[np.uint8], ...], tuple[NDArray[np.uint8], ...]]:
    try:
        return frameworks.keras().datasets.mnist.load_data()  # type: ignore[no-any-return]
    # Keras turns urllib's errors and a wrong checksum into bare exceptions.
    except Exception as error:
        raise DataError(
            f"MNIST could not be downloaded ({error}): pass a local copy with --data mnist.npz"
        ) from error
