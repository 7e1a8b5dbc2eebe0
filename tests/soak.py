"""Soak test: a million files while days pass, tables are rotated and old files are deleted.

``python -m tests.soak [--files 1000000]``

A minute counts as a day (see ``support.fast_days``). What the daemon's main process uses is printed
for each part of the files; at the end the books are audited.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from daemon.layout import TABLE
from support import fast_days
from support.daemon import Box, Daemon, digitd
from support.stand_in import png_like
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAST_DAYS = [sys.executable, "-m", "support.fast_days"]
_KEPT_SECONDS = 150.0
_NAMES = 40_000  # a name comes again, when its file is still there and when it is not
_MOST_WAITING = 4000
_BAD_ONE_IN = 500
_PARTS = 20


@dataclass(frozen=True)
class Sample:
    """What a process uses: RSS, open descriptors, and all bytes it has read."""

    files: int
    moment: float
    memory_mb: float
    descriptors: int
    read_mb: float

    @classmethod
    def take(cls, pid: int, files: int) -> Self:
        process = Path(f"/proc/{pid}")
        lines = [*(process / "status").open(), *(process / "io").open()]
        about = dict(line.split(":", 1) for line in lines)
        return cls(
            files,
            time.monotonic(),
            int(about["VmRSS"].split()[0]) / 1000,
            len(list((process / "fd").iterdir())),
            int(about["rchar"]) / 1e6,
        )


class Flow:
    """Drops files as fast as they are read, and rotates the table at the end of each day."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.rotations = 0
        self._rows_before = 0  # in rotated tables
        self._size = 0
        self._rows = 0
        self._next_day = time.monotonic() + fast_days.DAY_SECONDS

    def drop(self, count: int) -> Iterator[int]:
        """Drop so many files; yield how many there are so far."""
        for number in range(count):
            kind = "bad" if number % _BAD_ONE_IN == 0 else "fine"
            # An existing name in the inbox would be overwritten.
            name = f"digit{number % _NAMES}.png"
            self.box.drop(name, png_like(f"{kind} {number}"))
            if number % 500 == 0:
                until(lambda n=number: n - self.rows() < _MOST_WAITING, "rows", 300)  # type: ignore[misc]
                self._rotate_when_due()
            yield number + 1

    def rows(self) -> int:
        """Return the number of rows in all tables; only what was appended is read."""
        with (self.box.outbox / TABLE).open("rb") as table:
            table.seek(self._size)
            new = table.read()
        self._size += len(new)
        self._rows += new.count(b"\n")
        return self._rows_before + max(0, self._rows - 1)

    def _rotate_when_due(self) -> None:
        if time.monotonic() < self._next_day:
            return
        self._next_day += fast_days.DAY_SECONDS
        self.rotations += 1
        moved = self.box.outbox / f"{TABLE}-{self.rotations:03}"
        (self.box.outbox / TABLE).rename(moved)
        table = self.box.outbox / TABLE
        until(table.exists, "a new table")
        self._rows_before += moved.read_bytes().count(b"\n") - 1
        self._size = self._rows = 0


@click.command()
@click.option("--files", default=1_000_000, show_default=True)
def main(files: int) -> None:
    """Read files for many simulated days."""
    with tempfile.TemporaryDirectory(prefix="digitd-soak-") as folder:
        box = Box(Path(folder))
        box.configure(
            model="model.keras",
            folders="daily",
            keep_days=f"{_KEPT_SECONDS / 86400:.6f}",
            workers=2,
            settle_seconds=0.2,
        )
        (box.folder / "model.keras").write_bytes(b"a model")
        flow = Flow(box)
        samples = []
        began = time.monotonic()
        with Daemon(box, _FAST_DAYS) as running:
            running.wait_for_log("is ready")
            for number in flow.drop(files):
                if number % (files // _PARTS) == 0:
                    samples.append(Sample.take(running.process.pid, flow.rows()))
                    _show(samples[-2:])
            until(lambda: flow.rows() >= files, "every row", 600)
            box.wait_until_settled()
            assert running.stop() == 0
        hours = (time.monotonic() - began) / fast_days.DAY_SECONDS * 24
        click.echo(f"{flow.rows()} rows, {flow.rotations} rotations, {hours:.0f} simulated hours")
        box.configure(keep_days="null")
        for command in ("audit", "status"):
            started = time.monotonic()
            done = digitd(command, "--config", box.config)
            click.echo(f"{command}, {time.monotonic() - started:.1f} s:\n{done.stdout[-2000:]}")
            click.echo(done.stderr[-2000:])


def _show(last: list[Sample]) -> None:
    for before, now in pairwise(last):
        files = max(1, now.files - before.files)  # none is read yet in a short run
        click.echo(
            f"{now.files:9,} files: {files / (now.moment - before.moment):5.0f} files/s, "
            f"{now.memory_mb:5.0f} MB, {now.descriptors} descriptors, "
            f"{(now.read_mb - before.read_mb) / files * 1000:.2f} kB read a file"
        )


if __name__ == "__main__":
    main()
