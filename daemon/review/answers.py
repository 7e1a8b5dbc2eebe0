"""Check and store people's answers; detect that somebody else answered first."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from daemon import ids
from daemon.outbox import labels, rows
from daemon.outbox.labels import UNDO, Answer, Source
from daemon.records import Reads, Status
from daemon.review.follow import Follower
from daemon.text import escape

_LONGEST_NAME = 64  # of a person, in characters
# Where a row is, and the answer in force.
_LOCATE = """
SELECT number, position, ifnull(label, ''), ifnull(by, ''), ifnull(source, '')
FROM rows LEFT JOIN answers ON answers.id = rows.id AND label != ? WHERE rows.id = ?"""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A row with the last answer to it.

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

    @classmethod
    def answered(cls, row: dict[str, str], newest: Answer) -> Self:
        """Return a row with its newest answer, which may be ``undo``."""
        if newest.label == UNDO:
            return cls(row)
        return cls(row, newest.label, newest.by, newest.source)

    @property
    def confidence(self) -> float | None:
        """The model's confidence; ``None`` if there is none."""
        return rows.parse_number(self.row["confidence"])

    def as_json(self) -> dict[str, Any]:
        """Return what the page gets: numbers as numbers, no paths."""
        row = self.row
        names = ("id", "file", "status", "digit", "reason", "received_at")
        return {
            **{name: row[name] for name in names},
            "confidence": self.confidence,
            "probabilities": [rows.parse_number(row[name]) for name in rows.PROBABILITIES],
            # Without both, the model was not asked, and the picture does not show its input. A
            # number of several characters has no probabilities.
            "has_picture": bool(row["picture"] and (row["digit"] or row[rows.PROBABILITIES[0]])),
            "label": self.label,
            "by": self.by,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class SubmittedAnswer:
    """An answer as a browser sent it.

    Attributes:
        id: the row's.
        label: see ``labels.find_fault``.
        by: the person's name.
        seen: the answer that the person saw; empty if there was none.
        in_queue: whether the row was shown in the queue.
        is_sample: whether it was shown as part of the random sample.
        is_turned: whether the view was turned.
    """

    id: str
    label: str
    by: str
    seen: str
    in_queue: bool
    is_sample: bool
    is_turned: bool

    @classmethod
    def parse(cls, data: dict[str, Any], user: str, reads: Reads) -> Self:
        """Return the answer in a JSON object.

        Args:
            data: the object.
            user: the name of a person who gave none.
            reads: what images have.

        Raises:
            ValueError: it is not an answer; the text says why.
        """
        texts = {name: data.get(name, "") for name in ("id", "label", "by", "seen")}
        flags = {name: data.get(name, False) for name in ("in_queue", "is_sample", "is_turned")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("id, label, by, seen: must be texts")
        if not all(isinstance(flag, bool) for flag in flags.values()):
            raise ValueError("in_queue, is_sample, is_turned: must be true or false")
        # In a page that shows the keys of digits, a key would answer a number.
        if data.get("reads", reads) != reads:
            raise ValueError(
                f"the config says `reads: {reads}` since this page was loaded: load it again"
            )
        if fault := labels.find_fault(texts["label"], reads):
            raise ValueError(f"label: {fault}")
        return cls(**texts | {"by": escape(texts["by"].strip()) or user}, **flags)


class UnknownRowError(Exception):
    """No row has this id."""


class AnsweredError(Exception):
    """Somebody gave another answer after the person had loaded the row; ``item`` has it."""

    def __init__(self, item: ReviewItem) -> None:
        super().__init__(item.label)
        self.item = item


class Answers:
    """The answers of one outbox. Methods may be called from any thread."""

    def __init__(self, outbox: Path, follower: Follower) -> None:
        self._outbox = outbox
        self._follower = follower
        self._lock = threading.Lock()

    def item(self, job_id: str) -> ReviewItem:
        """Return a row with its answer.

        Raises:
            UnknownRowError: no row has this id, or its table is gone.
            OSError: labels.csv cannot be read.
        """
        if not ids.PATTERN.fullmatch(job_id):
            raise UnknownRowError
        # Before the index is read, which may get this answer meanwhile.
        newest = self._follower.find_unindexed(job_id)
        db = self._follower.index.reader()
        found = db.execute(_LOCATE, (UNDO, ids.decode(job_id))).fetchone()
        if found is None:
            raise UnknownRowError
        number, position, *answer = found
        try:
            row = rows.parse(self._follower.read_line(number, position))
        except OSError:
            row = None
        if row is None or row["id"] != job_id:  # the table was edited; it is being indexed again
            raise UnknownRowError
        return ReviewItem(row, *answer) if newest is None else ReviewItem.answered(row, newest)

    def store(self, submitted: SubmittedAnswer) -> ReviewItem:
        """Store an answer; return the row with it once it is on the disk.

        Raises:
            UnknownRowError: no row has this id.
            AnsweredError: another answer than ``submitted.seen`` is in force; nothing was stored.
            ConfigError: labels.csv is not digitd's.
            OSError, sqlite3.Error: it is not stored; it can be tried again.
        """
        with self._lock:
            item = self.item(submitted.id)
            if item.label != submitted.seen:
                raise AnsweredError(item)
            row = item.row
            answer = Answer(
                id=submitted.id,
                sha256=row["sha256"],
                label=submitted.label,
                by=submitted.by[:_LONGEST_NAME],
                at=rows.timestamp(datetime.now(UTC)),
                model=row["model"],
                digit=row["digit"],
                confidence=row["confidence"],
                source=_source(submitted, item),
            )
            labels.append(self._outbox, answer)
        self._follower.wake()
        return ReviewItem.answered(row, answer)


def _source(submitted: SubmittedAnswer, item: ReviewItem) -> Source:
    if submitted.is_turned:
        return Source.TURNED
    # A corrected answer still belongs to the sample, or the measured accuracy would be biased.
    if item.source == Source.SAMPLE:
        return Source.SAMPLE
    if submitted.in_queue:
        is_sample = submitted.is_sample and item.row["status"] == Status.OK
        return Source.SAMPLE if is_sample else Source.QUEUE
    return Source.GALLERY
