"""Read the index: the queue, a page of the gallery, one row, and what the live page counts."""

import json
import math
import re
import sqlite3
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from enum import Enum, StrEnum
from typing import Self

from daemon import ids
from daemon.outbox.labels import NOT_A_DIGIT, UNDO, Source
from daemon.records import Status
from daemon.review.schema import (
    BINS,
    CHECKED,
    ERROR_PRIORITY,
    HOUR,
    NO_CONFIDENCE,
    SAMPLE_PRIORITY,
    fold,
)
from daemon.text import cell

_UPLOAD = re.compile(rf"({ids.PATTERN.pattern})-([0-9a-f]{{64}})-(.+)", re.DOTALL)
_DAY = 86400  # seconds
_LISTED = "id IN (SELECT value FROM json_each(?))"
_Z = 1.959964  # of a 95 % interval
_ACCURACY = f"""
SELECT count(*), sum(label = CASE digit WHEN '' THEN '{NOT_A_DIGIT}' ELSE digit END) FROM (
    SELECT label, digit FROM answers WHERE source = '{Source.SAMPLE}' AND label != '{UNDO}'
    UNION ALL
    SELECT value, digit FROM rows INDEXED BY by_check WHERE {CHECKED}
        AND NOT EXISTS (SELECT 1 FROM answers WHERE answers.id = rows.id AND label != '{UNDO}')
        AND '{Source.SAMPLE}' = (
            SELECT source FROM answers WHERE answers.sha256 = rows.sha256 AND label != '{UNDO}'
            ORDER BY place DESC LIMIT 1)
)"""  # noqa: S608 - no text of a user's


class Sort(StrEnum):
    """The order of the gallery."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LEAST = "least"  # confident
    MOST = "most"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows a gallery shows, in which order; an empty text or ``None`` allows all.

    Attributes:
        value: a label or empty; a person's answer takes precedence over the model's.
        answered: whether a person has answered.
        name: a part of the file's name, in any case.
        since, until: days, both included.
        offset: by how many minutes the days begin before those of UTC.
    """

    status: str = ""
    value: str | None = None
    answered: bool | None = None
    name: str = ""
    since: date | None = None
    until: date | None = None
    offset: int = 0
    sort: Sort = Sort.NEWEST


@dataclass(frozen=True, slots=True)
class Cursor:
    """A row's place in a list: the key that the list is sorted by, and the number of its id."""

    key: float
    number: int

    @classmethod
    def of(cls, job_id: str, confidence: float | None) -> Self:
        """Return the place of a row in the gallery, which sorts by arrival or by confidence."""
        return cls(NO_CONFIDENCE if confidence is None else confidence, ids.decode(job_id))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what ``str`` has returned; ``None`` for any other text."""
        key, _, job_id = text.partition(",")
        if ids.PATTERN.fullmatch(job_id):
            with suppress(ValueError):
                place = cls(float(key), ids.decode(job_id))
                return place if math.isfinite(place.key) else None
        return None

    def __str__(self) -> str:
        return f"{self.key!r},{ids.encode(self.number)}"

    @property
    def is_sample(self) -> bool:
        """Whether this is a place in the queue's random sample."""
        return SAMPLE_PRIORITY <= self.key < ERROR_PRIORITY

    @property
    def is_error(self) -> bool:
        """Whether this is a place at the queue's end, of a file that could not be read."""
        return self.key >= ERROR_PRIORITY


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was put into the inbox on the page, and how its row is found.

    Attributes:
        after: the number of its row's id is greater than this one.
        sha256: of its content.
        name: in the inbox.
    """

    after: int
    sha256: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what ``str`` has returned; ``None`` for any other text."""
        found = _UPLOAD.fullmatch(text)
        return cls(ids.decode(found[1]), found[2], found[3]) if found else None

    def __str__(self) -> str:
        return f"{ids.encode(self.after)}-{self.sha256}-{self.name}"


@dataclass(frozen=True, slots=True)
class Card:
    """A row as the gallery shows it; ``label`` is a person's answer, or empty."""

    id: str
    file: str
    status: str
    digit: str
    confidence: float | None
    label: str

    @property
    def cursor(self) -> Cursor:
        """The row's place in the gallery."""
        return Cursor.of(self.id, self.confidence)


