"""A file that the page follows, and how far it is indexed."""

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from daemon.outbox import rows
from daemon.outbox.rotated import open_table
from daemon.review.index import Position

_TAIL_BYTES = 64


class Kind(StrEnum):
    """What a followed file has."""

    ANSWERS = "labels"
    ROWS = "predictions"
    REREADS = "rereads"


@dataclass(slots=True)
class FollowedFile:
    """A file that is followed, and how far it is indexed.

    ``table`` is the content of a compressed table, of which nothing counts as indexed before all
    of it is.
    """

    descriptor: int
    indexed: Position
    table: io.BufferedReader | None = None

    @property
    def bytes_left(self) -> int:
        """The number of bytes that are not indexed."""
        return os.fstat(self.descriptor).st_size - self.indexed.position

    @property
    def is_unchanged(self) -> bool:
        """Whether the file still has the bytes that were indexed last."""
        return read_tail(self.descriptor, self.indexed.position) == self.indexed.tail

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
        if self.table is not None:
            self.table.close()


def renumber(rereads: Iterable[FollowedFile], unused: int) -> None:
    """Give tables of rereads numbers that rise in their order; index those again that change.

    A table counts more than before if its reread was started again.

    Args:
        rereads: the tables, the one that counts most last.
        unused: a number that is higher than those of all tables.
    """
    last = 0
    for number, file in enumerate(rereads, unused):
        if file.indexed.number < last:
            file.indexed = replace(file.indexed, number=number, position=0, tail=b"")
        last = file.indexed.number


@lru_cache(256)  # a page asks for a row several times, and each time decompresses the table
def read_compressed_line(descriptor: int, _inode: int, position: int) -> str:
    """Return the line at a position of a compressed table; see ``Follower.read_line``."""
    table = open_table(Path(f"/proc/self/fd/{descriptor}"))
    if table is None:
        return ""
    with table:
        table.seek(position)
        line = table.readline(rows.LONGEST_LINE)
    return line[:-1].decode("utf-8", "replace") if line.endswith(b"\n") else ""


def read_tail(descriptor: int, end: int) -> bytes:
    """Return the last bytes before a position of a file."""
    return os.pread(descriptor, min(end, _TAIL_BYTES), max(0, end - _TAIL_BYTES))
