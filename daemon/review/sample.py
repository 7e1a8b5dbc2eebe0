"""Decide which ``ok`` rows are in the random sample, whose answers measure the accuracy.

Of each model's ``ok`` rows: those whose id's hash is 0 modulo 50, the 20 with the lowest hash, and
those of the sample that a page has shown. The id alone decides about the first two, so that they
stay the same when the index is rebuilt, and are independent of the image.
"""

import logging
import os
import sqlite3
import threading
import zlib
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from daemon import ids
from daemon.errors import describe
from daemon.files import append, open_to_append
from daemon.layout import REVIEW_SHOWN

log = logging.getLogger(__name__)

_ONE_IN = 50
_LOWEST = 20  # so that a few hundred files have a sample too

SCHEMA = """
CREATE TABLE lowest (model TEXT, place INTEGER, id INTEGER PRIMARY KEY);
"""


class Candidate(NamedTuple):
    """An ``ok`` row: its model, and the number of its id."""

    model: str
    number: int


class ShownRows:
    """The rows of the sample that a page has shown. Methods may be called from any thread.

    When rows with lower hashes come, these must not leave the sample: a person may have put off
    the hard ones. The hash already keeps one in 50; only the others are noted, in a file.
    """

    def __init__(self, outbox: Path) -> None:
        """Read the file.

        Raises:
            OSError: it cannot be read.
        """
        self._path = outbox / REVIEW_SHOWN
        self._lock = threading.Lock()
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").split()
        except FileNotFoundError:
            lines = []
        self._numbers = {ids.decode(line) for line in lines if ids.PATTERN.fullmatch(line)}

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of their ids."""
        with self._lock:
            return frozenset(self._numbers)

    def add(self, numbers: Iterable[int]) -> None:
        """Note that rows of the sample were shown."""
        with self._lock:
            new = [one for one in numbers if not is_drawn(one) and one not in self._numbers]
            if not new:
                return
            self._numbers.update(new)
            # The newline comes first: an id that a kill tore stays a line by itself.
            data = "".join(f"\n{ids.encode(number)}" for number in new).encode()
            try:
                descriptor = open_to_append(self._path)
                try:
                    append(descriptor, data, self._path)
                finally:
                    os.close(descriptor)
            except OSError as error:  # they stay in the sample until the page is stopped
                log.warning("the rows that were shown cannot be noted: %s", describe(error))


def is_drawn(number: int) -> bool:
    """Return whether an id's hash puts its row into the sample, if its status is ``ok``."""
    return random_order(number) % _ONE_IN == 0


def random_order(number: int) -> int:
    """Return an id's hash, its place in a random order."""
    return zlib.crc32(number.to_bytes(8, "big"))


def update(db: sqlite3.Connection, added: Iterable[Candidate], shown: Iterable[int]) -> set[int]:
    """Add rows to those with the lowest hashes; return the numbers of those that left the sample.

    Those that are in it then are in the table ``lowest``.

    Args:
        db: with ``SCHEMA``, in a transaction.
        added: rows that may be there already.
        shown: the numbers of rows that stay in the sample.
    """
    lowest = defaultdict[str, list[tuple[int, int]]](list)
    for model, place, number in db.execute("SELECT * FROM lowest ORDER BY place, id"):
        lowest[model].append((place, number))
    before = {number for group in lowest.values() for _, number in group}
    for model, number in added:
        group, one = lowest[model], (random_order(number), number)
        if (len(group) < _LOWEST or one < group[-1]) and one not in group:
            insort(group, one)
            del group[_LOWEST:]
    now = {number: (model, place) for model, group in lowest.items() for place, number in group}
    left = before - now.keys()
    db.executemany("DELETE FROM lowest WHERE id = ?", [(number,) for number in left])
    db.executemany(
        "INSERT INTO lowest VALUES (?, ?, ?)",
        [(*now[number], number) for number in now.keys() - before],
    )
    return {number for number in left if not is_drawn(number)} - set(shown)
