"""Load what training starts from: sets of labelled digits, fonts, and images of other things."""

import gzip
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from daemon.errors import DataError
from daemon.reading.glyph import Bytes
from daemon.records import DIGITS
from daemon.training import frameworks

MNIST = "mnist"
# Where Debian's dataset-fashion-mnist installs (MIT licence).
FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
_IDX_HEADER = 16  # bytes before the pixels

FONTS = Path("/usr/share/fonts")  # where Debian's font packages install
# Held-out fonts: no model is trained on them, so letters can be measured on unseen handwriting.
HELD_FONTS = ("Delphine", "Ecolier", "femkeklaver", "DancingScript", "BecauseWeLearn", "Domestic")
_FONT_SIZE = 64  # px
_NEEDED = "0123456789" + "AHKaehkmnx"  # a font is used if it has all of these


@dataclass(frozen=True, slots=True)
class Drawings:
    """One set: ``images`` (N, H, W) uint8, white ink on black; ``labels`` (N,) 0 to 9."""

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def part(self, of: slice) -> "Drawings":
        """Return some of the drawings."""
        return Drawings(self.name, self.images[of], self.labels[of])


@dataclass(frozen=True, slots=True)
class Sets:
    """The training sets, and MNIST's test digits if MNIST is one of them."""

    training: tuple[Drawings, ...]
    test: Drawings | None


def load(paths: Sequence[Path]) -> Sets:
    """Load ``.npz`` sets; without paths, download MNIST through ``keras.datasets``.

    A file contains ``images``, (N, H, W) or (N, H, W, 1) uint8, and ``labels``, (N,) of integers
    from 0 to 9, or MNIST's four arrays under Keras's names.

    Raises:
        DataError: a file is missing or does not contain such a set, or the download failed.
    """
    if not paths:
        (x_train, y_train), (x_test, y_test) = _download_mnist()
        return Sets((_check(MNIST, x_train, y_train),), _check(MNIST, x_test, y_test))
    training, test = [], None
    for path in paths:
        arrays = _read_arrays(path)
        if "x_train" in arrays:
            training.append(_check(MNIST, arrays["x_train"], arrays["y_train"], path))
            test = _check(MNIST, arrays["x_test"], arrays["y_test"], path)
        else:
            training.append(_check(path.stem, arrays["images"], arrays["labels"], path))
    return Sets(tuple(training), test)


def load_test(path: Path) -> Drawings:
    """Load a set to evaluate on: MNIST's test digits, or all of any other set.

    Raises:
        DataError: see ``load``.
    """
    arrays = _read_arrays(path)
    if "x_test" in arrays:
        return _check(f"{MNIST} test", arrays["x_test"], arrays["y_test"], path)
    return _check(path.stem, arrays["images"], arrays["labels"], path)


def hold_out(
    sets: Sequence[Drawings], share: float
) -> tuple[tuple[Drawings, ...], tuple[Drawings, ...]]:
    """Split each set into training and validation data.

    The last images of each set are held out. In a set ordered by writer, they are the digits of
    writers who are not in the training data.
    """
    cuts = [len(drawings.labels) - round(share * len(drawings.labels)) for drawings in sets]
    return (
        tuple(d.part(slice(cut)) for d, cut in zip(sets, cuts, strict=True)),
        tuple(d.part(slice(cut, None)) for d, cut in zip(sets, cuts, strict=True)),
    )


def _download_mnist() -> tuple[tuple[NDArray[np.uint8], ...], tuple[NDArray[np.uint8], ...]]:
    try:
        return frameworks.import_keras().datasets.mnist.load_data()  # type: ignore[no-any-return]
    # Keras turns urllib's errors and a wrong checksum into bare exceptions.
    except Exception as error:
        raise DataError(
            f"MNIST could not be downloaded ({error}): pass a local copy with --data mnist.npz"
        ) from error


def _read_arrays(path: Path) -> dict[str, NDArray[np.uint8]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder: name an .npz set") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not an .npz file of arrays: name another file") from error
    if {"x_train", "y_train", "x_test", "y_test"} <= set(arrays):
        return arrays
    if {"images", "labels"} <= set(arrays):
        return arrays
    raise DataError(
        f"{path}: has neither `images` and `labels` nor MNIST's x_train, y_train, x_test, y_test: "
        "name another file"
    )


def _check(
    name: str, images: NDArray[np.uint8], labels: NDArray[np.uint8], path: Path | None = None
) -> Drawings:
    """Return a set after checking its arrays; ``path`` is ``None`` if they were downloaded."""
    if images.shape[3:] == (1,):
        images = images[..., 0]
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            f"{path or name}: images must be (N, H, W) uint8, from 0 to 255, not "
            f"{images.shape} {images.dtype}"
        )
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{path or name}: labels must be {len(images)} whole numbers, one for each image, not "
            f"{labels.shape} {labels.dtype}"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < DIGITS:
        raise DataError(f"{path or name}: labels must be 0 to 9")
    return Drawings(name, images, labels.astype(np.int64))


# Cached: reading them takes 0.3 s, and the eye's batches need some for each unit.
@lru_cache(maxsize=1)
def load_fashion() -> Bytes:
    """Return Fashion-MNIST's training images, (N, 28, 28); N is 0 if it is not installed."""
    if not FASHION.exists():
        return np.zeros((0, 28, 28), np.uint8)
    with gzip.open(FASHION) as file:
        return np.frombuffer(file.read(), np.uint8, offset=_IDX_HEADER).reshape(-1, 28, 28)


def find_fonts(*, held_out: bool = False) -> tuple[Path, ...]:
    """Return the fonts that have the ten digits and the Latin letters, sorted by path.

    Args:
        held_out: return the held-out fonts instead of those for training.
    """
    files = sorted((*FONTS.rglob("*.ttf"), *FONTS.rglob("*.otf")))
    return tuple(
        path
        for path in files
        if any(name in path.name for name in HELD_FONTS) == held_out and _is_usable(path)
    )


def render_text(font: Path, text: str) -> Bytes | None:
    """Return a text as (H, W) uint8, white on black, cropped to its ink.

    ``None`` if there is no ink or the text is too wide.
    """
    face = _open_font(font)
    left, top, right, bottom = face.getbbox(text)
    if right - left < 2 or bottom - top < 2 or right - left > 8 * _FONT_SIZE:
        return None
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, font=face, fill=255)
    ink = np.asarray(canvas)
    return ink if ink.max() > 0 else None


def has_characters(font: Path, text: str) -> bool:
    """Return whether a font has a glyph for every character, not just its missing-glyph box."""
    missing = _rasterize(font, "\uffff")
    return all(_rasterize(font, character) not in {missing, b""} for character in text)


@lru_cache(maxsize=512)
def _open_font(font: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font, _FONT_SIZE)


@lru_cache(maxsize=65536)
def _rasterize(font: Path, character: str) -> bytes:
    return bytes(_open_font(font).getmask(character))


def _is_usable(font: Path) -> bool:
    try:
        return has_characters(font, _NEEDED)
    except OSError:  # a bitmap font, or one that FreeType cannot scale
        return False
