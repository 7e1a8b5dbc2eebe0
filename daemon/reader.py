"""The Python interface: read images in this process, without a daemon."""

# Literal channel counts are clearer than named constants.
# ruff: noqa: PLR2004

import errno
import os
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from daemon.config import Config, describe_faults
from daemon.errors import DigitdError, ModelError
from daemon.expected import load_values
from daemon.files import open_regular
from daemon.reading import reader
from daemon.records import FileContent, Pictures, ReadOptions, Reads, Status, Verdict

__all__ = ["DigitdError", "ModelError", "Reader", "Status", "Verdict"]

_TO_OPENCV = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}  # by the number of channels
_FASTEST = (cv2.IMWRITE_PNG_COMPRESSION, 1)


class Reader:
    """Reads images as ``digitd run`` and ``digitd predict`` do.

    It runs in this process and writes no files. Loading the model takes about 0.1 s, so create one
    and use it for many images:

    >>> from daemon import Reader
    >>> reader = Reader()
    >>> verdict = reader.read("samples/digit7.png")
    >>> verdict.text, verdict.status.value, verdict.confidence > 0.9
    ('7', 'ok', True)
    >>> [reader.read(f"samples/digit{number}.png").text for number in range(1, 5)]
    ['1', '2', '3', '4']

    Threads may share a reader: they take turns. It cannot be pickled, so each process creates its
    own. Importing it limits OpenCV to one thread in this process.

    The arguments are keys of config.yaml, with the same meaning and the same defaults.

    Args:
        model: path of a ``.keras`` file that digitd made; by default, the shipped model.
        reads: ``"digit"``: an image has one digit. ``"number"``: it has a whole number.
        unsure_below: confidence, 0 to 1, below which a verdict is ``unsure``; by default, the
            model's own.
        expect: with ``reads="number"``: a regular expression (RE2) that an ``ok`` number matches.
        expect_file: or: path of a text file with one allowed number a line.
        max_megapixels: larger images get the status ``error``.
        max_file_mb: larger files get the status ``error``.

    Raises:
        ValueError: an argument is not allowed; the message says what is.
        ModelError: the model cannot be loaded, or has no line reader for numbers.
        OSError: ``expect_file`` cannot be read.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        reads: Literal["digit", "number"] | Reads = "digit",
        unsure_below: float | None = None,
        expect: str | None = None,
        expect_file: str | Path | None = None,
        max_megapixels: float | None = None,
        max_file_mb: float | None = None,
    ) -> None:
        given = {
            "model": model,
            "unsure_below": unsure_below,
            "expect": expect,
            "expect_file": expect_file,
            "max_megapixels": max_megapixels,
            "max_file_mb": max_file_mb,
        }
        self._options = _load_options(
            {"reads": reads} | {key: value for key, value in given.items() if value is not None}
        )
        self._reader = reader.Reader(self._options)
        self._lock = Lock()  # LiteRT's interpreters have one set of buffers

    @property
    def model(self) -> str:
        """The model's short hash, as in the column ``model`` of predictions.csv."""
        return self._reader.model.hash

    def read(self, image: str | os.PathLike[str] | bytes | NDArray[np.uint8]) -> Verdict:
        """Return the verdict on one image.

        Args:
            image: the path of an image file; or its bytes; or its pixels as an array of uint8: grey
                (H, W) or (H, W, 1), RGB (H, W, 3) or RGBA (H, W, 4). OpenCV's arrays are BGR: pass
                ``image[..., ::-1]``. An array is read as a PNG with these pixels would be. Dark
                ink on light paper and light on dark are both read.

        Returns:
            The verdict. An image that cannot be read gets the status ``error`` with the reason, as
            in predictions.csv.

        Raises:
            OSError: the file cannot be opened (``FileNotFoundError``, ``PermissionError``, …).
            TypeError: ``image`` is something else, or an array of another type than uint8.
            ValueError: the array has another shape.
        """
        content = self._load(image)
        with self._lock:
            (reading,) = self._reader.read([content], self._options.expected)
        return reading.verdict

    def _load(self, image: object) -> FileContent:
        max_file_mb = self._options.max_file_mb
        if isinstance(image, str | os.PathLike):
            if image == "":  # as a path, it would be the current folder
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), image)
            return load_file(Path(image), max_file_mb)
        if isinstance(image, bytes):
            return limit_size("", image, max_file_mb)
        if isinstance(image, np.ndarray):
            return FileContent("", _encode(image))
        raise TypeError(
            f"an image is a path, bytes or an array, not {type(image).__name__}: pass the images "
            "of a list one by one, an open file's bytes, and numpy.asarray(image) of Pillow's"
        )


