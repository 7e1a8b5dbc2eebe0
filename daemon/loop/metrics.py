"""Count what the daemon does, and write it to a file for Prometheus."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from daemon import __version__
from daemon.files import open_replacement
from daemon.outbox.rows import Row
from daemon.records import Status
from daemon.waiting import Timer

log = logging.getLogger(__name__)

_EVERY_SECONDS = 15.0
_BATCH_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_CONFIDENCES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the daemon is at the moment.

    Attributes:
        paused: whether intake is paused.
        waiting: the number of files without a row.
        oldest_seconds: how long the oldest of them has waited.
        restarts: how many workers the readers have replaced; a new session begins at 0.
        unpublished: the number of files that have their row but could not be published.
        drifts: the number of drift tests that fire.
        model: the model's short hash; empty while none is loaded.
    """

    paused: bool
    waiting: int
    oldest_seconds: float
    restarts: int
    unpublished: int
    drifts: int
    model: str


class Metrics:
    """The counts of one daemon since its start.

    The names end with the unit, and counters with ``_total``, as Prometheus recommends.

    Attributes:
        timer: when the file must be written again.
        changed: the number of files that changed between their row and their publication.
    """

    def __init__(self) -> None:
        self.changed = 0
        self.timer = Timer(_EVERY_SECONDS)
        registry = self._registry = CollectorRegistry()
        self._files = Counter(
            "digitd_files", "Files that got their row.", ["status"], registry=registry
        )
        for status in Status:
            self._files.labels(status)  # an absent series cannot be told from no digitd
        self._confidence = Histogram(
            "digitd_confidence_ratio",
            "Confidence of the rows that have a digit or number.",
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
        self._changed = Counter(
            "digitd_changed_files", "Files that changed after their row.", registry=registry
        )

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"digitd_{name}", text, registry=registry)

        self._heartbeat = gauge("heartbeat_timestamp_seconds", "When this file was written.")
        self._paused = gauge("paused", "1 while intake is paused.")
        self._waiting = gauge("waiting_files", "Files that are known and have no row yet.")
        self._oldest = gauge("oldest_waiting_seconds", "How long the oldest of them has waited.")
        self._unpublished = gauge(
            "unpublished_files", "Files that have their row but cannot be published."
        )
        self._drifts = gauge("drifts", "Number of drift tests that fire.")
        self._build = Gauge(
            "digitd_build_info", "Version and model.", ["version", "model"], registry=registry
        )
        self._replaced = 0
        self._error = ""

    def count_row(self, row: Row) -> None:
        """Count a committed row."""
        self._files.labels(row.verdict.status).inc()
        if row.verdict.confidence is not None:
            self._confidence.observe(row.verdict.confidence)

    def observe_batch(self, seconds: float) -> None:
        """Count a batch that was read."""
        self._batch.observe(seconds)

    def count_change(self) -> None:
        """Count a file that changed between its row and its publication."""
        self.changed += 1
        self._changed.inc()

    def write(self, file: Path, gauges: Gauges) -> None:
        """Write the file, whole; an error is logged once and never stops the daemon.

        Args:
            file: its name ends with ``.prom``.
            gauges: what the daemon is at the moment.
        """
        self.timer.restart()
        self._heartbeat.set_to_current_time()
        self._paused.set(gauges.paused)
        self._waiting.set(gauges.waiting)
        self._oldest.set(gauges.oldest_seconds)
        self._unpublished.set(gauges.unpublished)
        self._drifts.set(gauges.drifts)
        self._restarts.inc(max(0, gauges.restarts - self._replaced))
        self._replaced = gauges.restarts
        self._build.clear()
        self._build.labels(__version__, gauges.model).set(1)
        try:
            with open_replacement(file) as new:
                # node_exporter runs as another user, and the unit's umask is 0027.
                os.fchmod(new.fileno(), 0o644)
                new.write(generate_latest(self._registry))
        except OSError as error:
            text = f"metrics_file: {file} cannot be written: {error.strerror}"
            if text != self._error:
                log.error("%s: create its folder, or let this user write there", text)
            self._error = text
        else:
            self._error = ""
