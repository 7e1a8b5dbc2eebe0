"""Parse a TIFF's directories: the size and kind of its image, and how many pages it has."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

_WIDTH, _HEIGHT, _COMPRESSION = 256, 257, 259
_SAMPLES, _PLANES = 277, 284
_ALPHA, _STRAIGHT = 338, 2  # not multiplied with the colours
_SHORT = 3  # a field of 16 bits
# NewSubfileType has a bit for a reduced copy of another page and one for a transparency mask. Its
# older form has a number (TIFF 6.0, sections 8 and 17).
_KIND, _REDUCED, _MASK = 254, 1, 4
_OLD_KIND, _OLD_REDUCED = 255, 2
_BELOW, _DNG = 330, 50706
# The two kinds of JPEG in a TIFF. Cameras and scanners append a preview with one of them, many
# without saying so; larger images of another compression may be colour pages among black ones.
_JPEGS = frozenset({6, 7})
_PREVIEW_SIDE = 640
# Where the strips and the tiles of an image are, and how long they are.
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_PADDING = 16  # bytes between the last image and the end of the file
# A page takes about 15 entries, and each of these 0.5 µs. A small hostile file may claim billions.
_MOST_ENTRIES = 250_000


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory: where it is and what it has.

    Attributes:
        offset: in the file.
        entries: how many it has.
        fields: its tags with their first values, or the offsets of these.
        is_cut: whether the file ends before the directory does.
    """

    offset: int
    entries: int
    fields: dict[int, int]
    is_cut: bool

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) in pixels; ``None`` if it describes no image."""
        if not {_WIDTH, _HEIGHT} <= self.fields.keys():
            return None
        return self.fields[_WIDTH], self.fields[_HEIGHT]

    @property
    def is_marked_as_extra(self) -> bool:
        """Whether it says that it is a reduced copy or a mask."""
        is_reduced_or_mask = self.fields.get(_KIND, 0) & (_REDUCED | _MASK)
        return bool(is_reduced_or_mask) or self.fields.get(_OLD_KIND) == _OLD_REDUCED


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of a TIFF.

    Attributes:
        offsets: of their directories.
        defect: why they are not known; empty if they are.
    """

    offsets: tuple[int, ...] = ()
    defect: str = ""


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) of the first image, in pixels; ``None`` if it has none."""
    return _first(data).size


def has_alpha_to_convert(data: bytes) -> bool:
    """Return whether a TIFF has an alpha that OpenCV ignores, or multiplies the colours with."""
    fields = _first(data).fields
    samples = fields.get(_SAMPLES)
    return samples == 2 or (samples == 4 and fields.get(_ALPHA) == _STRAIGHT)  # noqa: PLR2004


def is_planar(data: bytes) -> bool:
    """Return whether a TIFF's channels are stored one after the other."""
    return _first(data).fields.get(_PLANES) == 2  # noqa: PLR2004


def is_camera_raw(data: bytes) -> bool:
    """Return whether a TIFF is a camera's RAW photo (DNG, NEF, CR2, ARW, …).

    Its first directory is the preview, and the photo is in a sub-directory.
    """
    fields = _first(data).fields
    has_photo_below = fields.get(_KIND) == _REDUCED and _BELOW in fields
    return _DNG in fields or has_photo_below or data[8:10] == b"CR"


def find_pages(data: bytes) -> Pages:
    """Return the pages of a TIFF; previews, reduced copies and masks are none."""
    images: list[_Directory] = []
    last: _Directory | None = None
    entries = 0
    for directory in _directories(data):
        if directory.is_cut:
            if last is not None and _is_last(data, last, directory.offset):
                break
            return Pages(defect="truncated TIFF: the end of the file is missing")
        last = directory
        entries += 1 + directory.entries
        if entries > _MOST_ENTRIES:
            return Pages(defect=f"broken TIFF: it has more than {_MOST_ENTRIES} entries")
        if directory.size is not None:
            images.append(directory)
    pages = [one for one in images if not one.is_marked_as_extra]
    if not pages:  # some programs mark the only image as reduced
        return Pages(tuple(one.offset for one in images[:1]))
    main = max(pages, key=lambda one: max(one.size or (0,)))
    return Pages(tuple(one.offset for one in pages if not _is_preview(one, main)))


