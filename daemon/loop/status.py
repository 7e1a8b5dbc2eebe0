"""Write the daemon's status to disk; read it for ``digitd status``, with counts of the table."""

import json
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import Any

from daemon.config import Config
from daemon.errors import StorageError, describe
from daemon.files import same_path
from daemon.inbox.listing import Listing
from daemon.layout import OUTBOX_LOCK, STATUS_PAGE, WORK_FOLDER, WORK_LOCK, claimed_id
from daemon.locks import Holder, is_held, read_holder
from daemon.outbox.clock import read_boot_id
from daemon.outbox.drift import differences, load
from daemon.outbox.outbox import is_running
from daemon.outbox.rows import parse_number, timestamp
from daemon.outbox.table import RowCounts, count_rows
from daemon.records import Status
from daemon.systemd.notify import notify, watchdog_seconds
from daemon.text import escape, printable
from daemon.waiting import Timer

# One file system block, written whole and in place, so that it can also be written on a full disk.
_PAGE_BYTES = 4096
_BRIEF = ("file", "status", "digit", "confidence", "reason", "processed_at")
_WRITE_SECONDS = 1.0
# The loop takes a turn at least every 8 seconds.
_HEARTBEAT_SECONDS = 15.0
_SILENT_SECONDS = 60.0  # like WatchdogSec of the unit
_TEXT_CHARACTERS = 500  # of a path or an error
_TEXT_BYTES = 1000  # maximum length of a text or list, so that the page nearly always fits


class State(StrEnum):
    """What the daemon is doing."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    HUNG = "hung"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Health:
    """What the daemon is doing.

    Attributes:
        why: the reason if it is paused or hangs.
        model: the id of the model that it reads with; empty if it is not known.
        model_fault: why it does not use the promoted model; empty if it does.
    """

    state: State
    why: str = ""
    model: str = ""
    model_fault: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.why}" if self.why else str(self.state)


@dataclass(frozen=True, slots=True)
class LoggedError:
    """An error that the running daemon logged, and when (ISO 8601 UTC)."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """What came of a reload.

    Attributes:
        read_at: when the config was read, by the machine's monotonic clock, which all its processes
            share; in seconds.
        error: why it was not taken; empty if it was.
        exit_status: of this error.
    """

    read_at: float
    error: str = ""
    exit_status: int = 0


@dataclass(slots=True)
class RunHistory:
    """What the sessions of one run share: when digitd started, its last error and reload."""

    since: str
    error: LoggedError | None = None
    reload: ReloadOutcome | None = None

    def record_reload(self, outcome: ReloadOutcome) -> None:
        """Record what came of a reload; a success resolves the error of a failed one before it."""
        last = self.reload.error if self.reload else ""
        if not outcome.error and self.error and self.error.text == last:
            self.error = None
        self.reload = outcome


class _ErrorRecorder(logging.Handler):
    """Puts each error that is logged into a history, but no pause: the status has that anyway."""

    def __init__(self, history: RunHistory) -> None:
        super().__init__(logging.ERROR)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "is_pause", False):
            at = timestamp(datetime.fromtimestamp(record.created, UTC))
            self._history.error = LoggedError(at, record.getMessage())


@contextmanager
def record_errors(history: RunHistory) -> Iterator[None]:
    """Put each error that digitd logs into a history."""
    recorder, ours = _ErrorRecorder(history), logging.getLogger("daemon")
    ours.addHandler(recorder)
    try:
        yield
    finally:
        ours.removeHandler(recorder)


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """The part of the status that only the running daemon knows. Times are ISO 8601 UTC.

    Attributes:
        model: the id of the model in use; empty while none is loaded.
        model_fault: why the promoted model is not in use; empty if it is.
        inbox, outbox: their paths, by which `digitd check` recognises its own daemon, and `digitd
            status` that the config was changed.
        unpublished: how many files have their row, but could not be published.
        unpublished_why: why the first of them could not.
        changed: how many files changed between the row and their publication, since the start.
        open: the files in the inbox that another process has open.
        logged_error: the last error of this run that is no pause.
        reload: what came of the last reload.
    """

    pid: int
    inbox: str
    outbox: str
    since: str
    state: State
    why: str
    watch: str
    model: str
    model_fault: str
    in_work: int
    changed: int
    unpublished: int
    unpublished_why: str
    open: tuple[str, ...]
    logged_error: LoggedError | None
    reload: ReloadOutcome | None


class StatusPage:
    """The status on disk, and systemd's watchdog. Call ``show`` in every iteration of the loop."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self._path = inbox / WORK_FOLDER / STATUS_PAGE
        self._last: StatusSnapshot | None = None
        self._is_written = False
        self._write_timer = Timer(_WRITE_SECONDS)
        self._heartbeat_timer = Timer(_HEARTBEAT_SECONDS)
        self._boot_id = read_boot_id()
        self._ping_timer = Timer(math.inf if (every := watchdog_seconds()) is None else every / 4)
        if every is None:
            self._ping_timer.restart()

    def show(self, status: StatusSnapshot) -> None:
        """Ping the watchdog; write a new state or reload at once, all else once a second."""
        if self._ping_timer.is_due:
            self._ping_timer.restart()
            notify("WATCHDOG=1")
        last = self._last
        is_news = last is None or (status.state, status.reload) != (last.state, last.reload)
        if not (is_news or self._write_timer.is_due):
            return
        self._write_timer.restart()
        if status != self._last:
            self._last, self._is_written = status, False
            notify(escape(f"STATUS={status.state}: {status.why or self._inbox}"))
        # Whatever the fault of this folder is, it is reported elsewhere.
        with suppress(OSError):
            if self._heartbeat_timer.is_due or not (self._is_written and self._path.exists()):
                self._is_written = False
                self._write(status)
                self._heartbeat_timer.restart()
                self._is_written = True

    @property
    def seconds_until_ping(self) -> float:
        """In how many seconds the watchdog must be pinged; inf if there is none."""
        return self._ping_timer.seconds_left

    def _write(self, status: StatusSnapshot) -> None:
        page = _shorten(asdict(status)) | {
            "open": _as_many_as_fit(status.open),
            # With the clock that no one can set. It is another one after a boot.
            "written_at": time.monotonic(),
            "boot_id": self._boot_id,
        }
        data = json.dumps(page).encode().ljust(_PAGE_BYTES)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o660)
        try:
            os.pwrite(descriptor, data, 0)
            os.ftruncate(descriptor, len(data))  # a long text in another script needs two blocks
        finally:
            os.close(descriptor)


