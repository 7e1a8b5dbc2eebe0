"""Validate and decode image bytes."""

# Literal channel counts and character codes are clearer than named constants.

import os
import struct

# OpenCV reads this at import. It is a second limit, above any ``max_megapixels`` in config.yaml;
# the first is the size in the header, checked before decoding.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**30))

import cv2
import numpy as np
from PIL import ExifTags, Image

from daemon.errors import UnreadableError
from daemon.picture import SIDE
from daemon.reading import foreign, formats
from daemon.reading.formats import ImageFormat
from daemon.reading.pixels import Pixels, shrink, to_bgr

PREPROCESSING_VERSION = 2
"""Increment this when the same bytes may give a different glyph; a model works with one version.

Rounding by one or two grey levels does not count.
"""

# Larger images are scaled down to this side, px. A digit that spans a twentieth of a photo is then
# still 25 px wide. The time of every later step grows with this.
# It is twice the side of a panel in the annotated picture, because halving takes 0.07 ms and
# scaling to 250 px takes 1.2.
_WORK_SIDE = 504
_SMALLEST_SIDE = 8  # px; digits cannot be told apart in fewer

# OpenCV's threads would compete with the other workers for cores.
cv2.setNumThreads(1)
# A file's faults are reported in its row, not on stderr. (libpng and libjpeg still print theirs.)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(data: bytes, *, max_megapixels: float) -> Pixels:
    """Return an image upright, alpha blended, (H, W, 3) uint8 BGR, at most 504 px a side.

    Args:
        data: the whole file.
        max_megapixels: larger images are refused by their header, before decoding.

    Raises:
        UnreadableError: it cannot be read as an image; the text says why.
    """
    image_format, longest = _check(data, max_megapixels)
    raw = np.frombuffer(data, np.uint8)
    try:
        if image_format is ImageFormat.JPEG:
            pixels, turn = cv2.imdecode(raw, _jpeg_flag(longest)), 1
        else:
            pixels, names, blocks = cv2.imdecodeWithMetadata(raw, flags=cv2.IMREAD_UNCHANGED)
            turn = _orientation(names, blocks)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error)) from None
        raise UnreadableError(f"broken {image_format}: it cannot be decoded") from error
    if pixels is None or not pixels.size:
        raise UnreadableError(f"broken {image_format}: it cannot be decoded")
    return _turn_upright(to_bgr(pixels, _WORK_SIDE), turn)


def make_thumbnail(pixels: Pixels) -> Pixels:
    """Return a decoded image as RGB, shrunk to a panel of the annotated picture."""
    return cv2.cvtColor(shrink(pixels, SIDE), cv2.COLOR_BGR2RGB)


def _check(data: bytes, max_megapixels: float) -> tuple[ImageFormat, int]:
    """Return format and longest side after checking the header, without decoding.

    Raises:
        UnreadableError: it is not an image, truncated, broken, too small or too large.
    """
    image_format = _check_format(data)
    size = formats.dimensions(data)
    if size is None:
        raise UnreadableError(f"the {image_format} header is cut short or broken")
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableError(f"the {image_format} header says {width}x{height} pixels")
    if max(width, height) < _SMALLEST_SIDE:
        raise UnreadableError(
            f"too small: {width}x{height} pixels, the minimum is {_SMALLEST_SIDE}x{_SMALLEST_SIDE}"
        )
    if width * height > max_megapixels * 1e6:
        raise UnreadableError(
            f"too large: {width}x{height} is {width * height / 1e6:.1f} megapixels, "
            f"the limit is {max_megapixels:g}"
        )
    # OpenCV decodes a truncated JPEG silently, with grey for the missing part.
    if image_format in formats.WITH_END_MARKER and not formats.has_end(
        image_format, formats.memory_reader(data), len(data), tail=len(data)
    ):
        raise UnreadableError(f"truncated {image_format}: the end of the image is missing")
    if defect := formats.png_defect(data):
        raise UnreadableError(f"broken {image_format}: {defect}")
    return image_format, max(size)


def _check_format(data: bytes) -> ImageFormat:
    """Return the format.

    Raises:
        UnreadableError: it is in no format that can be read; the text says what it is.
    """
    if not data:
        raise UnreadableError("the file is empty")
    image_format = formats.sniff(data)
    if image_format is None:
        raise UnreadableError(foreign.describe(data))
    if image_format is ImageFormat.PNG and formats.is_apple_png(data):
        raise UnreadableError(foreign.APPLE_PNG)
    if image_format is ImageFormat.TIFF and formats.is_camera_raw(data):
        raise UnreadableError(foreign.CAMERA_RAW)
    return image_format


_REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)


def _jpeg_flag(longest: int) -> int:
    """Return the OpenCV flag that makes the JPEG decoder shrink large images, to save memory."""
    return next(
        (flag for divisor, flag in _REDUCED if longest >= divisor * _WORK_SIDE), cv2.IMREAD_COLOR
    )


def _orientation(names: object, blocks: object) -> int:
    """Return the orientation, 1 to 8, from the decoded Exif block; 1 if there is none."""
    found = dict(zip(np.ravel(names).tolist() if names is not None else (), blocks, strict=False))  # type: ignore[call-overload]
    block = found.get(cv2.IMAGE_METADATA_EXIF)
    exif = Image.Exif()
    try:
        exif.load(b"" if block is None else np.asarray(block).tobytes())
        return int(exif.get(ExifTags.Base.Orientation, 1))
    # A broken Exif block doesn't make the pixels unreadable. Pillow raises these errors for broken
    # blocks (found by fuzzing).
    except (SyntaxError, ValueError, TypeError, OSError, struct.error):
        return 1


def _turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Return pixels rotated and flipped by their Exif orientation (CIPA DC-008, tag 0x0112)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in {3, 4, 7, 8} else 1
    columns = -1 if orientation in {2, 3, 6, 7} else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])
