"""The limit of the parts: read, decode, forward, paint and write on all cores, no books kept."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from daemon import worker
from daemon.assets import SHIPPED_MODEL
from daemon.engine import worker_count
from daemon.records import Parcel, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BATCH = 64
_OPTIONS = ReadOptions(SHIPPED_MODEL, max_megapixels=50)


def _read(out: Path, files: Sequence[Path]) -> int:
    parcels = [Parcel(file.name, file.read_bytes()) for file in files]
    for file, reading in zip(files, worker.read(_OPTIONS, parcels), strict=True):
        (out / file.name).write_bytes(reading.picture)
    return len(files)


def files_per_second(folder: Path, out: Path) -> float:
    """Read every file of a folder in batches, on as many processes as digitd has workers."""
    files = sorted(folder.iterdir())
    batches = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
    workers = worker_count("auto")
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=worker.settle_in,
        initargs=(threads,),
    ) as pool:
        read = partial(_read, out)
        # Several each, so that every process has loaded and compiled.
        list(pool.map(read, batches[:1] * workers * 4))
        started = time.perf_counter()
        count = sum(pool.map(read, batches))
        return count / (time.perf_counter() - started)
