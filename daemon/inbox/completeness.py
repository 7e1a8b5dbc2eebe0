"""Decide when a file in the inbox is complete.

A file that another process still writes waits. Else it is complete at once if it ends with its end
marker, or after some time without a change. The README has the rules as a table.
"""

import errno
import fcntl
import heapq
import logging
import math
import os
import stat
import time
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from pathlib import Path

from daemon.files import open_untrusted
from daemon.inbox.watch import InotifyWatch
from daemon.reading import formats
from daemon.records import Stamp

log = logging.getLogger(__name__)

# An unfinished file, or one that could not be opened, is checked again this often even if no event
# arrives. One that is empty or open may stay so for days: the interval grows to a tenth of its age.
_RECHECK_SECONDS = 1.0
_SLOWEST_RECHECK_SECONDS = 30.0
_RECHECKS_PER_AGE = 10
# Errors with which a disk answers for one file, such as that of a bad sector. If they last, its
# worker finds out whether the file or the storage is to blame.
_OF_ONE_FILE = frozenset({errno.EIO, errno.ENXIO})
# How many files that cannot be opened at the moment are logged one by one.
_LOGGED_AT_MOST = 20
_CAP_LEASE = 1 << 28  # linux/capability.h


class State(Enum):
    """The result of checking a file once."""

    COMPLETE = auto()
    UNFINISHED = auto()  # check again when it is due
    GONE = auto()
    IRREGULAR = auto()  # a symlink, a folder, a FIFO, a socket, a device


class Wait(StrEnum):
    """What an unfinished file waits for."""

    CONTENT = "empty"
    CLOSE = "open"
    QUIET = "quiet"  # no change for some time


class _Ending(Enum):
    """What a file's content says about its end."""

    WHOLE = auto()
    CUT = auto()  # its end marker is missing
    UNKNOWN = auto()  # more may follow


@dataclass(slots=True)
class _Pending:
    """An unfinished file: its stamp and what it waits for, with the time of three moments.

    Times are in seconds of ``time.monotonic``.

    Attributes:
        stamp: ``None`` if the file could not be opened.
        wait: what it waits for.
        found: when the file was first checked.
        since: when this stamp and this wait were first seen.
        due: when to check again; inf for a complete file that is not claimed yet.
        fault: the errno if the file could not be opened.
    """

    stamp: Stamp | None
    wait: Wait
    found: float
    since: float
    due: float = math.inf
    fault: int | None = None


