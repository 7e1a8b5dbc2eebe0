"""PDFs and TIFFs with several pages: refused with their number, never read as their first page."""

from __future__ import annotations

import io
import struct
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from daemon.errors import UnreadableError
from daemon.reading import image
from support.drawn import Pixels, alike, large, painted, png, read

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = painted(large(5))
GREY = cv2.cvtColor(PAGE, cv2.COLOR_BGR2GRAY)
OTHER = 255 - cv2.cvtColor(painted(large(8)), cv2.COLOR_BGR2GRAY)
SMALL = cv2.resize(OTHER, (70, 70))
KIND, OLD_KIND, SUB_DIRECTORIES = 254, 255, 330


def jpeg(pixels: Pixels) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def tiff(*pages: tuple[Pixels, dict[int, int]], order: str = "<", last: int = 0) -> bytes:
    """Return a TIFF with these grey pages.

    Args:
        pages: pixels and tags; with compression 7 (tag 259) the pixels are a JPEG.
        order: of bytes.
        last: where the last directory says that the next one is.
    """
    data = (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    directories = []
    pointers = [4]
    for pixels, tags in pages:
        strip = jpeg(pixels) if tags.get(259) == 7 else pixels.tobytes()
        height, width = pixels.shape
        fields = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: len(data), 277: 1}
        fields |= {278: height, 279: len(strip)} | tags
        data += strip + bytes(len(strip) % 2)
        directories.append(len(data))
        data += struct.pack(order + "H", len(fields))
        for tag, value in sorted(fields.items()):
            data += struct.pack(order + "HHII", tag, 4, 1, value)
        pointers.append(len(data))
        data += bytes(4)
    for pointer, place in zip(pointers, [*directories, last], strict=True):
        data = data[:pointer] + struct.pack(order + "I", place) + data[pointer + 4 :]
    return data


def pillow(*pages: Pixels, kind: str = "TIFF", **options: object) -> bytes:
    stream = io.BytesIO()
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(stream, kind, save_all=True, append_images=others, **options)
    return stream.getvalue()


def pointing_out(data: bytes) -> bytes:
    """Return a TIFF of one page, whose pointer to the next one leads out of the file."""
    (place,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, place)
    stop = place + 2 + 12 * entries
    assert data[stop : stop + 4] == bytes(4)
    return data[:stop] + struct.pack("<I", len(data) + 1000) + data[stop + 4 :]


