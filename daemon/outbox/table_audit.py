"""Check the lines of the tables: each is a complete row in UTF-8 with a number in its place."""

import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from daemon import files
from daemon.layout import TABLE
from daemon.outbox import rows
from daemon.outbox.rotated import (
    Format,
    describe_unreadable,
    find_damage,
    find_format,
    list_rotated,
)
from daemon.outbox.spreadsheets import describe_spoilt
from daemon.outbox.table import open_tables
from daemon.text import count

_REMEDY = "save it as CSV in UTF-8 with commas, or restore it from a backup"
_UNREADABLE = "\ufffd"  # in place of bytes that are not UTF-8
_CHECKED = ("id", "file", "status", "processed_at", "original", "picture", "sha256")
_get_checked = itemgetter(*map(rows.COLUMNS.index, _CHECKED))


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """The cells of a row that are compared with its files; a million of them take 0.6 GB."""

    table: str
    id: str
    file: str
    status: str
    processed_at: str
    original: str
    picture: str
    sha256: str

    @property
    def content(self) -> str:
        """What identifies the row's file: its hash, or its name if it could not be read."""
        return self.sha256 or self.file


@dataclass(slots=True)
class TableAudit:
    """The rows of all tables of an outbox, and what is wrong with their lines.

    Attributes:
        rows: oldest first; a row that is in several tables is there once.
        discrepancies: a line for each, which says what to do.
        unread: the names of tables of which no line can be read.
    """

    rows: list[CheckedRow] = field(default_factory=list)
    discrepancies: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read_tables(outbox: Path, *, running: bool) -> TableAudit:
    """Read all tables; ``running``: whether a digitd is, and may be writing a row."""
    audit = TableAudit()
    if fault := _find_fault(outbox / TABLE):
        audit.discrepancies.append(f"{TABLE}: {fault}; {_REMEDY}")
        audit.unread.append(TABLE)
    for path in list_rotated(outbox):
        if find_format(path) is Format.UNREADABLE:
            audit.discrepancies.append(describe_unreadable(path))
            audit.unread.append(path.name)
    seen: set[str] = set()
    with open_tables(outbox) as tables:
        for table in tables:
            read = _Lines(Path(table.name).name)
            new = [row for row in read.parse(table) if row.id not in seen]
            seen.update(row.id for row in new)
            audit.rows.extend(new)
            if fault := read.find_fault(table):
                audit.discrepancies.append(fault)
                audit.unread.append(read.name)
            else:
                audit.discrepancies.extend(read.list_discrepancies(table, running=running))
    return audit


def _find_fault(path: Path) -> str:
    """Return what is wrong with a table that is no text; empty for any other file."""
    with suppress(FileNotFoundError):
        if find_format(path) is Format.UNREADABLE:
            with path.open("rb") as table:
                head = table.read(rows.HEAD_BYTES)
                return rows.find_header_fault(head, rows.HEADER) or "it is not text"
    return ""


@dataclass(slots=True)
class _Lines:
    """What is wrong with the lines of one table, by their numbers."""

    name: str
    _read: int = 0
    _header: bytes = b""
    _header_fault: str = ""
    _malformed: list[int] = field(default_factory=list)
    _undecoded: list[int] = field(default_factory=list)
    _spoilt: dict[int, str] = field(default_factory=dict)
    _unended: str = ""  # a last line without a newline

    def parse(self, table: io.BufferedReader) -> Iterator[CheckedRow]:
        """Yield the rows, also one that lacks only the newline at the table's end."""
        for number, raw in enumerate(files.complete_lines(table), 1):
            self._read = number
            if number == 1:
                self._header_fault = rows.find_header_fault(raw, rows.HEADER)
                continue
            line = raw.decode("utf-8", "replace")
            if (cells := rows.cells(line)) is None:
                self._malformed.append(number)
                continue
            if _UNREADABLE in line:
                self._undecoded.append(number)
            if (spoilt := rows.find_spoilt(line, cells)) is not None:
                self._spoilt[number] = spoilt
            yield CheckedRow(self.name, *_get_checked(cells))
        if self._read:
            self._unended = table.read(rows.LONGEST_LINE).decode("utf-8", "replace")
            if not find_damage(table) and (cells := rows.cells(self._unended)) is not None:
                yield CheckedRow(self.name, *_get_checked(cells))

    def find_fault(self, table: io.BufferedReader) -> str:
        """Return the line about a table without any row that has other lines; empty for others."""
        if self._read > 1 + len(self._malformed):
            return ""
        fault = self._header_fault
        if not self._read:  # no line, as with CR at the ends, or a torn header
            head = table.peek(rows.HEAD_BYTES)[: rows.HEAD_BYTES]
            is_torn = rows.HEADER.encode().startswith(head.removeprefix(rows.BOM))
            fault = "" if is_torn else rows.find_header_fault(head, rows.HEADER)
        if not fault and len(self._malformed) <= 1:
            return ""
        number = count(len(self._malformed), "line")
        what = f"none of its {number} is a row" if self._malformed else "has no row"
        why = f": {fault}" if fault else ""
        return f"{self.name}: {what}{why}; {_REMEDY}"

    def list_discrepancies(self, table: io.BufferedReader, *, running: bool) -> Iterator[str]:
        """Yield a line for each discrepancy; neighbours with the same one share it."""
        if self._header_fault:
            yield (
                f"{self.name}: the first line is not the header: {self._header_fault}; move the "
                "file away"
            )
        for first, last in _group(self._malformed):
            which, them = _name_lines(first, last)
            yield f"{self.name}, {which}: not a complete row; fix or remove {them}"
        for first, last in _group(self._undecoded):
            which, them = _name_lines(first, last)
            yield (
                f"{self.name}, {which}: is not UTF-8, a spreadsheet may have saved it; "
                f"restore {them}, or save the table as CSV UTF-8"
            )
        for first, last in _group(self._spoilt):
            which, _ = _name_lines(first, last)
            yield f"{self.name}, {which}: {describe_spoilt(self._spoilt[first])}"
        if damage := find_damage(table):
            yield damage
        elif self._unended and not (running and self.name == TABLE):  # which is being written
            yield f"{self.name}: the last line has no newline{self._describe_end()}"

    def _describe_end(self) -> str:
        """Return what becomes of a last line without a newline."""
        if rows.cells(self._unended) is None:
            return " (a torn row); " + (
                "digitd removes it at the next start and reads the file again"
                if self.name == TABLE
                else "remove it"
            )
        adds = "digitd adds it at the next start" if self.name == TABLE else "add it"
        return f"; {adds}, and until then `results` leaves the row out"


def _group(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each run of numbers that follow each other."""
    run: tuple[int, int] | None = None
    for number in numbers:
        if run is not None and number == run[1] + 1:
            run = run[0], number
            continue
        if run is not None:
            yield run
        run = number, number
    if run is not None:
        yield run


def _name_lines(first: int, last: int) -> tuple[str, str]:
    """Return what a message calls some lines, and how it refers to them."""
    if first == last:
        return f"line {first}", "the line"
    return f"lines {first} to {last}", "the lines"
