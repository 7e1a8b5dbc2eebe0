"""Open the files that rows name, and no others."""

import errno
import os
import stat
from pathlib import Path

from daemon.files import open_untrusted
from daemon.layout import FAILED, ORIGINALS, PICTURES
from daemon.outbox import published

_FOLDERS = frozenset({ORIGINALS, FAILED, PICTURES})


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
        return open_untrusted(folder / file)
    of_day = open_untrusted(folder / day)
    try:
        return open_untrusted(file, folder=of_day)
    finally:
        os.close(of_day)
