"""Tell when a file in the inbox is complete: by its own end, or by staying unchanged."""

import errno
import logging
import math
import os
import stat
import time
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from daemon.reading import formats
from daemon.untrusted import Stamp, open_file

log = logging.getLogger(__name__)

# How soon an unfinished file, or one that could not be opened, is looked at again when no event
# comes.
_RECHECK_SECONDS = 1.0
_HAS_END = frozenset({formats.Kind.PNG, formats.Kind.JPEG})  # formats whose end can be seen


class State(Enum):
    """What one look at a file says."""

    COMPLETE = auto()
    UNFINISHED = auto()  # look again when it is due
    GONE = auto()
    IRREGULAR = auto()  # a symlink, a folder, a FIFO, a socket, a device


@dataclass(slots=True)
class _Pending:
    """A file whose end was not seen: its stamp, since when it has that, when to look again.

    Times are in seconds of ``time.monotonic``.
    """

    stamp: Stamp | None
    since: float
    due: float


class Completeness:
    """The files of one folder that were looked at and were not complete at first sight."""

    def __init__(self, folder: Path, *, settle_seconds: float, incomplete_seconds: float) -> None:
        """Take the settings.

        Args:
            folder: the inbox.
            settle_seconds: how long a file must be unchanged whose content cannot tell.
            incomplete_seconds: the same for an image whose end is missing.
        """
        self._folder = folder
        self._settle_seconds = settle_seconds
        self._incomplete_seconds = incomplete_seconds
        self._pending: dict[str, _Pending] = {}

    @property
    def names(self) -> set[str]:
        """The files that were not complete at first sight, and are not claimed yet."""
        return set(self._pending)

    def due(self) -> list[str]:
        """Return the names that must be looked at again now."""
        now = time.monotonic()
        return [name for name, pending in self._pending.items() if pending.due <= now]

    def next_due(self) -> float:
        """Return when the next name is due, in seconds of ``time.monotonic``; inf if none is."""
        return min((pending.due for pending in self._pending.values()), default=math.inf)

    def hurry(self, name: str) -> bool:
        """Make an unfinished file due now, as something happened to it; tell whether it is one."""
        pending = self._pending.get(name)
        if pending is not None:
            pending.due = 0.0
        return pending is not None

    def check(self, name: str) -> State:
        """Look at a file. Asked again about a complete file, it says the same until it changes."""
        state = self._look(name)
        if state is State.COMPLETE and name in self._pending:
            self._pending[name].due = math.inf
        elif state is not State.UNFINISHED:
            self.forget(name)
        return state

    def forget(self, name: str) -> None:
        """Drop what is known of a file that was claimed."""
        self._pending.pop(name, None)

    def _look(self, name: str) -> State:
        try:
            descriptor = open_file(self._folder / name)
        except OSError as error:
            return self._look_from_outside(name, error)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                return State.IRREGULAR
            kind = formats.sniff(os.pread(descriptor, formats.HEAD_BYTES, 0))
            if kind is not None and formats.has_end(
                kind, lambda length, offset: os.pread(descriptor, length, offset), info.st_size
            ):
                return State.COMPLETE
        except OSError as error:  # EIO, ESTALE: the disk's fault or the network's
            return self._retry_later(name, error)
        finally:
            os.close(descriptor)
        quiet = self._incomplete_seconds if kind in _HAS_END else self._settle_seconds
        return self._when_unchanged(name, info, quiet)

    def _look_from_outside(self, name: str, error: OSError) -> State:
        """Look at a file that cannot be opened."""
        try:
            info = os.lstat(self._folder / name)
        except FileNotFoundError:
            return State.GONE
        except OSError as lasting:
            return self._retry_later(name, lasting)
        if not stat.S_ISREG(info.st_mode):
            return State.IRREGULAR
        if error.errno in {errno.EACCES, errno.EPERM}:
            # Whoever copies sets the permissions last; if they stay so, its row will say it.
            return self._when_unchanged(name, info, self._settle_seconds)
        return self._retry_later(name, error)

    def _retry_later(self, name: str, error: OSError) -> State:
        log.warning("%r cannot be opened now, trying again: %s", name, error.strerror)
        now = time.monotonic()
        self._pending[name] = _Pending(None, now, now + _RECHECK_SECONDS)
        return State.UNFINISHED

    def _when_unchanged(self, name: str, info: os.stat_result, quiet: float) -> State:
        """Call the file complete when its size and mtime stood still for ``quiet`` seconds."""
        now = time.monotonic()
        stamp = Stamp.of(info)
        pending = self._pending.get(name)
        if pending is None or pending.stamp != stamp:
            pending = _Pending(stamp, now, now)
        self._pending[name] = pending
        if now - pending.since >= quiet:
            return State.COMPLETE
        pending.due = min(pending.since + quiet, now + _RECHECK_SECONDS)
        return State.UNFINISHED
