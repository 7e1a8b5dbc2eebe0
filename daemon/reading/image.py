"""Validate and decode image bytes."""

# Literal channel counts and character codes are clearer than named constants.
# ruff: noqa: PLR2004

import ctypes
import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice

# OpenCV reads this at import. It is a second limit, above any size that a JPEG can have; the first
# is ``max_megapixels`` in config.yaml, checked before decoding.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**32))

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from daemon.errors import UnreadableError
from daemon.picture import SIDE
from daemon.reading import foreign, formats, heif, jpeg, tiff
from daemon.reading.formats import ImageFormat
from daemon.reading.pixels import Pixels, is_blank, is_invisible, shrink, to_bgr

PREPROCESSING_VERSION = 4
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


def decode(data: bytes, *, max_megapixels: float, side: int = _WORK_SIDE) -> Pixels:
    """Return an image upright, alpha blended, (H, W, 3) uint8 BGR.

    Of an animation, this is the first image that is not blank.

    Args:
        data: the whole file.
        max_megapixels: limits what is held in memory; larger images are refused by their header.
        side: longest side of the result, px.

    Raises:
        UnreadableError: it cannot be read as an image, or has several pages; the text says why.
        MemoryError: there is too little memory now.
    """
    image_format = _check_format(data)
    if image_format is ImageFormat.JPEG:
        return _decode_jpeg(data, max_megapixels, side)
    if image_format is ImageFormat.TIFF:
        data = _choose_page(data)
    size = formats.dimensions(data)
    if size is None:
        raise UnreadableError(f"the {image_format} header is cut short or broken")
    _check_size(image_format, size)
    if size[0] * size[1] > max_megapixels * 1e6:
        raise UnreadableError(_describe_excess(size, "", max_megapixels))
    if image_format is ImageFormat.PNG and not formats.has_end(
        image_format, formats.memory_reader(data), len(data), tail=len(data)
    ):
        raise UnreadableError("truncated PNG: the end of the image is missing")
    if defect := formats.png_defect(data):
        raise UnreadableError(f"broken {image_format}: {defect}")
    pixels, has_nothing = _decode_first(data, image_format, size, max_megapixels, side)
    if has_nothing and formats.may_have_frames(image_format, data):
        return next(_later_frames(data, max_megapixels, side), pixels)
    return pixels


def make_thumbnail(pixels: Pixels) -> Pixels:
    """Return a decoded image as RGB, shrunk to a panel of the annotated picture."""
    return cv2.cvtColor(shrink(pixels, SIDE), cv2.COLOR_BGR2RGB)


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
    if image_format is ImageFormat.TIFF and tiff.is_camera_raw(data):
        raise UnreadableError(foreign.CAMERA_RAW)
    return image_format


def _choose_page(data: bytes) -> bytes:
    """Return a TIFF that begins with its only page, and not with a preview of it.

    Raises:
        UnreadableError: it has several pages, or may have them.
    """
    pages = tiff.find_pages(data)
    if pages.defect:
        raise UnreadableError(pages.defect)
    if len(pages.offsets) > 1:
        raise UnreadableError(foreign.describe_pages(len(pages.offsets)))
    return tiff.keep_page(data, pages.offsets[0]) if pages.offsets else data


def _check_size(image_format: ImageFormat, size: tuple[int, int]) -> None:
    """Check that an image of this size may show a digit.

    Raises:
        UnreadableError: it is too small.
    """
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableError(f"the {image_format} header says {width}x{height} pixels")
    if max(width, height) < _SMALLEST_SIDE:
        raise UnreadableError(
            f"too small: {width}x{height} pixels, the minimum is {_SMALLEST_SIDE}x{_SMALLEST_SIDE}"
        )


def _describe_excess(
    size: tuple[int, int], why: str, max_megapixels: float, remedy: str = "make it smaller"
) -> str:
    width, height = size
    return (
        f"too large: {width}x{height} is {width * height / 1e6:.1f} megapixels{why}, the limit is "
        f"{max_megapixels:g}: {remedy}, or raise max_megapixels"
    )


_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""OpenCV's flags by the factor by which the JPEG decoder shrinks the image."""

# Appended to a scan, this changes the picture if the decoder expects more data, which may begin
# with any restart marker.
_MORE = b"".join(
    bytes((offset * 73 + 29 * number) % 251 for offset in range(64)) + bytes((0xFF, 0xD0 + number))
    for number in (*range(8), *range(8))
)


