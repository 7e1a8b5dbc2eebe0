"""Run one configuration: open the folders, process files, close the folders."""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from daemon import __version__
from daemon.config import Config
from daemon.errors import BusyError, ClusterError, DigitdError, StorageError, describe
from daemon.inbox.claims import Claims
from daemon.inbox.inbox import Inbox
from daemon.inbox.listing import Listing
from daemon.layout import TABLE
from daemon.loop import folders
from daemon.loop.bell import Bell
from daemon.loop.metrics import Metrics
from daemon.loop.pipeline import Pipeline
from daemon.loop.status import RUNNING, STOPPED, Page, StatusPage
from daemon.outbox.drift import DriftMonitor
from daemon.outbox.outbox import Outbox
from daemon.outbox.retention import Retention
from daemon.outbox.rows import Row
from daemon.systemd.notify import notify
from daemon.workers.readers import Readers

log = logging.getLogger(__name__)

# Time to finish the batches in flight when stopping. systemd waits 90 s by default, people 10 s.
_STOP_SECONDS = 7.0
# Backoff after a fault that no file caused, in seconds: the first delay, doubled up to the maximum.
_RETRY_SECONDS, _RETRY_AT_MOST = 0.5, 8.0
# How often publishing is retried for files that could not be published for their own reasons.
_UNPARK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Pause:
    """Why intake is paused, and when to try again, in seconds of ``time.monotonic``."""

    why: str
    delay: float
    again_at: float


