"""Run one configuration: open the folders, move files from stage to stage, close the folders."""

import errno
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from daemon import __version__
from daemon.config import Config
from daemon.errors import BusyError, ClusterError, DigitdError, StorageError, describe
from daemon.inbox.claims import Claims
from daemon.inbox.inbox import Inbox
from daemon.inbox.listing import Listing
from daemon.layout import TABLE
from daemon.loop.committer import Committer
from daemon.loop.in_flight import IN_PROGRESS, InFlightTable, Stage
from daemon.loop.metrics import Gauges, Metrics
from daemon.loop.pipeline import Pipeline
from daemon.loop.status import RunHistory, State, StatusPage, StatusSnapshot
from daemon.outbox.drift import DriftMonitor
from daemon.outbox.outbox import Outbox
from daemon.outbox.retention import Retention
from daemon.outbox.rows import Row
from daemon.systemd.notify import notify
from daemon.waiting import Backoff, Wakeup
from daemon.workers.readers import Readers

log = logging.getLogger(__name__)

# Time to finish the batches in flight when stopping. systemd waits 90 s by default, people 10 s.
_STOP_SECONDS = 7.0
# Backoff after a fault that no file caused, in seconds.
_RETRY_SECONDS, _RETRY_AT_MOST = 0.5, 8.0


