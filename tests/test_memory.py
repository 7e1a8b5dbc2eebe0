"""digitd on a machine with little memory: a cgroup that allows 400 MB and no swap."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from support.daemon import SAMPLES, Box, Daemon
from support.waiting import until

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
        (parent / "cgroup.procs").write_text(str(os.getpid()))
        until(lambda: not (group / "cgroup.procs").read_text(), "an empty cgroup")
        group.rmdir()


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
