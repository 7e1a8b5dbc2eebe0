"""The parts alone: their limit on all cores with no books kept, and what each takes."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from daemon.assets import SHIPPED_MODEL
from daemon.config import Config
from daemon.records import FileContent
from daemon.workers import worker
from daemon.workers.pool import worker_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BATCH = 64
_OPTIONS = Config().reading


def _read(out: Path, files: Sequence[Path]) -> int:
    """Read files in batches, and write their pictures."""
    for start in range(0, len(files), _BATCH):
        batch = files[start : start + _BATCH]
        contents = [FileContent(file.name, file.read_bytes()) for file in batch]
        for file, reading in zip(batch, worker.read_with_model(_OPTIONS, contents), strict=True):
            (out / file.name).write_bytes(reading.picture)
    return len(files)


def _workers(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def milliseconds(folder: Path) -> dict[str, float]:
    """Processor time that each part takes for a file of a folder, in batches, on one core."""
    with _workers(1) as pool:
        return pool.submit(_milliseconds, sorted(folder.iterdir())).result()


def _milliseconds(files: Sequence[Path]) -> dict[str, float]:
    from daemon.picture import painter as picture  # noqa: PLC0415 - in the worker alone
    from daemon.reading import eye, image, model, reader  # noqa: PLC0415 - in the worker alone

    network, painter = model.load(SHIPPED_MODEL), picture.Painter()
    took = dict.fromkeys(("decode", "find the digit", "classify", "picture"), 0.0)
    for start in range(0, len(files), _BATCH):
        batch = files[start : start + _BATCH]
        data = [file.read_bytes() for file in batch]
        began = time.process_time()
        pixels = [image.decode(file, max_megapixels=50) for file in data]
        decoded = time.process_time()
        found = [eye.detect(network.segment, each) for each in pixels]
        seen = time.process_time()
        pages = [
            reader.DecodedImage(image.make_thumbnail(p), f)
            for p, f in zip(pixels, found, strict=True)
        ]
        verdicts = reader.judge_all(network, pages, network.unsure_below)
        judged = time.process_time()
        for file, page, verdict in zip(batch, pages, verdicts, strict=True):
            of = page.detection
            painter.paint(
                file.name, verdict, thumbnail=page.thumbnail, glyph=of.glyph, mask=of.mask
            )
        done = time.process_time()
        if start:  # the first batch finds everything cold
            for part, seconds in zip(
                took, (decoded - began, seen - decoded, judged - seen, done - judged), strict=True
            ):
                took[part] += 1000 * seconds / (len(files) - _BATCH)
    return took


def files_per_second(folder: Path, out: Path) -> float:
    """Read every file of a folder on as many processes as digitd has workers.

    Each process gets its whole share at once, so that none ever waits for work.
    """
    files = sorted(folder.iterdir())
    workers = worker_count("auto")
    with _workers(workers) as pool:
        read = partial(_read, out)
        # Several each, so that every process has loaded and compiled.
        list(pool.map(read, [files[:_BATCH]] * workers * 4))
        started = time.perf_counter()
        count = sum(pool.map(read, [files[first::workers] for first in range(workers)]))
        return count / (time.perf_counter() - started)
