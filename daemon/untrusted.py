"""Open files that strangers dropped, and tell when they change."""

import os
from pathlib import Path
from typing import NamedTuple, Self

# Don't follow symlinks; don't block on FIFOs.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Stamp(NamedTuple):
    """What changes when a file is written to: its size in bytes, its mtime in nanoseconds."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, info: os.stat_result) -> Self:
        """Return the stamp of a file as it is."""
        return cls(info.st_size, info.st_mtime_ns)


def open_file(path: Path) -> int:
    """Open whatever is at ``path`` for reading; return a descriptor, for the caller to close.

    Raises:
        OSError: it cannot be opened, or is a symlink (ELOOP).
    """
    return os.open(path, _FLAGS)
