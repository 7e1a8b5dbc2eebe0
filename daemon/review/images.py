"""Decode images for the page in a separate process, which a hostile image cannot outlive.

The process is replaced when it dies or hangs. It imports this module, and nothing of the server.
"""

import errno
import hashlib
import multiprocessing
import os
import resource
import signal
import stat
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from PIL import Image, ImageOps, ImageStat

from daemon.files import open_untrusted
from daemon.layout import FAILED, ORIGINALS, PICTURES
from daemon.outbox.archive import is_file_name
from daemon.picture import GLYPH_PANEL, HEIGHT, WIDTH
from daemon.reading import formats

GONE = "the file is gone"
_TIMEOUT_SECONDS = 20.0  # many times the slowest real image
_FOLDERS = frozenset({ORIGINALS, FAILED, PICTURES})
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
# Bytes of address space; 50 megapixels in 16 bits and 4 channels take 1.2 GB.
_MEMORY = 2 << 30
# Larger images are sent as JPEG: a PNG of a photo takes ten times the time and the bytes.
_PNG_SIDE = 512
_MIDDLE = 128


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Which image to decode, and how.

    Attributes:
        named: the path in the row.
        side: the longest side of the result, px.
        sha256: of the file, as another may have its name by now; empty for any.
        is_picture: crop an annotated picture to what the model saw.
    """

    named: str
    side: int
    sha256: str = ""
    is_picture: bool = False


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


class _NotAnImageError(Exception):
    """It cannot be shown; the text says why."""


def decode_all(
    connection: Connection, outbox: Path, max_megapixels: float, max_file_mb: float
) -> None:
    """Decode one image after another until the pipe closes; this is the child process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")  # Pillow's, about broken Exif blocks
    while True:
        try:
            request: ImageRequest = connection.recv()
        except EOFError:
            return
        connection.send(_decode(outbox, request, max_megapixels, max_file_mb))


def _decode(
    outbox: Path, request: ImageRequest, max_megapixels: float, max_file_mb: float
) -> EncodedImage:
    """Return a named file as an image that was encoded here."""
    try:
        data = _read(outbox, request.named, int(max_file_mb * 1e6))
        if request.sha256 not in {"", hashlib.sha256(data).hexdigest()}:
            return EncodedImage(error=GONE)
        return _encode(_open(data, max_megapixels), request)
    except FileNotFoundError:
        return EncodedImage(error=GONE)
    except OSError as error:  # also Pillow's, for broken files
        return EncodedImage(error=f"the file cannot be shown: {error.strerror or 'it is broken'}")
    except _NotAnImageError as error:
        return EncodedImage(error=str(error))
    # Pillow raises these for broken files.
    except (ValueError, TypeError, SyntaxError, KeyError, IndexError, OverflowError, MemoryError):
        return EncodedImage(error="the file cannot be shown: it is broken")


def _read(outbox: Path, named: str, limit: int) -> bytes:
    with open(_open_named(outbox, named), "rb") as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise _NotAnImageError(f"the file is larger than {limit / 1e6:g} MB: it is not shown")
        return file.read(limit)


def _open(data: bytes, max_megapixels: float) -> Image.Image:
    """Return an image whose header was checked; it is not decoded yet."""
    if formats.sniff(data) is None:
        raise _NotAnImageError("the file is not an image")
    width, height = formats.dimensions(data) or (0, 0)
    if not width or not height:
        raise _NotAnImageError("the image's header is broken")
    if width * height > max_megapixels * 1e6:
        raise _NotAnImageError(f"the image is too large to be shown: {width}x{height} pixels")
    if defect := formats.png_defect(data):
        raise _NotAnImageError(f"the image is broken: {defect}")
    image = Image.open(BytesIO(data), formats=_FORMATS)
    if image.size != (width, height):
        raise _NotAnImageError("the image's header is broken")
    return image


def _encode(image: Image.Image, request: ImageRequest) -> EncodedImage:
    if request.is_picture:
        if image.size != (WIDTH, HEIGHT):
            raise _NotAnImageError("the picture does not show what the model saw")
        left, top, width, height = GLYPH_PANEL
        image = image.crop((left, top, left + width, top + height))
    side = request.side, request.side
    image.draft("RGB", side)  # JPEG: decode at a half, a quarter or an eighth
    if image.mode.startswith("I;16"):
        image = image.point(lambda level: level / 256).convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    image.thumbnail(side, reducing_gap=2.0)
    upright = _flatten(ImageOps.exif_transpose(image))
    out = BytesIO()
    if max(upright.size) > _PNG_SIDE:
        upright.save(out, "JPEG", quality=88)
        return EncodedImage(out.getvalue(), "image/jpeg")
    upright.save(out, "PNG", compress_level=1)
    return EncodedImage(out.getvalue(), "image/png")


def _flatten(image: Image.Image) -> Image.Image:
    """Return an image as RGB or grey; transparent parts get what contrasts with the rest."""
    if image.mode not in {"RGBA", "LA", "PA"} and "transparency" not in image.info:
        return image if image.mode in {"RGB", "L"} else image.convert("RGB")
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    visible = ImageStat.Stat(image.convert("L"), alpha.point(lambda level: level and 255))
    is_light = bool(visible.count[0]) and visible.mean[0] > _MIDDLE
    paper = Image.new("RGBA", image.size, "black" if is_light else "white")
    return Image.alpha_composite(paper, image).convert("RGB")


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
