"""Check and store an answer; tell when somebody else has answered meanwhile."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon import ids
from daemon.outbox import labels, rows
from daemon.outbox.labels import UNDO, Answer, Source
from daemon.records import Status
from daemon.review import queries
from daemon.review.index import Index
from daemon.review.indexer import Indexer
from daemon.review.lines import line_at

_LONGEST_NAME = 64  # of a person, in characters


@dataclass(frozen=True, slots=True)
class Item:
    """A row with what a person said about it last.

    Attributes:
        row: the cells of predictions.csv by column.
        label: the answer in force; empty if there is none.
        by: who gave it.
        source: where they gave it; empty if there is none.
    """

    row: dict[str, str]
    label: str = ""
    by: str = ""
    source: str = ""

    def shown(self) -> dict[str, Any]:
        """Return what the page gets: numbers as numbers, no paths."""
        row = self.row
        names = ("id", "file", "status", "digit", "reason", "received_at")
        return {
            **{name: row[name] for name in names},
            "confidence": _number(row["confidence"]),
            "probabilities": [_number(row[name]) for name in rows.PROBABILITIES],
            # Without probabilities the model was not asked, and the picture does not show a glyph.
            "has_picture": bool(row["picture"] and row[rows.PROBABILITIES[0]]),
            "label": self.label,
            "by": self.by,
        }


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as the page sent it.

    Attributes:
        label: a digit, ``none`` or ``undo``.
        by: the person's name.
        seen: the answer that the person saw; empty if there was none.
        is_sample: whether the row was shown as part of the random sample.
        in_queue: whether it was shown in the queue.
    """

    id: str
    label: str
    by: str
    seen: str
    in_queue: bool
    is_sample: bool


class UnknownRowError(Exception):
    """No row has this id."""


class AnsweredError(Exception):
    """Somebody gave another answer after the person had loaded the row; ``item`` has it."""

    def __init__(self, item: Item) -> None:
        super().__init__(item.label)
        self.item = item


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A stored answer that may not be indexed yet; ``end`` is where it ends in the file."""

    label: str
    by: str
    source: str
    end: int


class Answers:
    """The answers of one outbox. Methods may be called from any thread."""

    def __init__(self, outbox: Path, index: Index, indexer: Indexer) -> None:
        self._outbox = outbox
        self._index = index
        self._indexer = indexer
        self._lock = threading.Lock()
        self._fresh: dict[str, _Fresh] = {}

    def item(self, job_id: str) -> Item:
        """Return a row with its answer.

        Raises:
            UnknownRowError: no row has this id, or its table is gone.
        """
        if not ids.PATTERN.fullmatch(job_id):
            raise UnknownRowError
        found = queries.find(self._index.reader(), job_id)
        descriptor = None if found is None else self._indexer.tables.get(found.source)
        if found is None or descriptor is None:
            raise UnknownRowError
        try:
            row = rows.parse(line_at(descriptor, found.position))
        except OSError:
            row = None
        if row is None or row["id"] != job_id:  # the table was edited; it is being indexed again
            raise UnknownRowError
        fresh = self._fresh.get(job_id)
        if fresh is not None and fresh.end > self._indexer.labels_position:
            label = "" if fresh.label == UNDO else fresh.label
            return Item(row, label, fresh.by, fresh.source)
        return Item(row, found.label, found.by, found.answer_source)

    def give(self, given: Given) -> Item:
        """Store an answer; return the row with it once it is on the disk.

        Raises:
            UnknownRowError: no row has this id.
            AnsweredError: another answer than ``given.seen`` is in force; nothing was stored.
            ConfigError: labels.csv is not digitd's.
            OSError, sqlite3.Error: it is not stored; it can be tried again.
        """
        with self._lock:
            item = self.item(given.id)
            if item.label != given.seen:
                raise AnsweredError(item)
            row = item.row
            answer = Answer(
                id=given.id,
                sha256=row["sha256"],
                label=given.label,
                by=given.by.strip()[:_LONGEST_NAME],
                at=rows.timestamp(datetime.now(UTC)),
                model=row["model"],
                digit=row["digit"],
                confidence=row["confidence"],
                source=_source(given, item),
            )
            end = labels.append(self._outbox, answer)
            self._remember(answer, end)
        self._indexer.wake()
        if given.label == UNDO:
            return Item(row)
        return Item(row, answer.label, answer.by, answer.source)

    def _remember(self, answer: Answer, end: int) -> None:
        indexed = self._indexer.labels_position
        self._fresh = {key: one for key, one in self._fresh.items() if one.end > indexed}
        self._fresh[answer.id] = _Fresh(answer.label, answer.by, answer.source, end)


def _source(given: Given, item: Item) -> Source:
    # A corrected answer still belongs to the sample, or the measured accuracy would be biased.
    if item.source == Source.SAMPLE:
        return Source.SAMPLE
    if given.in_queue:
        is_sample = given.is_sample and item.row["status"] == Status.OK
        return Source.SAMPLE if is_sample else Source.QUEUE
    return Source.GALLERY


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:  # empty, or somebody edited it
        return None
