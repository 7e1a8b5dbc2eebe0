"""Bytes to pixels: unreadable files get a reason, all formats give the same digit."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from daemon.errors import UnreadableError
from support.drawn import DIGITS, alike, large, painted, png, read


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (png(DIGITS[3])[:-20], "truncated PNG"),
        (cv2.imencode(".jpg", DIGITS[3])[1].tobytes()[:-40], "truncated JPEG"),
        (b"This is a 7.\n", "text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
        (bytes(range(256)) * 8, "not an image"),
        (png(np.zeros((7, 7), np.uint8)), "too small: 7x7 pixels, the minimum is 8x8"),
        (png(DIGITS[3])[:20], "header"),
        (png(np.zeros((9000, 9000), np.uint8)), r"too large: 9000x9000 is 81\.0 megapixels"),
    ],
    ids=[
        "empty",
        "png cut",
        "jpeg cut",
        "text",
        "lfs",
        "bytes",
        "too small",
        "header cut",
        "too large",
    ],
)
def test_unreadable_file_gets_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read(data)


def test_png_with_corrupt_data_is_unreadable() -> None:
    data = bytearray(png(painted(large(5))))
    start = data.index(b"IDAT") + 40
    data[start : start + 200] = bytes(200)
    with pytest.raises(UnreadableError, match="broken PNG"):
        read(bytes(data))


def test_large_image_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    # 30000x30000 pixels in 109 KB. Decoding this takes 1.8 GB and several seconds.
    header = b"\0\0\x75\x30\0\0\x75\x30\1\0\0\0\0"
    chunk = len(header).to_bytes(4, "big") + b"IHDR" + header
    crc = zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    end = b"\0\0\0\0IEND\xaeB`\x82"
    monkeypatch.delattr(cv2, "imdecode")
    with pytest.raises(UnreadableError, match=r"900\.0 megapixels"):
        read(b"\x89PNG\r\n\x1a\n" + chunk + crc + end)


def pillow(mode: str, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    shown = Image.fromarray(cv2.cvtColor(painted(large(5)), cv2.COLOR_BGR2RGB))
    shown = shown.convert(mode, dither=Image.Dither.NONE)
    shown.save(stream, kind, **options)
    return stream.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.fromarray(cv2.cvtColor(painted(large(5)), cv2.COLOR_BGR2RGB))
    undone = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
    }
    stream = io.BytesIO()
    upright.transpose(undone[orientation]).save(stream, "PNG", exif=exif)
    return stream.getvalue()


def turned_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    upright = Image.fromarray(cv2.cvtColor(painted(large(5)), cv2.COLOR_BGR2RGB))
    upright.transpose(Image.Transpose.ROTATE_90).save(stream, "JPEG", exif=exif, quality=92)
    return stream.getvalue()


def with_alpha(pen: int) -> bytes:
    shown = np.full((280, 280, 4), pen, np.uint8)
    shown[..., 3] = np.rint(large(5) * 255)
    return png(shown)


@pytest.mark.parametrize(
    "data",
    [
        pillow("RGB", "JPEG", quality=85),
        pillow("RGB", "BMP"),
        pillow("RGB", "WEBP"),
        pillow("RGB", "TIFF"),
        pillow("P", "GIF"),
        pillow("P", "PNG"),
        pillow("L", "PNG"),
        pillow("LA", "PNG"),
        pillow("RGBA", "PNG"),
        pillow("1", "PNG"),
        png(painted(large(5)).astype(np.uint16) * 257),
        with_alpha(0),
        with_alpha(255),
        pillow("RGB", "PNG") + b"\n\0stray",
        turned(3),
        turned(6),
        turned(8),
        turned(2),
        turned_jpeg(),
    ],
    ids=[
        "jpeg", "bmp", "webp", "tiff", "gif", "palette", "grey", "grey alpha", "rgba", "1 bit",
        "16 bit", "black on clear", "white on clear", "stray bytes", "turned 180", "turned 90",
        "turned 270", "mirrored", "turned jpeg",
    ],
)  # fmt: skip
def test_all_formats_and_depths_give_the_same_glyph(data: bytes) -> None:
    page = read(data)
    assert page.doubt is None
    assert alike(page.detection.glyph, read(png(painted(large(5)))).detection.glyph) > 0.9


def test_thumbnail_is_small_upright_rgb() -> None:
    page = np.zeros((300, 900, 3), np.uint8)
    page[:] = (200, 30, 10)
    thumbnail = read(png(page)).thumbnail
    assert thumbnail.shape == (84, 252, 3)
    assert tuple(thumbnail[0, 0]) == (10, 30, 200)


@pytest.mark.parametrize(("depth", "channels"), [("uint8", 4), ("uint16", 3)])
def test_fifty_megapixels_fit_in_memory(tmp_path: Path, depth: str, channels: int) -> None:
    pixels = np.full((7000, 7000, channels), np.iinfo(depth).max, depth)
    pixels[2000:5000, 3000:3400, :3] = 0
    pixels[..., 3:] = np.iinfo(depth).max // 2
    file = tmp_path / "large.png"
    cv2.imwrite(str(file), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    # In a separate process, to measure its peak memory.
    measure = f"""
import pathlib, resource
from daemon.reading import image
data = pathlib.Path({str(file)!r}).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image.decode(data, max_megapixels=50)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    used = subprocess.run(
        [sys.executable, "-c", measure], capture_output=True, check=True, timeout=60
    ).stdout
    assert int(used) < 600 * 1024  # KiB
