"""Decide when a file in the inbox is complete: by its end marker, or by staying unchanged."""

import errno
import logging
import math
import os
import stat
import time
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from daemon.files import open_untrusted
from daemon.reading import formats
from daemon.records import Stamp

log = logging.getLogger(__name__)

# An unfinished file, or one that could not be opened, is checked again this often even if no event
# arrives.
_RECHECK_SECONDS = 1.0


class State(Enum):
    """The result of checking a file once."""

    COMPLETE = auto()
    UNFINISHED = auto()  # check again when it is due
    GONE = auto()
    IRREGULAR = auto()  # a symlink, a folder, a FIFO, a socket, a device


@dataclass(slots=True)
class _Pending:
    """An unfinished file: its stamp, when that was first seen, when to check again.

    Times are in seconds of ``time.monotonic``.
    """

    stamp: Stamp | None
    since: float
    due: float


class Completeness:
    """The files of one folder that were not complete when first checked."""

    def __init__(self, folder: Path, *, settle_seconds: float, incomplete_seconds: float) -> None:
        """Take the settings.

        Args:
            folder: the inbox.
            settle_seconds: how long a file in a format without an end marker must be unchanged.
            incomplete_seconds: the same for a PNG or JPEG whose end marker is missing.
        """
        self._folder = folder
        self._settle_seconds = settle_seconds
        self._incomplete_seconds = incomplete_seconds
        self._pending: dict[str, _Pending] = {}

    @property
    def names(self) -> set[str]:
        """The files that were not complete when first checked and are not claimed yet."""
        return set(self._pending)

    def due(self) -> list[str]:
        """Return the names that must be checked again now."""
        now = time.monotonic()
        return [name for name, pending in self._pending.items() if pending.due <= now]

    def next_due(self) -> float:
        """Return when the next name is due, in seconds of ``time.monotonic``; inf if none."""
        return min((pending.due for pending in self._pending.values()), default=math.inf)

    def hurry(self, name: str) -> bool:
        """Make an unfinished file due now, after an event; return whether it is unfinished."""
        pending = self._pending.get(name)
        if pending is not None:
            pending.due = 0.0
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
        self._pending.pop(name, None)

    def _look(self, name: str) -> State:
        try:
            descriptor = open_untrusted(self._folder / name)
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
        except OSError as error:  # EIO, ESTALE: a fault of the disk or the network
            return self._retry_later(name, error)
        finally:
            os.close(descriptor)
        quiet = (
            self._incomplete_seconds if kind in formats.WITH_END_MARKER else self._settle_seconds
        )
        return self._when_unchanged(name, info, quiet)

    def _look_from_outside(self, name: str, error: OSError) -> State:
        """Return the state of a file that cannot be opened."""
        try:
            info = os.lstat(self._folder / name)
        except FileNotFoundError:
            return State.GONE
        except OSError as lasting:
            return self._retry_later(name, lasting)
        if not stat.S_ISREG(info.st_mode):
            return State.IRREGULAR
        if error.errno in {errno.EACCES, errno.EPERM}:
            # Copy programs set the permissions last. If they never allow reading, the row will
            # report that.
            return self._when_unchanged(name, info, self._settle_seconds)
        return self._retry_later(name, error)

    def _retry_later(self, name: str, error: OSError) -> State:
        log.warning("%r cannot be opened, trying again: %s", name, error.strerror)
        now = time.monotonic()
        self._pending[name] = _Pending(None, now, now + _RECHECK_SECONDS)
        return State.UNFINISHED

    def _when_unchanged(self, name: str, info: os.stat_result, quiet: float) -> State:
        """Return COMPLETE if size and mtime have not changed for ``quiet`` seconds."""
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