def _decode_jpeg(data: bytes, max_megapixels: float, side: int) -> Pixels:
    parsed = jpeg.parse(data)
    if parsed is None:
        raise UnreadableError("the JPEG header is cut short or broken")
    size = parsed.width, parsed.height
    _check_size(ImageFormat.JPEG, size)
    if not (parsed.has_end or parsed.has_all_scans):
        raise UnreadableError(_TRUNCATED_JPEG)
    flag = _REDUCED[_choose_divisor(parsed, size, max_megapixels, side)]
    pixels = _imdecode_jpeg(data if parsed.is_regular else parsed.rebuild(data), flag, size)
    if pixels is None:
        if parsed.precision != 8 or parsed.sof not in jpeg.COMMON:
            raise UnreadableError(
                f"a JPEG of a rare kind ({parsed.precision} bits, SOF{parsed.sof - 0xC0}): save it "
                "as an ordinary JPEG or PNG"
            )
        raise UnreadableError("broken JPEG: it cannot be decoded")
    if not parsed.has_end or _may_end_early(pixels):
        longer = _imdecode_jpeg(parsed.rebuild(data, _MORE), flag, size)
        if longer is None or not np.array_equal(pixels, longer):
            raise UnreadableError(_TRUNCATED_JPEG)
    return to_bgr(pixels, side)


_TRUNCATED_JPEG = "truncated JPEG: the end of the image is missing"


def _choose_divisor(
    parsed: jpeg.Jpeg, size: tuple[int, int], max_megapixels: float, side: int
) -> int:
    """Return the factor by which the decoder shrinks a JPEG.

    Raises:
        UnreadableError: it takes too much memory with any.
    """
    pixels, limit = size[0] * size[1], max_megapixels * 1e6
    if parsed.is_buffered and pixels > limit:
        why = ", all of which the decoder holds in memory, because it is a progressive JPEG"
        remedy = "save it as a baseline JPEG or smaller"
        raise UnreadableError(_describe_excess(size, why, max_megapixels, remedy))
    for divisor in _REDUCED:
        if max(size) < 2 * divisor * side and pixels <= limit * divisor**2:
            return divisor
    if pixels <= limit * 8**2:
        return 8
    why = f", {pixels / 8**2 / 1e6:.1f} if decoded at an eighth"
    raise UnreadableError(_describe_excess(size, why, max_megapixels))


def _imdecode_jpeg(data: bytes, flag: int, size: tuple[int, int]) -> Pixels | None:
    """Return a JPEG as (H, W, 3) uint8 BGR, upright; ``None`` if it cannot be decoded."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        _raise_memory_error(error, size)
        return None


def _may_end_early(pixels: Pixels) -> bool:
    """Return whether a corner has the grey that libjpeg gives to what is missing.

    The last pixels of a JPEG are in a corner of the upright image. The grey is 128, or 64 with the
    fourth channel of a CMYK image.
    """
    corners = pixels[:: max(1, len(pixels) - 1), :: max(1, pixels.shape[1] - 1)].reshape(-1, 3)
    return any(np.abs(corners - float(grey)).max(axis=1).min() <= 2 for grey in (128, 64))


def _decode_first(
    data: bytes,
    image_format: ImageFormat,
    size: tuple[int, int],
    max_megapixels: float,
    side: int,
) -> tuple[Pixels, bool]:
    """Return the first image of a file in another format than JPEG, and whether it is blank.

    See ``decode``.
    """
    if image_format is ImageFormat.HEIC:
        return _to_small(heif.decode_heic(data), side)
    if image_format is ImageFormat.AVIF:
        pixels, orientation = heif.decode_avif(data, max_megapixels)
        small, has_nothing = _to_small(pixels, side)  # which does not mind the order of colours
        return _turn_upright(small[..., ::-1], orientation), has_nothing
    # OpenCV spoils the alpha of some TIFFs. Pillow cannot read each kind of them.
    prefers_pillow = image_format is ImageFormat.TIFF and tiff.has_alpha_to_convert(data)
    if prefers_pillow and (image := next(_pillow_images(data, max_megapixels), None)) is not None:
        return _to_small(image, side)
    decoded = _imdecode(data, image_format, size)
    if decoded is not None:
        pixels, orientation = decoded
        small, has_nothing = _to_small(pixels, side)
        return _turn_upright(small, orientation), has_nothing
    # OpenCV cannot read each kind of each format.
    for pixels in _pillow_images(data, max_megapixels):
        return _to_small(pixels, side)
    raise UnreadableError(f"broken {image_format}: it cannot be decoded")


def _to_small(pixels: Pixels, side: int) -> tuple[Pixels, bool]:
    """Return what ``to_bgr`` returns, and whether the image is blank."""
    small = to_bgr(pixels, side)
    return small, is_blank(small) or is_invisible(pixels)


def _imdecode(
    data: bytes, image_format: ImageFormat, size: tuple[int, int]
) -> tuple[Pixels, int] | None:
    """Return an image and its orientation, 1 to 8; ``None`` if OpenCV cannot decode it."""
    raw = np.frombuffer(formats.first_image(data), np.uint8)
    is_planar = image_format is ImageFormat.TIFF and tiff.is_planar(data)
    # OpenCV 5.0 mixes up planes of more than 8 bits, but not if it converts them to 8.
    flag = cv2.IMREAD_COLOR if is_planar else cv2.IMREAD_UNCHANGED
    try:
        pixels, names, blocks = cv2.imdecodeWithMetadata(raw, flags=flag)
        if pixels is None or not pixels.size:
            return None
        # It returns memory that it never wrote for what is missing in a TIFF of more than 8 bits.
        if image_format is ImageFormat.TIFF and pixels.dtype != np.uint8:
            with _new_memory_filled():
                again = cv2.imdecodeWithMetadata(raw, flags=flag)[0]
            if again is None or pixels.tobytes() != again.tobytes():
                return None
    except cv2.error as error:
        _raise_memory_error(error, size)
        return None
    return pixels, _orientation(names, blocks)


_M_PERTURB, _FILLING = -6, 0x5A  # mallopt(3)


@contextmanager
def _new_memory_filled() -> Iterator[None]:
    """Have malloc fill what it allocates; with another C library than glibc, do nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
    mallopt(_M_PERTURB, _FILLING)
    try:
        yield
    finally:
        mallopt(_M_PERTURB, 0)


