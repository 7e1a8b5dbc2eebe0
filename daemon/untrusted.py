"""Open untrusted files safely, and detect changes to them."""

import os
from pathlib import Path
from typing import NamedTuple, Self

# Don't follow symlinks; don't block on FIFOs.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Stamp(NamedTuple):
    """A file's size in bytes and mtime in nanoseconds; one changes if the file is written to."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, info: os.stat_result) -> Self:
        """Return the stamp of a file from its stat result."""
        return cls(info.st_size, info.st_mtime_ns)


def open_file(path: Path) -> int:
    """Open ``path`` for reading; return a descriptor, which the caller must close.

    Raises:
        OSError: the file cannot be opened, or is a symlink (ELOOP).
    """
    return os.open(path, _FLAGS)
