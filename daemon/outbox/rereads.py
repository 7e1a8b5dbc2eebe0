"""rereads/: what models read in archived originals later; append results, find the newest ones.

A table is named after the model and what it read, such as ``3f2a91c0d7e4-digit.csv``, and has the
columns of predictions.csv. A line is the row as this model would have written it, with the time of
this reading in ``processed_at``. A row has at most one line in a table.

Of several tables, the one whose reread was started last counts. Each start appends a line to
``.digitd.rereads``, so no clock decides.
"""

import fcntl
import logging
import os
import re
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path

from daemon import files, ids
from daemon.errors import BusyError, StorageError, describe
from daemon.layout import REREADS, REREADS_STARTED
from daemon.locks import try_lock
from daemon.outbox import rows
from daemon.records import Reads, Result, Status
from daemon.waiting import Timer

log = logging.getLogger(__name__)

TABLE_NAME = re.compile(rf"[0-9a-f]{{12}}-(?:{'|'.join(Reads)})\.csv")
_STARTED = re.compile(rf"({TABLE_NAME.pattern}) (\S+)")
_REMEDY = "move it out of this folder"
_SYNC_SECONDS = 1.0
# `digitd audit` takes the lock for a few microseconds to see whether another process holds it.
_LOCK_TRIES = 5
_LOCK_PAUSE_SECONDS = 0.1
_TAIL_BYTES = 64
_MOST_UNSORTED = 50_000  # results in a dict, 5 MB
# A line with a verdict: id, file name, status. Parsing all cells takes three times as long.
_VERDICT = re.compile(
    rf'({ids.PATTERN.pattern}),(?:[^",\n]*|"(?:[^"\n]|"")*"),({Status.OK}|{Status.UNSURE}),'.encode()
)
_VERDICT_COLUMNS = rows.COLUMNS[rows.COLUMNS.index("status") : rows.COLUMNS.index("reason") + 1]
_ID, _STATUS, _PROCESSED_AT = map(rows.COLUMNS.index, ("id", "status", "processed_at"))


def table_name(model: str, reads: Reads) -> str:
    """Return the name of a table; ``model`` is the model's short hash."""
    return f"{model}-{reads}.csv"


def format_line(cells: list[str], result: Result, at: datetime) -> str:
    """Return a row as a reread has it, as one line of CSV.

    Args:
        cells: those of predictions.csv.
        result: of reading its original again.
        at: when it was read (UTC).
    """
    values: dict[str, str | float | None] = dict(zip(rows.COLUMNS, cells, strict=True))
    values |= zip(_VERDICT_COLUMNS, rows.verdict_fields(result.verdict), strict=True)
    own = {"sha256": result.sha256, "model": result.model, "processed_at": rows.timestamp(at)}
    return rows.csv_line((values | own).values())


def list_tables(outbox: Path) -> list[Path]:
    """Return the tables, the one that counts most last."""
    return [path for _, path in _list_started(outbox)]


def _list_started(outbox: Path) -> list[tuple[str, Path]]:
    """Return the tables, the one that was started last at the end; each with the time of that.

    A table that has no known start comes first, with an empty time.
    """
    try:
        text = (outbox / REREADS_STARTED).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        text = ""
    starts = {
        noted[1]: (place, noted[2])
        for place, line in enumerate(text.split("\n"))
        if (noted := _STARTED.fullmatch(line))
    }
    never = (-1, "")
    found = sorted(
        (*starts.get(name, never), name)
        for name in _list_folder(outbox)
        if TABLE_NAME.fullmatch(name)
    )
    return [(at, outbox / REREADS / name) for _, at, name in found]


def _list_folder(outbox: Path) -> list[str]:
    try:
        return os.listdir(outbox / REREADS)  # noqa: PTH208 - names are all we need
    except FileNotFoundError:
        return []


