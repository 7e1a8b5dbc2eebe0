"""Find rows in the index: the queue, one page of the gallery, one row."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from daemon import ids
from daemon.outbox.labels import UNDO
from daemon.review import kinds

_FIRST, _LAST = 0, (1 << 60) - 1
_HIGHEST = "\U0010ffff"
_LOOKED_AT = 20_000  # rows


class Sort(StrEnum):
    """The order of the gallery."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LEAST = "least"  # confident
    MOST = "most"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows a gallery shows; an empty sequence or text allows all.

    Attributes:
        values: what a row is: a digit, ``none`` or empty; a person's answer before the model's.
        name: how the file's name begins; case does not matter.
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
class Place:
    """A place in the order of a page: after it, the next page begins."""

    confidence: float
    number: int


@dataclass(frozen=True, slots=True)
class Queued:
    """A row of the queue: its id, its place, and whether it belongs to the random sample."""

    id: str
    queue: int
    priority: float


@dataclass(frozen=True, slots=True)
class Found:
    """Where a row is, and what people said about it last."""

    source: int
    position: int
    label: str
    by: str
    answer_source: str


def queue(db: sqlite3.Connection, after: Queued | None, most: int) -> list[Queued]:
    """Return rows that wait for a person: the doubtful, least confident first, then the sample."""
    start = (-1, 0.0, 0) if after is None else (after.queue, after.priority, ids.decode(after.id))
    found = db.execute(
        "SELECT id, queue, priority FROM rows WHERE queue IS NOT NULL "
        "AND (queue, priority, id) > (?, ?, ?) ORDER BY queue, priority, id LIMIT ?",
        (*start, most),
    )
    return [Queued(ids.encode(number), queue, priority) for number, queue, priority in found]


def queued(db: sqlite3.Connection, queue_number: int) -> int:
    """Return the number of rows that wait in one part of the queue."""
    sql = "SELECT count(*) FROM rows WHERE queue = ?"
    return int(db.execute(sql, (queue_number,)).fetchone()[0])


def since(db: sqlite3.Connection, moment: datetime) -> int:
    """Return the number of rows that were received since a moment."""
    sql = "SELECT count(*) FROM rows WHERE id >= ?"
    return int(db.execute(sql, (_number(moment),)).fetchone()[0])


def find(db: sqlite3.Connection, job_id: str) -> Found | None:
    """Return where a row is; ``None`` if there is none with this id."""
    found = db.execute(
        "SELECT r.source, r.position, a.label, a.by, a.source FROM rows r "
        "LEFT JOIN answers a ON a.id = r.id WHERE r.id = ?",
        (ids.decode(job_id),),
    ).fetchone()
    if found is None:
        return None
    source, position, label, by, answer_source = found
    if label in {None, UNDO}:
        return Found(source, position, "", "", "")
    return Found(source, position, label, by, answer_source)


def cards(db: sqlite3.Connection, numbers: Sequence[int]) -> list[Card]:
    """Return rows as the gallery shows them, in the order of their ids' numbers given."""
    marks = ", ".join("?" * len(numbers))
    found = db.execute(
        "SELECT r.id, r.file, r.status, r.digit, r.confidence, a.label FROM rows r "  # noqa: S608 - only question marks
        f"LEFT JOIN answers a ON a.id = r.id WHERE r.id IN ({marks})",
        numbers,
    )
    by_number = {
        number: Card(
            ids.encode(number),
            file,
            status,
            digit,
            confidence if confidence >= 0 else None,
            "" if label in {None, UNDO} else label,
        )
        for number, file, status, digit, confidence, label in found
    }
    return [by_number[number] for number in numbers if number in by_number]


def place(db: sqlite3.Connection, job_id: str) -> Place:
    """Return a row's place in the order of a page; the end of it for a row that is not indexed."""
    number = ids.decode(job_id)
    found = db.execute("SELECT confidence FROM rows WHERE id = ?", (number,)).fetchone()
    return Place(found[0] if found else 0.0, number)


def page(db: sqlite3.Connection, wanted: Filter, after: Place | None, most: int) -> list[Place]:
    """Return the places of the rows on one page of the gallery, in order."""
    allowed = kinds.matching(wanted.statuses, wanted.values, wanted.answered)
    low = _FIRST if wanted.since is None else _number(_midnight(wanted.since))
    high = _LAST
    if wanted.until is not None:
        high = _number(_midnight(wanted.until) + timedelta(days=1)) - 1
    search = _Search(wanted.sort, after, low, high, most)
    return search.by_name(db, wanted.name, allowed) if wanted.name else search.by_kind(db, allowed)