def _shorten(page: dict[str, Any]) -> dict[str, Any]:
    """Return a page whose texts can be shown and fit into a block together."""
    shown: dict[str, Any] = {}
    for key, value in page.items():
        if isinstance(value, dict):
            shown[key] = _shorten(value)
        else:
            shown[key] = escape(value)[:_TEXT_CHARACTERS] if isinstance(value, str) else value
    return shown


def _as_many_as_fit(names: tuple[str, ...]) -> list[str]:
    """Return names as they are shown, no longer than ``_TEXT_BYTES`` together."""
    shown = list(map(printable, names))
    lengths = accumulate(len(json.dumps(name)) for name in shown)
    return [name for name, end in zip(shown, lengths, strict=True) if end <= _TEXT_BYTES]


def read_status(config: Config) -> dict[str, Any]:
    """Return the status of the digitd with this config, running or not.

    The numbers of rows are ``None`` if the outbox cannot be read.
    """
    running = is_running(config.inbox, config.outbox)
    known = _read_page(config) if running else {}
    try:
        found = count_rows(config.outbox)
    except OSError:
        found = RowCounts({}, None, None)
    counts = Listing(config.inbox, config.pattern).count()
    return {
        "running": running,
        "pid": known.get("pid"),
        "since": known.get("since"),
        "state": known.get("state", State.STARTING) if running else State.STOPPED,
        "why": known.get("why", ""),
        "watch": known.get("watch"),
        "model": known.get("model"),
        "model_fault": known.get("model_fault", ""),
        "inbox": printable(str(config.inbox)),
        "outbox": printable(str(config.outbox)),
        "waiting": counts.waiting,
        "empty": counts.empty,
        "open": known.get("open", []),
        "ignored": counts.ignored,
        "folders": counts.folders,
        "in_work": _count_claimed(config.inbox / WORK_FOLDER),
        "changed": known.get("changed", 0),
        "unpublished": known.get("unpublished", 0),
        "unpublished_why": known.get("unpublished_why", ""),
        "logged_error": known.get("logged_error"),
        **{status.value: found.by_status.get(status) for status in Status},
        "drift": differences(load(config.outbox)),
        "last": _brief(found.last),
        "last_error": _brief(found.last_error),
    }


