"""predictions.csv: append rows durably, repair its end, read and count rows."""

import io
import json
import logging
import os
import re
import stat
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from daemon import files, ids
from daemon.errors import ConfigError, add_path
from daemon.invocation import command
from daemon.layout import COUNTS, TABLE
from daemon.outbox import rotated, rows
from daemon.outbox.rotated import Format, list_rotated
from daemon.records import Stamp, Status

log = logging.getLogger(__name__)

_REMEDY = (
    "save it as CSV in UTF-8 with commas and these columns, move it away, or name another outbox"
)
# Lines of a compressed table in memory, 5 MB. A start needs at most twice CLAIMED_AT_MOST.
_LINES_AT_ONCE = 16_384
# The start of a row: id, file name, status.
_ROW = re.compile(rb'd[0-9a-z]{12},(?:[^",\n]*|"(?:[^"\n]|"")*"),(ok|unsure|error),')


class Table:
    """The file that rows are appended to; a new one is created after logrotate moves it.

    Attributes:
        path: of the file.
        is_new: whether ``open`` has created it, or found it empty.
    """

    def __init__(self, outbox: Path) -> None:
        self.path = outbox / TABLE
        self.is_new = False
        self._descriptor = -1
        self._valid_size: int | None = None  # set until a failed append is undone
        self._written: Stamp | None = None  # of the file after the last write
        self._last_id = b""  # of the last row that was appended

    def open(self) -> None:
        """Open or create the table; cut off a torn row at its end.

        Raises:
            ConfigError: there is another file with that name.
        """
        self.close()
        check_is_file(self.path.parent)
        self.is_new = not self.path.exists()
        if self.is_new:
            # Created by rename, so that no reader ever sees the file without its header.
            files.replace_whole(self.path, rows.HEADER.encode(), durable=True, mode=0o660)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            if not check_header(self.path.parent):
                # Empty (logrotate's `create`), or the header itself was torn.
                self.is_new = True
                os.ftruncate(self._descriptor, 0)
                self._append(rows.HEADER.encode())
                files.sync_folder(self.path.parent)
            # The file of a row that a power failure tore is still claimed, and is read again.
            cut = files.cut_torn_lines(self._descriptor, lambda line: rows.parse(line) is not None)
            # A run that was killed may have left rows that are not durable.
            os.fsync(self._descriptor)
            self._written = Stamp.of(os.fstat(self._descriptor))
            if cut:
                log.warning("%s: cut a torn row of %d bytes", self.path, cut)
        except (OSError, ConfigError):
            self.close()
            raise

    def close(self) -> None:
        """Close the table."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._valid_size = -1, None

    def append(self, lines: bytes) -> None:
        """Append whole lines and fsync them, all or none.

        Raises:
            ConfigError: another program has made something else of the table.
            OSError: a partial append is undone before the next one.
        """
        self._undo()
        if self._descriptor < 0:  # another program has made something else of it meanwhile
            self.open()
            self._report_lost_rows()
        elif not self._is_current():
            self._replace_moved()
        elif Stamp.of(os.fstat(self._descriptor)) != self._written:  # an editor has saved it
            self.open()
            self._report_lost_rows()
        self._append(lines)
        self._last_id = lines[lines.rfind(b"\n", 0, -1) + 1 :][: ids.LENGTH]

    def _replace_moved(self) -> None:
        """Start a new table after somebody has moved the old one."""
        head = os.pread(self._descriptor, 2 * rows.HEAD_BYTES, 0)
        first, newline, _ = head.partition(b"\n")[2].partition(b"\n")
        first = first.rstrip() if newline else b""
        self.open()
        # A spreadsheet or an editor replaces the file that it saves.
        if first and _has_row(self.path, first.lstrip(b'"')[: ids.LENGTH]):
            log.info("%s was replaced by a file with the same rows", self.path)
            self._report_lost_rows()
            return
        log.info("%s was moved away: started a new one", self.path)
        found = list_rotated(self.path.parent)
        if first and first not in map(rotated.first_row, found):
            log.error(
                "%s was moved to where digitd does not look: status, results and audit miss its "
                "rows, and after a crash files that have rows in it may be read again; move it to "
                "%s.1",
                *(self.path, self.path),
            )
        elif not first:  # it was emptied, after logrotate's `copytruncate` has copied it
            self._report_lost_rows()

    def _report_lost_rows(self) -> None:
        """Log that somebody has saved a copy of the table that was opened before the last rows."""
        if self._last_id and not self._has_kept(self._last_id):
            log.error(
                "%s was saved by another program without its newest rows, up to %s: restore them, "
                "or have their files read again, which %s names; edit a copy instead",
                *(self.path, self._last_id.decode("ascii", "replace"), command("audit")),
            )

    def _has_kept(self, job_id: bytes) -> bool:
        """Return whether the table, or one that was just moved aside, has a row with this id."""
        if _has_row(self.path, job_id):
            return True
        moved = list_rotated(self.path.parent)[:2]  # logrotate has one twice while it compresses it
        return any(_has_row(table, job_id) for table in moved)

    def _append(self, lines: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            with add_path(self.path):
                files.append(self._descriptor, lines, self.path)
                info = os.fstat(self._descriptor)  # before the disk, which may be slow
                os.fsync(self._descriptor)
        except OSError:
            # Part of it was written, or all of it but perhaps not to the disk.
            self._valid_size = size
            self._undo()
            raise
        # With another size, an editor has saved the table during this write.
        is_whole = info.st_size == size + len(lines)
        self._written = Stamp.of(info) if is_whole else None

    def _undo(self) -> None:
        """Cut off a failed append."""
        if self._valid_size is not None:
            with add_path(self.path):
                os.ftruncate(self._descriptor, self._valid_size)
                self._written = Stamp.of(os.fstat(self._descriptor))
            self._valid_size = None

    def _is_current(self) -> bool:
        """Return whether the table was not moved and not emptied (logrotate's copytruncate)."""
        is_at_path = files.is_open_at(self._descriptor, self.path)
        return is_at_path and os.fstat(self._descriptor).st_size > 0


def _has_row(path: Path, job_id: bytes) -> bool:
    """Return whether a table has a row with this id; ``False`` if its format cannot be read."""
    table = rotated.open_table(path)
    if table is None:
        return False
    with table:
        return any(line.lstrip(b'"').startswith(job_id) for line in table)


def check_is_file(outbox: Path) -> None:
    """Raise ConfigError if predictions.csv is a symlink, a FIFO or the like."""
    path = outbox / TABLE
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ConfigError(f"{path} is not a regular file: move it away, or name another outbox")


def check_header(outbox: Path) -> bool:
    """Return whether predictions.csv has its whole header; ``False`` if it is torn or missing.

    Raises:
        ConfigError: the file begins with something else.
    """
    path, header = outbox / TABLE, rows.HEADER
    check_is_file(outbox)
    try:
        with path.open("rb") as file:
            head = file.read(rows.HEAD_BYTES)
    except FileNotFoundError:
        return False
    return rows.has_header(head, header, path, _REMEDY)


@contextmanager
def open_tables(outbox: Path) -> Iterator[list[io.BufferedReader]]:
    """Open all tables for reading: the rotated ones, oldest first, then the current one.

    Those that cannot be read are named in the log.
    """
    with ExitStack() as stack:
        tables: dict[tuple[int, int], io.BufferedReader | None] = {}
        found = -1
        # logrotate may rename tables while they are being opened: look again until none is new.
        while found < len(tables):
            found = len(tables)
            for path in (outbox / TABLE, *list_rotated(outbox)):
                with suppress(FileNotFoundError):
                    info = path.stat()
                    identity = (info.st_dev, info.st_ino)
                    if identity not in tables:
                        table = None if _is_being_compressed(path) else _open_or_warn(path)
                        tables[identity] = table and stack.enter_context(table)
        opened = [table for table in tables.values() if table is not None]
        is_current = [Path(table.name).name == TABLE for table in opened]
        ids = [rotated.first_id(table) for table in opened]
        times = [os.fstat(table.fileno()).st_mtime_ns for table in opened]
        order = sorted(range(len(opened)), key=lambda n: (is_current[n], ids[n], times[n]))
        yield [opened[each] for each in order]


def _open_or_warn(path: Path) -> io.BufferedReader | None:
    table = rotated.open_table(path)
    if table is None:
        log.warning("%s", rotated.describe_unreadable(path))
    return table


def _is_being_compressed(path: Path) -> bool:
    """Return whether a table is the copy of another one, which logrotate will then remove."""
    original = path.with_suffix("")
    return (
        rotated.is_rotated_name(original.name)
        and original.exists()
        and rotated.find_format(path) is Format.COMPRESSED
        and rotated.first_row(path) in {b"", rotated.first_row(original)}
    )


def rows_from_the_end(outbox: Path, *, compressed: bool = False) -> Iterator[dict[str, str]]:
    """Yield the rows as dicts, last one first, including rotated tables.

    Args:
        outbox: has the tables.
        compressed: whether to read only the compressed tables, or only the others. A compressed
            table is decompressed as a whole before its first row is yielded.
    """
    wanted, read = Format.TEXT, files.lines_from_the_end
    if compressed:
        wanted, read = Format.COMPRESSED, _decompress_from_the_end
    for path in (outbox / TABLE, *list_rotated(outbox)):
        with suppress(FileNotFoundError):  # logrotate has renamed it
            if rotated.find_format(path) is not wanted:
                continue
            for line in read(path):
                fields = rows.parse(line.decode("utf-8", "replace"))
                if fields is not None:
                    yield fields


def _decompress_from_the_end(path: Path) -> Iterator[bytes]:
    """Yield the lines of a compressed table, last one first."""
    end: int | None = None  # the lines from this one on have been yielded
    while end != 0 and (table := rotated.open_table(path)) is not None:
        last: deque[bytes] = deque(maxlen=_LINES_AT_ONCE)
        count = 0
        with table:
            for line in islice(files.complete_lines(table), end):
                last.append(line)
                count += 1
        yield from reversed(last)
        end = count - len(last)


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The rows of one outbox.

    Attributes:
        by_status: their number by status.
        last: the cells of the newest one by column; ``None`` if there is none.
        last_error: the cells of the newest one with the status ``error``.
    """

    by_status: dict[Status, int]
    last: dict[str, str] | None
    last_error: dict[str, str] | None


def count_rows(outbox: Path) -> RowCounts:
    """Count the rows of predictions.csv and of the tables that logrotate moved aside.

    A table that is a copy of another counts once. What was counted of a rotated table is kept in
    the outbox, if this user may write there.
    """
    kept = _load_counts(outbox)
    finished: dict[str, _TableCounts] = {}
    by_first: dict[str, _TableCounts] = {}
    with open_tables(outbox) as tables:
        for table in tables:
            info = os.fstat(table.fileno())
            identity = f"{info.st_ino} {info.st_size} {info.st_mtime_ns}"
            counts = kept.get(identity) or _count_table(table)
            if Path(table.name).name != TABLE:
                finished[identity] = counts
            if counts.rows >= by_first.get(counts.first, counts).rows:
                by_first[counts.first] = counts
    if finished != kept:
        with suppress(OSError):
            text = json.dumps({identity: asdict(counts) for identity, counts in finished.items()})
            files.replace_whole(outbox / COUNTS, text.encode(), mode=0o660)
    found = by_first.values()
    return RowCounts(
        {status: sum(counts.by_status[status] for counts in found) for status in Status},
        next((counts.last for counts in reversed(found) if counts.last), None),
        next((counts.last_error for counts in reversed(found) if counts.last_error), None),
    )


@dataclass(frozen=True, slots=True)
class _TableCounts:
    """The rows of one table; ``first`` is the id of its first row, the others as in RowCounts."""

    first: str
    by_status: dict[str, int]
    last: dict[str, str] | None
    last_error: dict[str, str] | None

    @property
    def rows(self) -> int:
        return sum(self.by_status.values())


def _count_table(table: io.BufferedReader) -> _TableCounts:
    counts: Counter[bytes] = Counter()
    first = last = last_error = b""
    error = Status.ERROR.encode()
    # Parsing each row would take 4 us, this 1 us.
    for line in files.complete_lines(table):
        if found := _ROW.match(line):
            status = found[1]
        elif cells := rows.parse(line.decode("utf-8", "replace")):  # saved by a spreadsheet
            status = cells["status"].encode()
        else:
            continue
        counts[status] += 1
        first = first or line
        last = line
        last_error = line if status == error else last_error
    parsed = [rows.parse(line.decode("utf-8", "replace")) for line in (first, last, last_error)]
    by_status = {status.value: counts[status.encode()] for status in Status}
    return _TableCounts((parsed[0] or {}).get("id", ""), by_status, *parsed[1:])


def _load_counts(outbox: Path) -> dict[str, _TableCounts]:
    """Return what was counted of tables by inode, size and mtime; nothing if it cannot be read."""
    try:
        kept = json.loads((outbox / COUNTS).read_bytes())
        return {identity: _TableCounts(**counts) for identity, counts in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
