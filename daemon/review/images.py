"""Decode images for the page in a separate process, which a hostile image cannot outlive.

The process is replaced when it dies or hangs. It imports this module, and nothing of the server.
"""

import errno
import hashlib
import math
import multiprocessing
import os
import resource
import signal
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import UnreadableError
from daemon.files import open_untrusted
from daemon.layout import FAILED, ORIGINALS, PICTURES
from daemon.outbox.archive import is_file_name
from daemon.picture import GLYPH_PANEL, HEIGHT, WIDTH

if TYPE_CHECKING:
    from daemon.picture.ink import InkPlace
    from daemon.reading.pixels import Pixels

GONE = "the file is gone"
_TIMEOUT_SECONDS = 20.0  # many times the slowest real image
_FOLDERS = frozenset({ORIGINALS, FAILED, PICTURES})
# Bytes of address space; 50 megapixels in 16 bits and 4 channels take 1.2 GB.
_MEMORY = 2 << 30
# Larger images are sent as JPEG: a PNG of a photo takes ten times the time and the bytes.
_PNG_SIDE = 512
_JPEG_QUALITY = 88
_WHITE = 250  # grey level, from which on there is nothing in a panel
# px, of the largest tile and of the longest side of an image before it is cropped.
_TILE, _MOST_SIDE = (200, 84), 2000


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Which image to decode, and how.

    Attributes:
        named: the path in the row.
        side: the longest side of the result, px.
        sha256: of the file, as another may have its name by now; empty for any.
        is_picture: crop an annotated picture to what the model saw.
        cropped_by: the path of the annotated picture, which says where the ink is; if it does, the
            image is cropped to that, and to the size of a tile.
    """

    named: str
    side: int
    sha256: str = ""
    is_picture: bool = False
    cropped_by: str = ""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image that was encoded here and its media type, or else why there is none."""

    data: bytes = b""
    media_type: str = ""
    error: str = ""


class Images:
    """Decodes the files that rows name, one at a time, in a child process."""

    def __init__(self, outbox: Path, max_megapixels: float, max_file_mb: float) -> None:
        self._arguments = outbox, max_megapixels, max_file_mb
        self._lock = threading.Lock()
        self._child: tuple[SpawnProcess, Connection] | None = None

    def decode(self, request: ImageRequest) -> EncodedImage:
        """Return an image as the page may show it."""
        with self._lock:
            connection = self._connect()
            try:
                connection.send(request)
                if connection.poll(_TIMEOUT_SECONDS):
                    encoded: EncodedImage = connection.recv()
                    return encoded
            except (EOFError, OSError):  # the process died
                pass
            self._end()
            return EncodedImage(error="the file cannot be shown: it stopped the decoder")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _connect(self) -> Connection:
        """Return the connection to the process, which is started if it does not run."""
        if self._child is None or not self._child[0].is_alive():
            self._end()
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            arguments = (theirs, *self._arguments)
            process = context.Process(target=decode_all, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._child = process, ours
        return self._child[1]

    def _end(self) -> None:
        if self._child is None:
            return
        process, connection = self._child
        self._child = None
        with suppress(OSError):
            connection.close()
        process.kill()
        process.join()
        process.close()


def decode_all(
    connection: Connection, outbox: Path, max_megapixels: float, max_file_mb: float
) -> None:
    """Decode one image after another until the pipe closes; this is the child process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    while True:
        try:
            request: ImageRequest = connection.recv()
        except EOFError:
            return
        connection.send(_decode(outbox, request, max_megapixels, max_file_mb))


def _decode(
    outbox: Path, request: ImageRequest, max_megapixels: float, max_file_mb: float
) -> EncodedImage:
    """Return a named file as an image that was encoded here, as the reader sees it."""
    from daemon.reading import image  # noqa: PLC0415 - 0.2 s and 60 MB, only needed in the child

    try:
        data = _read(outbox, request.named, int(max_file_mb * 1e6))
        if request.sha256 not in {"", hashlib.sha256(data).hexdigest()}:
            return EncodedImage(error=GONE)
        crop = _find_crop(outbox, request.cropped_by)
        side = request.side if crop is None else _side_before(crop)
        pixels = image.decode(data, max_megapixels=max_megapixels, side=side)
        if crop is not None:
            pixels = pixels[crop.scaled(pixels.shape[1], pixels.shape[0])]
        return _encode(_crop_to_glyph(pixels) if request.is_picture else pixels)
    except FileNotFoundError:
        return EncodedImage(error=GONE)
    except UnreadableError as error:
        return EncodedImage(error=str(error))
    # As in the reader: whatever a hostile file causes must not end this process.
    except Exception as error:  # noqa: BLE001
        why = getattr(error, "strerror", None) or type(error).__name__
        return EncodedImage(error=f"the file cannot be shown: {why}")


def _read(outbox: Path, named: str, limit: int) -> bytes:
    with open(_open_named(outbox, named), "rb") as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise UnreadableError(f"the file is larger than {limit / 1e6:g} MB: it is not shown")
        return file.read(limit)


def _find_crop(outbox: Path, picture: str) -> "InkPlace | None":
    """Return what to show of an image by its annotated picture; ``None`` for all of it."""
    from daemon.picture import ink  # noqa: PLC0415 - see _decode

    if not picture:
        return None
    try:
        with open(_open_named(outbox, picture), "rb") as file:
            place = ink.read_place(file.read(ink.HEAD_BYTES))
    except OSError:
        return None
    return None if place is None else place.crop()


def _side_before(crop: "InkPlace") -> int:
    """Return how long an image's longest side must be so that the crop fills a tile."""
    width, height = _TILE
    scale = min(width / (crop.right - crop.left), height / (crop.bottom - crop.top))
    return min(_MOST_SIDE, math.ceil(scale * max(crop.width, crop.height)))


def _crop_to_glyph(pixels: "Pixels") -> "Pixels":
    """Return what the model saw from an annotated picture, without the white around a strip."""
    import numpy as np  # noqa: PLC0415 - see _decode

    if pixels.shape[:2] != (HEIGHT, WIDTH):
        raise UnreadableError("the picture does not show what the model saw")
    left, top, width, height = GLYPH_PANEL
    panel = pixels[top : top + height, left : left + width]
    rows, columns = (np.flatnonzero(panel.min(axis=axes) < _WHITE) for axes in ((1, 2), (0, 2)))
    if not rows.size:
        return panel
    return panel[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _encode(pixels: "Pixels") -> EncodedImage:
    import cv2  # noqa: PLC0415 - see _decode

    if max(pixels.shape) > _PNG_SIDE:
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        return EncodedImage(cv2.imencode(".jpg", pixels, quality)[1].tobytes(), "image/jpeg")
    level = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return EncodedImage(cv2.imencode(".png", pixels, level)[1].tobytes(), "image/png")


def _open_named(outbox: Path, named: str) -> int:
    """Open the file that a cell ``original`` or ``picture`` names; return a descriptor.

    The cell may have been edited. Only regular files directly in digitd's folders are opened.

    Raises:
        OSError: there is no such file.
    """
    folder, _, name = named.partition("/")
    if folder not in _FOLDERS or not is_file_name(name):
        raise PermissionError(errno.EPERM, "is not in a folder of the outbox", named)
    day, _, file = name.rpartition("/")
    # Only digitd's folder itself, whose path ends with a slash, may be a symlink.
    parent = open_untrusted(f"{outbox}/{folder}/{day}")
    try:
        descriptor = open_untrusted(file, folder=parent)
    finally:
        os.close(parent)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "is not a regular file", named)
    return descriptor
