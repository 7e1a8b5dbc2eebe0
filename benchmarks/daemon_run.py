"""One digitd on a folder of its own, timed from outside: what it says, writes and uses."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_SECONDS = 3600.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes; proportional ones count a page that several processes share in parts."""

    daemon_resident: float
    worker_resident: float
    worker_proportional: float
    all_proportional: float


class DaemonRun:
    """A running digitd; seconds are of ``time.perf_counter``."""

    def __init__(self, folder: Path) -> None:
        """Prepare the folders; ``start`` starts it."""
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.inbox.mkdir(parents=True)
        self.outbox.mkdir()
        self._config = folder / "config.yaml"
        self._config.write_text("")
        self._log = folder / "log"
        self.table = self.outbox / "predictions.csv"
        self.started = 0.0

    def start(self) -> Self:
        """Start it."""
        command = [sys.executable, "-P", "-m", "daemon", "run", "--config", str(self._config)]
        self.started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - ours
        return self

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def wait(self, condition: Callable[[], bool], pause: float = 0.001) -> float:
        """Wait for a condition; return the seconds since the start."""
        deadline = time.perf_counter() + _PATIENCE_SECONDS
        while not condition():
            if time.perf_counter() > deadline or self._process.poll() is not None:
                raise RuntimeError(self._log.read_text())
            time.sleep(pause)
        return time.perf_counter() - self.started

    def wait_until_ready(self) -> float:
        """Wait until a worker has its model."""
        return self.wait(lambda: b"is ready" in self._log.read_bytes(), 0.01)

    def wait_for_rows(self, count: int) -> float:
        """Wait until the table has this many rows; look only every 0.2 s, as looking takes time."""
        return self.wait(lambda: self._lines() > count, 0.2)

    def wait_for_growth(self, size: int) -> float:
        """Wait until the table is longer than that; return the seconds since the start."""
        return self.wait(lambda: self.table.exists() and self.table.stat().st_size > size, 0.0005)

    def rows(self) -> list[dict[str, str]]:
        """Read the table."""
        with self.table.open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))

    def steady_files_per_second(self) -> float:
        """Rows a second between the first committed batch and the last."""
        times = [datetime.fromisoformat(row["processed_at"]) for row in self.rows()]
        after_first = sum(moment > times[0] for moment in times)
        return after_first / (max(times) - times[0]).total_seconds()

    def workers(self) -> list[int]:
        """Return the workers' process ids."""
        pids = self._children()
        return [p for p in pids if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]

    def memory(self) -> Memory:
        """Return the memory of the daemon and its processes, in MB."""
        workers = self.workers()
        return Memory(
            daemon_resident=_megabytes(self._process.pid, "Rss"),
            worker_resident=max(_megabytes(pid, "Rss") for pid in workers),
            worker_proportional=max(_megabytes(pid, "Pss") for pid in workers),
            all_proportional=sum(
                _megabytes(pid, "Pss") for pid in [self._process.pid, *self._children()]
            ),
        )

    def cpu_seconds(self) -> float:
        """Processor time of the daemon and its workers so far."""
        return sum(map(_cpu_seconds, [self._process.pid, *self.workers()]))

    def daemon_cpu_seconds(self) -> float:
        """Processor time of the daemon's own process so far."""
        return _cpu_seconds(self._process.pid)

    def _children(self) -> list[int]:
        """Return the ids of the workers and of multiprocessing's resource tracker."""
        children = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(pid) for file in children for pid in file.read_text().split()]

    def _lines(self) -> int:
        return self.table.read_bytes().count(b"\n") if self.table.exists() else 0


def _megabytes(pid: int, what: str) -> float:
    """Return the resident (``Rss``) or proportional (``Pss``) memory of a process."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().partition(f"\n{what}:")[2]
    return int(rollup.split()[0]) / 1000 * 1.024


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