class Span(Enum):
    """A time range of the live page, shortest first; it ends now and consists of buckets.

    Attributes:
        words: how a person calls it.
        bucket_name: the same of a bucket.
        bucket_hours: the length of a bucket.
        buckets: their number.
    """

    DAY = "24 hours", "hour", 1, 24
    WEEK = "7 days", "6 hours", 6, 28
    MONTH = "30 days", "day", 24, 30
    YEAR = "52 weeks", "week", 168, 52

    def __init__(self, words: str, bucket_name: str, bucket_hours: int, buckets: int) -> None:
        self.words = words
        self.bucket_name = bucket_name
        self.bucket_hours = bucket_hours
        self.buckets = buckets


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many rows were received in a part of a span, and are unsure; ``start``: Unix seconds."""

    start: int
    rows: int
    unsure: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of checked rows that the model read correctly, with its 95 % interval."""

    checked: int
    share: float
    low: float
    high: float


def queue(db: sqlite3.Connection, after: Cursor | None, limit: int) -> list[Cursor]:
    """Return rows that wait for a person: unsure, least confident first, then the sample."""
    start = (-math.inf, 0) if after is None else (after.key, after.number)
    found = db.execute(
        "SELECT priority, id FROM rows WHERE priority IS NOT NULL AND (priority, id) > (?, ?) "
        "ORDER BY priority, id LIMIT ?",
        (*start, limit),
    )
    return [Cursor(*cells) for cells in found]


def page(db: sqlite3.Connection, wanted: Filter, after: Cursor | None, limit: int) -> list[Card]:
    """Return the rows on one page of the gallery.

    A covering index has the order, and is scanned until the page is full: at worst all of it,
    0.12 s for a million rows and a name (2-core x86).
    """
    # Ids are in the order of arrival even if the clock was wrong, ``received`` is not.
    is_by_arrival = wanted.sort in {Sort.NEWEST, Sort.OLDEST}
    is_descending = wanted.sort in {Sort.NEWEST, Sort.MOST}
    way = "DESC" if is_descending else "ASC"
    order = f"id {way}" if is_by_arrival else f"confidence {way}, id {way}"
    index = "by_arrival" if is_by_arrival else "by_confidence"
    condition, values = _condition(wanted)
    if after is not None:
        sign = "<" if is_descending else ">"
        place = f"id {sign} ?" if is_by_arrival else f"(confidence, id) {sign} (?, ?)"
        condition += f" AND {place}"
        values += [after.number] if is_by_arrival else [after.key, after.number]
    # The index has all columns that this needs; only the rows of the page are read.
    scan = f"SELECT id FROM rows INDEXED BY {index} WHERE {condition} ORDER BY {order} LIMIT ?"  # noqa: S608 - no text of a user's
    return _cards(db, f"id IN ({scan}) ORDER BY {order}", (*values, limit))


def cards(db: sqlite3.Connection, numbers: Collection[int]) -> list[Card]:
    """Return the rows whose ids have some numbers, oldest first."""
    return _cards(db, f"{_LISTED} ORDER BY id", (json.dumps(list(numbers)),))


def newest(db: sqlite3.Connection) -> int:
    """Return the highest number of a row's id; 0 if there is no row."""
    return int(db.execute("SELECT ifnull(max(id), 0) FROM rows").fetchone()[0])


def find_upload(db: sqlite3.Connection, upload: Upload) -> int | None:
    """Return the number of an upload's row; ``None`` if there is none yet.

    A file that could not be opened has no hash in its row.
    """
    found = db.execute(
        "SELECT min(id) FROM rows WHERE file = ? AND id > ? AND (sha256 = ? OR sha256 IS NULL)",
        (cell(upload.name), upload.after, bytes.fromhex(upload.sha256)),
    )
    number: int | None = found.fetchone()[0]
    return number


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """Return how many rows there are, have each status, wait for a person, and are answered.

    ``unanswered`` counts the rows of ``to_check`` and ``to_retry``: those without a final answer,
    except files that are no longer in ``failed/``.
    """
    by_status, answered, to_check = dict.fromkeys(map(str, Status), 0), 0, 0
    for status, is_answered, rows in db.execute(
        "SELECT status, answered, sum(rows) FROM counts GROUP BY status, answered"
    ):
        by_status[status] += rows
        if is_answered:
            answered += rows
        elif status == Status.UNSURE:
            to_check += rows
    in_queue = "SELECT count(*) FROM rows WHERE priority >= ? AND priority < ?"
    sampled = db.execute(in_queue, (SAMPLE_PRIORITY, ERROR_PRIORITY))
    to_retry = db.execute(in_queue, (ERROR_PRIORITY, math.inf)).fetchone()[0]
    return {
        "rows": sum(by_status.values()),
        **by_status,
        "to_check": to_check,
        "sample": sampled.fetchone()[0],
        "to_retry": to_retry,
        "unanswered": to_check + to_retry,
        "answered": answered,
    }


