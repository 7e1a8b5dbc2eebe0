"""Parse HEIC and AVIF files, which consist of boxes (ISO 14496-12, ISO 23008-12)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from daemon.reading.jpeg import ReadAt

# The first brand is the main one, the others say what else the file is compatible with.
_AVIF = frozenset({b"avif", b"avis"})
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_ANY = frozenset({b"mif1", b"mif2", b"msf1"})  # either, or another codec
# Real files have a dozen boxes, and a photo in tiles 50 items. Small hostile ones claim billions.
_MOST_BOXES, _MOST_ITEMS = 1000, 5000
_FULL = 4  # bytes of version and flags


class _Box(NamedTuple):
    """A box's type, the offset of its content, and the offset behind it."""

    name: bytes
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Stills:
    """The still images of a file.

    Attributes:
        kind: the type of the primary image: ``hvc1``, ``av01``, ``grid`` for one in tiles, …
        size: of the primary image, (width, height) in pixels, before it is turned.
        coded: (start, stop) of what is coded as AV1.
        is_whole: whether the file has all bytes that its header refers to.
    """

    kind: str
    size: tuple[int, int]
    coded: tuple[tuple[int, int], ...]
    is_whole: bool


def read_brands(head: bytes) -> list[bytes]:
    """Return the brands from a file's first bytes, the main one first; none if it has no boxes."""
    if head[4:8] != b"ftyp":
        return []
    stop = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[at : at + 4] for at in (8, *range(16, stop, 4))]


def find_brand(head: bytes) -> str:
    """Return HEIC or AVIF from a file's first bytes; empty if it is neither."""
    brands = read_brands(head)
    for brand in brands:
        if brand in _AVIF or brand in _HEIC:
            return "AVIF" if brand in _AVIF else "HEIC"
    return "HEIC" if _ANY.intersection(brands) else ""


def find_end(read_at: ReadAt, size: int) -> int:
    """Return the offset behind the last whole box; 0 if a box that is needed is missing or cut.

    The last box may be open, so that its end is not known; this is then its beginning.
    """
    needed = {b"ftyp", b"meta", b"mdat"}
    offset = 0
    for _ in range(_MOST_BOXES):
        length, name = _read_head(read_at(16, offset))
        if offset + length > size:
            break
        needed.discard(name)
        offset += length
        if not length or offset == size:
            break
    return 0 if needed else offset


def parse(data: bytes) -> Stills | None:
    """Return the still images of a file; ``None`` if its header is broken or has none."""
    try:
        return _parse(data)
    except (struct.error, IndexError, KeyError, ValueError):
        return None


def hide_metadata(data: bytes) -> bytes:
    """Return a parsed file without the references from its images to their Exif and XMP blocks."""
    meta = next(box for box in _boxes(data, 0, len(data)) if box.name == b"meta")
    for box in _boxes(data, meta.start + _FULL, meta.stop):
        if box.name == b"iref":
            references = data[box.start : box.stop].replace(b"cdsc", b"none")
            return data[: box.start] + references + data[box.stop :]
    return data


def _parse(data: bytes) -> Stills:
    top = {box.name: box for box in _boxes(data, 0, len(data))}
    meta = top[b"meta"]
    boxes = {box.name: box for box in _boxes(data, meta.start + _FULL, meta.stop)}
    version, place = data[boxes[b"pitm"].start], boxes[b"pitm"].start + _FULL
    (primary,) = struct.unpack_from(">I" if version else ">H", data, place)
    kinds = _read_kinds(data, boxes[b"iinf"])
    properties = {box.name: box for box in _boxes(data, *boxes[b"iprp"][1:])}
    every = list(_boxes(data, *properties[b"ipco"][1:]))
    for number in _read_properties(data, properties[b"ipma"])[primary]:
        if 1 <= number <= len(every) and every[number - 1].name == b"ispe":
            size = struct.unpack_from(">II", data, every[number - 1].start + _FULL)
            break
    else:
        raise ValueError
    inside = boxes[b"idat"].start if b"idat" in boxes else 0
    places = list(_read_places(data, boxes[b"iloc"], inside))
    return Stills(
        kinds[primary].decode("ascii", "replace"),
        size,
        tuple((start, stop) for item, start, stop in places if kinds.get(item) == b"av01"),
        is_whole=all(stop <= len(data) for _, _, stop in places),
    )


