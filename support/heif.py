"""Build HEIC and AVIF files: from one coded image, which tests/data/README.md describes."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ONE = (Path(__file__).parent.parent / "tests" / "data" / "one.heic").read_bytes()
SIDE = 128  # px, of the coded image
_CODED = ONE[ONE.index(b"mdat") + 4 :]
_START = ONE.index(b"hvcC") - 4
_HVCC = ONE[_START : _START + int.from_bytes(ONE[_START : _START + 4], "big")]


@dataclass(frozen=True)
class Item:
    """An item of a HEIC file; without ``kind``, the coded image.

    Attributes:
        kind: its type.
        data: its content.
        size: what its header says, (width, height) in pixels.
        properties: boxes.
        refers: the type of a reference to other items, and their ids, from 1.
    """

    kind: bytes = b"hvc1"
    data: bytes = _CODED
    size: tuple[int, int] = (SIDE, SIDE)
    properties: tuple[bytes, ...] = (_HVCC,)
    refers: tuple[bytes, tuple[int, ...]] | None = None


def box(name: bytes, *contents: bytes, version: int | None = None) -> bytes:
    content = b"".join(contents)
    if version is not None:
        content = struct.pack(">I", version << 24) + content
    return struct.pack(">I", 8 + len(content)) + name + content


def turned(quarters: int) -> bytes:
    """Return a property that turns an image counterclockwise."""
    return box(b"irot", bytes([quarters]))


def mirrored(axis: int) -> bytes:
    """Return a property that mirrors an image: top to bottom with 0, left to right with 1."""
    return box(b"imir", bytes([axis]))


def grid(columns: int, rows: int, size: tuple[int, int], tiles: tuple[int, ...]) -> Item:
    """Return an image in tiles, as iPhones write it."""
    data = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, *size)
    return Item(b"grid", data, size, (), (b"dimg", tiles))


def exif(orientation: int) -> Item:
    """Return the Exif block of item 1."""
    block = Image.Exif()
    block[0x0112] = orientation
    data = struct.pack(">I", 6) + b"Exif\0\0" + block.tobytes().removeprefix(b"Exif\0\0")
    return Item(b"Exif", data, properties=(), refers=(b"cdsc", (1,)))


def heic(*items: Item, primary: int = 1, brands: bytes = b"heic\0\0\0\0mif1heic") -> bytes:
    """Return a HEIC file with these items."""
    properties: list[bytes] = []
    infos, uses, references = b"", b"", b""
    for number, item in enumerate(items, 1):
        infos += box(b"infe", struct.pack(">HH4sx", number, 0, item.kind), version=2)
        own = [box(b"ispe", struct.pack(">II", *item.size), version=0), *item.properties]
        properties += [each for each in own if each not in properties]
        numbers = bytes(properties.index(each) + 1 for each in own)
        uses += struct.pack(">HB", number, len(own)) + numbers
        if item.refers:
            kind, others = item.refers
            ids = struct.pack(f">HH{len(others)}H", number, len(others), *others)
            references += box(kind, ids)

    def meta(start: int) -> bytes:
        places = struct.pack(">BBH", 0x44, 0, len(items))
        for number, item in enumerate(items, 1):
            places += struct.pack(">HHHII", number, 0, 1, start, len(item.data))
            start += len(item.data)
        return box(
            b"meta",
            box(b"hdlr", bytes(4), b"pict", bytes(13), version=0),
            box(b"pitm", struct.pack(">H", primary), version=0),
            box(b"iloc", places, version=0),
            box(b"iinf", struct.pack(">H", len(items)), infos, version=0),
            box(
                b"iprp",
                box(b"ipco", *properties),
                box(b"ipma", struct.pack(">I", len(items)), uses, version=0),
            ),
            box(b"iref", references, version=0) if references else b"",
            version=0,
        )

    head = box(b"ftyp", brands)
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", *(item.data for item in items))


def avif(*pictures: Image.Image, **options: object) -> bytes:
    """Return an AVIF; of several pictures, an animation."""
    stream = io.BytesIO()
    first, *others = pictures
    options = {"speed": 10, "max_threads": 1, **options}
    first.save(stream, "AVIF", save_all=bool(others), append_images=others, **options)
    return stream.getvalue()


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return a file whose header says another size."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]