BLANK = np.full_like(GREY, 255)
EMPTY_AT_8 = GREY.copy()  # the pixels begin at offset 8
EMPTY_AT_8[0, :2] = 0
SEVERAL = {
    "two": (tiff((GREY, {}), (OTHER, {})), 2),
    "three": (pillow(GREY, OTHER, GREY), 3),
    "big endian": (tiff((GREY, {}), (OTHER, {}), (GREY, {}), order=">"), 3),
    "marked as pages": (tiff((GREY, {KIND: 2, 297: 0}), (OTHER, {KIND: 2, 297: 1})), 2),
    "marked as pages, the old way": (tiff((GREY, {OLD_KIND: 3}), (OTHER, {OLD_KIND: 3})), 2),
    "fax": (pillow(GREY > 128, OTHER > 128, compression="group4"), 2),
    "a blank first": (pillow(BLANK, GREY), 2),
    "a blank back": (pillow(GREY, BLANK), 2),
    "each page with a thumbnail": (
        tiff((GREY, {}), (SMALL, {KIND: 1}), (OTHER, {}), (SMALL, {KIND: 1})),
        2,
    ),
    "one small": (tiff((GREY, {}), (SMALL, {})), 2),
    "a colour page of less resolution": (
        tiff((np.tile(GREY, (8, 8)), {}), (np.tile(OTHER, (4, 4)), {259: 7})),
        2,
    ),
    "200": (tiff(*[(SMALL, {})] * 200), 200),
}
ONE = {
    "one": tiff((GREY, {})),
    "a thumbnail": tiff((GREY, {}), (SMALL, {KIND: 1})),
    "a thumbnail, the old way": tiff((GREY, {}), (SMALL, {OLD_KIND: 2})),
    "a thumbnail first": tiff((SMALL, {KIND: 1}), (GREY, {})),
    "a thumbnail first, big endian": tiff((SMALL, {KIND: 1}), (GREY, {}), order=">"),
    "a mask": tiff((GREY, {}), (OTHER, {KIND: 4})),
    "overviews with masks": tiff(
        (GREY, {}), (OTHER, {KIND: 4}), (SMALL, {KIND: 1}), (SMALL, {KIND: 5})
    ),
    "a jpeg preview": tiff((GREY, {}), (SMALL, {259: 7})),
    "a jpeg preview first": tiff((SMALL, {259: 7}), (GREY, {})),
    "an exif thumbnail": tiff((GREY, {}), (SMALL, {259: 6, 513: 8, 514: 99})),
    "sub-directories": tiff((GREY, {SUB_DIRECTORIES: 8}), (OTHER, {KIND: 1})),
    "all marked": tiff((GREY, {KIND: 1}), (SMALL, {KIND: 1})),
    "a loop": tiff((GREY, {}), last=8 + GREY.size),
    "an empty directory": tiff((EMPTY_AT_8, {}), last=8),
    "a pointer out of the file": tiff((GREY, {}), last=0x7FFFFFF0),
    "a pointer to the last bytes, big endian": tiff((GREY, {}), order=">", last=99 + GREY.size),
    "a pointer into the pixels": tiff((GREY, {}), last=9 + GREY.size // 2),
    "a thumbnail and a pointer out of the file": tiff((GREY, {}), (SMALL, {KIND: 1}), last=9999999),
    "strips and a pointer out of the file": pointing_out(pillow(GREY, strip_size=1000)),
    "a pointer out of the file, compressed": pointing_out(pillow(GREY, compression="tiff_lzw")),
    "a JPEG and a pointer out of the file": pointing_out(pillow(GREY, compression="jpeg")),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_tiff_with_several_pages_is_refused_with_their_number(name: str) -> None:
    data, count = SEVERAL[name]
    with pytest.raises(UnreadableError, match=f"a TIFF with {count} pages: save each page"):
        image.decode(data, max_megapixels=50)


@pytest.mark.parametrize("name", ONE)
def test_previews_and_masks_are_no_pages(name: str) -> None:
    page = read(ONE[name])
    assert page.doubt is None
    assert alike(page.detection.glyph, read(png(PAGE)).detection.glyph) > 0.9


@pytest.mark.parametrize(
    "data",
    [
        tiff((GREY, {}), (OTHER, {}), (GREY, {})),
        pillow(GREY, OTHER),
        pillow(GREY, OTHER, compression="tiff_lzw", strip_size=1000),
    ],
)
def test_tiff_with_several_pages_that_is_cut_is_refused(data: bytes) -> None:
    for part in range(1, 20):
        with pytest.raises(UnreadableError):
            image.decode(data[: len(data) * part // 20], max_megapixels=50)


def objects(*contents: bytes, root: bytes = b"/Root 1 0 R", start: bytes = b"") -> bytes:
    """Return a PDF with these objects, numbered from 1."""
    data = start + b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    for number, content in enumerate(contents, 1):
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    return data + b"trailer\n<</Size %d %s>>\nstartxref\n9\n%%%%EOF\n" % (len(contents) + 1, root)


def stream(entries: bytes, content: bytes) -> bytes:
    packed = zlib.compress(content)
    head = b"<<%s/Filter/FlateDecode/Length %d>>" % (entries, len(packed))
    return head + b"stream\r\n" + packed + b"\r\nendstream"


def packed(contents: Iterable[bytes], first: int = 1) -> bytes:
    """Return an object stream with these objects, numbered from ``first``."""
    contents = list(contents)
    numbers = range(first, first + len(contents))
    offsets = np.cumsum([0, *(len(content) + 1 for content in contents)]).tolist()
    head = b" ".join(b"%d %d" % pair for pair in zip(numbers, offsets, strict=False)) + b" "
    entries = b"/Type/ObjStm/N %d/First %d" % (len(contents), len(head))
    return stream(entries, head + b" ".join(contents) + b" ")


def pages(count: int) -> list[bytes]:
    """Return a catalog, a page tree and pages."""
    kids = b" ".join(b"%d 0 R" % (3 + number) for number in range(count))
    tree = b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count)
    return [b"<</Type/Catalog/Pages 2 0 R>>", tree, *[b"<</Type/Page/Parent 2 0 R>>"] * count]


PLAIN = objects(*pages(3))
UPDATE = b"2 0 obj\n<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>\nendobj\n"
IN_STREAM = objects(*[b"null"] * 9, packed(pages(4)))
NESTED = [
    b"<</Type/Catalog/Pages 2 0 R>>",
    b"<</Type/Pages/Kids[3 0 R 4 0 R]/Count 5>>",
    b"<</Type/Pages/Parent 2 0 R/Kids[]/Count 3>>",
    b"<</Type/Pages/Parent 2 0 R/Kids[]/Count 2>>",
]
ENCRYPTED = b"/Root 1 0 R/Encrypt 9 0 R/ID[<00><00>]"
HIDDEN = stream(b"/Type/ObjStm/N 4/First 20", bytes(80)).replace(b"\x78\x9c", b"\x12\x34")
LINEARIZED = b"<</Linearized 1/L 999/H[ 1 2 ]/O 3/E 99/N 7/T 999>>"
PDFS = {
    "by pillow": (pillow(GREY, OTHER, GREY, kind="PDF"), "a PDF document with 3 pages: save each"),
    "one page": (pillow(GREY, kind="PDF"), "a PDF document with 1 page: save it as a PNG"),
    "plain": (PLAIN, "a PDF document with 3 pages"),
    "behind lines": (objects(*pages(3), start=b"\r\n\0\0job 7\r\n" * 50), "a PDF document with 3"),
    "behind zeros": (objects(*pages(3), start=bytes(500)), "a PDF document with 3 pages"),
    "changed": (PLAIN + UPDATE + b"trailer<</Root 1 0 R>>\n%%EOF", "a PDF document with 2 pages"),
    "nested": (objects(*NESTED), "a PDF document with 5 pages"),
    "object streams": (IN_STREAM, "a PDF document with 4 pages"),
    "object streams, changed": (IN_STREAM + UPDATE, "a PDF document with 2 pages"),
    "changed by an object stream": (
        PLAIN + b"9 0 obj\n" + packed(pages(6)[:2]) + b"\nendobj\n%%EOF",
        "a PDF document with 6 pages",
    ),
    "linearized": (objects(LINEARIZED, HIDDEN, root=b"/Root 8 0 R"), "a PDF document with 7"),
    "encrypted": (objects(*pages(3), root=ENCRYPTED), "an encrypted PDF document with 3 .*-upw"),
    "encrypted object streams": (
        objects(b"null", HIDDEN, root=b"/Root 8 0 R/Encrypt 9 0 R"),
        "an encrypted PDF document: save each page",
    ),
    "no root": (objects(*pages(3), root=b""), "a PDF document with 3 pages"),
    "cut": (PLAIN[:150], "a PDF document: save each page as a PNG"),
    "only its head": (b"%PDF-1.7\n", "a PDF document: save each page as a PNG"),
    "a count of 0": (objects(pages(0)[0], b"<</Type/Pages/Count 0>>"), "a PDF document: save"),
    "a count elsewhere": (
        objects(pages(0)[0], b"<</Type/Pages/Count 3 0 R>>", b"2"),
        "a PDF document: save",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PDFS)
def test_pdf_is_refused_with_its_number_of_pages(name: str) -> None:
    data, reason = PDFS[name]
    with pytest.raises(UnreadableError, match=reason):
        image.decode(data, max_megapixels=50)


def many(part: bytes, size: int = 5_000_000) -> bytes:
    return b"%PDF-1.7\n" + part * (size // len(part)) + b"\n/Root 1 0 R\n%%EOF"


BACKWARDS = b" ".join(b"%d %d" % (number, number % 2 * 900_000) for number in range(1, 50_000))
HOSTILE = {
    "objects": many(b"1 0 obj"),
    "digits": many(b"1 1 "),
    "spaces": many(b"/Root 1" + b" " * 50),
    "streams without an end": many(b"/Type/ObjStm stream\n"),
    "streams that share an end": many(b"/Type/ObjStm stream\n") + b"endstream",
    "a bomb": objects(stream(b"/Type/ObjStm/N 9/First 9", bytes(100_000_000))),
    "bombs": many(stream(b"/Type/ObjStm/N 9/First 9", bytes(9_000_000)) + b"\n"),
    "objects that overlap": objects(
        stream(b"/Type/ObjStm/N 49999/First %d" % len(BACKWARDS), BACKWARDS + b" " * 1_000_000)
    ),
    "long numbers": objects(stream(b"/Type/ObjStm/N 1/First 9000", b"9" * 8000 + b" 1 ")),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pdf_is_refused(name: str) -> None:
    with pytest.raises(UnreadableError, match=r"a PDF document"):
        image.decode(HOSTILE[name], max_megapixels=50)


def test_tiff_of_directories_that_overlap_is_refused() -> None:
    data = bytearray(b"II*\0\x08\0\0\0" + b"\xff\xff" * 3_000_000)
    for place, following in pairwise(range(8, 20_000, 4)):
        stop = place + 2 + 12 * 0xFFFF
        data[stop : stop + 4] = struct.pack("<I", following)
    with pytest.raises(UnreadableError, match="broken TIFF: it has more than 250000 entries"):
        image.decode(bytes(data), max_megapixels=50)
