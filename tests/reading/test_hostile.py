"""Malicious files: each is refused quickly, in little memory, with a reason."""

from __future__ import annotations

import random
import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from daemon.assets import SHIPPED_MODEL
from daemon.errors import UnreadableError
from daemon.reading import image, model, reader
from tests.fuzz import megabytes, mutated, seeds

if TYPE_CHECKING:
    from collections.abc import Callable

_START = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width: int, height: int, *extra: bytes, pixels: bytes | None = None) -> bytes:
    """Return a grey PNG; without ``pixels``, an all-black one."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    if pixels is None:
        pixels = zlib.compress(bytes((width + 1) * height), 9)
    return _START + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def endless(width: int, height: int) -> bytes:
    """Return a small PNG whose pixel data decompress to 64 MiB of zeros."""
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    return png(width, height, pixels=pixels)


def compressed_text() -> bytes:
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))


def tiff(side: int) -> bytes:
    done, data = cv2.imencode(".tiff", np.zeros((8, 8), np.uint8))
    assert done
    changed = data.tobytes()
    for tag in (256, 257):
        place = changed.index(struct.pack("<HHI", tag, 3, 1)) + 8
        changed = changed[:place] + struct.pack("<I", side) + changed[place + 4 :]
    return changed


def webp(side: int) -> bytes:
    size = (side - 1).to_bytes(3, "little")
    content = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + size
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "30000 x 30000": (lambda: endless(30000, 30000), "900.0 megapixels"),
    "60000 x 60000": (lambda: endless(60000, 60000), "3600.0 megapixels"),
    "many chunks": (lambda: png(8, 8, *[chunk(b"tEXt", b"a\0b")] * 60_000), "chunks"),
    "a chunk of 2 GB": (
        lambda: _START + png(8, 8)[8:33] + b"\x7f\xff\xff\xf0IDAT" + png(8, 8)[-12:],
        "longer than the file",
    ),
    "TIFF of 60000 x 60000": (lambda: tiff(60000), "3600.0 megapixels"),
    "WebP of 16000 x 16000": (lambda: webp(16000), "256.0 megapixels"),
    "pixels that are missing": (lambda: png(5000, 5000, pixels=b""), "cannot be decoded"),
    "no pixels at all": (lambda: png(0, 0, pixels=b""), "0x0 pixels"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BOMBS)
def test_decompression_bomb_is_refused_with_a_reason(name: str) -> None:
    make, reason = BOMBS[name]
    data = make()
    before = megabytes()
    with pytest.raises(UnreadableError, match=reason):
        image.decode(data, max_megapixels=50)
    assert megabytes() - before < 200


@pytest.mark.timeout(20)
def test_png_text_chunk_bomb_is_harmless() -> None:
    data = png(28, 28, compressed_text())
    before = megabytes()
    assert image.decode(data, max_megapixels=50).shape == (28, 28, 3)
    assert megabytes() - before < 200


def test_two_thousand_mutated_files_are_read_or_refused() -> None:
    chance = random.Random(11)
    files = seeds()
    shipped = model.load(SHIPPED_MODEL)
    before = megabytes()
    reasons = []
    for _ in range(2000):
        try:
            reader.find_digit(shipped, mutated(chance.choice(files), chance), max_megapixels=50)
        except UnreadableError as error:
            reasons.append(str(error))
    assert 0 < len(reasons) < 2000
    assert all(reasons)
    assert megabytes() - before < 300
