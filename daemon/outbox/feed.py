"""Follow the final answers: each row as it comes, and again when its answer or verdict changes."""

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BufferedReader, FileIO
from itertools import islice, takewhile
from pathlib import Path

from daemon.errors import DigitdError, NoSuchRowError, describe
from daemon.files import complete_lines, is_open_at, open_descriptor
from daemon.layout import LABELS, TABLE
from daemon.outbox import labels, results, rotated, rows
from daemon.outbox.labels import Answer, AnswersInForce
from daemon.outbox.places import MovedRowError, RowPlaces
from daemon.outbox.rereads import Rereads
from daemon.outbox.results import FinalRow, ParsedRow
from daemon.outbox.table import open_tables

log = logging.getLogger(__name__)

_TAIL_BYTES = 64
_LINES_AT_ONCE = 10_000  # of a file in memory while the reader of the feed is slow; 4 MB
# The daemon may still append to a table for a moment after logrotate has renamed it.
_FOLLOWED_TABLES = 2
# Answers, rows and rereads get their times before they are on the disk.
_MARGIN = timedelta(minutes=1)
_NEVER = "0"  # before all times
_ID, _PROCESSED_AT = map(rows.COLUMNS.index, ("id", "processed_at"))


class Feed:
    """The rows of one outbox, their answers and rereads, in the order in which they come.

    Rows may come more than once: the last one with an id counts. Who has seen a row, however
    slowly they read, has also seen all answers that were given and all rereads that were made
    before it was written, so that ``start`` can go on after any row.
    """

    def __init__(self, outbox: Path) -> None:
        self._outbox = outbox
        self._tails: list[_Tail] = []
        self._unseen = _Block("", 0, [])  # what was read and not yet yielded
        self._last_id = ""  # of the last row in the table's order that was yielded
        self._places = RowPlaces()  # of the rows up to that one
        self._answers = AnswersInForce()
        self._labels: _Tail | None = None  # labels.csv, if it was there
        self._new: _NewAnswers | None = None  # whose rows were not all yielded
        self._rereads: Rereads | None = None
        self._is_started = False
        self._problem = ""

    def start(self, after: str = "") -> Iterator[FinalRow]:
        """Yield the rows that there are.

        Args:
            after: yield only rows after the one with this id, and then those up to it that were
                answered or read again since it was written.

        Raises:
            ConfigError: the outbox does not exist, or a table is not digitd's.
            NoSuchRowError: no row has the id ``after``.
            OSError: a table cannot be read.
        """
        results.check_outbox(self._outbox)
        self._last_id = after
        yield from self._read_tables()
        if after:
            cutoff = self._find_cutoff(after)
            # Another program may leave the time out, or write it in another way.
            answers = (one for one in labels.read(self._outbox) if rows.parse_timestamp(one.at))
            earlier = takewhile(lambda one: one.id <= after and one.at < cutoff, answers)
            with closing(Rereads(self._outbox, before=cutoff)) as rereads:
                before = _Decisions(labels.gather(earlier), rereads)
                yield from self._changed(before, self._decisions(), after)

    def poll(self) -> Iterator[FinalRow]:
        """Yield the rows that were answered, read again or added since; a table may be missing."""
        try:
            yield from self._poll()
        except (OSError, DigitdError) as error:
            if self._problem != str(error):
                log.warning("trying again: %s", describe(error))
            self._problem = str(error)
        else:
            self._problem = ""

    def _poll(self) -> Iterator[FinalRow]:
        is_whole = self._read_lines()  # before the answers and the rereads
        yield from self._poll_answers()
        yield from self._poll_rereads()
        yield from self._decide(self._unseen)
        self._unseen = _Block("", 0, [])
        if not is_whole:
            yield from self._read_tables_again()

    def _read_lines(self) -> bool:
        """Read what was added to the tables; return whether they are still the same files."""
        for tail in self._tails:
            if self._unseen.lines:
                return True
            start, lines = tail.position, tail.read()
            if lines is None:  # somebody has edited the table
                return False
            self._unseen = _Block(tail.first_id() if lines else "", start, lines)
        table = self._outbox / TABLE
        return not table.exists() or any(is_open_at(one.descriptor, table) for one in self._tails)

    def _poll_answers(self) -> Iterator[FinalRow]:
        """Yield the rows that were yielded before and have another answer since."""
        are_all = False
        while not are_all:
            # After an error, those that were read before it are not done yet.
            self._new = self._new or self._read_answers()
            if self._new is None:
                return
            if self._is_started and self._last_id:
                yield from self._find_answered(self._new)
            are_all, self._new = self._new.are_all, None

    def _read_answers(self) -> "_NewAnswers | None":
        """Read the next answers; return ``None`` if there are none."""
        path = self._outbox / LABELS
        if self._labels is None:
            self._labels = self._open_labels()
        tail = self._labels
        if tail is None:
            return None
        if is_open_at(tail.descriptor, path) and (lines := tail.read()) is not None:
            return self._add_answers(lines) if lines else None
        before, self._answers, self._labels = self._answers, *self._load_answers()
        os.close(tail.descriptor)
        return _NewAnswers(before, None, are_all=True)

    def _open_labels(self) -> "_Tail | None":
        """Open labels.csv at its start; return ``None`` if it is missing."""
        path = self._outbox / LABELS
        try:
            tail = _Tail(open_descriptor(path), 0, b"")
        except FileNotFoundError:
            return None
        try:
            labels.check_header(tail.descriptor, path)
        except BaseException:
            os.close(tail.descriptor)
            raise
        return tail

    def _load_answers(self) -> "tuple[AnswersInForce, _Tail | None]":
        """Return all answers and the file that they are from, if there is one."""
        answers, tail = AnswersInForce(), self._open_labels()
        while tail is not None and (lines := tail.read()):
            for one in _parse_answers(lines):
                answers.add(one)
        return answers, tail

    def _add_answers(self, lines: list[bytes]) -> "_NewAnswers":
        answers = _parse_answers(lines)
        job_ids = {one.id for one in answers}
        contents = {rows.parse_sha256(one.sha256) for one in answers}
        contents |= set(map(self._answers.content_of, job_ids))  # of what is undone or replaced
        affected = _Affected(job_ids, {one for one in contents if one is not None})
        before = self._answers.part(affected.job_ids, affected.contents)
        for one in answers:
            self._answers.add(one)
        return _NewAnswers(before, affected, are_all=len(lines) < _LINES_AT_ONCE)

    def _find_answered(self, new: "_NewAnswers") -> Iterator[FinalRow]:
        """Yield the rows with another answer than before the new ones."""
        before, after = replace(self._decisions(), answers=new.before), self._decisions()
        if new.affected is not None:
            found = self._places.read(self._outbox, new.affected.job_ids, new.affected.contents)
            try:
                for line, cells in found:
                    final = after.decide(line, cells)
                    if final != before.decide(line, cells):
                        yield final
            except MovedRowError:  # somebody has edited or moved a table that is not followed
                pass
            else:
                return
        yield from self._changed(before, after, self._last_id)

    def _poll_rereads(self) -> Iterator[FinalRow]:
        """Yield the rows that were read again since."""
        if self._rereads is None:
            self._rereads = Rereads(self._outbox)
        elif self._rereads.refresh():
            for line, cells in filter(None, map(results.parse_line, self._rereads.read_new())):
                if self._is_started:
                    yield results.decide(line, cells, self._answers, self._rereads)
        else:  # another table counts most now
            old, new = self._rereads, Rereads(self._outbox)
            with closing(old):
                if self._is_started and self._last_id:
                    before, after = self._decisions(), replace(self._decisions(), rereads=new)
                    yield from self._changed(before, after, self._last_id)
                self._rereads = new

    def _decisions(self) -> "_Decisions":
        self._rereads = self._rereads or Rereads(self._outbox)
        return _Decisions(self._answers, self._rereads)

    def _changed(
        self, before: "_Decisions", after: "_Decisions", last_id: str
    ) -> Iterator[FinalRow]:
        """Yield the rows up to one that have another answer or verdict than before."""
        places = RowPlaces()
        with open_tables(self._outbox) as tables:
            for row in _parse_into(places, tables):
                final = after.decide(row.line, row.cells)
                if final != before.decide(row.line, row.cells):
                    yield final
                if row.cells[_ID] == last_id:
                    break
        if last_id == self._last_id:
            self._places = places

    def _find_cutoff(self, job_id: str) -> str:
        """Return a time before which all answers were given before a row was written.

        If the clock was ahead then, the row is in the future or newer than a later row: none is.
        """
        cutoff = ""
        with open_tables(self._outbox) as tables:
            for row in results.parse_tables(tables):
                at = row.cells[_PROCESSED_AT]
                if row.cells[_ID] == job_id:
                    moment = rows.parse_timestamp(at)
                    cutoff = _NEVER if moment is None else rows.timestamp(moment - _MARGIN)
                elif at < cutoff:
                    return _NEVER
        return cutoff if cutoff < rows.timestamp(datetime.now(UTC)) else _NEVER

    def _decide(self, block: "_Block") -> Iterator[FinalRow]:
        end = block.offset
        for raw in block.lines:
            start, end = end, end + len(raw)
            if (parsed := results.parse_line(raw)) is not None:
                line, cells = parsed
                self._last_id = cells[_ID]
                self._places.add(block.first_id, start, cells)
                yield self._decisions().decide(line, cells)

    def _read_tables_again(self) -> Iterator[FinalRow]:
        try:
            yield from self._read_tables()
        except NoSuchRowError:  # the table with the last row was moved elsewhere
            self._last_id = ""
            yield from self._read_tables()

    def _read_tables(self) -> Iterator[FinalRow]:
        """Yield the rows after the last one, and follow the tables from there on.

        Raises:
            NoSuchRowError: the last row is in no table.
        """
        after = self._last_id
        is_found = not after
        places = RowPlaces()
        with open_tables(self._outbox) as tables:
            end = os.fstat(tables[-1].fileno()).st_size if tables else 0
            yield from self._poll_answers()
            yield from self._poll_rereads()
            decisions = self._decisions()
            self._is_started = True
            for row in _parse_into(places, tables):
                if is_found:
                    self._last_id = row.cells[_ID]
                    yield decisions.decide(row.line, row.cells)
                is_found = is_found or row.cells[_ID] == after
                if _is_text(tables[-1]) and 0 < end <= tables[-1].tell():
                    break  # a later row may be newer than an answer that was not read
            if not is_found:
                raise NoSuchRowError(
                    f"{after}: no row of {self._outbox / TABLE} has this id: name another with "
                    "--after, or leave it out to begin with the first row"
                )
            texts = [one for one in tables if _is_text(one)]
            tails = [_Tail.at(one.fileno(), one.tell()) for one in texts[-_FOLLOWED_TABLES:]]
        for old in self._tails:
            os.close(old.descriptor)
        self._tails = tails
        self._places = places


