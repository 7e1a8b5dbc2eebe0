"""Open the files that rows name, and no others."""

import errno
import os
import stat
from pathlib import Path

from daemon.layout import FAILED, ORIGINALS, PICTURES
from daemon.outbox import published

_FOLDERS = frozenset({ORIGINALS, FAILED, PICTURES})
# Don't follow symlinks; don't block on FIFOs.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_named(outbox: Path, named: str) -> int:
    """Open the file that a cell ``original`` or ``picture`` names; return a descriptor.

    The cell may have been edited. Only regular files directly in digitd's folders are opened.

    Raises:
        OSError: there is no such file.
    """
    folder, _, name = named.partition("/")
    if folder not in _FOLDERS or not published.is_name(name):
        raise PermissionError(errno.EPERM, "is not in a folder of the outbox", named)
    descriptor = _opened(outbox / folder, name)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "is not a regular file", named)
    return descriptor


def _opened(folder: Path, name: str) -> int:
    day, _, file = name.rpartition("/")
    if not day:
        return os.open(folder / file, _FLAGS)
    of_day = os.open(folder / day, _FLAGS | os.O_DIRECTORY)
    try:
        return os.open(file, _FLAGS, dir_fd=of_day)
    finally:
        os.close(of_day)
