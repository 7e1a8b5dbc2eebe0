"""Know from a folder's inotify events which of its files other processes have open."""

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, Mask

from daemon.files import open_untrusted

# Events of unlinked files are excluded: they would be taken for those of a new file of that name.
EVENTS = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_OPEN
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_CLOSE_NOWRITE
    | InotifyConstants.IN_EXCL_UNLINK
    | InotifyConstants.IN_ONLYDIR
)
# About 200 bytes each. Nothing is known of the oldest names beyond this number.
_MOST_NAMES = 16_384


@dataclass(slots=True)
class _Handles:
    """What the events of one file say about the processes that have it open.

    Attributes:
        is_open: it was opened, and not closed since.
        is_modified: it was modified, and not closed after writing since; ``None`` if it was neither
            modified nor closed after writing.
        opens: an estimate of how often it is open. The kernel merges equal events in a row, so it
            could stay above 0 for ever.
        is_awaited: whether the loop waits until nobody has it open.
    """

    is_open: bool = False
    is_modified: bool | None = None
    opens: int = 0
    is_awaited: bool = False

    @property
    def in_use(self) -> bool:
        """Whether another process has the file open."""
        return self.is_open or self.is_modified is True

    def count(self, event: InotifyEvent) -> None:
        """Count an event of the file's own: opened, modified or closed."""
        if event.is_open:
            self.is_open = True
            self.opens += 1
        elif event.is_modify:
            # truncate(2) and setting only the mtime modify a file that nobody has open, and no
            # close follows.
            is_closed = self.is_modified is False and not self.opens
            self.is_modified = None if is_closed else True
        else:
            self.is_open = False
            self.opens = max(0, self.opens - 1)
            if event.is_close_write:
                self.is_modified = False


class OpenFiles:
    """What the events of one folder say about its files; any thread may call this."""

    def __init__(self) -> None:
        self._handles: dict[str, _Handles] = {}
        self._own_opens: dict[str, int] = {}  # opens by this process, not reported yet
        self._moved: tuple[int, _Handles] | None = None  # the cookie of a rename, and what moves
        self._lock = Lock()

    def record(self, event: InotifyEvent) -> bool:
        """Record an event on a file; return whether the file may be complete now."""
        name = os.fsdecode(event.name)
        with self._lock:
            if event.is_open and self._is_own(name):
                return False
            handles = self._handles.pop(name, None) or _Handles()
            if event.is_moved_from:  # by a claim, or to another name
                self._moved = (event.cookie, handles)
                return False
            if event.is_create:
                handles = _Handles()
            elif event.is_moved_to:
                handles = self._take_moved(event.cookie)
            else:
                handles.count(event)
            if handles != _Handles():
                self._handles[name] = handles
            if len(self._handles) > _MOST_NAMES:
                del self._handles[next(iter(self._handles))]
            is_arrival = event.is_create or event.is_moved_to or event.is_close_write
            return is_arrival or (handles.is_awaited and not handles.in_use)

    def clear(self) -> None:
        """Forget everything, after events were lost."""
        with self._lock:
            self._handles.clear()
            self._own_opens.clear()
            self._moved = None

    def is_open(self, name: str) -> bool | None:
        """Return whether another process has a file open; ``None`` if that is not known."""
        with self._lock:
            handles = self._handles.get(name)
            if handles is None:
                return None
            handles.is_awaited = handles.in_use
            if handles.in_use:
                return True
            return None if handles.is_modified is None else False

    def open(self, path: Path) -> int:
        """Open a file like ``open_untrusted``; its event is not taken for another process's."""
        with self._lock:
            descriptor = open_untrusted(path)
            self._own_opens[path.name] = self._own_opens.get(path.name, 0) + 1
            return descriptor

    def _is_own(self, name: str) -> bool:
        """Return whether an open is this process's, and count it as reported."""
        own = self._own_opens.pop(name, 0)
        if own > 1:
            self._own_opens[name] = own - 1
        return own > 0

    def _take_moved(self, cookie: int) -> _Handles:
        """Return what is known of a file that was renamed in the folder, or else nothing."""
        return self._moved[1] if self._moved and self._moved[0] == cookie else _Handles()
