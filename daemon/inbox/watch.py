"""Notice files that arrive in a folder, and which of them are still open, by inotify."""

import ctypes
import errno
import fcntl
import logging
import os
import select
import struct
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock, Thread
from typing import Literal

from watchdog.observers.inotify_c import InotifyEvent, inotify_add_watch, inotify_init

from daemon.errors import ConfigError
from daemon.inbox.open_files import EVENTS, OpenFiles

log = logging.getLogger(__name__)

Mode = Literal["inotify", "polling"]

# File systems on which the kernel does not see changes by other clients.
_SILENT = ("nfs", "cifs", "smb", "9p", "fuse", "virtiofs", "vboxsf", "afs", "ceph", "lustre")
_LIMITS = {
    errno.ENOSPC: "inotify watch limit reached",
    errno.EMFILE: "inotify instance limit reached",
}
_HEAD = struct.Struct("iIII")  # of an event: watch, mask, cookie, length of the name
_INT = struct.Struct("i")
_BUFFER_BYTES = 65_536  # about 2,000 events


class InotifyWatch:
    """Records one folder's events, on a thread and whenever ``is_open`` is called.

    The kernel queues all events in their order. It has queued those of a file before the loop can
    see what caused them, but the thread may not have recorded them yet.

    watchdog's ``InotifyFD`` is not used, because only its own thread can read the queue.
    """

    def __init__(
        self, folder: Path, on_arrival: Callable[[str], None], on_loss: Callable[[], None]
    ) -> None:
        """Start watching.

        Args:
            folder: what to watch.
            on_arrival: called with the name of each file that may be complete, on any thread.
            on_loss: called when events were lost, on any thread.

        Raises:
            OSError: the folder is missing, or inotify's limits are reached (ENOSPC, EMFILE).
        """
        self._open_files = OpenFiles()
        self._on_arrival = on_arrival
        self._on_loss = on_loss
        self._is_deleted = False
        self._is_reading = Lock()
        self._descriptor = _checked(inotify_init(), folder)
        os.set_inheritable(self._descriptor, False)  # noqa: FBT003 - takes no keyword
        try:
            _checked(inotify_add_watch(self._descriptor, os.fsencode(folder), EVENTS), folder)
            self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        except OSError:
            os.close(self._descriptor)
            raise
        self._thread = Thread(target=self._run, name="inotify", daemon=True)
        self._thread.start()

    def is_open(self, name: str) -> bool | None:
        """Return whether another process has a file open now; ``None`` if that is not known."""
        self._record_queued()
        return self._open_files.is_open(name)

    def open(self, path: Path) -> int:
        """Open a file like ``open_untrusted``; its event is not taken for another process's."""
        return self._open_files.open(path)

    def alive(self) -> bool:
        """Return whether the thread is running and the folder was not deleted."""
        return self._thread.is_alive() and not self._is_deleted

    def close(self) -> None:
        """Stop watching."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
        os.close(self._descriptor)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while all(descriptor != self._stop for descriptor, _ in poll.poll()):
            self._record_queued()

    def _record_queued(self) -> None:
        """Record all events that the kernel has queued until now."""
        with self._is_reading:
            # Not until the queue is empty: events may come faster than they are recorded.
            queued = fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(_INT.size))
            (left,) = _INT.unpack(queued)
            while left > 0:
                data = os.read(self._descriptor, _BUFFER_BYTES)
                left -= len(data)
                for event in _parse(data):
                    self._record(event)

    def _record(self, event: InotifyEvent) -> None:
        """Record an event on a file; a folder arrives, too, so that it is logged if it matches."""
        if event.is_queue_overflow:
            log.warning("the queue of inotify is full: events were lost, listing the inbox again")
            self._open_files.clear()
            self._on_loss()
        elif event.is_ignored:  # a new folder may have the inode of the deleted one
            self._is_deleted = True
        elif event.name:
            if event.is_directory:
                is_arrival = event.is_create or event.is_moved_to
            else:
                is_arrival = self._open_files.record(event)
            if is_arrival:
                self._on_arrival(os.fsdecode(event.name))


def _checked(result: int, folder: Path) -> int:
    """Return what a function of libc returned.

    Raises:
        OSError: it failed; names the folder.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, _LIMITS.get(number, os.strerror(number)), str(folder))
    return result