def _load_options(settings: dict[str, object]) -> ReadOptions:
    """Return the settings of a reading, checked as those of config.yaml are.

    Raises:
        ValueError, OSError: see ``Reader``.
    """
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        raise ValueError("; ".join(describe_faults(error))) from None
    options = replace(config.reading, pictures=Pictures.NONE)
    if config.expect_file is None:
        return options
    try:
        return replace(options, expected=load_values(config.expect_file))
    except ValueError as error:
        raise ValueError(f"expect_file: {config.expect_file} {error}") from None


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    """Return an array as a PNG, so that it takes the same path as a file.

    Raises:
        TypeError, ValueError: see ``Reader.read``.
    """
    if not pixels.size:
        raise ValueError(f"the array has the shape {pixels.shape}: it is empty")
    if pixels.dtype != np.uint8:
        raise TypeError(f"the array is of {pixels.dtype}, not uint8{_describe_scaling(pixels)}")
    if pixels.shape[2:] == (1,):  # as Keras has them
        pixels = pixels[..., 0]
    is_grey = pixels.ndim == 2
    is_colour = pixels.ndim == 3 and pixels.shape[2] in _TO_OPENCV
    if not (is_grey or is_colour):
        raise ValueError(
            f"the array has the shape {pixels.shape}: pass one image, (H, W), (H, W, 1), "
            "(H, W, 3) or (H, W, 4)"
        )
    whole = np.ascontiguousarray(pixels)  # OpenCV takes no views with negative strides
    in_order = cv2.cvtColor(whole, _TO_OPENCV[whole.shape[2]]) if is_colour else whole
    return cv2.imencode(".png", in_order, _FASTEST)[1].tobytes()


def _describe_scaling(pixels: NDArray[Any]) -> str:
    """Return how to make numbers from 0 to 255 of an array's; empty if they are none."""
    if pixels.dtype.kind not in "biuf":
        return ""
    highest = float(pixels.max())
    if not 0 <= float(pixels.min()) <= highest < np.inf:
        return ": its values must be from 0 to 255"
    most = next((most for most in (1, 255, 4095, 65535) if highest <= most), highest)
    scaled = "array" if most == 255 else f"({255 / most:g} * array)"
    return f": if its values are from 0 to {most:g}, pass {scaled}.astype(numpy.uint8)"


def load_file(file: Path, max_file_mb: float) -> FileContent:
    """Return a file's bytes, unless they are too many.

    The file is a regular one, or a pipe of this process: /dev/stdin, or <(…) in a shell.

    Raises:
        OSError: it cannot be opened, or is something else, which might never end.
    """
    with _open(file) as opened:
        return limit_size(file.name, opened.read(int(max_file_mb * 1e6) + 1), max_file_mb)


def limit_size(name: str, data: bytes, max_file_mb: float) -> FileContent:
    """Return a file's bytes, or why they are too many."""
    if len(data) > int(max_file_mb * 1e6):
        why = f"too large: more than {max_file_mb:g} MB: make it smaller"
        return FileContent(name, b"", rejection=why)
    return FileContent(name, data)


def _open(file: Path) -> BinaryIO:
    if os.path.realpath(file).startswith(f"/proc/{os.getpid()}/fd/"):
        return file.open("rb")
    return open_regular(file)
