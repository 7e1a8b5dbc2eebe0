"""Watch a folder with a watchdog observer that only passes on file names."""

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


class Watch:
    """inotify on one folder."""

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
        threads = [self._descriptor, self._observer, *self._observer.emitters]
        return len(threads) > 2 and all(thread.is_alive() for thread in threads)  # noqa: PLR2004 - at least one emitter

    def close(self) -> None:
        """Stop watching."""
        self._observer.stop()
        self._descriptor.stop()
        self._observer.join()
        self._descriptor.join()


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