class Session:
    """The time from opening the folders of one config to closing them; once or continuously.

    Attributes:
        model_fault: why the promoted model is not in use, for the status; empty if it is.
    """

    def __init__(
        self,
        config: Config,
        pool: Readers,
        wakeup: Wakeup,
        on_row: Callable[[Row], None],
        metrics: Metrics,
        *,
        once: bool,
        history: RunHistory,
    ) -> None:
        """Take the components; this opens no folder and starts no worker.

        Args:
            config: the settings.
            pool: readers with these settings.
            wakeup: wakes the loop.
            on_row: gets each committed row.
            metrics: counts what this session does.
            once: finish when the files now in the inbox are read.
            history: of this run of digitd.
        """
        self.config = config
        self.model_fault = ""
        self._pool = pool
        self._wakeup = wakeup
        self._once = once
        self._is_first = True
        self._history = history
        self._inbox = Inbox(config, wakeup.set)
        self._claims = Claims(config.inbox, config.file)
        self._outbox = Outbox(config.outbox, config.file, daily=config.folders == "daily")
        self._retention = Retention(config.outbox, config.keep_days)
        self._drift = DriftMonitor(config.outbox, config.reads)
        self._metrics = metrics
        self._files = InFlightTable()
        self._pipeline = Pipeline(
            self._files,
            self._inbox,
            self._claims,
            pool,
            self._outbox,
            wakeup,
            on_batch=metrics.observe_batch,
        )
        self._committer = Committer(
            self._files,
            self._claims,
            self._outbox,
            wakeup,
            on_row=(self._drift.count, on_row),
            on_change=metrics.count_change,
        )
        self._status = StatusPage(config.inbox)
        self._pause_reason = ""
        self._retry = Backoff(_RETRY_SECONDS, _RETRY_AT_MOST)
        self._is_open = self._is_ready = False

    def start(self, *, is_first: bool = True) -> None:
        """Open the folders.

        Args:
            is_first: whether this is digitd's start. After a reload, a fault is a pause.

        Raises:
            BusyError: another digitd holds one.
            DigitdError, OSError: at digitd's start, one cannot be used.
        """
        self._is_first = is_first
        try:
            self._open()
        except BusyError:
            raise
        except (OSError, DigitdError) as error:
            if is_first:
                raise
            self._pause(error)
        log.info("starting %s and loading the model", self._pool.title)

    def turn(self) -> None:
        """Move every file as far as it can go without waiting.

        Raises:
            BusyError: another digitd has locked a folder that was missing for a while.
            ModelError, OSError: at digitd's start, no worker became ready.
            DigitdError: with ``once``, any fault that would otherwise pause the daemon.
        """
        self._pipeline.collect()  # LOGGED → READING → READ
        self._announce_first_worker()
        if not self._pause_reason or self._retry.is_due:
            try:
                self._ensure_open()
                self._inbox.poll()  # names of files that arrived
                # Feed the workers first, so that they read while rows are written.
                if self._is_ready:
                    self._pipeline.submit(self.config.batch_size)  # names → CLAIMED → LOGGED
                self._committer.commit()  # READ → COMMITTED: the one commit point
                self._committer.publish()  # COMMITTED → in place, and out of the table
                self._retention.run_if_due()
                self._drift.run_if_due()
            except BusyError:
                raise
            except (OSError, DigitdError) as error:
                self._pause(error)
            except MemoryError:
                self._pause(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
            else:
                self._resume()
        self._status.show(self.snapshot)
        if self.config.metrics_file is not None and self._metrics.timer.is_due:
            self._write_metrics(self.config.metrics_file)

    def wait(self, trial: Readers | None = None, at_most: float = math.inf) -> None:
        """Sleep until there is work for this session or for the readers that a reload tries.

        Args:
            trial: these readers, if a reload is in progress.
            at_most: a limit, in seconds.
        """
        if self._pause_reason:
            seconds = self._retry.seconds_left
        else:
            seconds = min(
                self._inbox.seconds_left,
                self._retention.seconds_until_due(),
                self._files.seconds_left,
            )
        seconds = min(seconds, at_most, self._status.seconds_until_ping, _RETRY_AT_MOST)
        if self.config.metrics_file is not None:
            seconds = min(seconds, self._metrics.timer.seconds_left)
        pools = [self._pool] if trial is None else [self._pool, trial]
        self._wakeup.wait(
            [each for pool in pools for each in pool.waitables],
            min(seconds, *(pool.seconds_left for pool in pools)),
        )

    @property
    def is_finished(self) -> bool:
        """Whether, with ``once``, nothing is left to do but publish what cannot be published."""
        files = self._files
        return (
            self._once
            and self._is_open
            and self._is_ready
            and self._inbox.exhausted
            and len(files) == self.unpublished
            and self._retention.seconds_until_due() > 0
        )

    @property
    def backlog(self) -> int:
        """The number of files that are known and not published yet."""
        return self._inbox.waiting + len(self._files)

    @property
    def unfinished(self) -> dict[str, str]:
        """Why files are left in the inbox, by name: they are empty, or another process has them."""
        return dict.fromkeys(self._inbox.empty_files, "empty") | dict.fromkeys(
            self._inbox.open_files, "open in another program"
        )

    @property
    def unpublished(self) -> int:
        """The number of files that have their row but could not be published."""
        return len(self._files.delayed(Stage.COMMITTED))

    @property
    def _publish_error(self) -> str:
        """Why the first of these could not be published."""
        return next((one.publish_error for one in self._files.delayed(Stage.COMMITTED)), "")

    @property
    def state(self) -> State:
        """Whether it is starting, running or paused."""
        if self._pause_reason:
            return State.PAUSED
        return State.RUNNING if self._is_ready else State.STARTING

    @property
    def snapshot(self) -> StatusSnapshot:
        """What ``digitd status`` shows of this session."""
        return StatusSnapshot(
            pid=os.getpid(),
            inbox=str(self.config.inbox),
            outbox=str(self.config.outbox),
            since=self._history.since,
            state=self.state,
            why=self._pause_reason,
            watch=self._inbox.mode,
            model=self._pool.self_test.model if self._pool.self_test else "",
            model_fault=self.model_fault,
            in_work=len(self._files),
            changed=self._metrics.changed,
            unpublished=self.unpublished,
            unpublished_why=self._publish_error,
            open=self._inbox.open_files,
            logged_error=self._history.error,
            reload=self._history.reload,
        )

    def stop(self) -> None:
        """Finish the batches in flight if there is time, and close everything.

        Unfinished files stay in the work folder for the next start.
        """
        deadline = time.monotonic() + _STOP_SECONDS
        files = self._files
        try:
            self._committer.commit()
            while any(files.count(stage) for stage in IN_PROGRESS):
                if (left := deadline - time.monotonic()) <= 0:
                    break
                self._wakeup.wait(self._pool.waitables, left)
                self._pipeline.collect()
                self._committer.commit()
            self._committer.publish()
        except (OSError, DigitdError) as error:
            log.warning("stopped with files in flight, the next start resumes: %s", describe(error))
        self._pipeline.close()
        self._committer.close()
        if self._is_open:
            self._status.show(replace(self.snapshot, state=State.STOPPED))
        if self.config.metrics_file is not None:
            self._write_metrics(self.config.metrics_file)
        self._drift.save()
        self._pool.close()
        self._inbox.close()
        self._claims.close()
        self._outbox.close()

    def _open(self) -> None:
        """Lock both folders, recover what an earlier run left, start watching the inbox."""
        self._outbox.ensure_open()
        self._drift.open()
        self._claims.ensure_open()
        self._pipeline.recover()
        self._inbox.open(live=not self._once)
        self._is_open = True

    def _ensure_open(self) -> None:
        """Open what is not open yet, or was replaced; raise what keeps the readers from reading."""
        if self._pool.error is not None:
            raise self._pool.error
        if not self._is_open:
            self._open()
        self._outbox.ensure_open()
        if self._claims.ensure_open():
            self._pipeline.recover()

    def _announce_first_worker(self) -> None:
        """Tell the log and systemd when the first worker is ready.

        Raises:
            ModelError, OSError: at digitd's start, no worker can become ready.
        """
        if self._is_ready:
            return
        error = self._pool.error
        if isinstance(error, ClusterError):
            # It pauses intake until the other machines answer; systemd doesn't wait for them.
            notify("READY=1")
            return
        if error is not None and self._is_first:
            raise error
        if self._pool.self_test is None:
            return
        self._is_ready = True
        log.info(
            "digitd %s is ready: drop %s into %s, results go to %s (%s, %s, model: %s)",
            __version__,
            " or ".join(self.config.pattern),
            self.config.inbox,
            self.config.outbox / TABLE,
            "reading once" if self._once else f"watching by {self._inbox.mode}",
            self._pool.title,
            self._pool.self_test.model,
        )
        notify(f"READY=1\nSTATUS=reading {self.config.inbox}")

    def _write_metrics(self, file: Path) -> None:
        # A paused session does not poll the inbox, so it may not know what has arrived.
        arrived = Listing(self.config.inbox, self.config.pattern).count()
        without_row = [file for file in self._files if file.stage is not Stage.COMMITTED]
        claimed_at = (file.job.received_at.timestamp() for file in without_row)
        self._metrics.write(
            file,
            Gauges(
                paused=bool(self._pause_reason),
                waiting=arrived.waiting + len(without_row),
                oldest_seconds=max(0.0, time.time() - min(arrived.since, *claimed_at, math.inf)),
                restarts=self._pool.replaced,
                unpublished=self.unpublished,
                drifts=len(self._drift.differences),
                model=self._pool.self_test.model if self._pool.self_test else "",
            ),
        )

    def _pause(self, fault: OSError | DigitdError) -> None:
        """Pause for a fault that no file caused; with ``once``, raise it."""
        reason = describe(fault)
        if self._once:
            raise fault if isinstance(fault, DigitdError) else StorageError(reason)
        if self._pause_reason != reason:
            log.error("paused, files stay in the inbox: %s", reason, extra={"is_pause": True})
        self._pause_reason = reason
        self._retry.fail()

    def _resume(self) -> None:
        if self._pause_reason:
            log.info("resumed, this is resolved: %s", self._pause_reason)
            self._pause_reason = ""
            self._retry.succeed()
