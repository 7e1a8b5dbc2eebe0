"""digitd on a machine with little memory: a cgroup that allows 400 MB and no swap."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from support import heif
from support.daemon import ROOT, SAMPLES, SHORT_RETRIES, Box, Daemon
from support.stand_in import png_like
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 400_000_000
PHOTOS = 24
CGROUP_1, CGROUP_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def photo(number: int) -> bytes:
    """A sample on 12 megapixels of noisy paper, as a phone saves it."""
    digit = cv2.imread(str(SAMPLES / f"digit{1 + number % 12}.png"), cv2.IMREAD_GRAYSCALE)
    assert digit is not None
    ink = digit if digit.mean() < 128 else 255 - digit
    page = np.full((4032, 3024, 3), 210, np.int16)
    large = cv2.resize(ink, (1500, 1500), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    page[1200:2700, 700:2200] -= large[..., None] * 2 // 3
    page += np.random.default_rng(number).integers(-6, 7, page.shape[:2], np.int16)[..., None]
    return cv2.imencode(".jpg", page.clip(0, 255).astype(np.uint8))[1].tobytes()


@contextmanager
def memory_limited_to(limit: int) -> Iterator[Path]:
    """Move this process, and so each that it starts, into a cgroup with a memory limit."""
    first = CGROUP_1 / "memory.limit_in_bytes"
    parent, maximum = (CGROUP_1, first.name) if first.exists() else (CGROUP_2, "memory.max")
    group = parent / f"digitd-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / maximum).write_text(str(limit))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        pytest.skip(f"no cgroup with a memory limit can be made here ({error.strerror})")
    try:
        yield group
    finally:
        leave(group)
        until(lambda: not (group / "cgroup.procs").read_text(), "an empty cgroup")
        group.rmdir()


def leave(group: Path) -> None:
    """Move this process out again; what it has started stays there."""
    (group.parent / "cgroup.procs").write_text(str(os.getpid()))


def out_of_memory_kills(group: Path) -> int:
    events = group / "memory.oom_control"
    lines = (events if events.exists() else group / "memory.events").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


@pytest.mark.serial
def test_two_workers_read_photos_in_400_megabytes(box: Box) -> None:
    dropped = {f"digit{number}.png": photo(number) for number in range(PHOTOS)}
    with memory_limited_to(LIMIT) as group:
        with Daemon(box) as running:
            for name, data in dropped.items():
                box.drop(name, data)
            until(lambda: len(box.rows()) == PHOTOS, "a row for each photo", 60)
            assert running.stop() == 0
            assert "worker" not in running.log.split("is ready", 1)[1].split("\n", 1)[1]
        assert out_of_memory_kills(group) == 0
    assert not [row for row in box.rows() if row["status"] == "error"]
    box.check_books(dropped)


DECODE = """
import resource, sys
from pathlib import Path
from daemon.reading import image
files = {name: Path(name).read_bytes() for name in sys.argv[1:]}
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1_000_000, resource.RLIM_INFINITY))
for name, data in files.items():
    try:
        image.decode(data, max_megapixels=50)
    except MemoryError:
        print(name)
"""


def test_image_that_finds_no_memory_is_not_called_broken(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (3000, 3000), np.uint8)
    files = [tmp_path / f"noise{suffix}" for suffix in (".png", ".bmp", ".tiff")]
    for file in files:
        assert cv2.imwrite(str(file), noise)
    files += [tmp_path / "flat.avif", tmp_path / "tiles.heic"]
    files[-2].write_bytes(heif.avif(Image.new("L", (3000, 3000))))
    size = 24 * heif.SIDE
    tiles = heif.grid(24, 24, (size, size), tuple(range(2, 2 + 24**2)))
    files[-1].write_bytes(heif.heic(tiles, *[heif.Item()] * 24**2))
    done = subprocess.run(
        [sys.executable, "-c", DECODE, *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.stdout.split() == [str(file) for file in files], done.stderr


@pytest.mark.serial
def test_row_says_when_the_kernel_killed_the_worker_for_lack_of_memory(box: Box) -> None:
    box.configure(model="model.keras")
    (box.folder / "model.keras").write_bytes(b"a model")
    with memory_limited_to(LIMIT) as group, Daemon(box, SHORT_RETRIES) as running:
        leave(group)  # or the kernel may kill the tests, which are as large as the worker
        running.wait_for_log("is ready")
        box.drop("digit1.png", png_like(f"devour {2 * LIMIT}"))
        (row,) = box.wait_for_rows(1)
        assert running.stop() == 0
        assert out_of_memory_kills(group) == 3
    assert row["reason"] == "took its worker process down 3 times: out of memory, killed by SIGKILL"


def page(width: int, height: int, mode: str = "L", **options: object) -> bytes:
    """A JPEG of a 7 on a large sheet; with ``exif``, turned by it."""
    digit = Image.open(SAMPLES / "digit7.png").convert("L").resize((width // 3, width // 3))
    if "exif" in options:
        digit = digit.transpose(Image.Transpose.ROTATE_90)
    sheet = Image.new(mode, (width, height), "white")
    sheet.paste(digit.convert(mode), (width // 2, height // 3))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", **({"quality": 80} | options))
    return stream.getvalue()


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return a progressive JPEG whose header says another size."""
    place = data.index(b"\xff\xc2") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


@pytest.mark.serial
def test_worker_reads_200_megapixels_in_600_megabytes(box: Box) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    # Decoders hold six bytes a pixel of this one, however few pixels they return.
    progressive = page(8160, 6120, "RGB", progressive=True, subsampling=0)
    dropped = {
        "digit108.jpg": page(12000, 9000),
        "digit200.jpg": page(12240, 16320, exif=turned),
        "digit50.jpg": progressive,
        "digit51.jpg": with_size(progressive, 8160, 6256),
    }
    box.configure(workers=1, pattern="'*.jpg'")
    with memory_limited_to(600_000_000) as group:
        with Daemon(box) as running:
            for name, data in dropped.items():
                box.drop(name, data)
            until(lambda: len(box.rows()) == len(dropped), "a row for each page", 120)
            assert running.stop() == 0
        assert out_of_memory_kills(group) == 0
    rows = {row["file"]: row for row in box.rows()}
    refused = rows.pop("digit51.jpg")
    assert refused["status"] == "error"
    assert "the limit is 50: save it as a baseline JPEG or smaller" in refused["reason"]
    assert [(row["status"], row["digit"]) for row in rows.values()] == [("ok", "7")] * 3
