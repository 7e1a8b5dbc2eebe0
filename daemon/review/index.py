"""The index of the rows: an SQLite file that is built from the tables and may be deleted.

For each row of predictions.csv it has what the pages filter and sort by, and where the row is in
its table. Nothing in it is needed to keep an answer.
"""

import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon import ids
from daemon.layout import REVIEW_INDEX
from daemon.outbox import labels, rows
from daemon.outbox.labels import Answer, Source
from daemon.records import Status
from daemon.review import kinds
from daemon.review.figures import BINS, HOUR, NO_BIN, Figures
from daemon.review.lines import Line

_SCHEMA = """
CREATE TABLE meta (boot TEXT NOT NULL);
CREATE TABLE sources (
    number INTEGER PRIMARY KEY, device INTEGER, inode INTEGER, position INTEGER, tail BLOB
);
CREATE TABLE answers (
    id INTEGER PRIMARY KEY, label TEXT, source TEXT, by TEXT, digit TEXT
);
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, source INTEGER, position INTEGER, file TEXT COLLATE NOCASE,
    status TEXT, digit TEXT, kind INTEGER, confidence REAL, queue INTEGER, priority REAL
);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS by_queue ON rows (queue, priority, id) WHERE queue IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_kind ON rows (kind, id);
CREATE INDEX IF NOT EXISTS by_confidence ON rows (kind, confidence, id);
CREATE INDEX IF NOT EXISTS by_file ON rows (file, kind, id, confidence);
"""
_DROP_INDEXES = "".join(
    f"DROP INDEX IF EXISTS {name};" for name in ("by_queue", "by_kind", "by_confidence", "by_file")
)
# In SQL: a million rows take 1 s, and 4 s one by one.
_COUNTS = f"""
SELECT id / {HOUR}, kind,
    CASE WHEN confidence < 0 THEN {NO_BIN}
    ELSE min(CAST(confidence * {BINS} AS INTEGER), {BINS - 1}) END, count(*)
FROM rows GROUP BY 1, 2, 3
"""  # noqa: S608 - only numbers
_NO_CONFIDENCE = -1.0
_FILE, _STATUS, _DIGIT, _CONFIDENCE = map(
    rows.COLUMNS.index, ("file", "status", "digit", "confidence")
)
# One ``ok`` row in 50 is checked. Which one depends on its id alone, so that it stays the same when
# the index is built again, and no property of the image decides it.
_SAMPLE_ONE_IN = 50
IN_QUEUE, IN_SAMPLE = 0, 1
_RECENT = 256  # changes that a page can miss before it must be loaded again


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was added or answered; changes are numbered."""

    number: int
    id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file is indexed, and its last bytes before that, to notice edits."""

    number: int
    device: int
    inode: int
    position: int
    tail: bytes


