"""Notice files that arrive in a folder, with a watchdog observer that only passes on names."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import InotifyConstants, InotifyFD, Mask

from daemon.errors import ConfigError

log = logging.getLogger(__name__)

Mode = Literal["inotify", "polling"]

# File systems on which the kernel does not see changes by other clients.
_SILENT = ("nfs", "cifs", "smb", "9p", "fuse", "virtiofs", "vboxsf", "afs", "ceph", "lustre")


class _ArrivalEmitter(InotifyEmitter):
    """Subscribes only to events that can complete a file: created, moved in, closed after writing.

    Claims move files out of the inbox. watchdog 7.1 delays each such event, and all events after
    it, by 0.5 s to pair it with an arrival elsewhere, so this does not subscribe to them. A rename
    within the inbox is then reported as a creation under the new name.
    """

    def get_event_mask_from_filter(self) -> Mask:
        return Mask(
            InotifyConstants.IN_CREATE
            | InotifyConstants.IN_MOVED_TO
            | InotifyConstants.IN_CLOSE_WRITE
            | InotifyConstants.IN_DELETE_SELF
        )


class _Handler(FileSystemEventHandler):
    """Passes on names. It must not raise, or watchdog's thread would end silently."""

    def __init__(self, arrived: Callable[[str], None]) -> None:
        self._arrived = arrived

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileCreatedEvent | FileClosedEvent):
            self._arrived(Path(os.fsdecode(event.src_path)).name)


class InotifyWatch:
    """A running watchdog observer on one folder."""

    def __init__(self, folder: Path, arrived: Callable[[str], None]) -> None:
        """Start watching; ``arrived`` is called with each name, on another thread.

        Raises:
            OSError: the folder is missing, or inotify's limits are reached (ENOSPC, EMFILE).
        """
        # Not watchdog's shared descriptor, because it is never replaced after its thread dies.
        self._descriptor = InotifyFD()
        self._descriptor.start()
        self._observer = BaseObserver(_ArrivalEmitter, inotify_fd=self._descriptor)
        try:
            self._observer.schedule(_Handler(arrived), str(folder))
            self._observer.start()
        except OSError:
            self._descriptor.stop()
            raise

    def alive(self) -> bool:
        """Return whether all threads are running; the observer can outlive its emitter."""
        emitters = self._observer.emitters
        threads = [self._descriptor, self._observer, *emitters]
        return bool(emitters) and all(thread.is_alive() for thread in threads)

    def close(self) -> None:
        """Stop watching."""
        self._observer.stop()
        self._descriptor.stop()
        self._observer.join()
        self._descriptor.join()


class FolderWatch:
    """Keeps an ``InotifyWatch`` running on a folder that may be replaced, if one is wanted."""

    def __init__(
        self,
        folder: Path,
        wanted: Literal["auto", "inotify", "polling"],
        on_arrival: Callable[[str], None],
    ) -> None:
        """Take the setting ``watch``; ``on_arrival`` is called on another thread."""
        self._folder = folder
        self._wanted = wanted
        self._on_arrival = on_arrival
        self._watch: InotifyWatch | None = None
        self._identity: tuple[int, int] | None = None
        self._is_started = False

    @property
    def mode(self) -> Mode:
        """How arrivals are noticed; with "polling" the folder must be listed often."""
        return "polling" if self._watch is None else "inotify"

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
            self._watch = InotifyWatch(self._folder, self._on_arrival)
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
