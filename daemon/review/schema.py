"""The tables of the index and their indexes: what the pages filter, sort and count by."""

import sqlite3
import unicodedata
import zlib
from pathlib import Path

from daemon.outbox.clock import read_boot_id
from daemon.outbox.labels import UNDO
from daemon.records import Status
from daemon.review import sample

# Sure rows that nobody has answered.
UNSEEN = f"status = '{Status.OK}' AND NOT answered"
# Rows of the sample that have an answer: their own, or that of another row with their content.
CHECKED = "sampled AND answered"
BINS = 20  # of the histogram of confidence, from 0 to 1
HOUR = 3600  # seconds
NO_CONFIDENCE = -1.0
SAMPLE_PRIORITY = 2.0  # from here on; below are unsure rows, by confidence
ERROR_PRIORITY = 1e10  # after the sample
_BIN = f"""
CASE WHEN new.confidence < 0 THEN -1 ELSE min(CAST(new.confidence * {BINS} AS INTEGER), {BINS - 1})
END"""
_OLD_BIN = _BIN.replace("new.", "old.")

# ``value`` is the person's answer if there is one, else the model's digit, which may be empty.
# ``folded`` is the file's name as ``fold`` returns it.
# ``priority`` is the row's place in the queue while it waits for a person.
# ``length`` is that of ``digit``: SQLite makes no use of an index on an expression with a column
# that is compared with a constant.
# ``received`` is in Unix seconds, 0 if somebody edited the cell. Ids don't have times.
# ``answers`` is in the order of labels.csv: ``place`` rises. ``failed`` has the files that could
# not be read, each with the newest row that names it.
# ``reread`` is the number of the table with the newest reread of the row, and
# ``reread_position`` is its place there; the verdict is that one's. Tables that count more have
# higher numbers.
# Counting a million rows takes 0.6 s, so triggers keep ``counts`` and ``hours``.
# ``by_queue`` is kept while many rows are added: without it each open page scans them all four
# times a second, 8 s of processor time for a million rows.
SCHEMA = f"""
CREATE TABLE meta (version TEXT NOT NULL);
CREATE TABLE followed (
    number INTEGER PRIMARY KEY, kind TEXT, device INTEGER, inode INTEGER, position INTEGER,
    tail BLOB
);
CREATE TABLE answers (
    place INTEGER PRIMARY KEY, id INTEGER UNIQUE, label TEXT, source TEXT, by TEXT, digit TEXT,
    sha256 BLOB
);
CREATE TABLE failed (name TEXT PRIMARY KEY, id INTEGER UNIQUE, is_there INTEGER) WITHOUT ROWID;
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, file TEXT COLLATE NOCASE, status TEXT, digit TEXT, value TEXT,
    answered INTEGER, confidence REAL, priority REAL, number INTEGER, position INTEGER,
    sha256 BLOB, received INTEGER, folded TEXT, sampled INTEGER, length INTEGER, reread INTEGER,
    reread_position INTEGER
);
CREATE TABLE counts (
    status TEXT, answered INTEGER, bin INTEGER, rows INTEGER, PRIMARY KEY (status, answered, bin)
) WITHOUT ROWID;
CREATE TABLE hours (hour INTEGER PRIMARY KEY, rows INTEGER, unsure INTEGER);
CREATE INDEX by_content ON answers (sha256, place)
    WHERE sha256 IS NOT NULL AND label != '{UNDO}';
CREATE INDEX by_queue ON rows (priority, id) WHERE priority IS NOT NULL;
CREATE INDEX by_check ON rows (id, sha256, value, digit, sampled, answered) WHERE {CHECKED};
CREATE TRIGGER row_added AFTER INSERT ON rows BEGIN
    INSERT INTO counts VALUES (new.status, new.answered, {_BIN}, 1)
        ON CONFLICT DO UPDATE SET rows = rows + 1;
    INSERT INTO hours VALUES (new.received / {HOUR}, 1, new.status = '{Status.UNSURE}')
        ON CONFLICT DO UPDATE SET rows = rows + 1, unsure = unsure + excluded.unsure;
END;
CREATE TRIGGER row_changed AFTER UPDATE OF answered, status, confidence ON rows
WHEN old.answered != new.answered OR old.status != new.status OR old.confidence != new.confidence
BEGIN
    UPDATE counts SET rows = rows - 1
        WHERE status = old.status AND answered = old.answered AND bin = {_OLD_BIN};
    INSERT INTO counts VALUES (new.status, new.answered, {_BIN}, 1)
        ON CONFLICT DO UPDATE SET rows = rows + 1;
    UPDATE hours SET unsure = unsure
        + (new.status = '{Status.UNSURE}') - (old.status = '{Status.UNSURE}')
        WHERE hour = new.received / {HOUR};
END;
{sample.SCHEMA}"""  # noqa: S608 - only numbers and names
# The first two cover all filters and are in the order of a page: a filter that no row matches scans
# one of them, 0.1 s for a million rows (see ``queries.page``). A full-text index of trigrams finds
# names faster, but was not built after 14 s of processor time for a million rows (2-core x86).
# Many rows are added without these indexes. ``by_text`` is in the order of the look-through.
_BULK_INDEXES = {
    "by_arrival": "rows (id, status, value, answered, received, folded)",
    "by_confidence": "rows (confidence, id, status, value, answered, received, folded)",
    "by_sha256": "rows (sha256)",
    "by_received": "rows (received)",
    "by_text": f"rows (length, digit, id) WHERE {UNSEEN}",
}
CREATE_INDEXES = "".join(
    f"CREATE INDEX IF NOT EXISTS {name} ON {columns};" for name, columns in _BULK_INDEXES.items()
)
BY_SHA256 = f"CREATE INDEX IF NOT EXISTS by_sha256 ON {_BULK_INDEXES['by_sha256']};"
DROP_INDEXES = "".join(f"DROP INDEX IF EXISTS {name};" for name in _BULK_INDEXES)


def connect(path: Path, mode: str, cache_kb: int) -> sqlite3.Connection:
    """Return a connection; ``mode`` is rw, or rwc to create a missing file."""
    name = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(name, check_same_thread=False, timeout=30, uri=True)
    # WAL: pages are read while rows are added. Without fsync the file survives a kill but not a
    # power failure, after which it is rebuilt (see ``version``).
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"PRAGMA cache_size = -{cache_kb}")
    connection.create_function("priority", 4, priority)
    return connection


def version() -> str:
    """Return a text that changes with each boot of the machine and each change of the schema."""
    return f"{read_boot_id()} {zlib.crc32((SCHEMA + CREATE_INDEXES).encode()):08x}"


def fold(name: str) -> str:
    """Return a file's name so that upper and lower case, and both forms of é, are the same."""
    if name.isascii():  # a tenth of the time
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def priority(number: int, status: str, confidence: float, is_sampled: object) -> float | None:
    """Return an unanswered row's place in the queue: doubtful rows, then the sample, shuffled."""
    if status == Status.UNSURE:
        return confidence
    return SAMPLE_PRIORITY + sample.random_order(number) if is_sampled else None
