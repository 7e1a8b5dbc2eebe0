"""Lock a folder against other instances of digitd, with flock on a file in it."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from daemon.errors import BusyError, StorageError
from daemon.layout import OUTBOX_LOCK, WORK_FOLDER, WORK_LOCK

# `digitd status` takes the lock for a few microseconds to see whether another process holds it.
_TRIES = 5
_PAUSE_SECONDS = 0.1


class Lock:
    """A lock file, locked from ``take`` until ``release`` or the end of the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._fd = -1

    @property
    def held(self) -> bool:
        """Whether this process holds the lock on the file that is in the folder now."""
        return self._fd >= 0 and is_open_at(self._fd, self._file)

    def take(self) -> None:
        """Lock the folder.

        Raises:
            BusyError: another process holds it.
            OSError: the file cannot be created.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._file, flags, 0o660)
        try:
            for _ in range(_TRIES):
                with suppress(BlockingIOError):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._fd = fd
                    return
                time.sleep(_PAUSE_SECONDS)
        finally:
            if self._fd != fd:
                os.close(fd)
        raise BusyError(
            f"another digitd holds {self._file.parent}: run `digitd status` to see which, then "
            "stop it, or configure other folders"
        )

    def release(self) -> None:
        """Unlock the folder."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_held(file: Path) -> bool:
    """Return whether any process holds a lock file.

    Raises:
        StorageError: this user may not open it.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise StorageError(
            f"{file} cannot be opened: permission denied; run this as the user that digitd runs as"
        ) from None
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def is_running(inbox: Path, outbox: Path) -> bool:
    """Return whether a digitd holds this inbox or this outbox; either may be missing.

    Raises:
        StorageError: a lock file may not be opened by this user.
    """
    return is_held(inbox / WORK_FOLDER / WORK_LOCK) or is_held(outbox / OUTBOX_LOCK)


def is_open_at(fd: int, path: Path) -> bool:
    """Return whether an open file is still the file at a path."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
