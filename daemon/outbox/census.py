"""Count the rows of all tables by status, and find the last ones."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.layout import TABLE
from daemon.outbox import rows
from daemon.outbox.table import rotated
from daemon.records import Status

_BLOCK = 1 << 20
# The start of a row after a line break: id, file name, status.
_ROW = re.compile(rb'\nd[0-9a-z]{12},(?:[^",\n]*|"(?:[^"\n]|"")*"),(ok|unsure|error),')
_ERROR = Status.ERROR.encode()


@dataclass(frozen=True, slots=True)
class Census:
    """The rows of one outbox.

    Attributes:
        counts: their number by status.
        last: the cells of the newest one by column; ``None`` if there is none.
        last_error: the same of the newest one with the status ``error``.
    """

    counts: Counter[str]
    last: dict[str, str] | None
    last_error: dict[str, str] | None


def census(outbox: Path) -> Census:
    """Count the rows of predictions.csv and of the tables that logrotate moved aside."""
    counts: Counter[bytes] = Counter()
    newest = newest_with_error = b""
    for table in (*reversed(rotated(outbox)), outbox / TABLE):
        for block in _blocks(table):
            found = Counter(_ROW.findall(block))
            counts.update(found)
            newest = block if found else newest
            newest_with_error = block if found[_ERROR] else newest_with_error
    return Census(
        Counter({status: counts[status.encode()] for status in Status}),
        _last(newest, {*Status}),
        _last(newest_with_error, {Status.ERROR}),
    )


def _last(block: bytes, statuses: set[Status]) -> dict[str, str] | None:
    """Return the last row in a block that has one of the statuses."""
    for line in reversed(block.split(b"\n")):
        row = rows.parse(line.decode("utf-8", "replace"))
        if row is not None and row["status"] in statuses:
            return row
    return None


def _blocks(table: Path) -> Iterator[bytes]:
    """Yield a table in blocks of whole lines, each line after a line break.

    A last line without its newline is left out.
    """
    rest = b"\n"
    try:
        with table.open("rb") as file:
            while block := file.read(_BLOCK):
                whole, newline, rest = (rest + block).rpartition(b"\n")
                rest = newline + rest
                yield whole
    except FileNotFoundError:
        return
