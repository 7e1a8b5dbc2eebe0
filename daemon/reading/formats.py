"""Parse image headers: format, size in pixels, whether the end marker is present."""

import struct
from collections.abc import Callable, Iterator
from enum import StrEnum

from daemon.reading import bmff, jpeg, tiff
from daemon.reading.jpeg import ReadAt

HEAD_BYTES = 128  # enough for every signature below, and 28 brands of HEIC or AVIF
# The end marker is searched for in the last 64 KiB, because phones and editors append trailers of
# a few kilobytes. Files with longer trailers are read after the settle time.
TAIL_BYTES = 65536

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"  # the chunk's type with its checksum, which is always the same
# Editors write a few hundred chunks for a large image. Each costs the decoder an allocation.
_PNG_CHUNKS = 50_000
_PNG_FRAMES = b"acTL"
_PNG_ANIMATION = frozenset({_PNG_FRAMES, b"fcTL", b"fdAT"})


class ImageFormat(StrEnum):
    """Image formats, identified by content and not by file name."""

    PNG = "PNG"
    JPEG = "JPEG"
    BMP = "BMP"
    GIF = "GIF"
    WEBP = "WebP"
    TIFF = "TIFF"
    HEIC = "HEIC"
    AVIF = "AVIF"


_IN_BOXES = frozenset({ImageFormat.HEIC, ImageFormat.AVIF})
# The boxes of HEIC and AVIF say how long they are, so that their end is known too.
WITH_END_MARKER = frozenset({ImageFormat.PNG, ImageFormat.JPEG, *_IN_BOXES})
_SIGNATURES = (
    (_PNG, ImageFormat.PNG),
    (jpeg.START, ImageFormat.JPEG),
    (b"BM", ImageFormat.BMP),
    (b"GIF87a", ImageFormat.GIF),
    (b"GIF89a", ImageFormat.GIF),
    (b"II*\0", ImageFormat.TIFF),
    (b"MM\0*", ImageFormat.TIFF),
)


def sniff(head: bytes) -> ImageFormat | None:
    """Return the format from a file's first ``HEAD_BYTES`` or more; ``None`` if it is not known."""
    if head.startswith(b"RIFF"):
        return ImageFormat.WEBP if head[8:12] == b"WEBP" else None
    if brand := bmff.find_brand(head):
        return ImageFormat(brand)
    return next((found for start, found in _SIGNATURES if head.startswith(start)), None)


def memory_reader(data: bytes) -> ReadAt:
    """Return a function that reads from bytes in memory."""
    return lambda length, offset: data[offset : offset + length]


def has_end(image_format: ImageFormat, read_at: ReadAt, size: int, tail: int = TAIL_BYTES) -> bool:
    """Return whether a PNG, JPEG, HEIC or AVIF has its end; ``False`` for all other formats.

    Args:
        image_format: what ``sniff`` returned.
        read_at: reads the file.
        size: the file's size in bytes.
        tail: number of bytes at the end to search.
    """
    start = max(0, size - tail)
    if image_format is ImageFormat.PNG:
        return _PNG_END in read_at(size - start, start)
    if image_format is ImageFormat.JPEG:
        # An embedded thumbnail has its own end marker, before the image's scan.
        for segment in jpeg.segments(read_at):
            if segment.marker == jpeg.SCAN:
                start = max(start, segment.stop)
                return jpeg.END in read_at(size - start, start)
    return image_format in _IN_BOXES and bmff.find_end(read_at, size) > 0


def has_trailer(image_format: ImageFormat, read_at: ReadAt, size: int) -> bool:
    """Return whether bytes follow the end of a JPEG, HEIC or AVIF, as in a motion photo."""
    if image_format in _IN_BOXES:
        return bmff.find_end(read_at, size) != size
    end = len(jpeg.END)
    return image_format is ImageFormat.JPEG and read_at(end, size - end) != jpeg.END


def png_defect(data: bytes) -> str:
    """Return what is wrong with a PNG's chunks; empty if nothing is, or if it is not a PNG.

    OpenCV 5.0 allocates a chunk before it checks that the file is that long: a 400-byte PNG took
    1.8 GB and 4 s.
    """
    if not data.startswith(_PNG):
        return ""
    for count, (name, _, stop) in enumerate(_png_chunks(data)):
        if stop > len(data):
            return "a chunk is longer than the file"
        if name == b"IEND":
            return ""
        if count == _PNG_CHUNKS:
            return f"it has more than {_PNG_CHUNKS} chunks"
    return "the last chunk is missing"


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, stop) of each chunk; the last may be longer than the file."""
    start = len(_PNG)
    while len(data) >= start + 8:
        length, name = struct.unpack_from(">I4s", data, start)
        yield name, start, start + 12 + length
        start += 12 + length


def may_have_frames(image_format: ImageFormat, data: bytes) -> bool:
    """Return whether a file may be an animation."""
    if image_format is ImageFormat.PNG:
        # It stands before the pixels (PNG specification, 11.3.7).
        return data.find(_PNG_FRAMES, 0, data.find(b"IDAT")) >= 0
    return image_format in {ImageFormat.GIF, ImageFormat.WEBP}


def first_image(data: bytes) -> bytes:
    """Return an animated PNG as a PNG with its first image only; all else as it is.

    OpenCV 5.0 decodes the first image of a broken animation in part, and leaves the rest of its
    memory as it was; it refuses a broken PNG.
    """
    if not data.startswith(_PNG) or not may_have_frames(ImageFormat.PNG, data):
        return data
    chunks = _png_chunks(data)
    kept = (data[start:stop] for name, start, stop in chunks if name not in _PNG_ANIMATION)
    return _PNG + b"".join(kept)


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the header, in pixels; ``None`` if it cannot be parsed."""
    image_format = sniff(data)
    try:
        return None if image_format is None else _DIMENSIONS[image_format](data)
    except struct.error:  # the header itself is cut
        return None


def _jpeg_dimensions(data: bytes) -> tuple[int, int] | None:
    parsed = jpeg.parse(data)
    return None if parsed is None else (parsed.width, parsed.height)


def _bmp_dimensions(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:  # noqa: PLR2004 - OS/2's BITMAPCOREHEADER is that long
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # a negative height means that rows are stored top to bottom


def _webp_dimensions(data: bytes) -> tuple[int, int] | None:
    if len(data) < 30:  # noqa: PLR2004 - the longest of the three headers
        return None
    match data[12:16]:
        case b"VP8X":
            return (
                int.from_bytes(data[24:27], "little") + 1,
                int.from_bytes(data[27:30], "little") + 1,
            )
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None


def _box_dimensions(data: bytes) -> tuple[int, int] | None:
    stills = bmff.parse(data)
    return None if stills is None else stills.size


def is_apple_png(data: bytes) -> bool:
    """Return whether a PNG is of the kind inside iPhone apps, which only Apple's programs read."""
    return data[12:16] == b"CgBI"


_DIMENSIONS: dict[ImageFormat, Callable[[bytes], tuple[int, int] | None]] = {
    ImageFormat.PNG: lambda data: struct.unpack_from(">II", data, 16),
    ImageFormat.JPEG: _jpeg_dimensions,
    ImageFormat.BMP: _bmp_dimensions,
    ImageFormat.GIF: lambda data: struct.unpack_from("<HH", data, 6),
    ImageFormat.WEBP: _webp_dimensions,
    ImageFormat.TIFF: tiff.dimensions,
    ImageFormat.HEIC: _box_dimensions,
    ImageFormat.AVIF: _box_dimensions,
}