class Index:
    """The index of one outbox. One thread writes to it; the others use ``reader``.

    Attributes:
        figures: the counts of its rows.
        changes: the last rows that were added or answered.
        version: another number after each change.
        is_quiet: while old rows are added, which are no changes.
    """

    def __init__(self, outbox: Path) -> None:
        self._path = outbox / REVIEW_INDEX
        self._local = threading.local()
        self._generation = 0
        self.figures = Figures()
        self.changes: deque[Change] = deque(maxlen=_RECENT)
        self.version = 0
        self.is_quiet = True
        self._has_answers = False
        # Rows of a copy of a table, which lies next to it, were counted twice.
        self._is_miscounted = False
        self._writer = self._open()

    def close(self) -> None:
        """Close the writing connection."""
        self._writer.close()

    def discard(self) -> None:
        """Start with an empty index."""
        self._writer.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(f"{self._path.name}{suffix}").unlink(missing_ok=True)
        self.figures = Figures()
        self._writer = self._open()
        self._generation += 1  # readers connect to the new file only now that it is complete
        self.version += 1

    def reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading."""
        if getattr(self._local, "generation", None) != self._generation:
            self._local.connection = _connect(self._path, "rw", cache_kb=1000)
            self._local.generation = self._generation
        connection: sqlite3.Connection = self._local.connection
        return connection

    def positions(self) -> list[Position]:
        """Return how far each file is indexed; number 0 is labels.csv."""
        found = self._writer.execute("SELECT number, device, inode, position, tail FROM sources")
        return [Position(*cells) for cells in found]

    def drop_indexes(self) -> None:
        """Drop the indexes before many rows are added."""
        self._writer.executescript(_DROP_INDEXES)

    def add_rows(self, lines: Iterable[Line], upto: Position) -> None:
        """Add the rows of a table, and record how far it is indexed."""
        added = [
            (ids.decode(cells[0]), line.offset, cells)
            for line in lines
            if (cells := rows.cells(line.text)) is not None
        ]
        answers = self._answers_between(added)
        values = [
            _values(number, upto.number, offset, cells, answers.get(number, ""))
            for number, offset, cells in added
        ]
        before = self._writer.total_changes
        with self._writer:
            self._writer.executemany(
                "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
            )
            is_copy = self._writer.total_changes - before < len(values)
            self._record(upto)
        self._is_miscounted = self._is_miscounted or is_copy
        for value in values:
            self.figures.add(value[0], value[6], value[7])
        for _, _, cells in added[-_RECENT:]:
            self._announce(cells[0], is_new=True)
        self.version += bool(added)

    def add_answers(self, answers: Sequence[Answer], upto: Position) -> None:
        """Apply answers in the order in which they were given, and record how far that is."""
        with self._writer:
            for answer in answers:
                self._apply(answer)
            self._record(upto)
        self._has_answers = self._has_answers or bool(answers)
        for answer in answers[-_RECENT:]:
            self._announce(answer.id, is_new=False)
        self.version += bool(answers)

    def finish(self) -> None:
        """Make what is missing after rows were added: indexes, and counts if there were copies."""
        self._writer.executescript(_INDEXES)
        if self._is_miscounted:
            self._count()

    def _count(self) -> None:
        """Count all rows and answers anew."""
        figures = Figures()
        for counts in self._writer.execute(_COUNTS):
            figures.add_all(*counts)
        for label, digit in self._writer.execute(
            "SELECT label, digit FROM answers WHERE source = ? AND label != ?",
            (Source.SAMPLE, labels.UNDO),
        ):
            figures.check(label, digit, 1)
        self.figures = figures
        self._is_miscounted = False

    def _apply(self, answer: Answer) -> None:
        number = ids.decode(answer.id)
        run = self._writer.execute
        old = run("SELECT label, source, digit FROM answers WHERE id = ?", (number,)).fetchone()
        if old is not None and old[1] == Source.SAMPLE and old[0] != labels.UNDO:
            self.figures.check(old[0], old[2], -1)
        if answer.source == Source.SAMPLE and answer.label != labels.UNDO:
            self.figures.check(answer.label, answer.digit, 1)
        run(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            (number, answer.label, answer.source, answer.by, answer.digit),
        )
        row = run(
            "SELECT status, digit, kind, confidence FROM rows WHERE id = ?", (number,)
        ).fetchone()
        if row is None:  # its row is not indexed yet
            return
        status, digit, kind, confidence = row
        label = "" if answer.label == labels.UNDO else answer.label
        new = kinds.kind(status, label or digit, answered=bool(label))
        queue, priority = _place(number, status, confidence, answered=bool(label))
        run(
            "UPDATE rows SET kind = ?, queue = ?, priority = ? WHERE id = ?",
            (new, queue, priority, number),
        )
        self.figures.move(kind, new)

    def _answers_between(self, added: list[tuple[int, int, list[str]]]) -> dict[int, str]:
        """Return the labels in force of rows that are being added."""
        if not self._has_answers or not added:
            return {}
        numbers = [number for number, _, _ in added]
        found = self._writer.execute(
            "SELECT id, label FROM answers WHERE id BETWEEN ? AND ? AND label != ?",
            (min(numbers), max(numbers), labels.UNDO),
        )
        return dict(found.fetchall())

    def _record(self, upto: Position) -> None:
        self._writer.execute(
            "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?)",
            (upto.number, upto.device, upto.inode, upto.position, upto.tail),
        )

    def _announce(self, job_id: str, *, is_new: bool) -> None:
        if self.is_quiet:
            return
        last = self.changes[-1].number if self.changes else 0
        self.changes.append(Change(last + 1, job_id, is_new))

    def _open(self) -> sqlite3.Connection:
        """Open the index of an earlier run, or a new one."""
        boot = _boot()
        try:
            connection = _connect(self._path, "rwc", cache_kb=16_000)
            found = connection.execute("SELECT boot FROM meta").fetchone()
            if found == (boot,):
                self._writer = connection
                self._has_answers = bool(connection.execute("SELECT 1 FROM answers").fetchone())
                self._count()
                return connection
            connection.close()
        except sqlite3.DatabaseError:  # none yet, damaged, or of another version
            pass
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(f"{self._path.name}{suffix}").unlink(missing_ok=True)
        connection = _connect(self._path, "rwc", cache_kb=16_000)
        connection.executescript(_SCHEMA + _INDEXES)
        with connection:
            connection.execute("INSERT INTO meta VALUES (?)", (boot,))
        self._has_answers = False
        return connection


def _connect(path: Path, mode: str, *, cache_kb: int) -> sqlite3.Connection:
    """Return a connection; ``mode`` is rw, or rwc to create a missing file."""
    name = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(name, check_same_thread=False, timeout=30, uri=True)
    # WAL: pages are read while rows are added. Without fsync it survives a kill but not a power
    # failure, after which it is built again (see ``_boot``).
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"PRAGMA cache_size = -{cache_kb}")
    return connection


def _boot() -> str:
    """Return a text that changes with each start of the machine and each version of the schema."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{boot} {zlib.crc32((_SCHEMA + _INDEXES).encode()):08x}"


def _values(
    number: int, source: int, offset: int, cells: list[str], label: str
) -> tuple[int, int, int, str, str, str, int, float, int | None, float | None]:
    """Return a row of the table ``rows``."""
    status, digit = cells[_STATUS], cells[_DIGIT]
    try:
        confidence = float(cells[_CONFIDENCE])
    except ValueError:
        confidence = _NO_CONFIDENCE
    kind = kinds.kind(status, label or digit, answered=bool(label))
    queue, priority = _place(number, status, confidence, answered=bool(label))
    file = cells[_FILE]
    return number, source, offset, file, status, digit, kind, confidence, queue, priority


def _place(
    number: int, status: str, confidence: float, *, answered: bool
) -> tuple[int | None, float | None]:
    """Return a row's place in the queue: the doubtful ones, then the sample in random order."""
    if answered or status == Status.ERROR:
        return None, None
    if status == Status.UNSURE:
        return IN_QUEUE, confidence
    return (IN_SAMPLE, float(_chance(number))) if is_sampled(number) else (None, None)


def is_sampled(number: int) -> bool:
    """Tell whether the row with this id belongs to the random sample if its reading is ``ok``."""
    return _chance(number) % _SAMPLE_ONE_IN == 0


def _chance(number: int) -> int:
    """Return an id's place in a random order; the same for the same id."""
    return zlib.crc32(number.to_bytes(8, "big"))
