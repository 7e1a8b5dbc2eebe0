"""Run the daemon: handle signals, run one session after another, reload."""

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from daemon import config
from daemon.config import Config
from daemon.errors import DigitdError, StorageError, describe, exit_status
from daemon.inbox.listing import Listing
from daemon.loop.metrics import Metrics
from daemon.loop.promoted import PromotionWatch
from daemon.loop.session import Session
from daemon.loop.startup import check_folders, load_options, make_folders, start_readers
from daemon.loop.status import (
    ReloadOutcome,
    RunHistory,
    State,
    count_files_left,
    record_errors,
)
from daemon.outbox.rows import Row, timestamp
from daemon.records import ReadOptions, Status
from daemon.systemd.notify import notify
from daemon.text import count
from daemon.waiting import Wakeup
from daemon.workers.readers import Readers
from daemon.workers.worker import WorkerSettings

log = logging.getLogger(__name__)


_Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@dataclass(frozen=True, slots=True)
class Progress:
    """The daemon's progress.

    Attributes:
        state: starting, running or paused.
        rows: the number of rows written since the start, by status.
        backlog: the number of files that are known and not published yet.
    """

    state: State
    rows: Counter[str]
    backlog: int


@dataclass(frozen=True, slots=True)
class _Reload:
    """A reload in progress: new settings, and one worker that tries them.

    ``is_promotion``: whether only the model is new.
    """

    config: Config
    settings: WorkerSettings
    trial: Readers
    is_promotion: bool = False


