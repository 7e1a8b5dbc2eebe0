"""Read the index: the queue, a page of the gallery, one row, and what the live page counts."""

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from daemon import ids
from daemon.outbox.labels import NOT_A_DIGIT, UNDO, Source
from daemon.records import Status
from daemon.review.index import BINS, HOUR, IN_SAMPLE

_AFTER_ALL_NAMES = "\U0010ffff"
_Z = 1.959964  # of a 95 % interval


class Sort(StrEnum):
    """The order of the gallery."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LEAST = "least"  # confident
    MOST = "most"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows a gallery shows, in which order; an empty sequence or text allows all.

    Attributes:
        values: a digit, ``none`` or empty; a person's answer takes precedence over the model's.
        name: a prefix of the file's name, in any case.
        since, until: days, UTC, both included.
    """

    statuses: Sequence[str] = ()
    values: Sequence[str] = ()
    answered: Sequence[bool] = ()
    name: str = ""
    since: date | None = None
    until: date | None = None
    sort: Sort = Sort.NEWEST


@dataclass(frozen=True, slots=True)
class Card:
    """A row as the gallery shows it; ``label`` is a person's answer, or empty."""

    id: str
    file: str
    status: str
    digit: str
    confidence: float | None
    label: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """A row's place in the order of the gallery; the next page starts after it."""

    confidence: float
    number: int


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A row of the queue: its id, in which part of the queue it is, and where in that part."""

    id: str
    queue: int
    priority: float


@dataclass(frozen=True, slots=True)
class RowLocation:
    """Where a row is, and the last answer to it; the texts are empty if there is none."""

    number: int
    position: int
    label: str
    by: str
    answer_source: str


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """How many rows have each status, are answered, wait in the queue and in the sample."""

    by_status: dict[Status, int]
    answered: int
    to_check: int
    sample: int


@dataclass(frozen=True, slots=True)
class Hour:
    """The rows of one hour: when it starts (ms since 1970), how many, how many are unsure."""

    start_ms: int
    rows: int
    unsure: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of checked rows that the model read correctly, with its 95 % interval."""

    checked: int
    share: float
    low: float
    high: float


def queue(db: sqlite3.Connection, after: QueueEntry | None, limit: int) -> list[QueueEntry]:
    """Return rows that wait for a person: unsure, least confident first, then the sample."""
    start = (-1, 0.0, 0) if after is None else (after.queue, after.priority, ids.decode(after.id))
    found = db.execute(
        "SELECT id, queue, priority FROM rows WHERE queue IS NOT NULL "
        "AND (queue, priority, id) > (?, ?, ?) ORDER BY queue, priority, id LIMIT ?",
        (*start, limit),
    )
    return [QueueEntry(ids.encode(number), queue, priority) for number, queue, priority in found]


def locate(db: sqlite3.Connection, job_id: str) -> RowLocation | None:
    """Return where a row is; ``None`` if there is none with this id."""
    found = db.execute(
        "SELECT r.number, r.position, a.label, a.by, a.source FROM rows r "
        "LEFT JOIN answers a ON a.id = r.id AND a.label != ? WHERE r.id = ?",
        (UNDO, ids.decode(job_id)),
    ).fetchone()
    return found and RowLocation(*found[:2], *(text or "" for text in found[2:]))


def cards(db: sqlite3.Connection, numbers: Sequence[int]) -> list[Card]:
    """Return rows as the gallery shows them, in the order of their ids' numbers."""
    marks = ", ".join("?" * len(numbers))
    found = db.execute(
        "SELECT id, file, status, digit, confidence, answered, value FROM rows "  # noqa: S608 - only question marks
        f"WHERE id IN ({marks})",
        numbers,
    )
    by_number = {
        number: Card(
            id=ids.encode(number),
            file=file,
            status=status,
            digit=digit,
            confidence=confidence if confidence >= 0 else None,
            label=value if answered else "",
        )
        for number, file, status, digit, confidence, answered, value in found
    }
    return [by_number[number] for number in numbers if number in by_number]


def cursor(db: sqlite3.Connection, job_id: str) -> Cursor:
    """Return a row's place in the order of the gallery; the end for a row that is not indexed."""
    number = ids.decode(job_id)
    found = db.execute("SELECT confidence FROM rows WHERE id = ?", (number,)).fetchone()
    return Cursor(found[0] if found else 0.0, number)