def _read_head(head: bytes) -> tuple[int, bytes]:
    """Return a box's length and type.

    The length is 0 if the box is open, which means that it reaches to the end; both are empty if
    this is no box.
    """
    if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[4:8]):  # noqa: PLR2004
        return 0, b""
    length, name = struct.unpack_from(">I4s", head)
    shortest = 8
    if length == 1 and len(head) >= 16:  # noqa: PLR2004 - in 64 bits
        (length,) = struct.unpack_from(">Q", head, 8)
        shortest = 16
    return (length, name) if length >= shortest or not length else (0, b"")


def _boxes(data: bytes, start: int, stop: int) -> Iterator[_Box]:
    """Yield the boxes in a part of a file; the last one may reach to its end.

    Raises:
        ValueError: there are too many.
    """
    for _ in range(_MOST_BOXES):
        head = data[start : min(start + 16, stop)]
        length, name = _read_head(head)
        if not name:
            return
        end = min(start + length, stop) if length else stop
        yield _Box(name, start + (16 if head[:4] == b"\0\0\0\1" else 8), end)
        start = end
    raise ValueError


def _read_kinds(data: bytes, iinf: _Box) -> dict[int, bytes]:
    """Return the items' types by their ids."""
    start = iinf.start + _FULL + (4 if data[iinf.start] else 2)
    kinds = {}
    for box in _boxes(data, start, iinf.stop):
        layout = ">IH4s" if data[box.start] >= 3 else ">HH4s"  # noqa: PLR2004 - its version
        item, _, kind = struct.unpack_from(layout, data, box.start + _FULL)
        kinds[item] = kind
    return kinds


def _read_properties(data: bytes, ipma: _Box) -> dict[int, list[int]]:
    """Return the numbers of the items' properties by the items' ids."""
    version, is_wide = data[ipma.start], data[ipma.start + 3] & 1
    (count,) = struct.unpack_from(">I", data, ipma.start + _FULL)
    offset = ipma.start + _FULL + 4
    item_layout, item_bytes = (">IB", 5) if version else (">HB", 3)
    found = {}
    for _ in range(min(count, _MOST_ITEMS)):
        item, numbers = struct.unpack_from(item_layout, data, offset)
        layout = f">{numbers}{'H' if is_wide else 'B'}"
        values = struct.unpack_from(layout, data, offset + item_bytes)
        offset += item_bytes + numbers * (2 if is_wide else 1)
        found[item] = [value & (0x7FFF if is_wide else 0x7F) for value in values]
    return found


def _read_places(data: bytes, iloc: _Box, inside: int) -> Iterator[tuple[int, int, int]]:
    """Yield (item's id, start, stop) of each part of each item.

    Args:
        data: the whole file.
        iloc: the box.
        inside: the offset of what is stored within the header.

    Raises:
        ValueError: there are too many.
    """
    offset = iloc.start

    def take(size: int) -> int:
        nonlocal offset
        offset += size
        if offset > iloc.stop:
            raise ValueError
        return int.from_bytes(data[offset - size : offset], "big")

    version = take(_FULL) >> 24
    sizes = take(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    id_size = 4 if version >= 2 else 2  # noqa: PLR2004
    parts = 0
    for _ in range(take(id_size)):
        item = take(id_size)
        is_inside = take(2) & 15 == 1 if version else False
        take(2)
        base = take(base_size) + (inside if is_inside else 0)
        for _ in range(take(2)):
            parts += 1
            if parts > _MOST_ITEMS:
                raise ValueError
            take(index_size)
            start = base + take(offset_size)
            length = take(length_size)
            yield item, start, start + length if length else len(data)
