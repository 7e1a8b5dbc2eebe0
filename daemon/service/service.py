"""A daemon's life: startup, loop, shutdown."""

from __future__ import annotations

import ctypes
import logging
import queue
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from os import getpid
from typing import TYPE_CHECKING

from daemon import __version__, config
from daemon.errors import (
    BusyError,
    ConfigError,
    DigitdError,
    ModelError,
    StorageError,
    WorkerStartError,
)
from daemon.intake.claims import Spool
from daemon.intake.inbox import Inbox
from daemon.layout import TABLE
from daemon.ledger.outbox import Outbox
from daemon.ledger.rows import timestamp
from daemon.records import ReadOptions, Status
from daemon.service.notify import notify, watchdog_seconds
from daemon.service.pipeline import Pipeline
from daemon.service.status import Page, PageFile
from daemon.workers import worker
from daemon.workers.pool import Engine, Patience, Work, worker_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from types import FrameType

    from daemon.config import Config
    from daemon.ledger.rows import Row
    from daemon.records import Parcel, Reading

log = logging.getLogger(__name__)

# systemd gives a service 90 s to stop, and people 10: so long may the batches in hand take.
_STOP_SECONDS = 7.0
# After a fault that is not a file's, the next try comes after this, doubled up to the most.
_RETRY_SECONDS, _RETRY_AT_MOST = 0.5, 8.0
# Files looked at while the first worker still loads its model.
_LOOK_AHEAD = 256
# A worker that ends while it starts is started again this often before it is the model's fault.
_START_TRIES = 3
# The status page tells a new state at once and new counts no more often than this; parked
# files are tried again that often.
_PAGE_SECONDS = 1.0
_UNPARK_SECONDS = 30.0


class Bell:
    """Wakes the loop from any thread and from signal handlers: a SimpleQueue is reentrant."""

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Wake whoever waits, or the next who does."""
        self._rings.put(None)

    def wait(self, seconds: float) -> None:
        """Sleep until it rings, and take all rings so far for one."""
        with suppress(queue.Empty):
            self._rings.get(timeout=seconds)
            while True:
                self._rings.get_nowait()


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing is taken in, and when to try again. Seconds of ``time.monotonic``.

    ``batches`` is how many must have been read before the fault counts as passed: for want of a
    worker, one more than at the time.
    """

    why: str
    again_at: float
    delay: float
    batches: int