def page(db: sqlite3.Connection, wanted: Filter, after: Cursor | None, limit: int) -> list[Cursor]:
    """Return the places of the rows on one page of the gallery, in order.

    With a name, the rows with that name are sorted; without, an index has the order, and is scanned
    until the page is full. Either takes at most about 0.1 s for a million rows.
    """
    is_by_time = wanted.sort in {Sort.NEWEST, Sort.OLDEST}
    is_descending = wanted.sort in {Sort.NEWEST, Sort.MOST}
    way = "DESC" if is_descending else "ASC"
    order = f"id {way}" if is_by_time else f"confidence {way}, id {way}"
    index = "by_name" if wanted.name else "by_time" if is_by_time else "by_confidence"
    confidence = "confidence" if wanted.name or not is_by_time else "0.0"
    condition, values = _condition(wanted)
    if after is not None:
        sign = "<" if is_descending else ">"
        condition += f" AND id {sign} ?" if is_by_time else f" AND (confidence, id) {sign} (?, ?)"
        values += [after.number] if is_by_time else [after.confidence, after.number]
    found = db.execute(
        f"SELECT {confidence}, id FROM rows INDEXED BY {index} WHERE {condition} "  # noqa: S608 - no text of a user's
        f"ORDER BY {order} LIMIT ?",
        (*values, limit),
    )
    return [Cursor(*cells) for cells in found]


def counts(db: sqlite3.Connection) -> LiveCounts:
    """Return the counts that every page shows."""
    by_status, answered, to_check = dict.fromkeys(Status, 0), 0, 0
    for status, is_answered, rows in db.execute(
        "SELECT status, answered, sum(rows) FROM counts GROUP BY status, answered"
    ):
        by_status[Status(status)] += rows
        if is_answered:
            answered += rows
        elif status == Status.UNSURE:
            to_check += rows
    sample = db.execute("SELECT count(*) FROM rows WHERE queue = ?", (IN_SAMPLE,)).fetchone()
    return LiveCounts(by_status, answered, to_check, sample[0])


def count_since(db: sqlite3.Connection, moment: datetime) -> int:
    """Return the number of rows that were received since a moment."""
    found = db.execute("SELECT count(*) FROM rows WHERE id >= ?", (_first_number(moment),))
    return int(found.fetchone()[0])


def histogram(db: sqlite3.Connection) -> list[int]:
    """Return the number of rows in each bin of confidence."""
    found = db.execute("SELECT bin, sum(rows) FROM counts WHERE bin >= 0 GROUP BY bin")
    by_bin = dict(found.fetchall())
    return [by_bin.get(number, 0) for number in range(BINS)]


def hours(db: sqlite3.Connection, limit: int) -> list[Hour]:
    """Return the last hours that have rows, oldest first."""
    found = db.execute("SELECT * FROM hours ORDER BY hour DESC LIMIT ?", (limit,)).fetchall()
    return [Hour(hour * (HOUR >> 12), rows, unsure) for hour, rows, unsure in reversed(found)]


def accuracy(db: sqlite3.Connection) -> Accuracy | None:
    """Return the accuracy on the random sample; ``None`` if nothing is checked yet.

    The interval is Wilson's (1927), which never leaves 0 to 1.
    """
    checked, agreed = db.execute(
        "SELECT count(*), sum(label = CASE digit WHEN '' THEN ? ELSE digit END) FROM answers "
        "WHERE source = ? AND label != ?",
        (NOT_A_DIGIT, Source.SAMPLE, UNDO),
    ).fetchone()
    if not checked:
        return None
    share = agreed / checked
    middle = share + _Z**2 / (2 * checked)
    spread = _Z * math.sqrt(share * (1 - share) / checked + _Z**2 / (4 * checked**2))
    whole = 1 + _Z**2 / checked
    low, high = (middle - spread) / whole, (middle + spread) / whole
    return Accuracy(checked, share, max(0.0, low), min(1.0, high))


def _condition(wanted: Filter) -> tuple[str, list[object]]:
    """Return a filter as SQL, with its values."""
    terms, values = ["1"], list[object]()
    for column, allowed in (
        ("status", wanted.statuses),
        ("value", wanted.values),
        ("answered", wanted.answered),
    ):
        if allowed:
            terms.append(f"{column} IN ({', '.join('?' * len(allowed))})")
            values += allowed
    if wanted.name:
        terms.append("file >= ? AND file < ?")
        values += [wanted.name, wanted.name + _AFTER_ALL_NAMES]
    if wanted.since is not None:
        terms.append("id >= ?")
        values.append(_first_number(_midnight(wanted.since)))
    if wanted.until is not None:
        terms.append("id < ?")
        values.append(_first_number(_midnight(wanted.until) + timedelta(days=1)))
    return " AND ".join(terms), values


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _first_number(moment: datetime) -> int:
    """Return the lowest number of an id that is issued from a moment on."""
    return max(0, int(moment.timestamp() * 1000)) << 12
