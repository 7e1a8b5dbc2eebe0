"""Notice files that arrive in a folder, and which of them are still open, by inotify."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from watchdog.observers.inotify_c import CallbackId, InotifyEvent, InotifyFD, WatchDescriptor

from daemon.errors import ConfigError
from daemon.inbox.open_files import EVENTS, OpenFiles

log = logging.getLogger(__name__)

Mode = Literal["inotify", "polling"]

# File systems on which the kernel does not see changes by other clients.
_SILENT = ("nfs", "cifs", "smb", "9p", "fuse", "virtiofs", "vboxsf", "afs", "ceph", "lustre")


class InotifyWatch:
    """A thread that reads one folder's events; watchdog's ``InotifyFD`` calls the ``on_`` methods.

    watchdog's own observer adds two threads, and delays each event that moves a file out of the
    folder, as every claim does, and all events after it, by 0.5 s (watchdog 7.1).

    Attributes:
        open_files: what the events say about the folder's files.
    """

    def __init__(
        self, folder: Path, on_arrival: Callable[[str], None], on_loss: Callable[[], None]
    ) -> None:
        """Start watching.

        Args:
            folder: what to watch.
            on_arrival: called with the name of each file that may be complete, on another thread.
            on_loss: called when events were lost, on another thread.

        Raises:
            OSError: the folder is missing, or inotify's limits are reached (ENOSPC, EMFILE).
        """
        self.open_files = OpenFiles()
        self._on_arrival = on_arrival
        self._on_loss = on_loss
        self._is_deleted = False
        # Not watchdog's shared descriptor, because it is never replaced after its thread dies.
        self._descriptor = InotifyFD()
        self._descriptor.start()
        try:
            watched = self._descriptor.add_callback(
                os.fsencode(folder), EVENTS, self, CallbackId(id(self))
            )
            if watched < 0:  # watchdog ignores EACCES
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        except OSError:
            self.close()
            raise

    def on_event(self, event: InotifyEvent) -> None:
        """Record an event on a file; a folder arrives, too, so that it is logged if it matches."""
        if not event.name:
            return
        if event.is_directory:
            is_arrival = event.is_create or event.is_moved_to
        else:
            is_arrival = self.open_files.record(event)
        if is_arrival:
            self._on_arrival(os.fsdecode(event.name))

    def on_queue_overflow(self) -> None:
        """Forget what the events said, because some were lost."""
        self.open_files.clear()
        self._on_loss()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002 - called by watchdog
        """Note that the folder is gone; a new one may have its inode."""
        self._is_deleted = True

    def alive(self) -> bool:
        """Return whether the thread is running and the folder was not deleted."""
        return self._descriptor.is_alive() and not self._is_deleted

    def close(self) -> None:
        """Stop watching."""
        self._descriptor.stop()
        self._descriptor.join()


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
    def open_files(self) -> OpenFiles | None:
        """What the events say about the folder's files; ``None`` without inotify."""
        return None if self._watch is None else self._watch.open_files

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
