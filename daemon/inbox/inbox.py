"""Find complete files: from events, and from listings of the folder in case events are missed."""

import heapq
import logging
import math
import os
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator

from daemon.config import Config
from daemon.inbox.completeness import Completeness, State, Wait
from daemon.inbox.listing import Kind, Listing, natural
from daemon.inbox.watch import FolderWatch, Mode, sends_events
from daemon.invocation import command
from daemon.pattern import describe
from daemon.waiting import Timer

log = logging.getLogger(__name__)

# Maximum number of names in memory, about 300 bytes each, however many files are in the inbox. The
# folder is listed again when these are done, which takes 8 s or more. Listing 100,000 files takes
# 0.25 s.
_BACKLOG = 8192
# Polling lists the inbox this often, but spends at most a twentieth of the time on it.
_POLL_SECONDS = 1.0
_POLL_SHARE = 20
# How often the watch's thread and the folder's identity are checked.
_CHECK_SECONDS = 2.0
# How many files that are ignored, or left alone, are logged in a run: 300,000 lines would be 52 MB,
# and journald would then drop other lines.
_LOGGED_AT_MOST = 20


class Inbox:
    """The complete files of one folder: first those already there, in numeric order, then new ones.

    Events are also recorded on the watch's thread, which only appends to ``_arrived``. Everything
    else runs in the daemon's loop.
    """

    def __init__(self, config: Config, wake: Callable[[], None]) -> None:
        """Take the settings; ``wake`` wakes the loop and may be called from any thread."""
        self.folder = config.inbox
        self._config = config
        self._wake = wake
        self._listing = Listing(config.inbox, config.pattern)
        self._completeness = Completeness(
            config.inbox,
            settle_seconds=config.settle_seconds,
            incomplete_seconds=config.incomplete_seconds,
        )
        self._watch: FolderWatch | None = None
        self._watch_timer = Timer(_CHECK_SECONDS)
        self._scan_timer = Timer()
        self._arrived: deque[str] = deque()
        self._missed = False  # names in ``_arrived``
        self._backlog: OrderedDict[str, None] = OrderedDict()
        self._more = False  # names that the backlog has no room for
        self._left_alone: set[str] = set()
        self._ignored: set[str] | None = set()  # ``None`` when no more of them are logged
        self._logged = Counter[str]()  # lines about single files, by what became of these

    def open(self, *, live: bool = True) -> None:
        """List the folder; if ``live``, start watching it first and list it again periodically.

        Raises:
            OSError: the folder cannot be listed.
            ConfigError: ``watch: inotify`` is configured but inotify is not available.
        """
        self.close()
        if live:
            self._watch = FolderWatch(
                self.folder, self._config.watch, self._on_arrival, self._on_loss
            )
            self._watch.start()
        self._choose_evidence()
        self._scan()

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def poll(self) -> None:
        """Process events, and do what is due: list, check unfinished files, restart the watch.

        Raises:
            OSError: the folder cannot be listed; it is watched again once it can be.
        """
        if self._watch is not None and self._watch_timer.is_due:
            self._watch_timer.restart()
            if self._watch.ensure_running():
                self._choose_evidence()
                self._scan_timer.expire()
        self._take_arrivals()
        if self._scan_timer.is_due or (self._more and not self._backlog):
            self._scan()
        for name in self._completeness.due():
            if self._check(name):
                self._backlog[name] = None
                self._backlog.move_to_end(name, last=False)

    def take(self, at_most: int) -> Iterator[str]:
        """Yield the names of up to ``at_most`` complete files.

        Claim each file before taking the next. A file that could not be claimed comes first in the
        next call.
        """
        taken = 0
        while taken < at_most and self._backlog:
            name = next(iter(self._backlog))
            if self._check(name):
                yield name
                taken += 1
                self._completeness.forget(name)
            self._backlog.pop(name, None)

    def skip(self, name: str, why: str, remedy: str = "") -> None:
        """Log once that a file or folder is left alone."""
        if name in self._left_alone:
            return
        self._left_alone.add(name)
        self._logged["left alone"] += 1
        if self._logged["left alone"] <= _LOGGED_AT_MOST:
            log.warning("%r in the inbox %s: left alone%s", name, why, remedy)
        elif self._logged["left alone"] == _LOGGED_AT_MOST + 1:
            log.warning("more files in the inbox are left alone; they are not logged")

    @property
    def mode(self) -> Mode:
        """How arrivals are noticed."""
        return "polling" if self._watch is None else self._watch.mode

    @property
    def waiting(self) -> int:
        """The number of files that are known and not yet taken, except empty ones."""
        empty = len(self._completeness.waiting_for(Wait.CONTENT))
        return len(self._backlog) + len(self._completeness.names) - empty

    @property
    def empty_files(self) -> tuple[str, ...]:
        """The files that are known to be empty; they are not complete before they have content."""
        return tuple(self._completeness.waiting_for(Wait.CONTENT))

    @property
    def open_files(self) -> tuple[str, ...]:
        """The files that another process is known to have open."""
        return tuple(self._completeness.waiting_for(Wait.CLOSE))

    @property
    def writable(self) -> bool:
        """Whether the folder's permissions allow files to be moved out of it."""
        return os.access(self.folder, os.W_OK | os.X_OK)

    @property
    def seconds_left(self) -> float:
        """In how many seconds ``poll`` has work even if no event arrives."""
        seconds = max(0.0, self._completeness.next_due() - time.monotonic())
        if self._watch is not None:
            seconds = min(seconds, self._watch_timer.seconds_left)
        return min(seconds, self._scan_timer.seconds_left)

    @property
    def exhausted(self) -> bool:
        """Whether every file found by the last scan was taken, or is empty or open for too long."""
        return self._completeness.is_exhausted and not (
            self._backlog or self._arrived or self._more
        )

    def _check(self, name: str) -> bool:
        """Return whether a file is complete; leave it alone if it is not a regular file."""
        state = self._completeness.check(name)
        if state is State.IRREGULAR:
            self.skip(name, "is not a regular file")
        return state is State.COMPLETE

    def _choose_evidence(self) -> None:
        """Use events and leases to find open files, as far as the folder's file system has them."""
        self._completeness.events = None if self._watch is None else self._watch.events
        self._completeness.has_leases = sends_events(self.folder)

    def _on_loss(self) -> None:
        """List the folder again, because events were lost; called on any thread."""
        self._missed = True
        self._wake()

    def _on_arrival(self, name: str) -> None:
        """Record an arrival; called on any thread."""
        if len(self._arrived) < _BACKLOG:
            self._arrived.append(name)
        else:  # the loop is paused, perhaps for hours; the folder is listed after that
            self._missed = True
        self._wake()

    def _take_arrivals(self) -> None:
        if self._missed:
            self._missed = False
            self._more = True
        while self._arrived:
            name = self._arrived.popleft()
            if not self._listing.matches(name) or self._completeness.hurry(name):
                continue
            if len(self._backlog) < _BACKLOG:
                self._backlog[name] = None
            else:
                self._more = True

    def _scan(self) -> None:
        started = time.monotonic()
        left_alone = self._left_alone
        ignored: set[str] = set()
        known = self._completeness.names | self._backlog.keys()
        room = _BACKLOG - len(self._backlog)
        # Files that were left alone are checked again, but after all other files.
        first = heapq.nsmallest(
            room + 1,
            (name for name in self._matching(ignored) if name not in known),
            key=lambda name: (name in left_alone, natural(name)),
        )
        self._more = len(first) > room and first[room] not in left_alone
        self._backlog.update((name, None) for name in first[:room])
        self._left_alone = {name for name in left_alone if os.path.lexists(self.folder / name)}
        self._log_ignored(ignored)
        took = time.monotonic() - started
        log.debug("listed %s in %.3f s: %d files to check", self.folder, took, len(self._backlog))
        self._scan_timer.restart(self._seconds_to_next_scan(took))

    def _seconds_to_next_scan(self, took: float) -> float:
        if self._watch is None:  # read once
            return math.inf
        if self.mode == "inotify":
            return self._config.rescan_seconds
        return min(self._config.rescan_seconds, max(_POLL_SECONDS, _POLL_SHARE * took))

    def _matching(self, ignored: set[str]) -> Iterator[str]:
        """List the folder; yield the names that match, and add other files to ``ignored``."""
        for name, kind in self._listing.split():
            if kind is Kind.MATCHING:
                yield name
            elif kind is Kind.FOLDER:
                self.skip(name, "is a folder", "; move its files into the inbox itself")
            elif self._ignored is not None:
                ignored.add(name)

    def _log_ignored(self, ignored: set[str]) -> None:
        """Log the first files whose name does not match, once each, and how many more there are."""
        if self._ignored is None:
            return
        new = sorted(ignored - self._ignored)
        self._ignored = ignored
        room = _LOGGED_AT_MOST - self._logged["ignored"]
        for name in new[:room]:
            remedy = "" if self._logged["ignored"] else "; rename it, or change `pattern`"
            log.warning(
                "%r in the inbox is ignored: its name does not match `pattern`: %s%s",
                name,
                describe(self._config.pattern),
                remedy,
            )
            self._logged["ignored"] += 1
        if more := len(new[room:]):
            text = "%d more files in the inbox are ignored: see %s"
            log.warning(text, more, command("status"))
            self._ignored = None
