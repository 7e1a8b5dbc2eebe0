"""A dropped file on the disk: opened without being led astray, and known again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

# No link leads us out of the inbox, and no FIFO holds us.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Stamp(NamedTuple):
    """What changes when a file is written to: its size in bytes, its mtime in ns."""

    size: int
    changed: int


def opened(path: Path) -> int:
    """Open a file for reading; returns its descriptor, to be closed by the caller.

    Raises:
        OSError: it cannot be opened, or is a link (ELOOP).
    """
    return os.open(path, _FLAGS)


def stamp(info: os.stat_result) -> Stamp:
    """Return the stamp of a file as it is."""
    return Stamp(info.st_size, info.st_mtime_ns)
