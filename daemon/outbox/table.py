"""predictions.csv: append rows durably, repair its end, read and count rows."""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from daemon import files
from daemon.errors import ConfigError
from daemon.layout import TABLE
from daemon.outbox import rows
from daemon.records import Status

log = logging.getLogger(__name__)

_REMEDY = (
    "save it as CSV in UTF-8 with commas and these columns, move it away, or name another outbox"
)
# The start of a row: id, file name, status.
_ROW = re.compile(rb'd[0-9a-z]{12},(?:[^",\n]*|"(?:[^"\n]|"")*"),(ok|unsure|error),')


class Table:
    """The file that rows are appended to; a new one is created after logrotate moves it."""

    def __init__(self, outbox: Path) -> None:
        self.path = outbox / TABLE
        self._descriptor = -1
        self._valid_size: int | None = None  # set until a failed append is undone

    def open(self) -> None:
        """Open or create the table; cut off a torn row at its end.

        Raises:
            ConfigError: there is another file with that name.
        """
        self.close()
        if not self.path.exists():
            # Created by rename, so that no reader ever sees the file without its header.
            files.replace_whole(self.path, rows.HEADER.encode(), durable=True, mode=0o660)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            if not check_header(self.path.parent):
                # Empty (logrotate's `create`), or the header itself was torn.
                os.ftruncate(self._descriptor, 0)
                self._append(rows.HEADER.encode())
                files.sync_folder(self.path.parent)
            # The file of a row that a power failure tore is still claimed, and is read again.
            cut = files.cut_torn_lines(self._descriptor, lambda line: rows.parse(line) is not None)
            os.fsync(
                self._descriptor
            )  # a run that was killed may have left rows that are not durable
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
            ConfigError: another file has replaced the table.
            OSError: a partial append is undone before the next one.
        """
        self._undo()
        if not self._is_current():
            log.info("%s was moved away: starting a new one", self.path)
            self.open()
        self._append(lines)

    def _append(self, lines: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            files.append(self._descriptor, lines, self.path)
            os.fsync(self._descriptor)
        except OSError:
            # Part of it was written, or all of it but perhaps not to the disk.
            self._valid_size = size
            self._undo()
            raise

    def _undo(self) -> None:
        """Cut off a failed append."""
        if self._valid_size is not None:
            os.ftruncate(self._descriptor, self._valid_size)
            self._valid_size = None

    def _is_current(self) -> bool:
        """Return whether the table was not moved and not emptied (logrotate's copytruncate)."""
        return (
            self._descriptor >= 0
            and files.is_open_at(self._descriptor, self.path)
            and os.fstat(self._descriptor).st_size > 0
        )


def check_header(outbox: Path) -> bool:
    """Return whether predictions.csv has its whole header; ``False`` if it is torn or missing.

    Raises:
        ConfigError: the file begins with something else.
    """
    path, header = outbox / TABLE, rows.HEADER
    try:
        with path.open("rb") as file:
            head = file.read(rows.HEAD_BYTES)
    except FileNotFoundError:
        return False
    return rows.has_header(head, header, path, _REMEDY)


def list_rotated(outbox: Path) -> list[Path]:
    """Return the uncompressed tables that logrotate moved aside, newest first."""
    tables = [path for path in outbox.glob(f"{TABLE}?*") if path.is_file() and path.suffix != ".gz"]
    return sorted(tables, key=lambda path: path.stat().st_mtime_ns, reverse=True)


@contextmanager
def open_tables(outbox: Path) -> Iterator[list[BinaryIO]]:
    """Open all tables for reading: the rotated ones, oldest first, then the current one."""
    with ExitStack() as stack:
        tables: list[BinaryIO] = []
        # The current table first: logrotate may move it while the others are being listed.
        for path in (outbox / TABLE, *list_rotated(outbox)):
            try:
                table = stack.enter_context(path.open("rb"))
            except FileNotFoundError:
                continue
            info = os.fstat(table.fileno())
            if not any(os.path.samestat(info, os.fstat(other.fileno())) for other in tables):
                tables.append(table)
        yield tables[::-1]


def rows_from_the_end(outbox: Path) -> Iterator[dict[str, str]]:
    """Yield the rows as dicts, last one first, including rotated tables."""
    for path in (outbox / TABLE, *list_rotated(outbox)):
        for line in files.lines_from_the_end(path):
            fields = rows.parse(line.decode("utf-8", "replace"))
            if fields is not None:
                yield fields


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
    """Count the rows of predictions.csv and of the tables that logrotate moved aside."""
    counts: Counter[bytes] = Counter()
    last = last_error = b""
    error = Status.ERROR.encode()
    with open_tables(outbox) as tables:
        for table in tables:
            # Parsing each row would take 4 us, this 1 us.
            for line in files.complete_lines(table):
                if found := _ROW.match(line):
                    status = found[1]
                elif cells := rows.parse(line.decode("utf-8", "replace")):  # saved by a spreadsheet
                    status = cells["status"].encode()
                else:
                    continue
                counts[status] += 1
                last = line
                last_error = line if status == error else last_error
    return RowCounts(
        {status: counts[status.encode()] for status in Status},
        rows.parse(last.decode("utf-8", "replace")),
        rows.parse(last_error.decode("utf-8", "replace")),
    )
