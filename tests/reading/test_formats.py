"""Image headers and end markers, for files written by OpenCV and for garbage."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from daemon.reading import formats
from daemon.reading.formats import ImageFormat
from support import heif

WIDTH, HEIGHT = 37, 23
IMAGE = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def encoded(suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, IMAGE)
    assert done
    return data.tobytes()


FILES = {
    ImageFormat.PNG: encoded(".png"),
    ImageFormat.JPEG: encoded(".jpg"),
    ImageFormat.BMP: encoded(".bmp"),
    ImageFormat.WEBP: encoded(".webp"),
    ImageFormat.TIFF: encoded(".tiff"),
    ImageFormat.HEIC: heif.with_size(heif.ONE, WIDTH, HEIGHT),
    ImageFormat.AVIF: heif.avif(Image.fromarray(IMAGE)),
    ImageFormat.GIF: b"GIF89a" + struct.pack("<HH", WIDTH, HEIGHT) + bytes(20),
}
# The kinds of WebP that OpenCV does not write.
WEBP = {
    "VP8X": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
    + (WIDTH - 1).to_bytes(3, "little")
    + (HEIGHT - 1).to_bytes(3, "little"),
    "VP8L": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f"
    + struct.pack("<I", (WIDTH - 1) | (HEIGHT - 1) << 14)
    + bytes(5),
    "VP8": b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", WIDTH, HEIGHT),
}
STARTS = [data[:size] for data in (*FILES.values(), *WEBP.values()) for size in (8, 16, 30, 200)]


@pytest.mark.parametrize("kind", FILES)
def test_format_and_size_are_read_from_the_header(kind: ImageFormat) -> None:
    data = FILES[kind]
    assert formats.sniff(data[: formats.HEAD_BYTES]) is kind
    assert formats.dimensions(data) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("data", WEBP.values(), ids=WEBP)
def test_size_of_each_webp_variant_is_read(data: bytes) -> None:
    assert formats.dimensions(data) == (WIDTH, HEIGHT)
    assert formats.dimensions(data[:29]) is None


def test_size_of_a_big_endian_tiff_is_read() -> None:
    entries = struct.pack(">HHIHH", 256, 3, 1, WIDTH, 0) + struct.pack(">HHII", 257, 4, 1, HEIGHT)
    data = b"MM\0*" + struct.pack(">IH", 8, 2) + entries
    assert formats.dimensions(data) == (WIDTH, HEIGHT)
    assert formats.dimensions(data[:-5]) is None


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\x89PN", b"RIFF1234WAVE", b"%PDF-1.7", b"\0" * 16]
)
def test_non_image_has_no_format_and_no_size(data: bytes) -> None:
    assert formats.sniff(data) is None
    assert formats.dimensions(data) is None


@pytest.mark.parametrize("kind", [ImageFormat.PNG, ImageFormat.JPEG])
def test_end_marker_is_found_only_if_it_is_complete(kind: ImageFormat) -> None:
    data = FILES[kind]
    for cut in (len(data), len(data) - 1, len(data) // 2, 30):
        there = formats.has_end(kind, formats.memory_reader(data[:cut]), cut)
        assert there == (cut == len(data)), cut


@pytest.mark.parametrize("kind", [ImageFormat.PNG, ImageFormat.JPEG])
def test_end_marker_is_found_before_a_short_trailer_but_not_a_long_one(kind: ImageFormat) -> None:
    data = FILES[kind] + bytes(1000)
    assert formats.has_end(kind, formats.memory_reader(data), len(data))
    assert not formats.has_end(kind, formats.memory_reader(data), len(data), tail=500)


def test_end_marker_of_an_embedded_thumbnail_is_ignored() -> None:
    head, rest = FILES[ImageFormat.JPEG][:2], FILES[ImageFormat.JPEG][2:]
    thumbnail = FILES[ImageFormat.JPEG]
    exif = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = head + exif + rest
    assert formats.dimensions(whole) == (WIDTH, HEIGHT)
    for cut in (len(head + exif), len(head + exif) + 30, len(whole) - 2):
        assert not formats.has_end(ImageFormat.JPEG, formats.memory_reader(whole[:cut]), cut)
    assert formats.has_end(ImageFormat.JPEG, formats.memory_reader(whole), len(whole))


@pytest.mark.parametrize(
    "kind", [ImageFormat.BMP, ImageFormat.GIF, ImageFormat.WEBP, ImageFormat.TIFF]
)
def test_other_formats_have_no_end_marker(kind: ImageFormat) -> None:
    assert not formats.has_end(kind, formats.memory_reader(FILES[kind]), len(FILES[kind]))


@pytest.mark.parametrize("filler", [b"\xff", b"\xff\xe0\0\x02", b"\xff\xe0\0\0"])
def test_jpeg_of_fill_bytes_has_no_end_and_no_size(filler: bytes) -> None:
    data = b"\xff\xd8" + filler * (20_000_000 // len(filler))
    assert not formats.has_end(ImageFormat.JPEG, formats.memory_reader(data), len(data))
    assert formats.dimensions(data) is None


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([b"", *STARTS]), st.binary(max_size=300))
@example(b"BM", struct.pack("<12xIii", 40, -5, -(2**31)))
@example(b"II*\0", struct.pack("<IH", 8, 65535))
def test_garbage_after_any_signature_does_not_raise_or_give_a_negative_size(
    start: bytes, garbage: bytes
) -> None:
    data = start + garbage
    size = formats.dimensions(data)
    assert size is None or min(size) >= 0
    kind = formats.sniff(data[: formats.HEAD_BYTES])
    if kind is not None:
        formats.has_end(kind, formats.memory_reader(data), len(data))