def _note_start(outbox: Path, name: str) -> None:
    """Make a table the one that counts most; this survives a power failure."""
    started = _list_started(outbox)
    if started and started[-1][1].name == name and started[-1][0]:
        return
    path = outbox / REREADS_STARTED
    descriptor = files.open_to_append(path)
    try:
        # The newline comes first: a line that a kill tore stays a line by itself.
        line = f"\n{name} {rows.timestamp(datetime.now(UTC))}"
        files.append(descriptor, line.encode(), path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    files.sync_folder(outbox)


class RereadWriter:
    """Appends results to one table, which it keeps locked.

    Attributes:
        path: of the table.
        numbers: those of the ids of the rows that had a result when it was opened.
    """

    def __init__(self, outbox: Path, name: str) -> None:
        """Open or create the table, cut off a torn line, and note the start of this reread.

        Raises:
            BusyError: another process writes this table.
            ConfigError: the file is not digitd's.
            StorageError, OSError: it cannot be written.
        """
        self.path = outbox / REREADS / name
        self.numbers = set[int]()
        self._sync_timer = Timer(_SYNC_SECONDS)
        files.make_folder(self.path.parent)
        self._descriptor = self._open_locked()
        try:
            head = os.pread(self._descriptor, rows.HEAD_BYTES, 0)
            if not rows.has_header(head, rows.HEADER, self.path, _REMEDY):  # new, or torn
                os.ftruncate(self._descriptor, 0)
                files.append(self._descriptor, rows.HEADER.encode(), self.path)
                os.fsync(self._descriptor)
                files.sync_folder(self.path.parent)
            if cut := files.cut_torn_lines(self._descriptor, _is_row):
                log.warning("%s: cut a torn line of %d bytes", self.path, cut)
            with open(self._descriptor, "rb", closefd=False) as file:
                file.seek(0)
                for line in files.complete_lines(file):
                    if (cells := _parse(line)) is not None:
                        self.numbers.add(ids.decode(cells[_ID]))
            _note_start(outbox, name)
        except BaseException:
            self.close()
            raise

    def append(self, lines: list[str]) -> None:
        """Append whole lines, all or none; they are synced within a second or by ``close``.

        Raises:
            StorageError: they cannot be written, or the table was moved away.
        """
        if not files.is_open_at(self._descriptor, self.path):
            raise StorageError(f"{self.path} was moved away or replaced: start the reread again")
        size = os.fstat(self._descriptor).st_size
        try:
            files.append(self._descriptor, "".join(lines).encode(), self.path)
            if self._sync_timer.is_due:
                os.fsync(self._descriptor)
                self._sync_timer.restart()
        except OSError as error:
            with suppress(OSError):  # the next start cuts off a torn line
                os.ftruncate(self._descriptor, size)
            raise StorageError(f"{describe(error)}: make room, then start it again") from None

    def close(self) -> None:
        """Sync the table and unlock it."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)  # this also unlocks it
            self._descriptor = -1

    def _open_locked(self) -> int:
        for _ in range(_LOCK_TRIES):
            descriptor = files.open_to_append(self.path)
            try:
                is_locked = try_lock(descriptor, fcntl.LOCK_EX, self.path)
                if is_locked and files.is_open_at(descriptor, self.path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            time.sleep(_LOCK_PAUSE_SECONDS)
        raise BusyError(
            f"{self.path}: another `digitd reread` is writing it: wait until it has ended, or stop "
            "it"
        )


class Rereads:
    """The newest result of each row that has one; 16 bytes of memory for each result.

    A file that could not be read again keeps the verdict that it has, so ``error`` results do not
    count.
    """

    def __init__(
        self, outbox: Path, *, before: str = "", without: str = "", only: str = ""
    ) -> None:
        """Load the tables.

        Args:
            outbox: has the tables.
            before: a time as in ``processed_at``; only results that were there at that time count.
                Empty for all.
            without: the name of a table to leave out.
            only: the name of the only table to load; empty for all.

        Raises:
            ConfigError: a table is not digitd's.
            OSError: one cannot be read.
        """
        self._outbox = outbox
        self._tables = list[_Table]()
        try:
            for at, path in _list_started(outbox):
                is_later = before and at >= before
                if path.name == without or (only and path.name != only) or is_later:
                    continue
                with suppress(FileNotFoundError):  # somebody has moved it
                    self._tables.append(table := _Table(path))
                    for _ in table.read_on(before):
                        pass
        except BaseException:
            self.close()
            raise

    def find(self, job_id: str) -> bytes | None:
        """Return the newest result of a row, as a line; ``None`` if there is none."""
        if not self._tables:
            return None
        number = ids.decode(job_id)
        for table in reversed(self._tables):
            if (line := table.find(number)) is not None:
                return line
        return None

    def refresh(self) -> bool:
        """Open tables that are new; return whether those that were there are still as they were.

        If not, another table may count most for a row: load all again.

        Raises:
            ConfigError: a table is not digitd's.
            OSError: one cannot be read.
        """
        paths = list_tables(self._outbox)
        known = [table.path for table in self._tables]
        if paths[: len(known)] != known or not all(table.is_unchanged for table in self._tables):
            return False
        self._tables += map(_Table, paths[len(known) :])
        return True

    def read_new(self) -> Iterator[bytes]:
        """Yield the lines that were appended since, of those that count as the newest."""
        for table in self._tables:
            for line in table.read_on():
                found = _find_verdict(line)
                if found is not None and self.find(found) == line:
                    yield line

    def close(self) -> None:
        """Close the tables."""
        for table in self._tables:
            table.close()
        self._tables.clear()


class _Table:
    """One table: the ids that have a verdict in it, and where.

    Attributes:
        path: of the table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = files.open_descriptor(path)
        self._position = 0
        self._tail = b""
        # In the order of the numbers, as nearly all lines are; ``_unsorted`` has the others.
        self._numbers, self._offsets = array("q"), array("q")
        self._unsorted = dict[int, int]()

    @property
    def is_unchanged(self) -> bool:
        """Whether lines were only appended to the file."""
        return files.is_open_at(self._descriptor, self.path) and self._read_tail() == self._tail

    def read_on(self, before: str = "") -> Iterator[bytes]:
        """Yield the lines that were appended since.

        Args:
            before: stop at the first line of this time or later; empty for none.

        Raises:
            ConfigError: the file is not digitd's.
            OSError: it cannot be read.
        """
        if not self._position:
            head = os.pread(self._descriptor, rows.HEAD_BYTES, 0)
            if not rows.has_header(head, rows.HEADER, self.path, _REMEDY):
                return  # it is being created
        # Opened again, because a buffer could hold a torn line that was replaced since.
        with open(self._descriptor, "rb", closefd=False) as source:
            source.seek(self._position)
            for line in files.complete_lines(source):
                if before and _processed_at(line) >= before:
                    break
                if (job_id := _find_verdict(line)) is not None:
                    self._add(ids.decode(job_id))
                self._position += len(line)
                yield line
        self._tail = self._read_tail()

    def find(self, number: int) -> bytes | None:
        """Return the line with a verdict on a row; ``number`` is that of its id."""
        offset = self._unsorted.get(number)
        if offset is None:
            place = bisect_left(self._numbers, number)
            if place == len(self._numbers) or self._numbers[place] != number:
                return None
            offset = self._offsets[place]
        line, newline, _ = os.pread(self._descriptor, rows.LONGEST_LINE, offset).partition(b"\n")
        return line + newline

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _add(self, number: int) -> None:
        """Record that the line at the position has a verdict on a row."""
        if not self._numbers or number > self._numbers[-1]:
            self._numbers.append(number)
            self._offsets.append(self._position)
            return
        self._unsorted[number] = self._position
        if len(self._unsorted) > _MOST_UNSORTED:
            numbers, offsets = array("q"), array("q")
            known = zip(self._numbers, self._offsets, strict=True)
            for one, offset in merge(known, sorted(self._unsorted.items())):
                numbers.append(one)
                offsets.append(offset)
            self._numbers, self._offsets, self._unsorted = numbers, offsets, {}

    def _read_tail(self) -> bytes:
        length = min(self._position, _TAIL_BYTES)
        return os.pread(self._descriptor, length, self._position - length)


def _find_verdict(line: bytes) -> str | None:
    """Return the id in a line with a verdict; ``None`` for an ``error``, or another line."""
    if found := _VERDICT.match(line):
        return found[1].decode()
    cells = _parse(line)  # a spreadsheet has saved the table
    return None if cells is None or cells[_STATUS] == Status.ERROR else cells[_ID]


def _is_row(line: str) -> bool:
    return rows.cells(line) is not None


def _parse(line: bytes) -> list[str] | None:
    return rows.cells(line.decode("utf-8", "replace"))


def _processed_at(line: bytes) -> str:
    cells = _parse(line)
    return "" if cells is None else cells[_PROCESSED_AT]