class Session:
    """The time from opening the folders of one config to closing them; once or continuously."""

    def __init__(
        self,
        config: Config,
        pool: Readers,
        bell: Bell,
        on_row: Callable[[Row], None],
        metrics: Metrics,
        *,
        once: bool,
        since: str,
    ) -> None:
        """Take the components; this opens no folder and starts no worker.

        Args:
            config: the settings.
            pool: a pool with these settings.
            bell: wakes the loop.
            on_row: gets each committed row.
            metrics: counts what this session does.
            once: finish when the files now in the inbox are read.
            since: when digitd started.
        """
        self.config = config
        self._pool = pool
        self._bell = bell
        self._once = once
        self._since = since
        self._inbox = Inbox(config, bell.ring)
        self._claims = Claims(config.inbox)
        self._outbox = Outbox(config.outbox, daily=config.folders == "daily")
        self._retention = Retention(config.outbox, config.keep_days)
        self._pipeline = Pipeline(
            self._inbox, self._claims, pool, self._outbox, self._count, metrics.batch
        )
        self._on_row = on_row
        self._drift = DriftMonitor(config.outbox)
        self._metrics = metrics
        self._status = StatusPage(config.inbox)
        self._pause: _Pause | None = None
        self._is_open = self._is_ready = False
        self._unpark_at = 0.0

    def start(self) -> None:
        """Open the folders; after a temporary fault, pause.

        Raises:
            DigitdError: another digitd holds one, or one cannot be used as configured.
        """
        try:
            self._open()
        except OSError as error:
            self._pause_for(error)
        log.info("starting %s and loading the model", self._pool.title)

    def turn(self) -> None:
        """Do all work that can be done now without waiting.

        Raises:
            BusyError: another digitd has locked a folder that was missing for a while.
            ModelError: no worker ever became ready, because the model cannot be used.
            DigitdError: with ``once``, any fault that would otherwise pause the daemon.
        """
        self._pipeline.collect()
        self._welcome_first_worker()
        if self._pause is None or time.monotonic() >= self._pause.again_at:
            try:
                self._progress()
            except BusyError:
                raise
            except (OSError, DigitdError) as error:
                self._pause_for(error)
            else:
                self._resume()
        self._status.show(self.page)
        if self.config.metrics_file is not None and self._metrics.is_due:
            self._write_metrics(self.config.metrics_file)

    def wait(self, trial: Readers | None) -> None:
        """Sleep until there is work for this session or for the pool that a reload tries."""
        if self._pause is None:
            seconds = min(self._inbox.seconds_until_due(), self._retention.seconds_until_due())
        else:
            seconds = self._pause.again_at - time.monotonic()
        seconds = min(seconds, self._status.seconds_until_ping(), _RETRY_AT_MOST)
        if self.config.metrics_file is not None:
            seconds = min(seconds, self._metrics.seconds_until_due)
        pools = [self._pool] if trial is None else [self._pool, trial]
        self._bell.wait(
            [each for pool in pools for each in pool.waitables],
            max(0.0, min(seconds, *(pool.seconds_until_due() for pool in pools))),
        )

    @property
    def is_finished(self) -> bool:
        """Whether, with ``once``, all files are done except those that cannot be published."""
        return (
            self._once
            and self._is_open
            and self._is_ready
            and self._inbox.exhausted
            and self._pipeline.in_hand == self._pipeline.parked
        )

    @property
    def backlog(self) -> int:
        """The number of files that are known and not published yet."""
        return self._inbox.waiting + self._pipeline.in_hand

    @property
    def parked(self) -> int:
        """The number of files that have their row but could not be published."""
        return self._pipeline.parked

    @property
    def state(self) -> str:
        """Whether it is starting, running or paused."""
        if self._pause is not None:
            return "paused"
        return RUNNING if self._is_ready else "starting"

    @property
    def page(self) -> Page:
        """What ``digitd status`` shows of this session."""
        return Page(
            pid=os.getpid(),
            since=self._since,
            state=self.state,
            why=self._pause.why if self._pause else "",
            watch=self._inbox.mode,
            model=self._pool.known.model if self._pool.known else "",
            in_work=self._pipeline.in_hand,
        )

    def stop(self) -> None:
        """Finish the batches in flight if there is time, and close everything.

        Unfinished files stay in the work folder for the next start.
        """
        deadline = time.monotonic() + _STOP_SECONDS
        try:
            while self._pool.busy and (left := deadline - time.monotonic()) > 0:
                self._bell.wait(self._pool.waitables, left)
                self._pipeline.collect()
            self._pipeline.take_back()
            self._pipeline.commit()
            self._pipeline.publish()
        except (OSError, DigitdError) as error:
            log.warning("stopped early, the next start finishes the rest: %s", describe(error))
        if self._is_open:
            self._status.show(replace(self.page, state=STOPPED))
        if self.config.metrics_file is not None:
            self._write_metrics(self.config.metrics_file)
        self._drift.close()
        self._pool.close()
        self._inbox.close()
        self._claims.close()
        self._outbox.close()

    def _open(self) -> None:
        """Lock both folders, recover what an earlier run left, start watching the inbox."""
        folders.make(self.config)
        self._outbox.ensure_open()
        self._drift.open()
        self._claims.tend()
        self._pipeline.recover()
        self._inbox.open(live=not self._once)
        self._is_open = True

    def _progress(self) -> None:
        if self._pool.fault is not None:
            raise self._pool.fault
        if not self._is_open:
            self._open()
        self._outbox.ensure_open()
        if self._claims.tend():
            self._pipeline.recover()
        self._inbox.tend()
        # Feed the workers first, so that they read while rows are written.
        if self._is_ready:
            self._pipeline.feed(self.config.batch_size)
        self._pipeline.commit()
        if time.monotonic() >= self._unpark_at:
            self._unpark_at = time.monotonic() + _UNPARK_SECONDS
            self._pipeline.unpark()
        self._pipeline.publish()
        self._retention.run_if_due()
        self._drift.run_if_due()

    def _count(self, row: Row) -> None:
        self._drift.count(row)
        self._on_row(row)

    def _welcome_first_worker(self) -> None:
        if self._is_ready:
            return
        fault = self._pool.fault
        if isinstance(fault, ClusterError):
            # It pauses intake until the other machines answer; systemd doesn't wait for them.
            notify("READY=1")
            return
        if fault is not None:
            raise fault
        if self._pool.known is None:
            return
        self._is_ready = True
        log.info(
            "digitd %s is ready: drop %s into %s, answers go to %s (%s, %s, model: %s)",
            __version__,
            " or ".join(self.config.pattern),
            self.config.inbox,
            self.config.outbox / TABLE,
            "reading once" if self._once else f"watching by {self._inbox.mode}",
            self._pool.title,
            self._pool.known.model,
        )
        notify(f"READY=1\nSTATUS=reading {self.config.inbox}")

    def _write_metrics(self, file: Path) -> None:
        # The session may be paused and not know yet what came.
        arrived = Listing(self.config.inbox, self.config.pattern).waiting()
        claimed = self._pipeline.claimed_at
        self._metrics.write(
            file,
            paused=self._pause is not None,
            waiting=arrived.count + len(claimed),
            oldest_seconds=max(0.0, time.time() - min(arrived.since, *claimed, math.inf)),
            restarts=self._pool.replaced,
            drifts=len(self._drift.differences),
            model=self._pool.known.model if self._pool.known else "",
        )

    def _pause_for(self, fault: OSError | DigitdError) -> None:
        """Pause for a fault that no file caused; with ``once``, raise it."""
        why = describe(fault)
        if self._once:
            raise fault if isinstance(fault, DigitdError) else StorageError(why)
        before = self._pause
        if before is None or before.why != why:
            log.error("paused, files stay in the inbox: %s", why)
        delay = _RETRY_SECONDS if before is None else min(2 * before.delay, _RETRY_AT_MOST)
        self._pause = _Pause(why, delay, time.monotonic() + delay)

    def _resume(self) -> None:
        if self._pause is not None:
            log.info("resumed, no longer a problem: %s", self._pause.why)
            self._pause = None
