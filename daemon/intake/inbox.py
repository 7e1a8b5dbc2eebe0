"""Find complete files: events wake us, a scan of the folder is the truth."""

from __future__ import annotations

import errno
import fnmatch
import heapq
import logging
import math
import os
import re
import stat
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.errors import ConfigError
from daemon.intake.watch import Mode, Watch, sends_events
from daemon.reading import formats
from daemon.untrusted import Stamp, opened, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from daemon.config import Config

log = logging.getLogger(__name__)

# Names held at a time, so that the daemon stays small however many files wait: a name costs
# about 300 bytes here. The rest is listed again when these are through, which they are in 8 s
# or more; at 100,000 files that takes 0.25 s.
BACKLOG = 8192
# Polling lists the inbox this often, but never spends more than a twentieth of the time on it.
_POLL_SECONDS = 1.0
_POLL_SHARE = 20
# How soon an unfinished file, or one that could not be opened just now, is looked at again
# when no event comes.
_RECHECK_SECONDS = 1.0
# Watchdog's threads and the folder's identity are checked this often.
_TEND_SECONDS = 2.0

_ENDED_FORMATS = frozenset({formats.Kind.PNG, formats.Kind.JPEG})  # their end can be seen
_NUMBER = re.compile(r"\d+")
_DIGITS = 20  # longer numbers are no counts


@dataclass(frozen=True, slots=True)
class Found:
    """A complete file in the inbox, as it was seen."""

    name: str
    stamp: Stamp


@dataclass(slots=True)
class _Pending:
    """An unfinished file: what it looked like, since when, and when to look again."""

    stamp: Stamp | None
    since: float
    due: float


def natural(name: str) -> str:
    """Return the sort key that puts ``digit2`` before ``digit10``.

    One string: half the time of a tuple of numbers, and a quarter of its memory.
    """
    return _NUMBER.sub(_padded, name)


def _padded(number: re.Match[str]) -> str:
    return number[0].zfill(_DIGITS)


