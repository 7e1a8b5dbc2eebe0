"""Parse image headers: format, size in pixels, whether the end marker is present."""

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum

ReadAt = Callable[[int, int], bytes]
"""``read_at(length, offset)`` returns ``length`` bytes, or fewer at the end of the file."""

HEAD_BYTES = 16  # enough for every signature below
# The end marker is searched for in the last 64 KiB, because phones and editors append trailers of
# a few kilobytes. Files with longer trailers are read after the settle time.
TAIL_BYTES = 65536

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"  # the chunk's type with its checksum, which is always the same
# Editors write a few hundred chunks for a large image. Each costs the decoder an allocation.
_PNG_CHUNKS = 50_000
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
# Frame headers with a size: SOF0 to SOF15, except DHT, JPG and DAC, which share that range.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Real files have a few dozen segments before the scan. Without a limit, a file that consists of
# fill bytes would take minutes.
_JPEG_STEPS = 5000
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 256, 257, 3
_TIFF_KIND, _TIFF_PREVIEW, _TIFF_BELOW, _TIFF_DNG = 254, 1, 330, 50706


class ImageFormat(StrEnum):
    """Image formats, identified by content and not by file name."""

    PNG = "PNG"
    JPEG = "JPEG"
    BMP = "BMP"
    GIF = "GIF"
    WEBP = "WebP"
    TIFF = "TIFF"


WITH_END_MARKER = frozenset({ImageFormat.PNG, ImageFormat.JPEG})
_SIGNATURES = (
    (_PNG, ImageFormat.PNG),
    (_JPEG, ImageFormat.JPEG),
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
    return next((found for start, found in _SIGNATURES if head.startswith(start)), None)


def memory_reader(data: bytes) -> ReadAt:
    """Return a function that reads from bytes in memory."""
    return lambda length, offset: data[offset : offset + length]


def has_end(image_format: ImageFormat, read_at: ReadAt, size: int, tail: int = TAIL_BYTES) -> bool:
    """Return whether a PNG or JPEG has its end marker; ``False`` for all other formats.

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
        for marker, offset in _jpeg_segments(read_at):
            if marker == _JPEG_SCAN:
                start = max(start, offset)
                return _JPEG_END in read_at(size - start, start)
    return False


def has_trailer(image_format: ImageFormat, read_at: ReadAt, size: int) -> bool:
    """Return whether bytes follow the end marker of a JPEG that has one, as in a motion photo."""
    end = len(_JPEG_END)
    return image_format is ImageFormat.JPEG and read_at(end, size - end) != _JPEG_END


def png_defect(data: bytes) -> str:
    """Return what is wrong with a PNG's chunks; empty if nothing is, or if it is not a PNG.

    OpenCV 5.0 allocates a chunk before it checks that the file is that long: a 400-byte PNG took
    1.8 GB and 4 s.
    """
    if not data.startswith(_PNG):
        return ""
    offset = len(_PNG)
    for _ in range(_PNG_CHUNKS):
        if len(data) < offset + 8:
            return "the last chunk is missing"
        length, name = struct.unpack_from(">I4s", data, offset)
        offset += 12 + length
        if offset > len(data):
            return "a chunk is longer than the file"
        if name == b"IEND":
            return ""
    return f"it has more than {_PNG_CHUNKS} chunks"


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the header, in pixels; ``None`` if it cannot be parsed."""
    image_format = sniff(data)
    try:
        return None if image_format is None else _DIMENSIONS[image_format](data)
    except struct.error:  # the header itself is cut
        return None


def _jpeg_segments(read_at: ReadAt) -> Iterator[tuple[int, int]]:
    """Yield (marker, offset of its content) up to the first scan."""
    offset = 2
    for _ in range(_JPEG_STEPS):
        header = read_at(4, offset)
        if len(header) < 4 or header[0] != 0xFF:  # noqa: PLR2004 - a marker is 0xFF, code, length
            return
        marker = header[1]
        if marker == 0xFF:  # noqa: PLR2004 - fill bytes may precede a marker
            offset += 1
            continue
        length = int.from_bytes(header[2:4], "big")
        yield marker, offset + 4
        if marker == _JPEG_SCAN:
            return
        offset += 2 + length


def _jpeg_dimensions(data: bytes) -> tuple[int, int] | None:
    for marker, offset in _jpeg_segments(memory_reader(data)):
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, offset + 1)
            return width, height
    return None


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


def _tiff_dimensions(data: bytes) -> tuple[int, int] | None:
    fields = _tiff_fields(data)
    if not {_TIFF_WIDTH, _TIFF_HEIGHT} <= fields.keys():
        return None
    return fields[_TIFF_WIDTH], fields[_TIFF_HEIGHT]


def _tiff_fields(data: bytes) -> dict[int, int]:
    """Return the first directory's tags with their first values, or the offsets of these."""
    order = "<" if data.startswith(b"II") else ">"
    fields: dict[int, int] = {}
    with suppress(struct.error):  # it is cut
        (directory,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, directory)
        for index in range(entries):
            entry = directory + 2 + 12 * index
            tag, field_type = struct.unpack_from(order + "HH", data, entry)
            layout = "H" if field_type == _TIFF_SHORT else "I"
            (fields[tag],) = struct.unpack_from(order + layout, data, entry + 8)
    return fields


def is_apple_png(data: bytes) -> bool:
    """Return whether a PNG is of the kind inside iPhone apps, which only Apple's programs read."""
    return data[12:16] == b"CgBI"


def is_camera_raw(data: bytes) -> bool:
    """Return whether a TIFF is a camera's RAW photo (DNG, NEF, CR2, ARW, …).

    Its first directory is the preview, and the photo is in a sub-directory.
    """
    fields = _tiff_fields(data)
    has_photo_below = fields.get(_TIFF_KIND) == _TIFF_PREVIEW and _TIFF_BELOW in fields
    return _TIFF_DNG in fields or has_photo_below or data[8:10] == b"CR"


_DIMENSIONS: dict[ImageFormat, Callable[[bytes], tuple[int, int] | None]] = {
    ImageFormat.PNG: lambda data: struct.unpack_from(">II", data, 16),
    ImageFormat.JPEG: _jpeg_dimensions,
    ImageFormat.BMP: _bmp_dimensions,
    ImageFormat.GIF: lambda data: struct.unpack_from("<HH", data, 6),
    ImageFormat.WEBP: _webp_dimensions,
    ImageFormat.TIFF: _tiff_dimensions,
}
