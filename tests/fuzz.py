"""Fuzz test: feed mutated image files to decode-and-preprocess; nothing may crash or hang.

``python -m tests.fuzz [--count 100000] [--seed 7]``
"""

from __future__ import annotations

import io
import random
import resource
import sys
import time
from collections import Counter
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daemon.assets import SHIPPED_MODEL
from daemon.errors import UnreadableError
from daemon.reading import model, reader
from support.daemon import SAMPLES

# The limits: memory above idle in megabytes, and seconds per file.
_MEGABYTES = 700
_SECONDS = 5.0
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
    return [*files, paged(small, "TIFF"), paged(small, "PDF")]


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


@click.command()
@click.option("--count", default=100_000, show_default=True)
@click.option("--seed", default=7, show_default=True)
def main(count: int, seed: int) -> None:
    """Feed mutated files to the reader; fail unless each gives a reading or a reason."""
    chance = random.Random(seed)
    files = seeds()
    shipped = model.load(SHIPPED_MODEL)
    for data in files:
        reader.find_digit(shipped, data, max_megapixels=50)
    idle = megabytes()
    slowest = 0.0
    found: Counter[str] = Counter()
    with click.progressbar(range(count), label="fuzzing", file=sys.stderr) as numbers:
        for _ in numbers:
            data = mutated(chance.choice(files), chance)
            started = time.perf_counter()
            try:
                reader.find_digit(shipped, data, max_megapixels=50)
            except UnreadableError:
                found["refused"] += 1
            else:
                found["read"] += 1
            slowest = max(slowest, time.perf_counter() - started)
    click.echo(
        f"{count} files: {found['read']} read, {found['refused']} refused with a reason; "
        f"slowest {slowest:.2f} s, memory {megabytes() - idle:.0f} MB above idle"
    )
    sys.exit(slowest > _SECONDS or megabytes() - idle > _MEGABYTES)


if __name__ == "__main__":
    main()
