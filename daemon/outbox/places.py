"""Where rows lie in their tables, to read those that an answer changes without all others."""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from daemon import ids
from daemon.outbox import results, rotated, rows

_PREFIX_BYTES = 4  # of a content, kept for each row
_UNKNOWN = 0  # the prefix of a row without a hash; a reread may give it one
_ID, _SHA256 = map(rows.COLUMNS.index, ("id", "sha256"))


class MovedRowError(Exception):
    """A row is not where it was when it was added."""


class RowPlaces:
    """The places of rows by id and content; 24 bytes of memory for each row.

    A table is known by the id of its first row, which stays when logrotate renames or compresses
    it.
    """

    def __init__(self) -> None:
        self._tables: list[str] = []  # their first ids
        self._table_numbers = dict[str, int]()
        # For each row: its id, the start of its hash, its table and its offset in there.
        self._ids, self._contents = array("Q"), array("I")
        self._in_tables, self._offsets = array("I"), array("Q")

    def add(self, first_id: str, offset: int, cells: list[str]) -> None:
        """Add a row.

        Args:
            first_id: of its table.
            offset: of its line in the table; of a compressed one, in the text.
            cells: those of the row.
        """
        number = self._table_numbers.setdefault(first_id, len(self._tables))
        if number == len(self._tables):
            self._tables.append(first_id)
        content = rows.parse_sha256(cells[_SHA256])
        self._ids.append(ids.decode(cells[_ID]))
        self._contents.append(_UNKNOWN if content is None else _prefix(content))
        self._in_tables.append(number)
        self._offsets.append(offset)

    def read(
        self, outbox: Path, job_ids: set[str], contents: set[bytes]
    ) -> Iterator[tuple[str, list[str]]]:
        """Yield the rows that have one of some ids or contents, and perhaps a few others.

        Args:
            outbox: has the tables.
            job_ids: the ids.
            contents: the hashes.

        Yields:
            Lines without their newlines, and their cells.

        Raises:
            MovedRowError: a row is not in its place; others may have been yielded.
            OSError: a table cannot be read.
        """
        wanted = set(map(ids.decode, job_ids))
        prefixes = {*map(_prefix, contents), _UNKNOWN} if contents else set()
        # Comparing every row takes 0.2 s for a million, however many are wanted (2-core x86, busy).
        found = [
            place
            for place, (number, prefix) in enumerate(zip(self._ids, self._contents, strict=True))
            if number in wanted or prefix in prefixes
        ]
        for table, places in groupby(found, key=self._in_tables.__getitem__):
            yield from self._read_table(outbox, self._tables[table], list(places))

    def _read_table(
        self, outbox: Path, first_id: str, places: list[int]
    ) -> Iterator[tuple[str, list[str]]]:
        """Yield rows of one table, in the order of their offsets."""
        done = 0
        for path in rotated.find_tables(outbox, first_id):
            with suppress(FileNotFoundError):  # logrotate has renamed it
                for parsed in self._read_file(path, places[done:]):
                    done += 1
                    yield parsed
            if done == len(places):
                return
        raise MovedRowError

    def _read_file(self, path: Path, places: list[int]) -> Iterator[tuple[str, list[str]]]:
        """Yield rows of one file up to the first that is not there."""
        table = rotated.open_table(path)
        if table is None:
            return
        with table:
            for place in places:
                table.seek(self._offsets[place])
                parsed = results.parse_line(table.readline())
                if parsed is None or ids.decode(parsed[1][_ID]) != self._ids[place]:
                    return
                yield parsed


def _prefix(content: bytes) -> int:
    return int.from_bytes(content[:_PREFIX_BYTES])