class Service:
    """One instance of digitd with one config file.

    Attributes:
        unfinished: why ``run`` with ``once`` left files in the inbox, by name.
    """

    def __init__(
        self,
        config_file: Path,
        *,
        once: bool = False,
        on_row: Callable[[Row], None] = lambda _: None,
        on_turn: Callable[[Progress], None] | None = None,
        worker_settings: Callable[[ReadOptions], WorkerSettings] = WorkerSettings,
    ) -> None:
        """Read the config; see ``config.load`` and ``load_options`` for what is raised.

        Args:
            config_file: relative paths in it are relative to its folder.
            once: stop when the files now in the inbox are read.
            on_row: gets each committed row.
            on_turn: gets the progress in every iteration of the loop.
            worker_settings: makes the settings of the workers.
        """
        self._file = config_file
        self._once = once
        self._on_row = on_row
        self._on_turn = on_turn
        self._worker_settings = worker_settings
        self._config = config.load(config_file)
        self._settings = worker_settings(load_options(self._config))
        self._wakeup = Wakeup()
        self._is_stopping = self._is_reload_asked = False
        self._reload: _Reload | None = None
        self._config_read_at = 0.0  # at the last reload; see ``ReloadOutcome``
        self._promotion = PromotionWatch(is_live=not once)
        self._counts: Counter[str] = Counter()
        self._metrics = Metrics()
        self._history = RunHistory(timestamp(datetime.now(UTC)))
        self.unfinished: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        """The number of matching files in the inbox and of files that an earlier run claimed."""
        return count_files_left(self._config)

    @property
    def left_alone(self) -> str:
        """What is in the inbox and not read, for people; empty if nothing is."""
        found = Listing(self._config.inbox, self._config.pattern).count()
        parts = []
        if found.ignored:
            parts.append(f"{count(found.ignored, 'file')} (no `pattern` matches the name)")
        if found.folders:
            parts.append(f"{count(found.folders, 'folder')} (move the files into the inbox itself)")
        return ", ".join(parts)

    def run(self) -> Counter[str]:
        """Read files until stopped, or with ``once`` until none is left; return rows by status.

        Raises:
            BusyError: another digitd holds the inbox or the outbox.
            ConfigError, ModelError: a folder or the model cannot be used.
            StorageError, OSError: at the start, or with ``once``, a folder cannot be used now.
        """
        is_first = is_reloaded = True
        with self._handle_signals(), record_errors(self._history):
            make_folders(self._config)
            while is_reloaded:
                session = Session(
                    self._config,
                    start_readers(self._config, self._settings),
                    self._wakeup,
                    self._observe,
                    self._metrics,
                    once=self._once,
                    history=self._history,
                )
                try:
                    session.start(is_first=is_first)
                    is_reloaded = self._loop(session)
                finally:
                    session.stop()
                is_first = False
        self.unfinished = session.unfinished
        if not self._once:  # the command prints a summary
            log.info("stopped after %s", summary(self._counts))
        if session.unpublished and self._once:
            raise StorageError(
                f"{session.unpublished} files have their row but could not be published, see the "
                "log; the next start tries again"
            )
        return self._counts

    def _loop(self, session: Session) -> bool:
        """Run a session until it ends; return whether to start another one."""
        while True:
            session.model_fault = self._promotion.fault
            session.turn()
            if self._on_turn is not None:
                self._on_turn(Progress(session.state, self._counts, session.backlog))
            if self._is_stopping or session.is_finished:
                notify("STOPPING=1")
                return False
            if self._advance_reload():
                return True
            trial = self._reload.trial if self._reload else None
            session.wait(trial, self._promotion.seconds_left)

    def _advance_reload(self) -> bool:
        """Advance a reload; return whether the new settings passed all checks.

        It begins after SIGHUP, or when another model was promoted. The session keeps running while
        one extra worker reads the known digit with the new model.
        """
        is_passed = False
        try:
            if self._is_reload_asked:
                self._is_reload_asked = False
                self._end_reload()
                self._config_read_at = time.monotonic()
                self._promotion.look_now()
                log.info("reloading %s", self._file)
                new = config.load(self._file, may_be_empty=False)
                check_folders(new, self._config)
                self._try(new, load_options(new))
            elif self._reload is None:
                self._try_promoted()
            if self._reload is None:
                return False
            self._reload.trial.poll()
            if self._reload.trial.error is not None:
                raise self._reload.trial.error
            if self._reload.trial.self_test is None:
                return False
            make_folders(self._reload.config, self._config)
            self._take(self._reload)
            is_passed = True
        except (OSError, DigitdError) as error:
            self._refuse(error)
        self._end_reload()
        return is_passed

    def _try_promoted(self) -> None:
        in_use = self._settings.options
        model = self._promotion.find(self._config, in_use.model)
        if model is not None:
            self._try(self._config, replace(in_use, model=model), is_promotion=True)

    def _try(self, new: Config, options: ReadOptions, *, is_promotion: bool = False) -> None:
        """Have one worker try new settings."""
        settings = self._worker_settings(options)
        trial = start_readers(new, settings, workers=1)
        self._reload = _Reload(new, settings, trial, is_promotion)

    def _take(self, reload: _Reload) -> None:
        before, now = self._settings.options.model, reload.settings.options.model
        if now != before:
            log.info("from now on %s reads, no longer %s", now, before)
        self._config, self._settings = reload.config, reload.settings
        if not reload.is_promotion:
            self._history.record_reload(ReloadOutcome(self._config_read_at))

    def _refuse(self, error: OSError | DigitdError) -> None:
        if self._reload is not None and self._reload.is_promotion:
            self._promotion.refuse(error, self._settings.options.model)
            return
        text = f"not reloaded, the settings stay unchanged: {describe(error)}"
        log.error("%s", text)
        self._history.record_reload(ReloadOutcome(self._config_read_at, text, exit_status(error)))

    def _end_reload(self) -> None:
        if self._reload is not None:
            self._reload.trial.close()
            self._reload = None

    def _observe(self, row: Row) -> None:
        self._counts[row.verdict.status] += 1
        self._metrics.count_row(row)
        _log(row)
        self._on_row(row)

    @contextmanager
    def _handle_signals(self) -> Iterator[None]:
        """Install signal handlers that only set flags and wake the loop."""
        handlers: dict[signal.Signals, _Handler] = {
            signal.SIGTERM: self._ask_to_stop,
            signal.SIGINT: self._ask_to_stop,
            signal.SIGHUP: self._ask_to_reload,
            # A writer that comes while the inbox holds a read lease on its file causes this signal,
            # which kills the process by default.
            signal.SIGIO: signal.SIG_IGN,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            self._end_reload()
            for number, handler in before.items():
                signal.signal(number, handler)
            self._wakeup.close()

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        self._wakeup.set()

    def _ask_to_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._is_reload_asked = not self._once
        self._wakeup.set()


def summary(counts: Counter[str]) -> str:
    """Return the number of rows by status, as text."""
    parts = (f"{counts[status]} {status}" for status in Status)
    return f"{count(counts.total(), 'file')}: {', '.join(parts)}"


def _log(row: Row) -> None:
    verdict = row.verdict
    sure = "" if verdict.confidence is None else f" ({verdict.confidence:.1%})"
    extra = {"status": verdict.status, "row": row}
    match verdict.status:
        case Status.OK:
            log.info("%s: %s%s", row.file, verdict.text, sure, extra=extra)
        case Status.UNSURE:
            guess = "" if verdict.text is None else f", perhaps {verdict.text}{sure}"
            log.info("%s: unsure%s: %s", row.file, guess, row.reason, extra=extra)
        case Status.ERROR:
            text = "%s: error: %s; it is now %s"
            log.warning(text, row.file, row.reason, row.original, extra=extra)
