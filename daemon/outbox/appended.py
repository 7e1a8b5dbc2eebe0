"""What both append-only CSV files need: check the header, repair the end, make a name durable."""

import os
from collections.abc import Callable
from pathlib import Path

from daemon.errors import ConfigError

_BLOCK = 1 << 20


def has_header(head: bytes, header: str, path: Path, remedy: str) -> bool:
    """Return whether a file that starts with ``head`` has its header; ``False`` if it is torn.

    Args:
        head: at least as many bytes as the header has, if the file has them.
        header: what the file should begin with.
        path: of the file.
        remedy: what to do if it begins with something else.

    Raises:
        ConfigError: the file begins with something else.
    """
    expected = header.encode()
    if len(head) < len(expected) and expected.startswith(head):
        return False
    if head.strip() != expected.strip():
        raise ConfigError(f"{path}: does not begin with digitd's columns: {remedy}")
    return True


def sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def mend(descriptor: int, is_row: Callable[[str], bool]) -> int:
    """Cut off what a power failure or a kill left of rows that were being appended.

    A torn line has no newline, or contains the zeros of a block that never reached the disk. Any
    other malformed line was edited by someone and is kept.

    Args:
        descriptor: of a file opened for reading and appending.
        is_row: returns whether a line is a whole row; it must refuse every prefix of a row.

    Returns:
        The number of bytes that were cut off.

    Raises:
        OSError: the file cannot be read or written.
    """
    cut = 0
    while size := os.fstat(descriptor).st_size:
        tail = os.pread(descriptor, _BLOCK, max(0, size - _BLOCK))
        keep = len(tail)
        while keep and not _is_whole(tail, keep, is_row):
            keep = tail.rfind(b"\n", 0, keep - 1) + 1
        if keep == len(tail):
            if not tail.endswith(b"\n"):  # an editor removed the last newline
                os.write(descriptor, b"\n")
            break
        cut += len(tail) - keep
        os.ftruncate(descriptor, size - (len(tail) - keep))
        if keep:
            break
    if cut:
        os.fsync(descriptor)
    return cut


def _is_whole(tail: bytes, end: int, is_row: Callable[[str], bool]) -> bool:
    """Return whether the last line up to ``end`` is whole."""
    start = tail.rfind(b"\n", 0, end - 1) + 1
    line = tail[start:end]
    if b"\0" in line:
        return False
    return line.endswith(b"\n") or is_row(line.decode("utf-8", "replace"))