class Completeness:
    """The files of one folder that were not complete when first checked.

    Attributes:
        events: what knows the events of the folder's files; ``None`` without events.
        has_leases: whether a read lease says if a file is open for writing. It says nothing on a
            file system that is also written to by other machines.
    """

    def __init__(self, folder: Path, *, settle_seconds: float, incomplete_seconds: float) -> None:
        """Take the settings.

        Args:
            folder: the inbox.
            settle_seconds: how long a closed file must be unchanged if its end cannot be seen.
            incomplete_seconds: the same if its end marker is missing, or if nothing says whether it
                is closed.
        """
        self.events: InotifyWatch | None = None
        self.has_leases = False
        self._folder = folder
        self._settle_seconds = settle_seconds
        self._incomplete_seconds = incomplete_seconds
        self._leases_any_owner = _has_cap_lease()
        self._pending: dict[str, _Pending] = {}
        self._names: dict[Wait, dict[str, None]] = {wait: {} for wait in Wait}
        self._faults = 0  # how many of them could not be opened
        self._queue: list[tuple[float, str]] = []  # a heap of times and names; old ones stay in it

    @property
    def names(self) -> set[str]:
        """The files that were not complete when first checked and are not claimed yet."""
        return set(self._pending)

    def waiting_for(self, wait: Wait) -> dict[str, None]:
        """Return the names of the files that wait for something, in the order they were found."""
        return self._names[wait]

    @property
    def is_exhausted(self) -> bool:
        """Whether all files are empty or open, and have been so for ``incomplete_seconds``."""
        patience = time.monotonic() - self._incomplete_seconds
        return not self._names[Wait.QUIET] and all(
            pending.found <= patience for pending in self._pending.values()
        )

    def due(self) -> list[str]:
        """Return the names that must be checked again now; ``check`` each of them."""
        names = []
        while self.next_due() <= time.monotonic():
            _, name = heapq.heappop(self._queue)
            names.append(name)
        return names

    def next_due(self) -> float:
        """Return when the next name is due, in seconds of ``time.monotonic``; inf if none."""
        while self._queue:
            due, name = self._queue[0]
            if name in self._pending and self._pending[name].due == due:
                return due
            heapq.heappop(self._queue)
        return math.inf

    def hurry(self, name: str) -> bool:
        """Make an unfinished file due now, after an event; return whether it is unfinished."""
        pending = self._pending.get(name)
        if pending is not None and pending.due > 0.0:
            self._schedule(name, pending, 0.0)
        return pending is not None

    def check(self, name: str) -> State:
        """Return a file's state; a complete file stays complete until it changes."""
        state = self._look(name)
        if state is State.COMPLETE and name in self._pending:
            self._pending[name].due = math.inf
        elif state is not State.UNFINISHED:
            self.forget(name)
        return state

    def forget(self, name: str) -> None:
        """Delete the record of a file that was claimed."""
        pending = self._pending.pop(name, None)
        if pending is not None:
            del self._names[pending.wait][name]
            self._faults -= pending.fault is not None

    def _look(self, name: str) -> State:
        path = self._folder / name
        is_open = self._is_open_by_events(name)
        try:
            if is_open:
                # Don't open it, because the events would then say that it was closed.
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode) and not self._may_take_lease(info):
                    return self._wait(name, info, Wait.CLOSE)
            open_ = open_untrusted if self.events is None else self.events.open
            descriptor = open_(path)
        except OSError as error:
            return self._look_from_outside(name, error, is_open=is_open)
        try:
            try:
                return self._look_inside(name, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:  # EIO, ESTALE: a fault of the disk or the network
            return self._retry_later(name, error)

    def _look_inside(self, name: str, descriptor: int) -> State:
        """Return the state of an open file."""
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return State.IRREGULAR
        ending = self._find_ending(descriptor, info.st_size)
        # After the content was read: whoever wrote it is known to have the file open, or to have
        # closed it. A file can be whole before the event of its writer's open was recorded.
        is_open = self._is_written(descriptor) if self._may_take_lease(info) else None
        if is_open is None:
            is_open = self._is_open_by_events(name)
        if is_open:
            return self._wait(name, info, Wait.CLOSE)
        if ending is _Ending.WHOLE:
            return State.COMPLETE
        is_patient = ending is _Ending.CUT or is_open is None
        quiet = self._incomplete_seconds if is_patient else self._settle_seconds
        return self._wait(name, info, Wait.QUIET, quiet)

    def _is_open_by_events(self, name: str) -> bool | None:
        """Return whether events say that another process has a file open now."""
        return None if self.events is None else self.events.is_open(name)

    def _look_from_outside(self, name: str, error: OSError, *, is_open: bool | None) -> State:
        """Return the state of a file that cannot be opened."""
        try:
            info = os.lstat(self._folder / name)
        except FileNotFoundError:
            return State.GONE
        except OSError as lasting:
            return self._retry_later(name, lasting)
        if not stat.S_ISREG(info.st_mode):
            return State.IRREGULAR
        if error.errno == errno.EWOULDBLOCK:  # a write lease: Samba's clients keep it open
            return self._wait(name, info, Wait.CLOSE)
        if error.errno in {errno.EACCES, errno.EPERM}:
            # Copy programs set the permissions last. If they never allow reading, the row will
            # report that.
            quiet = self._incomplete_seconds if is_open is None else self._settle_seconds
            return self._wait(name, info, Wait.QUIET, quiet)
        return self._retry_later(name, error)

    def _may_take_lease(self, info: os.stat_result) -> bool:
        return self.has_leases and (self._leases_any_owner or info.st_uid == os.geteuid())

    def _is_written(self, descriptor: int) -> bool | None:
        """Return whether a process has a file open for writing; see fcntl(2), F_SETLEASE.

        ``None`` if no lease can be taken.
        """
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno == errno.EACCES:
                self._leases_any_owner = False
            else:
                self.has_leases = False
            return None
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False

    @staticmethod
    def _find_ending(descriptor: int, size: int) -> _Ending:
        """Return what a file's content says about its end."""

        def read_at(length: int, offset: int) -> bytes:
            return os.pread(descriptor, length, offset)

        kind = formats.sniff(read_at(formats.HEAD_BYTES, 0))
        if kind not in formats.WITH_END_MARKER:
            return _Ending.UNKNOWN
        if not formats.has_end(kind, read_at, size):
            return _Ending.CUT
        return _Ending.UNKNOWN if formats.has_trailer(kind, read_at, size) else _Ending.WHOLE

    def _retry_later(self, name: str, error: OSError) -> State:
        """Keep a file that cannot be opened; return COMPLETE if a worker should try it."""
        now = time.monotonic()
        pending = self._pending.get(name)
        if pending is None or pending.fault != error.errno:
            self._log_fault(name, error)
            found = now if pending is None else pending.found
            pending = _Pending(None, Wait.QUIET, found, now, fault=error.errno)
        if error.errno in _OF_ONE_FILE and now - pending.since >= self._incomplete_seconds:
            self._keep(name, pending, math.inf)
            return State.COMPLETE
        self._keep(name, pending, now + _RECHECK_SECONDS)
        return State.UNFINISHED

    def _log_fault(self, name: str, error: OSError) -> None:
        """Log that a file cannot be opened, unless that holds for many files already."""
        if self._faults < _LOGGED_AT_MOST:
            log.warning("%r cannot be opened, trying again: %s", name, error.strerror)
        elif self._faults == _LOGGED_AT_MOST:
            log.warning("more files in the inbox cannot be opened; they are not logged")

    def _wait(self, name: str, info: os.stat_result, wait: Wait, quiet: float = math.inf) -> State:
        """Keep an unfinished file; return COMPLETE if it has not changed for ``quiet`` seconds."""
        if wait is Wait.QUIET and not info.st_size:
            wait, quiet = Wait.CONTENT, math.inf
        now = time.monotonic()
        stamp = Stamp.of(info)
        pending = self._pending.get(name)
        if pending is None:
            pending = _Pending(stamp, wait, now, now)
        elif (pending.stamp, pending.wait) != (stamp, wait):
            pending = _Pending(stamp, wait, pending.found, now)
        if now - pending.since >= quiet:
            self._keep(name, pending, math.inf)
            return State.COMPLETE
        recheck = _RECHECK_SECONDS
        if wait is not Wait.QUIET:
            age = (now - pending.found) / _RECHECKS_PER_AGE
            recheck = max(recheck, min(age, _SLOWEST_RECHECK_SECONDS))
        self._keep(name, pending, min(pending.since + quiet, now + recheck))
        return State.UNFINISHED

    def _keep(self, name: str, pending: _Pending, due: float) -> None:
        self.forget(name)
        self._pending[name] = pending
        self._names[pending.wait][name] = None
        self._faults += pending.fault is not None
        self._schedule(name, pending, due)

    def _schedule(self, name: str, pending: _Pending, due: float) -> None:
        pending.due = due
        if due < math.inf:
            heapq.heappush(self._queue, (due, name))


def _has_cap_lease() -> bool:
    """Return whether this process may take leases on files of other users."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    sets = dict(line.split(":\t", 1) for line in lines if line.startswith("Cap"))
    return bool(int(sets.get("CapEff", "0"), 16) & _CAP_LEASE)
