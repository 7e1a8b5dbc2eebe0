"""Count what the daemon does, and write it to a file for Prometheus."""

import logging
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, write_to_textfile

from daemon import __version__
from daemon.outbox.rows import Row
from daemon.records import Status

log = logging.getLogger(__name__)

_EVERY_SECONDS = 15.0
_BATCH_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_CONFIDENCES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


class Metrics:
    """The counts of one daemon since its start.

    The names end with the unit, and counters with ``_total``, as Prometheus recommends.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._files = Counter(
            "digitd_files", "Files that got their row.", ["status"], registry=registry
        )
        for status in Status:
            self._files.labels(status)  # an absent series cannot be told from no digitd
        self._confidence = Histogram(
            "digitd_confidence_ratio",
            "Confidence of the rows that have a digit.",
            buckets=_CONFIDENCES,
            registry=registry,
        )
        self._batch = Histogram(
            "digitd_batch_seconds",
            "Time from sending a batch to a worker to its answer.",
            buckets=_BATCH_SECONDS,
            registry=registry,
        )
        self._restarts = Counter(
            "digitd_worker_restarts", "Workers that ended and were replaced.", registry=registry
        )

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"digitd_{name}", text, registry=registry)

        self._heartbeat = gauge("heartbeat_timestamp_seconds", "When this file was written.")
        self._paused = gauge("paused", "1 while intake is paused.")
        self._waiting = gauge("waiting_files", "Files that are known and have no row yet.")
        self._oldest = gauge("oldest_waiting_seconds", "How long the oldest of them has waited.")
        self._drifts = gauge("drifts", "In how many respects today's rows are different.")
        self._build = Gauge(
            "digitd_build_info", "Version and model.", ["version", "model"], registry=registry
        )
        self._replaced = 0
        self._write_at = 0.0
        self._fault = ""

    def row(self, row: Row) -> None:
        """Count a committed row."""
        self._files.labels(row.verdict.status).inc()
        if row.verdict.confidence is not None:
            self._confidence.observe(row.verdict.confidence)

    def batch(self, seconds: float) -> None:
        """Count a batch that was read."""
        self._batch.observe(seconds)

    @property
    def is_due(self) -> bool:
        """Whether the file must be written again."""
        return time.monotonic() >= self._write_at

    @property
    def seconds_until_due(self) -> float:
        """In how many seconds it must."""
        return max(0.0, self._write_at - time.monotonic())

    def write(
        self,
        file: Path,
        *,
        paused: bool,
        waiting: int,
        oldest_seconds: float,
        restarts: int,
        drifts: int,
        model: str,
    ) -> None:
        """Write the file, whole; a fault is logged once and never stops the daemon.

        Args:
            file: its name ends with ``.prom``.
            paused: whether intake is paused.
            waiting: the number of files without a row.
            oldest_seconds: how long the oldest of them has waited.
            restarts: how many workers the pool has replaced; a new pool begins at 0.
            drifts: in how many respects today's rows differ from the reference.
            model: the model's short hash; empty while none is loaded.
        """
        self._write_at = time.monotonic() + _EVERY_SECONDS
        self._heartbeat.set_to_current_time()
        self._paused.set(paused)
        self._waiting.set(waiting)
        self._oldest.set(oldest_seconds)
        self._drifts.set(drifts)
        self._restarts.inc(max(0, restarts - self._replaced))
        self._replaced = restarts
        self._build.clear()
        self._build.labels(__version__, model).set(1)
        try:
            write_to_textfile(str(file), self._registry)
        except OSError as error:
            fault = f"metrics_file: {file} cannot be written: {error.strerror}"
            if fault != self._fault:
                log.warning("%s: create its folder, or let this user write there", fault)
            self._fault = fault
        else:
            self._fault = ""