class Inbox:
    """One folder's complete files, in numeric order at first, then as they arrive.

    Every method but the ones in a watch thread's hands runs on the daemon's one loop.
    """

    def __init__(self, config: Config, ring: Callable[[], None]) -> None:
        """Take the settings; ``ring`` wakes the loop and is called from any thread."""
        self.folder = config.inbox
        self._config = config
        self._ring = ring
        self._matches = re.compile(fnmatch.translate(config.pattern)).match
        self._arrived: deque[str] = deque()
        self._backlog: OrderedDict[str, None] = OrderedDict()
        self._pending: dict[str, _Pending] = {}
        self._found: deque[Found] = deque()
        self._strange: set[str] = set()
        self._watch: Watch | None = None
        self._identity: tuple[int, int] | None = None
        self._live = True
        self._armed = False
        self._more = self._missed = False
        self._scan_at = self._tend_at = 0.0
        self.mode: Mode = "polling"

    def open(self, *, live: bool = True) -> None:
        """List the folder; unless told not to, watch it from before that on and list it again.

        Raises:
            OSError: the folder cannot be listed.
            ConfigError: ``watch: inotify`` is asked for and cannot be had.
        """
        self.close()  # what an earlier try that failed half-way still holds
        self._live = live
        self._arm()
        self._scan()

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def tend(self) -> None:
        """List again when that is due; watch anew when a thread died or the folder was replaced.

        Raises:
            OSError: the folder cannot be listed; it is armed again when it can.
        """
        now = time.monotonic()
        if now >= self._tend_at:
            self._tend_at = now + _TEND_SECONDS
            if not self._armed:
                self._rearm()
            elif self._identity != _identity(self.folder):
                log.warning("%s was replaced: watching the new one", self.folder)
                self._rearm()
            elif self._watch is not None and not self._watch.alive():
                log.warning("the watch on %s died: watching again", self.folder)
                self._rearm()
        if now >= self._scan_at or (self._more and not self._backlog):
            self._scan()

    def look(self, most: int) -> None:
        """Find complete files until ``most`` are ready to be taken."""
        self._hear()
        now = time.monotonic()
        due = deque(name for name, pending in self._pending.items() if pending.due <= now)
        while len(self._found) < most and (due or self._backlog):
            name = due.popleft() if due else self._backlog.popitem(last=False)[0]
            found = self._examine(name)
            if found is not None:
                self._found.append(found)

    def take(self, most: int) -> Iterator[Found]:
        """Yield up to ``most`` complete files; each must be claimed, or it is found again."""
        # Some were found long ago: before the model was loaded, or the outbox went away.
        for found in [found for found in self._found if not self._is_unchanged(found)]:
            self._found.remove(found)
            self._backlog[found.name] = None
        self.look(most)
        for _ in range(min(most, len(self._found))):
            yield self._found.popleft()

    def again(self, found: Found) -> None:
        """Put a file back that could not be claimed just now."""
        self._found.appendleft(found)

    def leave(self, name: str, why: str) -> None:
        """Leave a file alone, and say so once."""
        self._pending.pop(name, None)
        if name not in self._strange:
            self._strange.add(name)
            log.warning("%r in the inbox %s: left alone", name, why)

    @property
    def writable(self) -> bool:
        """Files can be moved out of the folder, as far as the folder itself goes."""
        return os.access(self.folder, os.W_OK | os.X_OK)

    def seconds_until_due(self) -> float:
        """Return how long the loop may sleep if nothing rings."""
        now = time.monotonic()
        due = min(self._scan_at, self._tend_at)
        if self._pending:
            due = min(due, *(pending.due for pending in self._pending.values()))
        return max(0.0, due - now)

    def count(self) -> int:
        """Count the files that match, by listing the folder.

        Raises:
            OSError: it cannot be listed.
        """
        return sum(1 for _ in self._names())

    @property
    def exhausted(self) -> bool:
        """Nothing that was there at the last scan is left to hand out."""
        return not (self._backlog or self._pending or self._found or self._arrived or self._more)

    def _arm(self) -> None:
        self._armed = False
        # The identity first: a folder replaced from here on is noticed, never missed.
        first = self._identity is None
        self._identity = _identity(self.folder)
        wanted = self._config.watch
        self.mode = "polling"
        silent = wanted == "auto" and not sends_events(self.folder)
        if not self._live or wanted == "polling" or silent:
            self._armed = True
            return
        try:
            self._watch = Watch(self.folder, self._hear_of)
            self.mode = "inotify"
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EMFILE}:
                raise
            if wanted == "inotify" and not first:
                raise  # it could be had before: this may pass
            if wanted == "inotify":
                raise ConfigError(
                    f"watch: inotify cannot be had ({error.strerror}): raise "
                    "fs.inotify.max_user_watches and max_user_instances with sysctl, "
                    "or set watch: auto"
                ) from error
            log.warning("inotify is exhausted (%s): polling instead", error.strerror)
        self._armed = True

    def _rearm(self) -> None:
        self.close()
        self._arm()
        self._scan_at = 0.0

    def _hear_of(self, name: str) -> None:
        if len(self._arrived) < BACKLOG:
            self._arrived.append(name)
        else:  # the loop is paused, for hours perhaps: what is there is listed after that
            self._missed = True
        self._ring()

    def _hear(self) -> None:
        if self._missed:
            self._missed = False
            self._more = True
        while self._arrived:
            name = self._arrived.popleft()
            if not self._ours(name):
                continue
            if name in self._pending:
                self._pending[name].due = 0.0
            elif len(self._backlog) < BACKLOG:
                self._backlog[name] = None
            else:
                self._more = True

    def _ours(self, name: str) -> bool:
        # As in a shell, a glob does not match names that begin with a dot: uploads in progress
        # (rsync's, browsers') are called so, and so is our own work folder.
        return not name.startswith(".") and self._matches(name) is not None

    def _names(self) -> Iterator[str]:
        # One by one: a list of 100,000 names would leave its 8 MB behind in the process.
        with os.scandir(self.folder) as entries:
            yield from (entry.name for entry in entries if self._ours(entry.name))

    def _scan(self) -> None:
        started = time.monotonic()
        strange = self._strange
        known = {found.name for found in self._found} | self._pending.keys() | self._backlog.keys()
        room = BACKLOG - len(self._backlog)
        # What was left alone is looked at again, but never in the place of other files.
        first = heapq.nsmallest(
            room + 1,
            (name for name in self._names() if name not in known),
            key=lambda name: (name in strange, natural(name)),
        )
        self._more = len(first) > room and first[room] not in strange
        self._backlog.update((name, None) for name in first[:room])
        self._strange = {name for name in strange if os.path.lexists(self.folder / name)}
        took = time.monotonic() - started
        every = self._config.rescan_seconds
        if self.mode == "polling":
            every = min(every, max(_POLL_SECONDS, _POLL_SHARE * took))
        self._scan_at = started + every if self._live else math.inf

    def _examine(self, name: str) -> Found | None:
        """Return the file if it is complete; keep it pending if it may yet be."""
        path = self.folder / name
        try:
            fd = opened(path)
        except OSError as error:
            return self._examine_closed(name, error)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                self.leave(name, _kind(info))
                return None
            kind = formats.sniff(os.pread(fd, formats.HEAD_BYTES, 0))
            if kind is not None and formats.has_end(
                kind, lambda length, offset: os.pread(fd, length, offset), info.st_size
            ):
                self._pending.pop(name, None)
                return Found(name, stamp(info))
        except OSError as error:  # EIO, ESTALE: the disk's fault or the network's, and it may pass
            self._later(name, "looked at", error)
            return None
        finally:
            os.close(fd)
        unfinished = kind in _ENDED_FORMATS
        config = self._config
        return self._when_quiet(
            name, info, config.incomplete_seconds if unfinished else config.settle_seconds
        )

    def _examine_closed(self, name: str, error: OSError) -> Found | None:
        """Deal with a file that cannot be opened."""
        try:
            info = os.lstat(self.folder / name)
        except OSError:
            self._pending.pop(name, None)
            return None
        if not stat.S_ISREG(info.st_mode):
            self.leave(name, _kind(info))
            return None
        if error.errno in {errno.EACCES, errno.EPERM}:
            # Whoever copies sets the rights last; if they stay so, its row will say it.
            return self._when_quiet(name, info, self._config.settle_seconds)
        self._later(name, "opened", error)
        return None

    def _later(self, name: str, what: str, error: OSError) -> None:
        """Come back soon to a file that something in passing keeps from us."""
        log.warning("%r cannot be %s now, trying again: %s", name, what, error.strerror)
        self._pending[name] = _Pending(None, 0.0, time.monotonic() + _RECHECK_SECONDS)

    def _is_unchanged(self, found: Found) -> bool:
        """Tell whether what was found is still there as it was found."""
        try:
            return stamp(os.lstat(self.folder / found.name)) == found.stamp
        except OSError:
            return False

    def _when_quiet(self, name: str, info: os.stat_result, quiet: float) -> Found | None:
        """Hand the file out when its size and mtime stood still for ``quiet`` seconds."""
        now = time.monotonic()
        seen = stamp(info)
        pending = self._pending.get(name)
        if pending is None or pending.stamp != seen:
            pending = _Pending(seen, now, now)
        if now - pending.since >= quiet:
            self._pending.pop(name, None)
            return Found(name, seen)
        pending.due = min(pending.since + quiet, now + _RECHECK_SECONDS)
        self._pending[name] = pending
        return None


def _identity(folder: Path) -> tuple[int, int]:
    info = folder.stat()
    return info.st_dev, info.st_ino


def _kind(info: os.stat_result) -> str:
    return "is a symbolic link" if stat.S_ISLNK(info.st_mode) else "is not a regular file"
