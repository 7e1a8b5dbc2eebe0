"""A running digitd, measured from outside: its times, its memory and its processor time."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from support.daemon import DIGITD, Box, Daemon

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


class TimedDaemon(Daemon):
    """A running digitd with the settings that a user has; seconds are of ``time.perf_counter``."""

    def __init__(self, box: Box, command: list[str] = DIGITD) -> None:
        """Start it."""
        self.started = time.perf_counter()
        super().__init__(box, command)

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop(_PATIENCE_SECONDS)

    def wait(self, condition: Callable[[], bool], pause: float) -> float:
        """Wait for a condition; return the seconds since the start."""
        self.until(condition, "a benchmark's files", _PATIENCE_SECONDS, pause)
        return time.perf_counter() - self.started

    def wait_until_ready(self) -> float:
        """Wait until a worker has its model."""
        return self.wait(lambda: "is ready" in self.log, 0.01)

    def wait_for_rows(self, count: int) -> float:
        """Wait until the table has this many rows; look only every 0.2 s, as looking takes time."""
        table = self.box.table
        return self.wait(lambda: table.exists() and table.read_bytes().count(b"\n") > count, 0.2)

    def wait_for_growth(self, size: int) -> float:
        """Wait until the table is longer than that; return the seconds since the start."""
        table = self.box.table
        return self.wait(lambda: table.exists() and table.stat().st_size > size, 0.0005)

    def steady_files_per_second(self) -> float:
        """Rows a second between the first committed batch and the last."""
        times = [datetime.fromisoformat(row["processed_at"]) for row in self.box.rows()]
        after_first = sum(moment > times[0] for moment in times)
        return after_first / (max(times) - times[0]).total_seconds()

    def memory(self) -> Memory:
        """Return the memory of the daemon and its processes, in MB."""
        workers = self.workers()
        return Memory(
            daemon_resident=_megabytes(self.process.pid, "Rss"),
            worker_resident=max(_megabytes(pid, "Rss") for pid in workers),
            worker_proportional=max(_megabytes(pid, "Pss") for pid in workers),
            all_proportional=sum(
                _megabytes(pid, "Pss") for pid in [self.process.pid, *self.children()]
            ),
        )

    def cpu_seconds(self) -> float:
        """Processor time of the daemon and its workers so far."""
        return sum(map(_cpu_seconds, [self.process.pid, *self.workers()]))

    def daemon_cpu_seconds(self) -> float:
        """Processor time of the daemon's own process so far."""
        return _cpu_seconds(self.process.pid)


def _megabytes(pid: int, what: str) -> float:
    """Return the resident (``Rss``) or proportional (``Pss``) memory of a process."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().partition(f"\n{what}:")[2]
    return int(rollup.split()[0]) / 1000 * 1.024


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