@dataclass(frozen=True, slots=True)
class _Search:
    """One page's SQL: from where, in which order, how many."""

    sort: Sort
    after: Place | None
    low: int
    high: int
    most: int

    @property
    def _is_by_time(self) -> bool:
        return self.sort in {Sort.NEWEST, Sort.OLDEST}

    @property
    def _order(self) -> str:
        way = "DESC" if self.sort in {Sort.NEWEST, Sort.MOST} else "ASC"
        return f"id {way}" if self._is_by_time else f"confidence {way}, id {way}"

    @property
    def _limits(self) -> tuple[str, tuple[float, ...]]:
        """The condition on time and place, with its values."""
        condition, values = "id BETWEEN ? AND ?", (self.low, self.high)
        if self.after is None:
            return condition, values
        sign = "<" if self.sort in {Sort.NEWEST, Sort.MOST} else ">"
        if self._is_by_time:
            return f"{condition} AND id {sign} ?", (*values, self.after.number)
        here = (self.after.confidence, self.after.number)
        return f"{condition} AND (confidence, id) {sign} (?, ?)", (*values, *here)

    def by_kind(self, db: sqlite3.Connection, allowed: Sequence[int]) -> list[Place]:
        """Merge the first rows of each kind: an index has the order of each."""
        condition, values = self._limits
        index = "by_kind" if self._is_by_time else "by_confidence"
        columns = "0.0, id" if self._is_by_time else "confidence, id"
        sql = (
            f"SELECT {columns} FROM rows INDEXED BY {index} WHERE kind = ? AND {condition} "  # noqa: S608 - no text of a user's
            f"ORDER BY {self._order} LIMIT ?"
        )
        found = [
            Place(*cells)
            for kind in allowed
            for cells in db.execute(sql, (kind, *values, self.most))
        ]
        return self._sorted(found)

    def by_name(self, db: sqlite3.Connection, name: str, allowed: Sequence[int]) -> list[Place]:
        """Look at the first rows in the wanted order; if too few have the name, at all names.

        The first is fast if the name is common (10 ms), the second if it is rare (5 ms). A million
        rows of the same name that are not among the first take 0.4 s.
        """
        if self._is_by_time:
            found = self._first(db, name, f"kind IN ({_listed(allowed)})", "", _LOOKED_AT)
            return self._all_names(db, name, allowed) if found is None else found
        merged: list[Place] = []
        for kind in allowed:
            most = _LOOKED_AT // len(allowed)
            found = self._first(db, name, "1", f" AND kind = {kind}", most)
            if found is None:
                return self._all_names(db, name, allowed)
            merged += found
        return self._sorted(merged)

    def _first(
        self, db: sqlite3.Connection, name: str, outer: str, inner: str, looked_at: int
    ) -> list[Place] | None:
        """Return what the first rows have; ``None`` if that is too little and there are more."""
        condition, values = self._limits
        index = "NOT INDEXED" if self._is_by_time else "INDEXED BY by_confidence"
        columns = "0.0, id" if self._is_by_time else "confidence, id"
        first = (
            f"SELECT id, kind, file, confidence FROM rows {index} WHERE {condition}{inner} "  # noqa: S608 - no text of a user's
            f"ORDER BY {self._order} LIMIT {looked_at}"
        )
        sql = (
            f"SELECT {columns} FROM ({first}) WHERE file >= ? COLLATE NOCASE "  # noqa: S608 - no text of a user's
            f"AND file < ? COLLATE NOCASE AND {outer} ORDER BY {self._order} LIMIT ?"
        )
        found = db.execute(sql, (*values, name, name + _HIGHEST, self.most)).fetchall()
        if len(found) < self.most:
            (seen,) = db.execute(f"SELECT count(*) FROM ({first})", values).fetchone()  # noqa: S608 - no text of a user's
            if seen == looked_at:
                return None
        return [Place(*cells) for cells in found]

    def _all_names(self, db: sqlite3.Connection, name: str, allowed: Sequence[int]) -> list[Place]:
        """Go through the index of names, which has all columns that this needs."""
        condition, values = self._limits
        sql = (
            "SELECT confidence, id FROM rows INDEXED BY by_file "  # noqa: S608 - no text of a user's
            f"WHERE file >= ? AND file < ? AND kind IN ({_listed(allowed)}) AND {condition} "
            f"ORDER BY {self._order} LIMIT ?"
        )
        found = db.execute(sql, (name, name + _HIGHEST, *values, self.most))
        return [Place(*cells) for cells in found]

    def _sorted(self, found: list[Place]) -> list[Place]:
        descending = self.sort in {Sort.NEWEST, Sort.MOST}
        found.sort(key=lambda one: (one.confidence, one.number), reverse=descending)
        return found[: self.most]


def _listed(allowed: Sequence[int]) -> str:
    return ", ".join(map(str, allowed))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _number(moment: datetime) -> int:
    """Return the lowest number of an id from a moment on."""
    return max(0, int(moment.timestamp() * 1000)) << 12