class Service:
    """One digitd on one config file."""

    def __init__(
        self,
        config_file: Path,
        *,
        once: bool = False,
        tell: Callable[[Row], None] = lambda _: None,
        read: Callable[[ReadOptions, Sequence[Parcel]], list[Reading]] = worker.read,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """Read the config.

        Args:
            config_file: every path in it is relative to its folder.
            once: stop when what is in the inbox now is read.
            tell: hears of each committed row.
            read: runs in the workers; it can be pickled.
            patience: how long it may take.

        Raises:
            ConfigError: something in it is not allowed.
        """
        self._file = config_file
        self._once = once
        self._listener = tell
        self._read = read
        self._patience = patience
        self._bell = Bell()
        self._stopping = self._reloading = False
        self._since = datetime.now(UTC)
        self._counts: Counter[str] = Counter()
        self._ready = self._opened = False
        self._model = self._shown = ""
        self._pause: Pause | None = None
        self._unpark_at = self._page_at = self._ping_at = 0.0
        self._watchdog = watchdog_seconds()
        self._hired: list[Future[Reading]] = []
        self._starts = 0
        self._next: tuple[Config, Engine, Future[Reading]] | None = None
        self._assemble(config.load(config_file))

    def run(self) -> Counter[str]:
        """Read until stopped or, once, until all that was there is read.

        Returns:
            The number of rows by status.

        Raises:
            BusyError: another digitd holds the inbox or the outbox.
            ModelError: the model cannot be used.
            StorageError: reading once, a folder cannot be used.
        """
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            self._startup()
            self._loop()
        finally:
            self._shutdown()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._once and self._pipeline.parked:
            raise StorageError(
                f"{self._pipeline.parked} files have their row but could not be published, "
                "see the log; the next start tries again"
            )
        return self._counts

    @property
    def waiting(self) -> int:
        """Files in the inbox that match, and those in hand."""
        return self._inbox.count() + self._pipeline.in_hand

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._bell.ring()

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reloading = True
        self._bell.ring()

    def _assemble(self, settings: Config, engine: Engine | None = None) -> None:
        """Put the parts together for a config; nothing is opened yet."""
        self._config = settings
        self._inbox = Inbox(settings, self._bell.ring)
        self._spool = Spool(settings.inbox, max_file_mb=settings.max_file_mb)
        self._outbox = Outbox(settings.outbox)
        self._engine = engine or self._make_engine(settings)
        self._pipeline = Pipeline(self._inbox, self._spool, self._engine, self._outbox)
        self._page = PageFile(self._spool.folder)

    def _make_engine(self, settings: Config) -> Engine:
        work = Work(
            # Through self: a reload replaces the spool, and the engine may be older than it.
            load=lambda job: self._spool.load(job),  # noqa: PLW0108
            begin=lambda jobs: self._spool.begin(jobs),  # noqa: PLW0108
            read=partial(self._read, settings.reading),
        )
        return Engine(work, worker_count(settings.workers), self._bell.ring, self._patience)

    def _startup(self) -> None:
        self._open_or_pause()
        # Last, as what was wrong so far needed no seconds of loading.
        self._hired = [self._engine.hire() for _ in range(self._engine.workers)]

    def _open_or_pause(self) -> None:
        try:
            self._open()
        except OSError as error:
            self._pause_for(error)

    def _open(self) -> None:
        """Hold both folders, take up what was left, look for what has come.

        Raises:
            OSError: one cannot be used now; this may be called again, as often as it takes.
        """
        make_folders(self._config)
        self._outbox.tend()
        self._spool.tend()
        self._pipeline.recover()
        self._inbox.open(live=not self._once)
        self._opened = True

    def _loop(self) -> None:
        while True:
            self._turn()
            if self._stopping or self._finished:
                return
            self._bell.wait(self._seconds_to_sleep())

    @property
    def _finished(self) -> bool:
        return (
            self._once
            and self._ready
            and self._opened
            and self._pipeline.in_hand == self._pipeline.parked
            and self._inbox.exhausted
        )

    def _turn(self) -> None:
        """Move everything on as far as it goes now."""
        self._welcome()
        if self._reloading:
            self._begin_reload()
        self._welcome_next()
        now = time.monotonic()
        if self._pause is None or now >= self._pause.again_at:
            try:
                self._progress(now)
            except BusyError:
                raise
            except (OSError, DigitdError) as error:
                # At the start a bad config or a foreign table ends us; now it may pass.
                self._pause_for(error)
            else:
                self._resume()
        self._show(now)

    def _progress(self, now: float) -> None:
        if not self._opened:
            self._open()
        self._outbox.tend()
        if self._spool.tend():
            self._pipeline.recover()
        self._pipeline.collect()
        if now >= self._unpark_at:
            self._unpark_at = now + _UNPARK_SECONDS
            self._pipeline.unpark()
        self._pipeline.settle(self._tell)
        self._inbox.tend()
        if self._ready:
            changing_over = self._next is not None and self._next[2].done()
            self._pipeline.feed(self._config.batch_size, fresh=not changing_over)
        else:
            # Claim nothing yet, but let the quiet time of unfinished files begin.
            self._inbox.look(_LOOK_AHEAD)

    def _welcome(self) -> None:
        """See which workers have read the known digit; the first one makes us ready."""
        for future in [future for future in self._hired if future.done()]:
            self._hired.remove(future)
            try:
                reading = future.result()
            except WorkerStartError as error:
                self._starts += 1
                if self._starts >= _START_TRIES and not self._ready:
                    raise
                log.warning("%s: starting another", error)
                self._hired.append(self._engine.hire())
            else:
                self._be_ready(reading)

    def _be_ready(self, reading: Reading) -> None:
        if self._ready:
            return
        self._ready = True
        self._model = reading.model
        log.info(
            "digitd %s is ready: drop %s into %s, answers go to %s (%s, workers: %d, model: %s)",
            __version__,
            self._config.pattern,
            self._config.inbox,
            self._config.outbox / TABLE,
            "reading once" if self._once else f"watching by {self._inbox.mode}",
            self._engine.workers,
            reading.model,
        )
        notify(f"READY=1\nSTATUS=reading {self._config.inbox}")

    def _begin_reload(self) -> None:
        """Read the config again and start workers on it; the old ones go on meanwhile."""
        self._reloading = False
        if self._once or self._next is not None:
            return
        try:
            settings = config.load(self._file)
            make_folders(settings)
        except (DigitdError, OSError) as error:
            log.error("not reloaded, the settings stay as they are: %s", error)  # noqa: TRY400 - its text says it all
            return
        log.info("reloading %s", self._file)
        engine = self._make_engine(settings)
        self._next = (settings, engine, engine.hire())

    def _welcome_next(self) -> None:
        """Change over to reloaded settings when a worker is ready and nothing is in hand."""
        if self._next is None:
            return
        settings, engine, first = self._next
        if not first.done():
            return
        try:
            reading = first.result()
        except ModelError as error:
            log.error("not reloaded, the model stays as it is: %s", error)  # noqa: TRY400 - its text says it all
            engine.close()
            self._next = None
            return
        if self._pipeline.in_hand:
            return
        self._next = None
        self._close()
        self._assemble(settings, engine)
        self._ready = self._opened = False
        self._pause = None
        self._hired = [engine.hire() for _ in range(engine.workers - 1)]
        self._open_or_pause()
        self._be_ready(reading)

    def _tell(self, row: Row) -> None:
        verdict = row.verdict
        self._counts[verdict.status] += 1
        sure = "" if verdict.confidence is None else f" ({verdict.confidence:.1%})"
        match verdict.status:
            case Status.OK:
                log.info("%s: %s%s", row.file, verdict.digit, sure)
            case Status.UNSURE:
                guess = "" if verdict.digit is None else f", perhaps {verdict.digit}{sure}"
                log.info("%s: unsure%s: %s", row.file, guess, verdict.reason)
            case Status.ERROR:
                log.warning("%s: error: %s; it is now %s", row.file, verdict.reason, row.original)
        self._listener(row)

    def _pause_for(self, error: OSError | DigitdError) -> None:
        """Pause: what is wrong is no file's fault. Say so once, and try again by ourselves."""
        why = _plain(error) if isinstance(error, OSError) else str(error)
        if self._once:
            raise error if isinstance(error, DigitdError) else StorageError(why) from error
        before = self._pause
        if before is None or before.why != why:
            log.error("paused, files stay in the inbox: %s", why)
        delay = _RETRY_SECONDS if before is None else min(2 * before.delay, _RETRY_AT_MOST)
        batches = self._pipeline.batches + isinstance(error, ModelError)
        self._pause = Pause(why, time.monotonic() + delay, delay, batches)

    def _resume(self) -> None:
        if self._pause is not None and self._pipeline.batches >= self._pause.batches:
            log.info("going on: the fault has passed (%s)", self._pause.why)
            self._pause = None

    def _show(self, now: float) -> None:
        """Say how we are: to systemd, and on the status page."""
        if self._watchdog is not None and now >= self._ping_at:
            self._ping_at = now + self._watchdog / 4
            notify("WATCHDOG=1")
        state = "paused" if self._pause else "running" if self._ready else "starting"
        if state != self._shown or now >= self._page_at:
            self._page_at = now + _PAGE_SECONDS
            self._shown = state
            self._write_page(state)
            _give_memory_back()

    def _write_page(self, state: str) -> None:
        page = Page(
            pid=getpid(),
            since=timestamp(self._since),
            state=state,
            why=self._pause.why if self._pause else "",
            watch=self._inbox.mode,
            model=self._model,
            in_work=self._pipeline.in_hand,
        )
        # The folder may be what is missing; the log has said so.
        with suppress(OSError):
            if self._page.show(page):
                notify(f"STATUS={state}: {page.why or self._config.inbox}")

    def _seconds_to_sleep(self) -> float:
        now = time.monotonic()
        seconds = self._inbox.seconds_until_due()
        if self._pause is not None:
            seconds = max(seconds, self._pause.again_at - now)
        if self._watchdog is not None:
            seconds = min(seconds, self._ping_at - now)
        return max(0.0, min(seconds, _RETRY_AT_MOST))

    def _shutdown(self) -> None:
        """Finish the batches in hand if there is time; the rest keeps until the next start."""
        notify("STOPPING=1")
        self._pipeline.cancel()
        deadline = time.monotonic() + _STOP_SECONDS
        if self._opened:
            try:
                while self._pipeline.working and time.monotonic() < deadline:
                    self._bell.wait(deadline - time.monotonic())
                    self._pipeline.collect()
                self._pipeline.settle(self._tell)
            except (OSError, DigitdError) as error:
                log.warning("stopping with files in hand, for the next start: %s", error)
            self._write_page("stopped")
        if self._next is not None:
            self._next[1].close()
        self._close()
        log.info("stopped after %s", summary(self._counts))

    def _close(self) -> None:
        self._engine.close()
        self._inbox.close()
        self._spool.close()
        self._outbox.close()


def make_folders(settings: Config) -> None:
    """Make the inbox and the outbox where they are missing.

    Raises:
        ConfigError: one cannot be made by anybody: what it should lie in is missing, or no
            folder, or not ours to write.
        OSError: it cannot be made now (disk full, read-only).
    """
    for key, folder in (("inbox", settings.inbox), ("outbox", settings.outbox)):
        try:
            folder.mkdir(mode=0o770, exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise ConfigError(
                f"{key}: {folder} is no folder and cannot be made one ({error.strerror}): "
                "make it, or name another in the config"
            ) from None


def _give_memory_back() -> None:
    """Have glibc return what is free to the system.

    Pictures pass through by the hundred, and leave holes that it would keep: over 100,000
    files the daemon grew from 40 to 53 MB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not every C library has it
    if trim is not None:
        trim(0)


def summary(counts: Counter[str]) -> str:
    """Say how many rows there were, by status."""
    parts = (f"{counts[status]} {status}" for status in Status)
    return f"{counts.total()} files: {', '.join(parts)}"


def _plain(error: OSError) -> str:
    place = error.filename or error.filename2
    return f"{place}: {error.strerror}" if place else str(error)
