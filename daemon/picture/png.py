"""Write pixels as a PNG file."""

import struct
import zlib

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _INDEXED = 2, 3  # colour types, PNG specification 11.2.1
# Level 1 of Intel's ISA-L on unfiltered rows takes 0.05 ms for a picture of 640x280 indices.
# zlib's level 1 takes 0.37 ms and makes the file 9 % larger. Row filters cost more than they gain.
_LEVEL = 1


def encode(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Return a whole PNG file.

    Args:
        pixels: (h, w) uint8 indices into the palette, or (h, w, 3) uint8 RGB without one.
        palette: (n, 3) uint8 RGB, n at most 256; every index must be below n.
    """
    height, width = pixels.shape[:2]
    # Each row of a PNG starts with its filter type; 0 means no filter.
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    colours = _RGB if palette is None else _INDEXED
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            b"" if palette is None else _chunk(b"PLTE", palette.tobytes()),
            _chunk(b"IDAT", isal_zlib.compress(rows, _LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
