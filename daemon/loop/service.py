"""Run the daemon: handle signals, run one session after another, reload."""

import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from daemon import config
from daemon.config import Config
from daemon.errors import DigitdError, StorageError, describe
from daemon.loop import folders
from daemon.loop.bell import Bell
from daemon.loop.metrics import Metrics
from daemon.loop.session import Session
from daemon.loop.status import files_left
from daemon.outbox.rows import Row, timestamp
from daemon.records import Status
from daemon.systemd.notify import notify
from daemon.workers import worker
from daemon.workers.batch import Read
from daemon.workers.process import Patience
from daemon.workers.readers import Readers
from daemon.workers.start import readers

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """The daemon's progress.

    Attributes:
        state: starting, running or paused.
        rows: the number of rows written since the start, by status.
        backlog: the number of files that are known and not published yet.
    """

    state: str
    rows: Counter[str]
    backlog: int


class Service:
    """One instance of digitd with one config file."""

    def __init__(
        self,
        config_file: Path,
        *,
        once: bool = False,
        on_row: Callable[[Row], None] = lambda _: None,
        on_turn: Callable[[Progress], None] | None = None,
        read: Read = worker.read,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """Read the config; see ``config.load`` for what is raised.

        Args:
            config_file: relative paths in it are relative to its folder.
            once: stop when the files now in the inbox are read.
            on_row: gets each committed row.
            on_turn: gets the progress in every iteration of the loop.
            read: reads a batch of parcels in a worker; must be picklable.
            patience: the timeouts of a worker.
        """
        self._file = config_file
        self._once = once
        self._on_row = on_row
        self._on_turn = on_turn
        self._read = read
        self._patience = patience
        self._config = config.load(config_file)
        self._bell = Bell()
        self._is_stopping = self._is_reload_asked = False
        self._new = self._config  # settings being tried, and the pool that tries them
        self._trial: Readers | None = None
        self._counts: Counter[str] = Counter()
        self._metrics = Metrics()

    @property
    def waiting(self) -> int:
        """The number of matching files in the inbox and of files that an earlier run claimed."""
        return files_left(self._config)

    def run(self) -> Counter[str]:
        """Read files until stopped, or with ``once`` until none is left; return rows by status.

        Raises:
            BusyError: another digitd holds the inbox or the outbox.
            ConfigError, ModelError: a folder or the model cannot be used.
            StorageError: with ``once``, a folder cannot be used now.
        """
        since = timestamp(datetime.now(UTC))
        is_reloaded = True
        with self._signals():
            while is_reloaded:
                settings = self._config
                pool = self._readers(settings)
                session = Session(
                    settings,
                    pool,
                    self._bell,
                    self._count,
                    self._metrics,
                    once=self._once,
                    since=since,
                )
                try:
                    session.start()
                    is_reloaded = self._loop(session)
                finally:
                    session.stop()
        log.info("stopped after %s", summary(self._counts))
        if session.parked and self._once:
            raise StorageError(
                f"{session.parked} files have their row but could not be published, see the log; "
                "the next start tries again"
            )
        return self._counts

    def _loop(self, session: Session) -> bool:
        """Run a session until it ends; return whether to start another one."""
        while True:
            session.turn()
            if self._on_turn is not None:
                self._on_turn(Progress(session.state, self._counts, session.backlog))
            if self._is_stopping or session.is_finished:
                notify("STOPPING=1")
                return False
            if self._is_reloaded(session.config):
                return True
            session.wait(self._trial)

    def _is_reloaded(self, in_force: Config) -> bool:
        """Advance a reload after SIGHUP; return whether the new settings passed all checks.

        The session keeps running while one extra worker reads the known digit with the new model.
        """
        try:
            if self._is_reload_asked:
                self._is_reload_asked = False
                self._end_trial()
                log.info("reloading %s", self._file)
                self._new = config.load(self._file)
                folders.check(self._new, in_force)
                self._trial = self._readers(self._new, workers=1)
            if self._trial is None:
                return False
            self._trial.tend()
            if self._trial.fault is not None:
                raise self._trial.fault
            if self._trial.known is None:
                return False
            self._config = self._new
        except (OSError, DigitdError) as error:
            log.error("not reloaded, the settings stay unchanged: %s", describe(error))
        self._end_trial()
        return self._config is not in_force

    def _readers(self, settings: Config, workers: int | None = None) -> Readers:
        return readers(settings, workers, self._read, self._patience)

    def _end_trial(self) -> None:
        if self._trial is not None:
            self._trial.close()
            self._trial = None

    def _count(self, row: Row) -> None:
        self._counts[row.verdict.status] += 1
        self._metrics.row(row)
        _log(row)
        self._on_row(row)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Install signal handlers that only set flags and wake the loop."""
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            self._end_trial()
            for number, handler in before.items():
                signal.signal(number, handler)
            self._bell.close()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        self._bell.ring()

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self._is_reload_asked = not self._once
        self._bell.ring()


def summary(counts: Counter[str]) -> str:
    """Return the number of rows by status, as text."""
    parts = (f"{counts[status]} {status}" for status in Status)
    return f"{counts.total()} {'file' if counts.total() == 1 else 'files'}: {', '.join(parts)}"


def _log(row: Row) -> None:
    verdict = row.verdict
    sure = "" if verdict.confidence is None else f" ({verdict.confidence:.1%})"
    extra = {"status": verdict.status, "row": row}
    match verdict.status:
        case Status.OK:
            log.info("%s: %s%s", row.file, verdict.digit, sure, extra=extra)
        case Status.UNSURE:
            guess = "" if verdict.digit is None else f", perhaps {verdict.digit}{sure}"
            log.info("%s: unsure%s: %s", row.file, guess, verdict.reason, extra=extra)
        case Status.ERROR:
            text = "%s: error: %s; it is now %s"
            log.warning(text, row.file, verdict.reason, row.original, extra=extra)
