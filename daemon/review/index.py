"""The index of the rows: an SQLite file that is built from the tables and may be deleted.

For each row of predictions.csv it stores what the pages filter and sort by, and where the row is in
its table. No answer depends on it: labels.csv is the truth.
"""

import json
import sqlite3
import threading
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

from daemon import ids
from daemon.layout import FAILED, REVIEW_INDEX
from daemon.outbox import labels, rows
from daemon.outbox.labels import UNDO
from daemon.records import Status
from daemon.review import sample, schema
from daemon.review.sample import Candidate, ShownRows
from daemon.review.schema import (
    BY_SHA256,
    CREATE_INDEXES,
    DROP_INDEXES,
    ERROR_PRIORITY,
    NO_CONFIDENCE,
    SCHEMA,
    connect,
)

# Whether a row is in the sample; the place in the queue follows.
_SET_SAMPLED = f"""
UPDATE rows SET
    sampled = ?1, priority = iif(answered, NULL, priority(id, status, confidence, ?1))
WHERE status = '{Status.OK}' AND sampled != ?1 AND id IN (SELECT value FROM json_each(?2))"""  # noqa: S608 - only names
# A row's place in the queue if nobody has answered it.
_PRIORITY = f"""
iif(status = '{Status.ERROR}',
    (SELECT {ERROR_PRIORITY} FROM failed WHERE failed.id = rows.id AND is_there),
    priority(id, status, confidence, sampled))"""  # noqa: S608 - only names
# The newest label of a content.
_NEWEST_LABEL = f"""
SELECT label FROM answers WHERE sha256 = ? AND label != '{UNDO}' ORDER BY place DESC LIMIT 1"""  # noqa: S608 - only names
# The label in force, as ``labels.AnswersInForce`` finds it.
_LABEL = f"""
ifnull((SELECT label FROM answers WHERE answers.id = rows.id AND label != '{UNDO}'),
    ({_NEWEST_LABEL.replace("sha256 = ?", "answers.sha256 = rows.sha256")}))"""  # noqa: S608 - only names
# Changes only rows with another label than the one in force; no row that is not indexed yet.
_UPDATE_ROWS = f"""
UPDATE rows SET (value, answered, priority) = (
    SELECT ifnull(label, digit), label IS NOT NULL, iif(label IS NULL, {_PRIORITY}, NULL)
    FROM (SELECT {_LABEL} AS label)
) WHERE iif(answered, value, NULL) IS NOT {_LABEL} AND """  # noqa: S608 - only names
_IS_ANSWERED = "sha256 IN (SELECT sha256 FROM answers WHERE sha256 NOT NULL)"
# The rows of a batch that have an answer: their own, or that of another row with their content.
_GIVEN = f"""
SELECT id FROM answers WHERE id BETWEEN ?1 AND ?2 AND label != '{UNDO}'
UNION
SELECT rows.id FROM json_each(?3) AS listed CROSS JOIN rows ON rows.id = listed.value
    CROSS JOIN answers USING (sha256) WHERE label != '{UNDO}'"""  # noqa: S608 - only names
_UPDATE_ERROR = f"UPDATE rows SET priority = {_PRIORITY} WHERE id = ? AND NOT answered"  # noqa: S608 - only names
# ?1 id, ?2 status, ?3 text, ?4 its length, ?5 confidence, ?6 whether it is in the sample, ?7 and ?8
# the table and the place in it, ?9 the content. ``error`` has no place here.
_SET_REREAD = """
UPDATE rows SET
    status = ?2, digit = ?3, length = ?4, value = iif(answered, value, ?3), confidence = ?5,
    sampled = ?6, priority = iif(answered, NULL, priority(id, ?2, ?5, ?6)),
    reread = ?7, reread_position = ?8
WHERE id = ?1 AND (sha256 IS NULL OR sha256 = ?9) AND ifnull(reread, 0) <= ?7"""
# Of each content; more are not announced.
_MOST_ANNOUNCED = 256
_FILE, _STATUS, _DIGIT, _CONFIDENCE, _ORIGINAL, _SHA256, _MODEL, _RECEIVED_AT = map(
    rows.COLUMNS.index,
    ("file", "status", "digit", "confidence", "original", "sha256", "model", "received_at"),
)
# Of each connection; some 30 threads read. With 16,000 and 1,000 the process takes 101 MB for a
# million rows instead of 93, and is no faster (`python -m benchmarks.review`).
_WRITER_CACHE_KB, _READER_CACHE_KB = 12_000, 500


