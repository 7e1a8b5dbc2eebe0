"""The process that decodes images for the page: a hostile one can only end this process."""

import hashlib
import os
import resource
import signal
import warnings
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import Image, ImageOps, ImageStat

from daemon.picture import GLYPH_PANEL, HEIGHT, WIDTH
from daemon.reading import formats
from daemon.review.files import open_named

GONE = "the file is gone"
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
_MEMORY = (
    2 << 30
)  # of the address space, bytes; 50 megapixels in 16 bits and 4 channels take 1.2 GB
# Larger images are sent as JPEG: a PNG of a photo takes ten times the time and the bytes.
_PNG_SIDE = 512
_MIDDLE = 128


@dataclass(frozen=True, slots=True)
class Order:
    """What to decode.

    Attributes:
        named: the path in the row.
        side: the longest side of the result, px.
        sha256: what the file must have, as another may have its name by now; empty for any.
        is_picture: cut what the model saw out of an annotated picture.
    """

    named: str
    side: int
    sha256: str = ""
    is_picture: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """An encoded image and its media type, or else why there is none."""

    data: bytes = b""
    media_type: str = ""
    fault: str = ""


class _NotAnImageError(Exception):
    """It cannot be shown; the text says why."""


def main(connection: Connection, outbox: Path, max_megapixels: float, max_file_mb: float) -> None:
    """Decode one image after another until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")  # Pillow's, about broken Exif blocks
    while True:
        try:
            order: Order = connection.recv()
        except EOFError:
            return
        connection.send(decode(outbox, order, max_megapixels, max_file_mb))


def decode(outbox: Path, order: Order, max_megapixels: float, max_file_mb: float) -> Decoded:
    """Return a named file as an image that was encoded here."""
    try:
        data = _read(outbox, order.named, int(max_file_mb * 1e6))
        if order.sha256 not in {"", hashlib.sha256(data).hexdigest()}:
            return Decoded(fault=GONE)
        return _encoded(_opened(data, max_megapixels), order)
    except FileNotFoundError:
        return Decoded(fault=GONE)
    except OSError as error:  # also Pillow's, for broken files
        return Decoded(fault=f"the file cannot be shown: {error.strerror or 'it is broken'}")
    except _NotAnImageError as error:
        return Decoded(fault=str(error))
    # Pillow raises these for broken files.
    except (ValueError, TypeError, SyntaxError, KeyError, IndexError, OverflowError, MemoryError):
        return Decoded(fault="the file cannot be shown: it is broken")


def _read(outbox: Path, named: str, limit: int) -> bytes:
    with open(open_named(outbox, named), "rb") as file:  # noqa: PTH123 - opened safely
        if os.fstat(file.fileno()).st_size > limit:
            raise _NotAnImageError(f"the file is larger than {limit / 1e6:g} MB: it is not shown")
        return file.read(limit)


def _opened(data: bytes, max_megapixels: float) -> Image.Image:
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


def _encoded(image: Image.Image, order: Order) -> Decoded:
    if order.is_picture:
        if image.size != (WIDTH, HEIGHT):
            raise _NotAnImageError("the picture does not show what the model saw")
        left, top, width, height = GLYPH_PANEL
        image = image.crop((left, top, left + width, top + height))
    image.draft("RGB", (order.side, order.side))  # JPEG: decode at a half, a quarter or an eighth
    if image.mode.startswith("I;16"):
        image = image.point(lambda level: level / 256).convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    image.thumbnail((order.side, order.side), reducing_gap=2.0)
    upright = _blended(ImageOps.exif_transpose(image))
    out = BytesIO()
    if max(upright.size) > _PNG_SIDE:
        upright.save(out, "JPEG", quality=88)
        return Decoded(out.getvalue(), "image/jpeg")
    upright.save(out, "PNG", compress_level=1)
    return Decoded(out.getvalue(), "image/png")


def _blended(image: Image.Image) -> Image.Image:
    """Return an image as RGB or grey; transparent parts get what contrasts with the rest."""
    if image.mode not in {"RGBA", "LA", "PA"} and "transparency" not in image.info:
        return image if image.mode in {"RGB", "L"} else image.convert("RGB")
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    visible = ImageStat.Stat(image.convert("L"), alpha.point(lambda level: level and 255))
    is_light = bool(visible.count[0]) and visible.mean[0] > _MIDDLE
    paper = Image.new("RGBA", image.size, "black" if is_light else "white")
    return Image.alpha_composite(paper, image).convert("RGB")
