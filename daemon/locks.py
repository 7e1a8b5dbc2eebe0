"""Lock files, which name their holder."""

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from daemon.errors import BusyError, StorageError
from daemon.files import append, is_open_at, open_to_append

# `digitd status` takes the lock for a few microseconds to see whether another process holds it.
_LOCK_TRIES = 5
_LOCK_PAUSE_SECONDS = 0.1


class Lock:
    """A lock file, locked from ``take`` until ``release`` or the end of the process.

    It names its holder, for the message of whoever else wants it.
    """

    def __init__(self, file: Path, config: Path | None = None) -> None:
        """Take the file to lock, and the config file of this process if it has one."""
        self._file = file
        self._config = config
        self._descriptor = -1
        self._is_signed = False

    def is_held(self) -> bool:
        """Return whether this process holds the lock on the file that is in the folder now.

        The file is signed now if that failed when the lock was taken.
        """
        if self._descriptor < 0 or not is_open_at(self._descriptor, self._file):
            return False
        if not self._is_signed:
            self._sign()
        return True

    def take(self) -> None:
        """Lock the file.

        Raises:
            BusyError: another process holds it.
            StorageError: the file system has no locks.
            OSError: the file cannot be created.
        """
        descriptor = open_to_append(self._file)
        try:
            for _ in range(_LOCK_TRIES):
                if try_lock(descriptor, fcntl.LOCK_EX, self._file):
                    self._descriptor = descriptor
                    self._sign()
                    return
                time.sleep(_LOCK_PAUSE_SECONDS)
        finally:
            if self._descriptor != descriptor:
                os.close(descriptor)
        raise busy(self._file)

    def release(self) -> None:
        """Unlock the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor, self._is_signed = -1, False

    def _sign(self) -> None:
        config = str(self._config.resolve()) if self._config else ""
        with suppress(OSError):  # on a full disk the lock still works
            os.ftruncate(self._descriptor, 0)
            signature = json.dumps(asdict(Holder(os.getpid(), config))).encode()
            append(self._descriptor, signature, self._file)
            self._is_signed = True


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock: its id, and the path of its config file or ``""``."""

    pid: int
    config: str

    def was_started_with(self, file: Path | None) -> bool:
        """Return whether this is the process's config file."""
        return file is not None and self.config == str(file.resolve())


def read_holder(file: Path) -> Holder | None:
    """Return who locked a file last; ``None`` if that cannot be read."""
    try:
        return Holder(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def busy(file: Path) -> BusyError:
    """Return the error that another digitd holds a lock file."""
    holder = read_holder(file)
    who = "" if holder is None else f" (process {holder.pid}, config {holder.config or 'unknown'})"
    return BusyError(
        f"another digitd holds {file.parent.resolve()}{who}: stop it, or name another folder in "
        "the config"
    )


def is_held(file: Path) -> bool:
    """Return whether any process holds a lock file.

    Raises:
        StorageError: this user may not open it, or its file system has no locks.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise StorageError(
            f"{file} cannot be opened: permission denied; run this as the user that digitd runs as"
        ) from None
    except OSError:
        return False
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH, file)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, operation: int, file: Path) -> bool:
    """Lock a file without waiting; return whether no other process holds it."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"{file}: cannot be locked: {error.strerror}: use a file system that has locks, or on "
            "NFS start the server's lock service"
        ) from None
    return True