class Line(NamedTuple):
    """One line of a file without its newline, and where it starts, in bytes."""

    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file is indexed, and its last bytes before that, to detect edits.

    Attributes:
        number: of the file in the index.
        kind: whether it has rows or answers; see ``follow``.
    """

    number: int
    kind: str
    device: int
    inode: int
    position: int
    tail: bytes


class Index:
    """The index of one outbox. One thread writes to it; the others use ``reader``.

    Attributes:
        has_new_failed: whether there are new ``error`` rows since ``set_failed``.
        has_late_rows: whether rows were added that a table of rereads may be about which is indexed
            already.
        shown: the rows of the sample that must stay in it.
    """

    def __init__(self, outbox: Path) -> None:
        self.has_new_failed = True
        self.has_late_rows = False
        self.shown = ShownRows(outbox)
        self._path = outbox / REVIEW_INDEX
        self._local = threading.local()
        self._generation = 0
        self._connection: sqlite3.Connection | None = self._open()

    def close(self) -> None:
        """Close the writing connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def discard(self) -> None:
        """Start again with an empty index.

        Raises:
            sqlite3.Error: it cannot be created now; the next use tries again.
        """
        self.close()
        self._remove()
        self.has_new_failed = True
        self._writer  # noqa: B018 - opens it

    @property
    def _writer(self) -> sqlite3.Connection:
        """The connection for writing, opened again if the folder was missing meanwhile."""
        if self._connection is None:
            self._connection = self._open()
            self._generation += 1  # readers reconnect only now that the new file is complete
        return self._connection

    def reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading."""
        if getattr(self._local, "generation", None) != self._generation:
            self._local.connection = connect(self._path, "rw", _READER_CACHE_KB)
            self._local.generation = self._generation
        connection: sqlite3.Connection = self._local.connection
        return connection

    def is_sampled(self, number: int) -> bool:
        """Return whether the row with this id is in the random sample; any thread may ask."""
        found = self.reader().execute("SELECT sampled FROM rows WHERE id = ?", (number,)).fetchone()
        return number in self.shown.numbers or bool(found and found[0])

    def positions(self) -> list[Position]:
        """Return how far each file is indexed."""
        found = self._writer.execute(
            "SELECT number, kind, device, inode, position, tail FROM followed"
        )
        return [Position(*cells) for cells in found]

    def drop_indexes(self) -> None:
        """Drop the gallery's indexes before many rows are added; see ``create_indexes``."""
        self._writer.executescript(DROP_INDEXES)

    def create_indexes(self) -> None:
        """Create the SQL indexes that are missing."""
        is_unshared = not self._has_content_index()
        self._writer.executescript(CREATE_INDEXES.replace(BY_SHA256, ""))
        if is_unshared:
            with self._writer:  # a kill leaves neither, and so this is done at the next start
                self._writer.execute("BEGIN")
                self._writer.execute(BY_SHA256)
                self._writer.execute(f"{_UPDATE_ROWS} {_IS_ANSWERED}")

    def _has_content_index(self) -> bool:
        """Return whether rows can be found by their content."""
        found = self._writer.execute("SELECT 1 FROM sqlite_master WHERE name = 'by_sha256'")
        return found.fetchone() is not None

    def add_rows(self, lines: Iterable[Line], upto: Position) -> list[int]:
        """Add rows of a table and record how far it is indexed; return the numbers of their ids.

        A row that is there already, from a copy of the table, is left as it is.
        """
        values, candidates = list[tuple[int, *tuple[object, ...]]](), list[Candidate]()
        # One row's cells at a time: keeping those of 1,000 rows doubles the time (2-core x86).
        failed = list[tuple[str, int]]()
        for line in lines:
            if (cells := rows.cells(line.text)) is not None:
                value = _values(upto.number, line.offset, cells)
                values.append(value)
                if cells[_STATUS] == Status.OK:
                    candidates.append(Candidate(cells[_MODEL], value[0]))
                elif cells[_STATUS] == Status.ERROR:
                    failed.append((cells[_ORIGINAL].removeprefix(f"{FAILED}/"), value[0]))
        numbers = [value[0] for value in values]
        self.has_late_rows |= self._is_before_reread(min(numbers, default=None))
        with self._writer:
            self._writer.executemany(
                "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                "NULL, NULL)",
                values,
            )
            self._update_sample(candidates)
            self._add_failed(failed)
            # Answers may be indexed before their rows.
            limits = min(numbers, default=0), max(numbers, default=0)
            given = self._writer.execute(_GIVEN, (*limits, json.dumps(numbers)))
            self._writer.executemany(f"{_UPDATE_ROWS} id = ?", given.fetchall())
            self._record(upto)
        return numbers

    def _is_before_reread(self, number: int | None) -> bool:
        """Return whether a later row was read again, so that this one may have been, too.

        Rows are usually the last ones, and so nearly none is looked at.
        """
        found = self._writer.execute(
            "SELECT 1 FROM rows WHERE id > ? AND reread IS NOT NULL LIMIT 1", (number,)
        )
        return found.fetchone() is not None

    def add_rereads(self, lines: Iterable[Line], upto: Position) -> list[int]:
        """Give rows the verdicts of a table of rereads; return the numbers of the rows' ids.

        Index all rows first. A table that counts more has a higher number.
        """
        values, numbers, candidates = list[tuple[object, ...]](), list[int](), list[Candidate]()
        for line in lines:
            cells = rows.cells(line.text)
            if cells is None or cells[_STATUS] == Status.ERROR:
                continue
            number, status, digit = ids.decode(cells[0]), cells[_STATUS], cells[_DIGIT]
            confidence = rows.parse_number(cells[_CONFIDENCE])
            verdict = status, digit, len(digit), NO_CONFIDENCE if confidence is None else confidence
            is_ok = status == Status.OK
            place = is_ok and sample.is_drawn(number), upto.number, line.offset
            values.append((number, *verdict, *place, rows.parse_sha256(cells[_SHA256])))
            numbers.append(number)
            if is_ok:
                candidates.append(Candidate(cells[_MODEL], number))
        with self._writer:
            self._writer.executemany(_SET_REREAD, values)
            # They are in the sample of their new model, if at all.
            self._writer.executemany("DELETE FROM lowest WHERE id = ?", [(one,) for one in numbers])
            self._update_sample(candidates)
            self._record(upto)
        return numbers

    def _add_failed(self, failed: Iterable[tuple[str, int]]) -> None:
        """Add files that could not be read, and the numbers of their rows' ids.

        A file that failed again has the name of before, and then belongs to its newest row.
        """
        for name, number in failed:
            self.has_new_failed = True
            found = self._writer.execute("SELECT id FROM failed WHERE name = ?", (name,)).fetchone()
            if found is None or found[0] < number:
                self._writer.execute(
                    "INSERT OR REPLACE INTO failed VALUES (?, ?, FALSE)", (name, number)
                )
                if found is not None:
                    self._writer.execute(_UPDATE_ERROR, found)

    def set_failed(self, names: Collection[str]) -> list[int]:
        """Record which files are in ``failed/``; return the numbers of the rows that changed."""
        self.has_new_failed = False
        known = self._writer.execute("SELECT name, id, is_there FROM failed").fetchall()
        changed = [
            (name in names, number)
            for name, number, is_there in known
            if is_there != (name in names)
        ]
        with self._writer:
            self._writer.executemany("UPDATE failed SET is_there = ? WHERE id = ?", changed)
            self._writer.executemany(_UPDATE_ERROR, [(number,) for _, number in changed])
        return [number for _, number in changed]

    def add_answers(self, lines: Iterable[Line], upto: Position) -> list[int]:
        """Apply answers in the order in which they were given; return the numbers of the ids."""
        answers = [one for line in lines if (one := labels.parse(line.text)) is not None]
        numbers = [ids.decode(answer.id) for answer in answers]
        before = dict[bytes, str | None]()  # the newest labels of contents
        with self._writer:
            for number, answer in zip(numbers, answers, strict=True):
                content = rows.parse_sha256(answer.sha256)
                old = self._writer.execute("SELECT sha256 FROM answers WHERE id = ?", (number,))
                for one in {content, *(cell for (cell,) in old)} - {None, *before}:
                    before[one] = self._label_of(one)
                self._writer.execute(
                    "INSERT OR REPLACE INTO answers VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                    (number, answer.label, answer.source, answer.by, answer.digit, content),
                )
            changed = [one for one, label in before.items() if label != self._label_of(one)]
            others = self._share(changed) if self._has_content_index() else []
            self._writer.executemany(f"{_UPDATE_ROWS} id = ?", [(number,) for number in numbers])
            self._record(upto)
        return others + numbers

    def _label_of(self, content: bytes) -> str | None:
        """Return the newest label in force of the rows with a content."""
        found = self._writer.execute(_NEWEST_LABEL, (content,)).fetchone()
        return None if found is None else str(found[0])

    def _share(self, contents: Iterable[bytes]) -> list[int]:
        """Update all rows with some contents; return the numbers of the ids of the first ones."""
        numbers = list[int]()
        for content in contents:
            self._writer.execute(f"{_UPDATE_ROWS} sha256 = ?", (content,))
            found = self._writer.execute(
                "SELECT id FROM rows WHERE sha256 = ? LIMIT ?", (content, _MOST_ANNOUNCED)
            )
            numbers += [number for (number,) in found]
        return numbers

    def _update_sample(self, added: Iterable[Candidate]) -> None:
        shown = self.shown.numbers
        left = sample.update(self._writer, added, shown)
        self._writer.execute(_SET_SAMPLED, (False, json.dumps([*left])))
        lowest = self._writer.execute("SELECT id FROM lowest").fetchall()
        stay = {number for (number,) in lowest} | shown
        self._writer.execute(_SET_SAMPLED, (True, json.dumps([*stay])))

    def _record(self, upto: Position) -> None:
        # A table of rereads gets another number when it counts more than others again.
        self._writer.execute(
            "DELETE FROM followed WHERE device = ? AND inode = ?", (upto.device, upto.inode)
        )
        self._writer.execute(
            "INSERT OR REPLACE INTO followed VALUES (?, ?, ?, ?, ?, ?)", astuple(upto)
        )

    def _open(self) -> sqlite3.Connection:
        """Open the index of an earlier run, or a new one."""
        version = schema.version()
        try:
            connection = connect(self._path, "rwc", _WRITER_CACHE_KB)
            if connection.execute("SELECT version FROM meta").fetchone() == (version,):
                return connection
            connection.close()
        except sqlite3.DatabaseError:  # none yet, damaged, or of another version
            pass
        self._remove()
        connection = connect(self._path, "rwc", _WRITER_CACHE_KB)
        connection.executescript(SCHEMA + CREATE_INDEXES)
        with connection:
            connection.execute("INSERT INTO meta VALUES (?)", (version,))
        return connection

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(f"{self._path.name}{suffix}").unlink(missing_ok=True)


def _values(number: int, offset: int, cells: list[str]) -> tuple[int, *tuple[object, ...]]:
    """Return the columns of ``rows`` for a row that nobody has answered."""
    row_id = ids.decode(cells[0])
    status, digit = cells[_STATUS], cells[_DIGIT]
    confidence = rows.parse_number(cells[_CONFIDENCE])
    if confidence is None:
        confidence = NO_CONFIDENCE
    sha256 = rows.parse_sha256(cells[_SHA256])
    moment = rows.parse_timestamp(cells[_RECEIVED_AT])
    received = 0 if moment is None else int(moment.timestamp())
    is_sampled = status == Status.OK and sample.is_drawn(row_id)
    place_in_queue = schema.priority(row_id, status, confidence, is_sampled)
    place = number, offset, sha256, received, schema.fold(cells[_FILE]), is_sampled, len(digit)
    return row_id, cells[_FILE], status, digit, digit, False, confidence, place_in_queue, *place