def read_health(config: Config) -> Health:
    """Return what the digitd with this config is doing.

    Raises:
        StorageError: a lock file may not be opened by this user.
    """
    if not is_running(config.inbox, config.outbox):
        return Health(State.STOPPED)
    page = _read_page(config)
    try:
        texts = {name: str(page.get(name, "")) for name in ("why", "model", "model_fault")}
        return Health(State(page.get("state", State.STARTING)), **texts)
    except ValueError:  # of a newer version
        return Health(State.STARTING)


def lock_files(config: Config) -> tuple[Path, Path]:
    """Return the locks of the digitd that reads this inbox, and of the one with this outbox."""
    return config.inbox / WORK_FOLDER / WORK_LOCK, config.outbox / OUTBOX_LOCK


def own_daemon(config: Config) -> int | None:
    """Return the process id of the digitd that reads this inbox into this outbox.

    ``None`` if none holds both, or if the one that reads the inbox writes to another outbox.

    Raises:
        StorageError: a lock file may not be opened by this user.
    """
    if not all(map(is_held, lock_files(config))):
        return None
    page = _read_page(config)
    try:
        # Not the paths: the same folder has several.
        is_own = config.outbox.samefile(page["outbox"])
    except (OSError, KeyError, TypeError, ValueError):  # an older version, or not written yet
        return None
    return int(page["pid"]) if is_own else None


def _find_holder(lock: Path) -> Holder | None:
    """Return who holds a lock now; ``None`` if nobody does, or this user may not see it."""
    with suppress(StorageError):
        if is_held(lock):
            return read_holder(lock)
    return None


def _read_page(config: Config) -> dict[str, Any]:
    """Return what the running digitd wrote; the page is in the inbox, which may be out of reach."""
    work = config.inbox / WORK_FOLDER
    holder = next(filter(None, map(_find_holder, lock_files(config))), None)
    known: dict[str, Any] = {} if holder is None else {"pid": holder.pid}
    try:
        page = json.loads((work / STATUS_PAGE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if config.inbox.is_dir():
            return known  # it has not been written yet
        return known | {"state": State.PAUSED, "why": f"{config.inbox}: is missing"}
    except OSError as error:
        return known | {"state": State.PAUSED, "why": describe(error)}
    except ValueError:
        return known
    # An earlier digitd may have left it.
    is_current = isinstance(page, dict) and page.get("pid") == known.get("pid", page.get("pid"))
    return _mark_if_hung(page, work / STATUS_PAGE) if is_current else known


def _mark_if_hung(page: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a status page, with the state ``hung`` if it is too old."""
    try:
        age = time.monotonic() - float(page["written_at"])
        is_of_this_boot = page["boot_id"] == read_boot_id()
    except (KeyError, TypeError, ValueError):  # an older version wrote it
        return page
    if age <= _SILENT_SECONDS or not is_of_this_boot:  # another machine's clock is another one
        return page
    why = (
        f"its loop has not reported for {age:.0f} seconds: it hangs, was stopped with Ctrl-Z, or "
        f"cannot write {file}: look at its log, then restart it"
    )
    return page | {"state": State.HUNG, "why": why}


def was_last_outbox(config: Config) -> bool:
    """Return whether the last digitd of this inbox wrote to this outbox, which may be missing."""
    try:
        page = json.loads((config.inbox / WORK_FOLDER / STATUS_PAGE).read_bytes())
        return is_named(page["outbox"], config.outbox)
    except (OSError, KeyError, TypeError, ValueError):
        return False


def is_named(text: str, folder: Path) -> bool:
    """Return whether a text is a folder's path as status pages write it: escaped and shortened."""
    return same_path(text, _shorten({"": str(folder)})[""])


def count_files_left(config: Config) -> int:
    """Return the number of files without a row: in the inbox and claimed."""
    waiting = Listing(config.inbox, config.pattern).count().waiting
    return waiting + _count_claimed(config.inbox / WORK_FOLDER)


def _count_claimed(folder: Path) -> int:
    try:
        return sum(claimed_id(path.name) is not None for path in folder.iterdir())
    except OSError:
        return 0


def _brief(row: dict[str, str] | None) -> dict[str, Any] | None:
    """Return the fields of a row that are shown, with the types of `predict --json`."""
    if row is None:
        return None
    shown: dict[str, Any] = {key: row[key] for key in _BRIEF}
    shown["digit"] = row["digit"] or None
    shown["confidence"] = parse_number(row["confidence"])
    return shown