def _parse(data: bytes) -> Iterator[InotifyEvent]:
    """Yield the events in what was read from the queue; see inotify(7)."""
    start = 0
    while start < len(data):
        watch, mask, cookie, length = _HEAD.unpack_from(data, start)
        start += _HEAD.size
        yield InotifyEvent(watch, mask, cookie, data[start : start + length].rstrip(b"\0"))
        start += length


class FolderWatch:
    """Keeps an ``InotifyWatch`` running on a folder that may be replaced, if one is wanted."""

    def __init__(
        self,
        folder: Path,
        wanted: Literal["auto", "inotify", "polling"],
        on_arrival: Callable[[str], None],
        on_loss: Callable[[], None],
    ) -> None:
        """Take the setting ``watch``, and what ``InotifyWatch`` calls on another thread."""
        self._folder = folder
        self._wanted = wanted
        self._on_arrival = on_arrival
        self._on_loss = on_loss
        self._watch: InotifyWatch | None = None
        self._identity: tuple[int, int] | None = None
        self._is_started = False

    @property
    def mode(self) -> Mode:
        """How arrivals are noticed; with "polling" the folder must be listed often."""
        return "polling" if self._watch is None else "inotify"

    @property
    def events(self) -> InotifyWatch | None:
        """What knows the events of the folder's files; ``None`` without inotify."""
        return self._watch

    def start(self) -> None:
        """Start watching, again if it was started before.

        Raises:
            OSError: the folder cannot be watched now.
            ConfigError: ``watch: inotify`` is configured but inotify is not available.
        """
        self.close()
        # Take the identity first, so that a folder replaced after this is noticed.
        is_first = self._identity is None
        self._identity = _identity(self._folder)
        is_silent = self._wanted == "auto" and not sends_events(self._folder)
        if self._wanted != "polling" and not is_silent:
            self._start_inotify(is_first=is_first)
        self._is_started = True

    def ensure_running(self) -> bool:
        """Start again if the folder was replaced, or a thread died; return whether it was needed.

        Raises what ``start`` raises.
        """
        if self._is_started:
            if self._identity != _identity(self._folder):
                log.warning("%s was replaced: watching the new one", self._folder)
            elif self._watch is not None and not self._watch.alive():
                log.warning("the watch on %s died: watching again", self._folder)
            else:
                return False
        self.start()
        return True

    def close(self) -> None:
        """Stop watching."""
        self._is_started = False
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _start_inotify(self, *, is_first: bool) -> None:
        try:
            self._watch = InotifyWatch(self._folder, self._on_arrival, self._on_loss)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EMFILE}:
                raise
            if self._wanted == "inotify":
                if not is_first:
                    raise  # it was available before, so this may be temporary
                raise ConfigError(
                    f"watch: inotify is not available ({error.strerror}): raise "
                    "fs.inotify.max_user_watches and max_user_instances with sysctl, "
                    "or set watch: auto"
                ) from error
            log.warning("inotify is exhausted (%s): polling instead", error.strerror)


def _identity(folder: Path) -> tuple[int, int]:
    info = folder.stat()
    return info.st_dev, info.st_ino


def sends_events(folder: Path) -> bool:
    """Return whether the folder's file system reports all changes, from /proc/self/mountinfo.

    ``True`` if that file does not exist (not Linux).
    """
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                fields = line.split()
                if fields[2] == number:
                    return not fields[fields.index("-") + 1].startswith(_SILENT)
    except FileNotFoundError:
        pass
    return True
