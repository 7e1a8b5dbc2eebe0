"""Measure all of it in one run, print a table, write ``results.md`` and a chart for the README.

``python -m benchmarks.bench [--only NAME] [--large 100000]``
"""

from __future__ import annotations

import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from benchmarks import material, parts, recipe
from benchmarks.chart import draw
from benchmarks.timed import TimedDaemon
from daemon import __version__, ids
from daemon.config import Config
from daemon.inbox.inbox import Inbox
from daemon.outbox import rows
from support.daemon import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Lines = Iterator[tuple[str, str]]

_HERE = Path(__file__).parent
_RECIPE_FILES = 40
_ROUNDS = 5
_FILES = 4000
_DROPS = 60
_PHOTOS = 120
_STREAM_RATE, _STREAM_SECONDS = 200, 60
_IDLE_SECONDS = 30
_OLD_ROWS = 1_000_000


def speed(folder: Path, rates: dict[str, float]) -> Lines:
    """Compare the recipe, the parts' limit and digitd on the same small files, in turns.

    The machine's speed drifts by 10 to 15 % within minutes, so each round measures all three.
    """
    made = folder / "made"
    made.mkdir()
    material.small_pngs(made, _FILES)
    (folder / "out").mkdir()
    measured: dict[str, list[float]] = {_RECIPE: [], _PARTS: [], _DIGITD: []}
    for turn in range(_ROUNDS):
        measured[_RECIPE].append(recipe.files_per_second(made, _RECIPE_FILES))
        for figure in made.glob("*.jpg"):
            figure.unlink()
        measured[_PARTS].append(parts.files_per_second(made, folder / "out"))
        box = Box(folder / f"speed{turn}", {})
        shutil.copytree(made, box.inbox, dirs_exist_ok=True)
        with TimedDaemon(box) as run:
            run.wait_until_ready()
            before = run.daemon_cpu_seconds()
            took = run.wait_for_rows(_FILES)
            rows_and_files = run.daemon_cpu_seconds() - before
            measured[_DIGITD].append(run.steady_files_per_second())
            memory = run.memory()
    for name, each in measured.items():
        rates[name] = statistics.median(each)
        yield f"{name}, files/s", _spread(each, 2 if name == _RECIPE else 0)
    against = [d / r for d, r in zip(measured[_DIGITD], measured[_RECIPE], strict=True)]
    yield "digitd against the tutorial loop, of the same round", f"{_spread(against)}x"
    share = [100 * d / p for d, p in zip(measured[_DIGITD], measured[_PARTS], strict=True)]
    yield "digitd's share of the parts' limit, of the same round", f"{_spread(share)} %"
    yield "with start-up, files/s", f"{_FILES / took:.0f}"
    yield (
        f"a worker after {_FILES} files: resident / proportional, MB",
        f"{memory.worker_resident:.0f} / {memory.worker_proportional:.0f}",
    )
    yield "the daemon: resident, MB", f"{memory.daemon_resident:.0f}"
    yield "daemon, two workers and helpers: proportional, MB", f"{memory.all_proportional:.0f}"
    for part, milliseconds in parts.milliseconds(made).items():
        yield f"one core's time for a file: {part}, ms", f"{milliseconds:.2f}"
    yield (
        "one core's time for a file: claim, row, publish, ms",
        f"{1000 * rows_and_files / _FILES:.2f}",
    )


_RECIPE, _PARTS, _DIGITD = (
    "the tutorial loop",
    "digitd's parts, without claim and row",
    "digitd, rows and pictures on",
)


def _spread(figures: list[float], digits: int = 0) -> str:
    """Return the median of some rounds, with the lowest and the highest."""
    low, high = min(figures), max(figures)
    return f"{statistics.median(figures):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def growth(folder: Path, large: int) -> Lines:
    """Files a second, memory and the time of a scan as more files wait."""
    for count in sorted({1000, 10_000, large}):
        box = Box(folder / f"waiting{count}", {})
        material.small_pngs(box.inbox, count)
        inbox = Inbox(Config(inbox=box.inbox, outbox=box.outbox), wake=lambda: None)
        started = time.perf_counter()
        inbox.open(live=False)
        scan = time.perf_counter() - started
        with TimedDaemon(box) as run:
            run.wait_for_rows(count)
            rate = run.steady_files_per_second()
            daemon = run.memory().daemon_resident
        yield (
            f"{count} waiting: files/s, daemon MB, scan",
            f"{rate:.0f}, {daemon:.0f} MB, {scan:.2f} s",
        )


def latency(folder: Path) -> Lines:
    """Single drops into an idle daemon, what idling costs, and the first row after a start."""
    made = folder / "drops"
    made.mkdir()
    material.small_pngs(made, _DROPS + 1)
    files = sorted(made.iterdir())
    command = [sys.executable, "-P", "-m", "daemon", "predict", str(files[0])]
    walls = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        walls.append(time.perf_counter() - started)
    yield "`digitd predict` of one file, whole process, s", _spread(walls, 2)
    box = Box(folder / "latency", {})
    files.pop().rename(box.inbox / "digit0.png")
    with TimedDaemon(box) as run:
        first = run.wait_for_growth(len(rows.HEADER))
        yield "start -> first row, s", f"{first:.2f}"
        time.sleep(10)  # the second worker settles
        took = []
        chance = np.random.default_rng(7)
        for file in files:
            time.sleep(chance.uniform(0.2, 0.6))
            size = box.table.stat().st_size
            dropped = time.perf_counter()
            file.rename(box.inbox / file.name)
            run.wait_for_growth(size)
            took.append(1000 * (time.perf_counter() - dropped))
        p50, p95 = np.percentile(took, [50, 95])
        yield "drop -> row, p50 / p95, ms", f"{p50:.0f} / {p95:.0f}"
        before = run.cpu_seconds()
        time.sleep(_IDLE_SECONDS)
        idle = (run.cpu_seconds() - before) / _IDLE_SECONDS
        yield "idle, share of a core", f"{idle:.2%}"