def count_last_minute(db: sqlite3.Connection) -> int:
    """Return the number of rows whose files were received in the last minute."""
    now = time.time()
    limits = now - 60, now
    found = db.execute("SELECT count(*) FROM rows WHERE received > ? AND received <= ?", limits)
    return int(found.fetchone()[0])


def histogram(db: sqlite3.Connection) -> list[int]:
    """Return the number of rows in each bin of confidence."""
    found = db.execute("SELECT bin, sum(rows) FROM counts WHERE bin >= 0 GROUP BY bin")
    by_bin = dict(found.fetchall())
    return [by_bin.get(number, 0) for number in range(BINS)]


def timeline(db: sqlite3.Connection, span: Span, now: datetime, offset: int = 0) -> list[Bucket]:
    """Return the rows of a span that ends at ``now``; rows with a later time are in none.

    Args:
        db: the index, which counts by whole hours of UTC.
        span: the time range.
        now: its end.
        offset: by how many minutes days, and so the buckets, begin before those of UTC.
    """
    size, shift = span.bucket_hours * HOUR, offset // 60 * HOUR
    last = (int(now.timestamp()) + shift) // size * size - shift
    first = last - (span.buckets - 1) * size
    found = db.execute(
        "SELECT (hour * ? + ?) / ?, sum(rows), sum(unsure) FROM hours "
        "WHERE hour >= ? AND hour <= ? GROUP BY 1",
        (HOUR, shift, size, first // HOUR, now.timestamp() // HOUR),
    )
    counts = {number * size - shift: (rows, unsure) for number, rows, unsure in found}
    return [Bucket(start, *counts.get(start, (0, 0))) for start in range(first, last + size, size)]


def accuracy(db: sqlite3.Connection) -> Accuracy | None:
    """Return the accuracy on the random sample; ``None`` if nothing is checked yet.

    A row of the sample also counts if the answer to another row with its content counts, because
    it is then not asked about. The interval is Wilson's (1927), which never leaves 0 to 1.
    """
    checked, agreed = db.execute(_ACCURACY).fetchone()
    if not checked:
        return None
    share = agreed / checked
    middle = share + _Z**2 / (2 * checked)
    spread = _Z * math.sqrt(share * (1 - share) / checked + _Z**2 / (4 * checked**2))
    whole = 1 + _Z**2 / checked
    low, high = (middle - spread) / whole, (middle + spread) / whole
    return Accuracy(checked, share, max(0.0, low), min(1.0, high))


def _cards(db: sqlite3.Connection, condition: str, values: Sequence[object]) -> list[Card]:
    found = db.execute(
        "SELECT id, file, status, digit, nullif(confidence, ?), iif(answered, value, '') "  # noqa: S608 - no text of a user's
        f"FROM rows WHERE {condition}",
        (NO_CONFIDENCE, *values),
    )
    return [Card(ids.encode(number), *cells) for number, *cells in found]


def _condition(wanted: Filter) -> tuple[str, list[object]]:
    """Return a filter as SQL with its values."""
    shift = 60 * wanted.offset
    terms: list[tuple[str, object]] = [
        ("status = ?", wanted.status or None),
        ("value = ?", wanted.value),
        ("answered = ?", wanted.answered),
        ("received >= ?", wanted.since and _first_second(wanted.since) - shift),
        ("received < ?", wanted.until and _first_second(wanted.until) + _DAY - shift),
        ("instr(folded, ?)", fold(wanted.name) or None),  # last, as it takes longest
    ]
    used = [(term, value) for term, value in terms if value is not None]
    return " AND ".join(["1", *(term for term, _ in used)]), [value for _, value in used]


def _first_second(day: date) -> int:
    """Return the start of a day (UTC) in Unix seconds."""
    return int(datetime.combine(day, time_of_day(), UTC).timestamp())