_BYTES_A_PIXEL = 64  # more than a decoder needs, unless a broken header misleads it


def _raise_memory_error(error: cv2.error, size: tuple[int, int]) -> None:
    """Raise ``MemoryError`` if OpenCV could not get the memory that an image needs."""
    wanted = re.search(r"allocate (\d+) bytes", error.err)
    if wanted and int(wanted[1]) <= _BYTES_A_PIXEL * size[0] * size[1]:
        raise MemoryError(error.err) from error


_PILLOW = ("PNG", "BMP", "GIF", "WEBP", "TIFF")
_MOST_FRAMES = 100
_FRAMES_BUDGET = 2  # frames are searched until they have this many times max_megapixels


def _later_frames(data: bytes, max_megapixels: float, side: int) -> Iterator[Pixels]:
    """Yield the images of a file that are not blank, without the first; see ``decode``."""
    for pixels in islice(_pillow_images(data, max_megapixels), 1, None):
        frame, has_nothing = _to_small(pixels, side)
        if not has_nothing:
            yield frame


def _pillow_images(data: bytes, max_megapixels: float) -> Iterator[Pixels]:
    """Yield the images of a file as Pillow decodes them, upright, up to the first broken one.

    It holds one at a time, OpenCV all.
    """
    left = _FRAMES_BUDGET * max_megapixels * 1e6
    try:
        with warnings.catch_warnings(), Image.open(BytesIO(data), formats=_PILLOW) as image:
            warnings.simplefilter("ignore")  # about broken Exif blocks
            for number in range(_MOST_FRAMES):
                image.seek(number)
                left -= image.width * image.height
                if image.width * image.height > max_megapixels * 1e6 or left < 0:
                    return
                yield _to_array(ImageOps.exif_transpose(image))
    except MemoryError:
        raise
    # Pillow raises many kinds of exceptions for broken files, and EOFError after the last image.
    except Exception:  # noqa: BLE001
        return


def _to_array(image: Image.Image) -> Pixels:
    """Return an image of Pillow's as OpenCV would return it."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        pixels = np.array(image)
        return pixels.astype(pixels.dtype.newbyteorder("="))
    if image.mode == "La":  # which Pillow cannot turn into RGBA
        image = image.convert("LA")
    if image.mode in {"LA", "PA", "RGBA", "RGBa"} or "transparency" in image.info:
        return cv2.cvtColor(np.array(image.convert("RGBA")), cv2.COLOR_RGBA2BGRA)
    return cv2.cvtColor(np.array(image.convert("RGB")), cv2.COLOR_RGB2BGR)


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