def photographs(folder: Path) -> Lines:
    """Photos of 2 megapixels."""
    made = folder / "photos-made"
    made.mkdir()
    material.photos(made, _PHOTOS)
    for part, milliseconds in parts.milliseconds(made).items():
        yield f"one core's time for a 2-megapixel photo: {part}, ms", f"{milliseconds:.2f}"
    box = Box(folder / "photos", {})
    shutil.copytree(made, box.inbox, dirs_exist_ok=True)
    with TimedDaemon(box) as run:
        run.wait_for_rows(_PHOTOS)
        yield "2-megapixel photos, files/s", f"{run.steady_files_per_second():.1f}"


def stream(folder: Path) -> Lines:
    """A live stream of small files: does it keep up, and what does it use?"""
    made = folder / "stream-made"
    made.mkdir()
    count = _STREAM_RATE * _STREAM_SECONDS
    material.small_pngs(made, count)
    files = sorted(made.iterdir())
    box = Box(folder / "stream", {})
    dropped: dict[str, float] = {}
    with TimedDaemon(box) as run:
        run.wait_until_ready()
        before, started = run.cpu_seconds(), time.perf_counter()

        def drop() -> None:
            for number, file in enumerate(files):
                time.sleep(max(0.0, started + number / _STREAM_RATE - time.perf_counter()))
                dropped[file.name] = time.time()
                file.rename(box.inbox / file.name)

        dropping = threading.Thread(target=drop)
        dropping.start()
        dropping.join()
        run.wait_for_rows(count)
        seconds = time.perf_counter() - started
        cores = (run.cpu_seconds() - before) / seconds
    waits = [
        datetime.fromisoformat(row["processed_at"]).timestamp() - dropped[row["file"]]
        for row in box.rows()
    ]
    p50, p95 = np.percentile(waits, [50, 95])
    yield (
        f"{_STREAM_RATE} files/s for {_STREAM_SECONDS} s: done after, drop -> row p50 / p95, cores",
        f"{seconds:.0f} s, {1000 * p50:.0f} / {1000 * p95:.0f} ms, {cores:.2f}",
    )


def old_table(folder: Path) -> Lines:
    """Start with a table of a million rows and an empty inbox, against an empty table."""
    starts: dict[int, list[float]] = {0: [], _OLD_ROWS: []}
    row = ",digit1.png,ok,2,0.996947" + ",0.000057" * 11
    row += ",,annotated/digit1.png,originals/digit1.png," + "0" * 64 + ",799b0ceeb001"
    row += ",2026-11-21T21:19:09.176Z,2026-11-21T21:19:09.176Z\n"
    for turn in range(3):
        for count, seconds in starts.items():
            box = Box(folder / f"old{count}-{turn}", {})
            table = (f"{ids.encode(number)}{row}" for number in range(count))
            box.table.write_text(rows.HEADER + "".join(table))
            with TimedDaemon(box) as run:
                seconds.append(run.wait_until_ready())
    more = statistics.median(starts[_OLD_ROWS]) - statistics.median(starts[0])
    yield f"start with {_OLD_ROWS} rows, more than with none, s", f"{more:+.2f}"


def machine() -> str:
    """Describe what all this was measured on."""
    cpu = (
        Path("/proc/cpuinfo")
        .read_text()
        .partition("model name")[2]
        .partition("\n")[0]
        .strip(": \t")
    )
    load = Path("/proc/loadavg").read_text().split()[0]
    return (
        f"digitd {__version__}, {datetime.now(UTC):%Y-%m-%d}, {cpu}, "
        f"Python {platform.python_version()}, Linux {platform.release().split('-')[0]}, "
        f"load before {load}"
    )


@click.command()
@click.option("--only", help="One of: speed, growth, latency, photographs, stream, old_table.")
@click.option("--large", default=100_000, show_default=True, help="The most files that wait.")
def main(only: str | None, large: int) -> None:
    """Run the benchmarks."""
    described = machine()
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="digitd-bench-") as name:
        folder = Path(name)
        benchmarks: dict[str, Callable[[], Lines]] = {
            "speed": lambda: speed(folder, rates),
            "growth": lambda: growth(folder, large),
            "latency": lambda: latency(folder),
            "photographs": lambda: photographs(folder),
            "stream": lambda: stream(folder),
            "old_table": lambda: old_table(folder),
        }
        table = []
        for title, measure in benchmarks.items():
            if only in {None, title}:
                for line in measure():
                    click.echo(f"{line[0]:72} {line[1]}")
                    table.append(line)
    if only is None:
        text = "".join(f"| {what} | {figure} |\n" for what, figure in table)
        (_HERE / "results.md").write_text(f"{described}\n\n| | |\n|---|---|\n{text}")
        draw(rates, _HERE.parent / "docs" / "bench.png")


if __name__ == "__main__":
    main()
