"""HEIC and AVIF: read upright and whole, or refused with a reason, in little memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from daemon.errors import UnreadableError
from daemon.reading import av1, formats, image
from daemon.reading.formats import ImageFormat
from support.daemon import ROOT
from support.drawn import Pixels, alike, large, painted, png, read
from support.heif import (
    ONE,
    SIDE,
    Item,
    avif,
    box,
    exif,
    grid,
    heic,
    mirrored,
    turned,
    with_size,
)
from tests.fuzz import megabytes

if TYPE_CHECKING:
    from pathlib import Path

PAGE = painted(large(5))
SHOWN = Image.fromarray(cv2.cvtColor(PAGE, cv2.COLOR_BGR2RGB))
AVIF = avif(SHOWN, quality=90)
HALF = Item(properties=(*Item().properties, turned(1)))
FILES = {ImageFormat.HEIC: ONE, ImageFormat.AVIF: AVIF}


def decode(data: bytes) -> Pixels:
    return image.decode(data, max_megapixels=50)


def differs(one: Pixels, other: Pixels) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


def with_orientation(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    undone = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
    }
    return avif(SHOWN.transpose(undone[orientation]), quality=90, exif=block)


LAYERS = SHOWN.convert("RGBA")
LAYERS.putalpha(Image.fromarray(np.rint(large(5) * 255).astype(np.uint8)))
AVIFS = {
    "colour": AVIF,
    "grey": avif(SHOWN.convert("L"), quality=90),
    "alpha": avif(LAYERS, quality=90),
    "all colours": avif(SHOWN, quality=90, subsampling="4:4:4"),
    "another encoder's brand": AVIF.replace(b"ftypavif", b"ftypmif1", 1),
    "turned 180": with_orientation(3),
    "turned 90": with_orientation(6),
    "turned 270": with_orientation(8),
    "mirrored": with_orientation(2),
    "animated": avif(SHOWN, SHOWN.rotate(90), quality=90, duration=50),
    "with a trailer": AVIF + b"trailer" * 100,
}


@pytest.mark.parametrize("name", AVIFS)
def test_each_avif_gives_the_same_glyph(name: str) -> None:
    assert formats.sniff(AVIFS[name][: formats.HEAD_BYTES]) is ImageFormat.AVIF
    page = read(AVIFS[name])
    assert page.doubt is None
    assert alike(page.detection.glyph, read(png(PAGE)).detection.glyph) > 0.9


@pytest.mark.parametrize(
    "brands",
    [
        b"heic\0\0\0\0mif1heic",
        b"heix\0\0\0\0mif1heix",
        b"mif1\0\0\0\0mif1heic",
        b"mif1\0\0\0\0mif1miaf",
        b"mif1\0\0\0\0" + b"MiHE" * 20 + b"heic",
    ],
)
def test_heic_of_each_brand_is_read(brands: bytes) -> None:
    data = heic(Item(), brands=brands)
    assert formats.sniff(data[: formats.HEAD_BYTES]) is ImageFormat.HEIC
    assert differs(decode(data), decode(ONE)) == 0


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_heic_is_turned_upright(quarters: int) -> None:
    item = Item(properties=(*Item().properties, turned(quarters)))
    upright = np.rot90(decode(ONE), quarters)
    assert differs(decode(heic(item)), upright) == 0
    # Phones write the same orientation into Exif too, for those who convert the file.
    assert differs(decode(heic(item, exif(6))), upright) == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_heic_is_mirrored(axis: int) -> None:
    item = Item(properties=(*Item().properties, mirrored(axis)))
    assert differs(decode(heic(item)), np.flip(decode(ONE), axis)) == 0


def test_heic_in_tiles_is_put_together() -> None:
    data = heic(grid(2, 1, (2 * SIDE, SIDE), (2, 3)), Item(), Item())
    assert differs(decode(data), np.hstack([decode(ONE)] * 2)) == 0


def test_primary_image_of_several_is_read() -> None:
    burst = Item(), HALF, Item()
    for primary, expected in ((1, decode(ONE)), (2, np.rot90(decode(ONE)))):
        assert differs(decode(heic(*burst, primary=primary)), expected) == 0


@pytest.mark.parametrize("kind", FILES)
def test_cut_file_is_refused(kind: ImageFormat) -> None:
    data = FILES[kind]
    for part in range(1, 20):
        with pytest.raises(UnreadableError, match=r"is missing|cut short"):
            decode(data[: len(data) * part // 20])
    with pytest.raises(UnreadableError, match=f"truncated {kind}: the end of the image is missing"):
        decode(data[:-5])


@pytest.mark.parametrize("kind", FILES)
def test_end_is_known_from_the_boxes(kind: ImageFormat) -> None:
    whole = FILES[kind]

    def state(data: bytes) -> tuple[bool, bool]:
        reader = formats.memory_reader(data)
        has_end = formats.has_end(kind, reader, len(data))
        return has_end, has_end and formats.has_trailer(kind, reader, len(data))

    start = whole.index(b"mdat") - 4
    for cut in (len(whole) - 1, len(whole) // 2, start, start + 8, 30):
        assert state(whole[:cut]) == (False, False), cut
    assert state(whole) == (True, False)
    assert state(whole + box(b"mpvd", bytes(99))) == (True, False)  # a motion photo
    assert state(whole + box(b"mpvd", bytes(99))[:-5]) == (True, True)
    assert state(whole + b"\0trailer" * 9) == (True, True)
    is_open = whole[:start] + bytes(4) + whole[start + 4 :]  # the last box, as cameras may write it
    assert state(is_open) == (True, True)
    assert differs(decode(is_open), decode(whole)) == 0


LIES = {
    "HEIC of 60000 x 60000": (with_size(ONE, 60000, 60000), "3600.0 megapixels"),
    "HEIC of 8 x 8": (with_size(ONE, 8, 8), "broken HEIC"),
    "HEIC of 0 x 0": (with_size(ONE, 0, 0), "0x0 pixels"),
    "a grid of 60000 x 60000": (
        with_size(heic(grid(2, 1, (60000, 60000), (2, 3)), Item(), Item()), 256, 128),
        "broken HEIC",
    ),
    "a grid of itself": (heic(grid(2, 1, (256, 128), (1, 1))), "broken HEIC"),
    "grids of grids": (
        heic(*[grid(9, 9, (SIDE, SIDE), (n,) * 81) for n in range(2, 9)], Item()),
        "broken HEIC",
    ),
    "HEIC without a primary image": (heic(Item(), primary=7), "header is cut short or broken"),
    "HEIC with a JPEG": (heic(Item(b"jpeg")), r"a HEIC of a rare kind \(jpeg\): save it as"),
    "AVIF of 60000 x 60000": (with_size(AVIF, 60000, 60000), "3600.0 megapixels"),
    "many boxes": (ONE[:28] + box(b"meta", box(b"free") * 2_000_000, version=0), "header is"),
    "many items": (heic(Item()).replace(b"\x44\0\0\1", b"\0\0\xff\xff"), "header is"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", LIES)
def test_hostile_file_is_refused_in_little_memory(name: str) -> None:
    data, reason = LIES[name]
    before = megabytes()
    with pytest.raises(UnreadableError, match=reason):
        decode(data)
    assert megabytes() - before < 200


def test_broken_metadata_do_not_crash_the_decoder(tmp_path: Path) -> None:
    file = tmp_path / "photo.heic"
    file.write_bytes(heic(Item(), replace(exif(6), kind=b"E\xc4if")))
    code = "import sys; from daemon.reading import image; from pathlib import Path\n"
    code += "image.decode(Path(sys.argv[1]).read_bytes(), max_megapixels=50)"
    done = subprocess.run([sys.executable, "-c", code, file], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0


def test_avif_that_is_larger_than_its_header_says_is_refused() -> None:
    # Its decoder holds all of it, and then scales it down to what the header says.
    data = with_size(avif(Image.new("L", (3000, 1000), 200)), 100, 100)
    with pytest.raises(UnreadableError, match="broken AVIF: its image is larger than its header"):
        image.decode(data, max_megapixels=2)


def sequence_header(*fields: tuple[int, int]) -> bytes:
    """Return an AV1 unit with these values of so many bits."""
    bits = "".join(f"{value:0{count}b}" for value, count in fields)
    content = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return b"\x12\0\x0a" + bytes([len(content)]) + content


SIZE = ((11, 4), (10, 4), (3999, 12), (1999, 11))
HEADERS = {
    "a still image": ((0, 4), (1, 1), (5, 5), *SIZE),
    "an animation": ((0, 5), (0, 2), (0, 5), (0, 12), (5, 5), *SIZE),
    "a high level": ((0, 5), (0, 2), (0, 5), (0, 12), (13, 5), (1, 1), *SIZE),
    "times": (
        *((0, 5), (1, 1), (1, 32), (25, 32), (1, 1), (1, 2), (1, 1)),  # uvlc: 01 and a bit
        *((1, 1), (9, 5), (0, 42), (1, 1), (0, 5), (0, 12), (5, 5)),
        *((1, 1), (0, 21), (1, 1), (9, 4), *SIZE),
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_size_of_each_kind_of_av1_is_known(name: str) -> None:
    data = b"??" + sequence_header(*HEADERS[name])
    assert av1.find_largest(data, [(2, len(data))]) == 4000 * 2000
    assert av1.find_largest(data[:-3], [(2, len(data))]) is None
