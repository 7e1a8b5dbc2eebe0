"""Fuzz test: feed mutated image files to decode-and-preprocess; nothing may crash or hang.

``python -m tests.fuzz [--count 100000] [--seed 7] [--only HEIC]``
"""

from __future__ import annotations

import io
import os
import random
import resource
import struct
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daemon.assets import SHIPPED_MODEL
from daemon.errors import UnreadableError
from daemon.reading import formats, model, reader
from support import heif
from support.daemon import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

# The limits: memory above idle in megabytes, and seconds per file.
_MEGABYTES = 700
_SECONDS = 5.0
_BATCH = 500  # files that are read in one child process
_RESULT = struct.Struct("?d")
# Boundary values for lengths, sizes and counts.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)


def seeds() -> list[bytes]:
    """Return the samples in each format and in several depths and channel counts."""
    files = [path.read_bytes() for path in sorted(SAMPLES.glob("*.png"))]
    pixels = cv2.imread(str(SAMPLES / "digit7.png"), cv2.IMREAD_COLOR)
    assert pixels is not None
    small = cv2.resize(pixels, (40, 40))
    variants = [small, small[..., 0], small.astype(np.uint16) * 257, cv2.cvtColor(small, 2)]
    for extension in (".png", ".jpg", ".bmp", ".webp", ".tiff", ".gif"):
        for variant in variants:
            if extension not in {".png", ".tiff"} and variant.dtype == np.uint16:
                continue
            done, data = cv2.imencode(extension, variant)
            if done:  # GIF supports only colour
                files.append(data.tobytes())
    picture = Image.fromarray(small)
    return [
        *files,
        *(paged(small, "TIFF"), paged(small, "PDF")),
        *(heif.avif(picture), heif.avif(picture.convert("RGBA")), heif.avif(picture.convert("L"))),
        heif.avif(picture, picture.rotate(90), duration=50),
    ]


def heic_seeds() -> list[bytes]:
    """Return HEIC files. Read mutated ones in a child: they crashed pi_heif 1.4."""
    turned = heif.Item(properties=(*heif.Item().properties, heif.turned(1)))
    tiles = heif.grid(2, 1, (200, 128), (2, 3))
    return [heif.ONE, heif.heic(turned), heif.heic(tiles, *[heif.Item()] * 2, heif.exif(6))]


def kind(data: bytes) -> str:
    """Return a file's format."""
    return formats.sniff(data[: formats.HEAD_BYTES]) or "PDF"


def paged(pixels: NDArray[Any], kind: str) -> bytes:
    """Return a document with this image on two pages."""
    stream = io.BytesIO()
    page = Image.fromarray(pixels)
    page.save(stream, kind, save_all=True, append_images=[page])
    return stream.getvalue()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Mutate a file like a bad disk, an interrupted upload or an attacker."""
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(len(broken))
        match chance.randrange(6):
            case 0:
                broken[place] = chance.randrange(256)
            case 1:
                broken[place] = chance.choice(_EDGES)
            case 2:
                broken[place] ^= 1 << chance.randrange(8)
            case 3:
                del broken[place : place + chance.randrange(1, 64)]
            case 4:
                broken[place:place] = broken[place : place + chance.randrange(1, 64)]
            case _:
                # Sizes are in the headers.
                broken[min(place, chance.randrange(40))] = chance.randrange(256)
        if not broken:
            return b""
    return bytes(broken)


def megabytes() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def outcomes(shipped: model.Model, files: list[bytes]) -> Iterator[tuple[str, float]]:
    """Yield what comes of each file, and how many seconds it takes; only a child can crash."""
    left = files
    while left:
        reader_end, writer_end = os.pipe()
        child = os.fork()
        if not child:
            try:
                for data in left:
                    os.write(writer_end, _RESULT.pack(*read(shipped, data)))
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)
        os.close(writer_end)
        with open(reader_end, "rb") as pipe:  # noqa: PTH123 - a descriptor
            results = list(_RESULT.iter_unpack(pipe.read()))
        os.waitpid(child, 0)
        for is_read, seconds in results:
            yield "read" if is_read else "refused", seconds
        if len(results) < len(left):
            yield "crashed", 0.0
        left = left[len(results) + 1 :]


def read(shipped: model.Model, data: bytes) -> tuple[bool, float]:
    """Return whether a file is read, and how many seconds it takes."""
    started = time.perf_counter()
    try:
        reader.find_digit(shipped, data, max_megapixels=50)
    except UnreadableError:
        return False, time.perf_counter() - started
    return True, time.perf_counter() - started


@click.command()
@click.option("--count", default=100_000, show_default=True)
@click.option("--seed", default=7, show_default=True)
@click.option("--only", default="", help="One format, such as HEIC, instead of all.")
def main(count: int, seed: int, only: str) -> None:
    """Feed mutated files to the reader; fail unless each gives a reading or a reason."""
    chance = random.Random(seed)
    files = [data for data in (*seeds(), *heic_seeds()) if only in {"", kind(data)}]
    shipped = model.load(SHIPPED_MODEL)
    for data in files:
        with suppress(UnreadableError):  # of several pages
            reader.find_digit(shipped, data, max_megapixels=50)
    idle = megabytes()
    slowest = 0.0
    found: Counter[str] = Counter()
    with click.progressbar(range(0, count, _BATCH), label="fuzzing", file=sys.stderr) as starts:
        for start in starts:
            chosen = [chance.choice(files) for _ in range(min(_BATCH, count - start))]
            broken = [(kind(data), mutated(data, chance)) for data in chosen]
            results = outcomes(shipped, [data for _, data in broken])
            for (name, _), (outcome, seconds) in zip(broken, results, strict=True):
                found[f"{name} crashed" if outcome == "crashed" else outcome] += 1
                slowest = max(slowest, seconds)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 - idle
    counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(found.items()))
    click.echo(f"{count} files: {counts}; slowest {slowest:.2f} s, memory {used:.0f} MB above idle")
    has_crashed = not set(found) <= {"read", "refused"}
    sys.exit(slowest > _SECONDS or used > _MEGABYTES or has_crashed)


if __name__ == "__main__":
    main()