def _parse_into(places: RowPlaces, tables: list[BufferedReader]) -> Iterator[ParsedRow]:
    """Yield each row of some tables once, and add its place."""
    first_ids = [rotated.first_id(table) for table in tables]
    for row in results.parse_tables(tables):
        places.add(first_ids[row.table], row.offset, row.cells)
        yield row


@dataclass(frozen=True, slots=True)
class _Decisions:
    """What makes a row its final answer."""

    answers: AnswersInForce
    rereads: Rereads

    def decide(self, line: str, cells: list[str]) -> FinalRow:
        return results.decide(line, cells, self.answers, self.rereads)


@dataclass(frozen=True, slots=True)
class _Affected:
    """The ids and contents of the rows that some answers may change."""

    job_ids: set[str]
    contents: set[bytes]


@dataclass(frozen=True, slots=True)
class _NewAnswers:
    """Answers that were read.

    Attributes:
        before: those that counted before for the affected rows.
        affected: ``None`` if it may be any row, as labels.csv was replaced.
        are_all: whether labels.csv had no more.
    """

    before: AnswersInForce
    affected: _Affected | None
    are_all: bool


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines that were read from a followed table.

    Attributes:
        first_id: the id of the table's first row.
        offset: of the first of the lines.
        lines: each with its newline.
    """

    first_id: str
    offset: int
    lines: list[bytes]


def _parse_answers(lines: list[bytes]) -> list[Answer]:
    found = (labels.parse(line.decode("utf-8", "replace")) for line in lines)
    return [one for one in found if one is not None]


def _is_text(table: BufferedReader) -> bool:
    """Return whether a table is read as it is on the disk, not decompressed."""
    return isinstance(table.raw, FileIO)


@dataclass(slots=True)
class _Tail:
    """A table that is followed, also after it was renamed, or labels.csv.

    Attributes:
        descriptor: of the open file.
        position: up to which it was read.
        last: the bytes before the position.
    """

    descriptor: int
    position: int
    last: bytes

    @classmethod
    def at(cls, descriptor: int, position: int) -> "_Tail":
        """Return a table with another descriptor, read up to a position."""
        tail = cls(os.dup(descriptor), position, b"")
        tail.last = tail._read_last()
        return tail

    def read(self) -> list[bytes] | None:
        """Return the next complete lines; ``None`` if what was read is not there any more."""
        if self._read_last() != self.last:
            return None
        # Opened again, because a buffer could hold a torn line that was replaced since.
        with open(self.descriptor, "rb", closefd=False) as source:
            source.seek(self.position)
            lines = list(islice(complete_lines(source), _LINES_AT_ONCE))
        self.position += sum(map(len, lines))
        self.last = self._read_last()
        return lines

    def first_id(self) -> str:
        """Return the id of the table's first row; empty if it has none."""
        with open(self.descriptor, "rb", closefd=False) as source:
            source.seek(0)
            return rotated.first_id(source)

    def _read_last(self) -> bytes:
        length = min(self.position, _TAIL_BYTES)
        return os.pread(self.descriptor, length, self.position - length)
