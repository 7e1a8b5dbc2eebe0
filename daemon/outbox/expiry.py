"""Find the rows that are too old, and their files, in tables whose dates may be wrong.

The tables are read from their files, never into memory. The functions are generators that pause, so
that the daemon's loop can do other work.
"""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from daemon.files import complete_lines
from daemon.layout import ORIGINALS, PICTURES
from daemon.outbox import archive, rows
from daemon.outbox.clock import FIRST_RELEASE
from daemon.outbox.table import open_tables

_ROWS_AT_ONCE = 500  # between two pauses, 2 ms
_MOST_FILES = 20_000  # that are found in one pass over the tables; 5 MB in memory


class _Row(NamedTuple):
    id: str
    processed_at: str
    original: str
    picture: str


_get_cells = itemgetter(*map(rows.COLUMNS.index, _Row._fields))
_END = _Row("", "~", "", "")  # after all dates


@dataclass(frozen=True, slots=True)
class Expired:
    """The rows that are too old: the first ones, in the order of the tables.

    Attributes:
        last: the id of the last of them.
        date: its date.
        highest: the highest id of all of them.
    """

    last: str
    date: str
    highest: str


@dataclass(frozen=True, slots=True)
class ExpiredFiles:
    """Some files of expired rows.

    Attributes:
        paths: relative to the outbox.
        through: the id of the row up to which these are all; empty if the tables have changed.
    """

    paths: list[str]
    through: str


def find_expired(outbox: Path, before: str, now: str) -> Generator[None, None, Expired | None]:
    """Return the rows that are older than ``before``; ``None`` if no row is.

    A row's date is believed if it is

    - not before the first release of digitd,
    - not before the believed date of a row above it,
    - not after the date of the row directly below it,
    - and not after ``now``.

    A row that is not believed has the age of the next one that is. So believed dates only increase,
    and the old rows are the first ones.
    """
    believed = rows.timestamp(FIRST_RELEASE)
    highest = ""
    found = None
    for number, (row, below) in enumerate(pairwise(chain(_read_rows(outbox), [_END]))):
        if number % _ROWS_AT_ONCE == 0:
            yield
        highest = max(highest, row.id)
        if believed <= row.processed_at <= min(below.processed_at, now):
            believed = row.processed_at
            if believed >= before:
                break
            found = Expired(row.id, believed, highest)
    return found


def find_files(outbox: Path, after: str, last: str) -> Generator[None, None, ExpiredFiles]:
    """Return files of the rows after one and up to another, at most 20,000.

    A path that a later row names too is left out: the name was free again, and the file is newer.

    Args:
        outbox: has the tables.
        after: the id of a row; empty for the start of the tables.
        last: the id of the last row that is too old.
    """
    found: dict[str, str] = {}  # paths, with the id of the last row that names it
    through = ""
    is_inside, is_whole = not after, False
    for number, row in enumerate(_read_rows(outbox)):
        if number % _ROWS_AT_ONCE == 0:
            yield
        paths = (row.original, row.picture)
        if is_inside:
            found.update((path, row.id) for path in paths if _is_deletable(outbox, path))
            through = row.id
            is_whole = row.id == last or len(found) >= _MOST_FILES
            is_inside = not is_whole
        elif is_whole:
            for path in paths:
                if found.get(path, row.id) != row.id:
                    del found[path]
        else:
            is_inside = row.id == after
    return ExpiredFiles(list(found), through) if is_whole else ExpiredFiles([], "")


def _read_rows(outbox: Path) -> Iterator[_Row]:
    """Yield the rows of all tables, oldest first. A copy of a table repeats its rows."""
    with open_tables(outbox) as tables:
        for line in chain.from_iterable(map(complete_lines, tables)):
            cells = rows.cells(line.decode("utf-8", "replace"))
            if cells is not None:
                yield _Row(*_get_cells(cells))


def _is_deletable(outbox: Path, path: str) -> bool:
    """Return whether a row's path is that of a published file that is there."""
    folder, _, name = path.partition("/")
    return (
        folder in {ORIGINALS, PICTURES}
        and archive.is_file_name(name)
        and os.path.lexists(f"{outbox}/{path}")
        # Somebody may have replaced a day's folder.
        and not ("/" in name and os.path.islink(f"{outbox}/{folder}/{name.partition('/')[0]}"))  # noqa: PTH114
    )