def _is_last(data: bytes, directory: _Directory, following: int) -> bool:
    """Return whether a file ends with this page, though it points to where no other one is.

    Some programs write a wrong pointer after the last page. In a file that is cut, the next page
    has begun, or begins where the file ends.
    """
    after = len(data) - _find_end(data, directory)
    return 0 <= after < _PADDING and not 0 <= following - len(data) < _PADDING


def keep_page(data: bytes, offset: int) -> bytes:
    """Return a TIFF whose first directory is the one at this offset."""
    place = struct.pack(_order(data) + "I", offset)
    return data if data[4:8] == place else data[:4] + place + data[8:]


def _is_preview(directory: _Directory, main: _Directory) -> bool:
    """Return whether an image is a JPEG preview of the largest one, though nothing says so."""
    compression = directory.fields.get(_COMPRESSION)
    if compression not in _JPEGS or compression == main.fields.get(_COMPRESSION):
        return False
    side, main_side = max(directory.size or (0,)), max(main.size or (0,))
    return side <= min(_PREVIEW_SIDE, main_side // 2)


def _order(data: bytes) -> str:
    return "<" if data.startswith(b"II") else ">"


def _first(data: bytes) -> _Directory:
    return next(_directories(data), _Directory(0, 0, {}, is_cut=True))


def _directories(data: bytes) -> Iterator[_Directory]:
    """Yield the directories in their order, up to the first one that is cut."""
    order = _order(data)
    seen = set()
    with suppress(struct.error):
        (offset,) = struct.unpack_from(order + "I", data, 4)
        while offset and offset not in seen:
            seen.add(offset)
            directory = _read_directory(data, offset, order)
            yield directory
            if directory.is_cut or not directory.entries:
                return
            stop = offset + 2 + 12 * directory.entries
            (offset,) = struct.unpack_from(order + "I", data, stop)


def _find_end(data: bytes, directory: _Directory) -> int:
    """Return where the last byte is that a directory, its values, strips or tiles take."""
    order = _order(data)
    stop = directory.offset + 2 + 12 * directory.entries
    ends = [stop + 4]
    arrays: dict[int, tuple[str, int]] = {}
    for entry in range(directory.offset + 2, stop, 12):
        tag, field_type, count, value = struct.unpack_from(order + "HHII", data, entry)
        size = count * _TYPE_BYTES.get(field_type, 1)
        start = value if size > 4 else entry + 8  # noqa: PLR2004 - bytes fit into the entry
        ends.append(start + size)
        if count <= _MOST_ENTRIES:
            arrays[tag] = f"{order}{count}{'H' if field_type == _SHORT else 'I'}", start
    for tags in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)):
        with suppress(struct.error, KeyError):  # there are none, or they are not in the file
            starts, sizes = (
                struct.unpack_from(arrays[tag][0], data, arrays[tag][1]) for tag in tags
            )
            ends.extend(map(sum, zip(starts, sizes, strict=False)))
    return max(ends)


def _read_directory(data: bytes, offset: int, order: str) -> _Directory:
    entries = 0
    fields: dict[int, int] = {}
    try:
        (entries,) = struct.unpack_from(order + "H", data, offset)
        for entry in range(offset + 2, offset + 2 + 12 * entries, 12):
            tag, field_type = struct.unpack_from(order + "HH", data, entry)
            layout = "H" if field_type == _SHORT else "I"
            (fields[tag],) = struct.unpack_from(order + layout, data, entry + 8)
    except struct.error:
        return _Directory(offset, entries, fields, is_cut=True)
    return _Directory(offset, entries, fields, is_cut=False)
