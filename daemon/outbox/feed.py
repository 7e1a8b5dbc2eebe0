"""Follow the final answers: each row as it comes, and again when its answer or verdict changes."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BufferedReader, FileIO
from itertools import islice, takewhile
from pathlib import Path

from daemon.errors import DigitdError, NoSuchRowError, describe
from daemon.files import complete_lines, is_open_at
from daemon.layout import LABELS, TABLE
from daemon.outbox import labels, results, rows
from daemon.outbox.labels import AnswersInForce
from daemon.outbox.rereads import Rereads
from daemon.outbox.results import FinalRow
from daemon.outbox.table import open_tables
from daemon.records import Stamp

log = logging.getLogger(__name__)

_TAIL_BYTES = 64
_LINES_AT_ONCE = 10_000  # in memory while the reader of the feed is slow; 4 MB
# The daemon may still append to a table for a moment after logrotate has renamed it.
_FOLLOWED_TABLES = 2
# An answer gets its time before it is on the disk, and so do a row and a reread.
_MARGIN = timedelta(minutes=1)
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
        self._unseen: list[bytes] = []  # lines that were read and not yet yielded
        self._last_id = ""  # of the last row in the table's order that was yielded
        self._answers = AnswersInForce()
        self._labels: Stamp | None = None  # of labels.csv when it was read
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
            answers = labels.read(self._outbox)
            earlier = takewhile(lambda one: one.id <= after and one.at < cutoff, answers)
            with closing(Rereads(self._outbox, before=cutoff)) as rereads:
                before = _Decisions(labels.gather(earlier), rereads)
                yield from self._changed(before, self._decisions(), after)

    def poll(self) -> Iterator[FinalRow]:
        """Yield the rows that were answered, read again or added since.

        If a table is missing, wait for it.
        """
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
        self._unseen = []
        if not is_whole:
            yield from self._read_tables_again()

    def _read_lines(self) -> bool:
        """Read what was added to the tables; return whether they are still the same files."""
        for tail in self._tails:
            if self._unseen:
                return True
            lines = tail.read()
            if lines is None:  # somebody has edited the table
                return False
            self._unseen = lines
        table = self._outbox / TABLE
        return not table.exists() or any(is_open_at(one.descriptor, table) for one in self._tails)

    def _poll_answers(self) -> Iterator[FinalRow]:
        """Yield the rows that were yielded before and have another answer since."""
        stamp = self._stamp_labels()  # before it is read: what comes later is seen later
        if stamp == self._labels:
            return
        answers = labels.load(self._outbox)
        if self._is_started and self._last_id:
            before, after = self._decisions(), replace(self._decisions(), answers=answers)
            yield from self._changed(before, after, self._last_id)
        self._answers, self._labels = answers, stamp

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
        if self._rereads is None:
            self._rereads = Rereads(self._outbox)
        return _Decisions(self._answers, self._rereads)

    def _stamp_labels(self) -> Stamp | None:
        try:
            return Stamp.of((self._outbox / LABELS).stat())
        except FileNotFoundError:
            return None

    def _changed(
        self, before: "_Decisions", after: "_Decisions", last_id: str
    ) -> Iterator[FinalRow]:
        """Yield the rows up to one that have another answer or verdict than before."""
        with open_tables(self._outbox) as tables:
            for line, cells in results.parse_tables(tables):
                final = after.decide(line, cells)
                if final != before.decide(line, cells):
                    yield final
                if cells[_ID] == last_id:
                    break

    def _find_cutoff(self, job_id: str) -> str:
        """Return a time before which all answers were given before a row was written."""
        with open_tables(self._outbox) as tables:
            for _, cells in results.parse_tables(tables):
                if cells[_ID] == job_id and (at := rows.parse_timestamp(cells[_PROCESSED_AT])):
                    return rows.timestamp(at - _MARGIN)
        return ""

    def _decide(self, lines: Iterable[bytes]) -> Iterator[FinalRow]:
        for line, cells in filter(None, map(results.parse_line, lines)):
            self._last_id = cells[_ID]
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
        with open_tables(self._outbox) as tables:
            end = os.fstat(tables[-1].fileno()).st_size if tables else 0
            yield from self._poll_answers()
            yield from self._poll_rereads()
            decisions = self._decisions()
            self._is_started = True
            for line, cells in results.parse_tables(tables):
                if is_found:
                    self._last_id = cells[_ID]
                    yield decisions.decide(line, cells)
                is_found = is_found or cells[_ID] == after
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


@dataclass(frozen=True, slots=True)
class _Decisions:
    """What makes a row its final answer."""

    answers: AnswersInForce
    rereads: Rereads

    def decide(self, line: str, cells: list[str]) -> FinalRow:
        return results.decide(line, cells, self.answers, self.rereads)


def _is_text(table: BufferedReader) -> bool:
    """Return whether a table is read as it is on the disk, not decompressed."""
    return isinstance(table.raw, FileIO)


@dataclass(slots=True)
class _Tail:
    """A table that is followed, also after it was renamed.

    Attributes:
        descriptor: of the open table.
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

    def _read_last(self) -> bytes:
        length = min(self.position, _TAIL_BYTES)
        return os.pread(self.descriptor, length, self.position - length)
