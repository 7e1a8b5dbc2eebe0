"""Check and store people's answers; detect that somebody else answered first."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from daemon import ids
from daemon.inbox import put
from daemon.layout import FAILED
from daemon.outbox import labels, rows
from daemon.outbox.labels import UNDO, Answer, Source
from daemon.records import Reads, Status
from daemon.review import located
from daemon.review.follow import Follower
from daemon.text import cell, escape

MOST_ON_PAGE = 100  # answers to a page of the look-through
_LONGEST_NAME = 64  # of a person, in characters
_CHANGED = "the config says `reads: {reads}` since this page was loaded: load the page again"
_OWN = f"SELECT id, label, by, source FROM answers WHERE id = ? AND label != '{UNDO}'"  # noqa: S608 - only names
_FAILED = "SELECT id FROM failed WHERE name = ?"
# The newest answer to a row with a content, except some rows.
_SHARED = f"""
SELECT id, label, by, source FROM answers WHERE sha256 = ? AND label != '{UNDO}'
AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY place DESC LIMIT 1"""  # noqa: S608 - only names


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer that is in force.

    Attributes:
        row: the id of the row that it was given to.
        label: any but ``undo``.
        by: who gave it.
        source: where they gave it.
    """

    row: str
    label: str
    by: str
    source: str


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A row with the answer in force.

    Attributes:
        row: the cells of predictions.csv by column, with the verdict of the newest reread.
        own: the last answer to the row; ``None`` if there is none, or it was undone.
        shared: if there is none, the last answer to a row with the same content.
        same_file: the name of the file that ``shared`` was given to; empty if its row is gone.
        can_retry: whether the file could not be read and is in ``failed/``.
    """

    row: dict[str, str]
    own: GivenAnswer | None = None
    shared: GivenAnswer | None = None
    same_file: str = ""
    can_retry: bool = False

    @property
    def given(self) -> GivenAnswer | None:
        """The answer in force."""
        return self.own or self.shared

    @property
    def label(self) -> str:
        """The label in force; empty if there is none."""
        return self.given.label if self.given else ""

    @property
    def by(self) -> str:
        """Who gave it; empty if there is none."""
        return self.given.by if self.given else ""

    def is_by(self, name: str) -> bool:
        """Return whether a person gave the answer in force; an empty name is anybody's."""
        return not name or cell(name[:_LONGEST_NAME]) == cell(self.by)

    @property
    def source(self) -> str:
        """Where the row itself was answered; empty if it was not."""
        return self.own.source if self.own else ""

    @property
    def confidence(self) -> float | None:
        """The model's confidence; ``None`` if there is none."""
        return rows.parse_number(self.row["confidence"])

    def as_json(self) -> dict[str, Any]:
        """Return what the page gets: numbers as numbers, no paths."""
        row = self.row
        names = ("id", "file", "status", "digit", "reason", "received_at", "sha256")
        same_as = {"id": self.shared.row, "file": self.same_file} if self.shared else None
        return {
            **{name: row[name] for name in names},
            "confidence": self.confidence,
            "probabilities": [rows.parse_number(row[name]) for name in rows.PROBABILITIES],
            "has_picture": bool(row["picture"] and located.was_seen(row)),
            "label": self.label,
            "by": self.by,
            "source": self.source,
            "same_as": same_as,  # the row with the same content that the answer was given to
            "can_retry": self.can_retry,
        }


@dataclass(frozen=True, slots=True)
class SubmittedAnswer:
    """An answer as a browser sent it.

    Attributes:
        id: the row's.
        label: see ``labels.find_fault``.
        by: the person's name.
        seen: the answer that the person saw; empty if there was none. ``None`` if that is not said,
            as by a program: then an answer to a row with the same content is no obstacle.
        seen_by: who gave it; empty if that does not matter.
        in_queue: whether the row was shown in the queue.
        is_sample: whether it was shown as part of the random sample.
        is_turned: whether the view was turned.
    """

    id: str
    label: str
    by: str
    seen: str | None
    seen_by: str
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
        names = ("id", "label", "by", "seen", "seen_by")
        texts = {name: data.get(name, "") for name in names}
        flags = {name: data.get(name, False) for name in ("in_queue", "is_sample", "is_turned")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("id, label, by, seen, seen_by: must be texts")
        if not all(isinstance(flag, bool) for flag in flags.values()):
            raise ValueError("in_queue, is_sample, is_turned: must be true or false")
        # In a page that shows the keys of digits, a key would answer a number.
        if data.get("reads", reads) != reads:
            raise ValueError(_CHANGED.format(reads=reads))
        if fault := labels.find_fault(texts["label"], reads):
            raise ValueError(f"label: {fault}")
        by, seen = escape(texts.pop("by").strip()) or user, texts.pop("seen")
        return cls(**texts, by=by, seen=seen if "seen" in data else None, **flags)


@dataclass(frozen=True, slots=True)
class SeenAnswer:
    """The answer to one row of a page of the look-through; see ``SubmittedAnswer``."""

    id: str
    label: str
    seen: str
    seen_by: str


@dataclass(frozen=True, slots=True)
class SubmittedPage:
    """The answers to the rows of a page of the look-through, as a browser sent them.

    Attributes:
        answers: at most one for each row.
        by: the person's name.
        reads: what the browser took the images to have.
    """

    answers: tuple[SeenAnswer, ...]
    by: str
    reads: Reads

    @classmethod
    def parse(cls, data: dict[str, Any], user: str, reads: Reads) -> Self:
        """Return the answers in a JSON object; see ``SubmittedAnswer.parse``.

        Raises:
            ValueError: they are no answers; the text says why.
        """
        if data.get("reads", reads) != reads:
            raise ValueError(_CHANGED.format(reads=reads))
        given, by = data.get("answers"), data.get("by", "")
        if not (isinstance(by, str) and isinstance(given, list)):
            raise ValueError("answers: must be a list; by: must be a text")  # noqa: TRY004
        answers = list[SeenAnswer]()
        for one in given:
            fields = one if isinstance(one, dict) else {"id": None}
            names = ("id", "label", "seen", "seen_by")
            texts: list[Any] = [fields.get(name, "") for name in names]
            if not all(isinstance(text, str) for text in texts):
                raise ValueError("answers: id, label, seen and seen_by of each must be texts")
            answers.append(SeenAnswer(*texts))
            if not labels.is_label(answers[-1].label):
                raise ValueError(f"label: {answers[-1].label!r} is no answer")
        if not 0 < len(answers) <= MOST_ON_PAGE or len({one.id for one in answers}) < len(answers):
            raise ValueError(f"answers: must be 1 to {MOST_ON_PAGE}, each to another row")
        return cls(tuple(answers), escape(by.strip()) or user, reads)


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
        row = self._row(job_id)
        own, shared = self._find_answers(row)
        same_file = ""
        if shared is not None:
            with suppress(UnknownRowError):
                same_file = self._row(shared.row)["file"]
        return ReviewItem(row, own, shared, same_file, self._can_retry(row))

    def _row(self, job_id: str) -> dict[str, str]:
        """Return a row, with the verdict of the newest reread.

        Raises:
            UnknownRowError: no row has this id, or its table is gone.
        """
        row = located.read_row(self._follower, job_id)
        if row is None:
            raise UnknownRowError
        return row

    def _find_answers(self, row: dict[str, str]) -> tuple[GivenAnswer | None, GivenAnswer | None]:
        """Return the answer to a row, or else the newest one to a row with its content."""
        # Before the index is read, which may get these answers meanwhile.
        newest = {one.id: one for one in self._follower.find_unindexed(row["id"], row["sha256"])}
        db = self._follower.index.reader()
        last = newest.get(row["id"])
        if last is not None:
            own = None if last.label == UNDO else _given(last)
        else:
            own = _parse_given(db.execute(_OWN, (ids.decode(row["id"]),)).fetchone())
        content = rows.parse_sha256(row["sha256"])
        if own is not None or content is None:
            return own, None
        for one in reversed(newest.values()):
            if one.label != UNDO:
                return None, _given(one)
        undone = json.dumps([ids.decode(job_id) for job_id in newest])
        return None, _parse_given(db.execute(_SHARED, (content, undone)).fetchone())

    def _can_retry(self, row: dict[str, str]) -> bool:
        """Return whether a row's file is in ``failed/``, and is not that of a newer row."""
        if row["status"] != Status.ERROR:
            return False
        name = row["original"].removeprefix(f"{FAILED}/")
        found = self._follower.index.reader().execute(_FAILED, (name,)).fetchone()
        return found == (ids.decode(row["id"]),) and put.is_failed(self._outbox, name)

    def store_page(self, page: SubmittedPage) -> tuple[list[str], list[ReviewItem]]:
        """Store the answers to a page of the look-through with one fsync.

        Return the ids of the rows whose answers were stored, and the rows that somebody else has
        answered otherwise meanwhile. An answer that is in force already is not stored again, as
        when the page repeats a request whose response was lost.

        Raises:
            UnknownRowError: a row's id is unknown; nothing was stored.
            ValueError: a row cannot have this answer; nothing was stored. The text says why.
            ConfigError: labels.csv is not digitd's.
            OSError, sqlite3.Error: nothing is stored; it can be tried again.
        """
        with self._lock:
            answers, others = list[Answer](), list[ReviewItem]()
            for submitted in page.answers:
                item = self.item(submitted.id)
                if item.label == ("" if submitted.label == UNDO else submitted.label):
                    continue
                if item.label != submitted.seen or not item.is_by(submitted.seen_by):
                    others.append(item)
                    continue
                # To agree is possible whatever `reads` is now.
                fault = labels.find_fault(submitted.label, page.reads)
                if fault and submitted.label != item.row["digit"]:
                    raise ValueError(f"{item.row['file']}: {fault}")
                source = self._look_source(item)
                answers.append(_answer(item.row, submitted.label, page.by, source))
            if answers:
                labels.append_all(self._outbox, answers)
        self._follower.wake()
        return [one.id for one in answers], others

    def _look_source(self, item: ReviewItem) -> Source:
        if item.source == Source.SAMPLE:
            return Source.SAMPLE
        is_sampled = self._follower.index.is_sampled(ids.decode(item.row["id"]))
        return Source.SAMPLE if is_sampled and item.row["status"] == Status.OK else Source.LOOK

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
            is_free = submitted.seen is None and submitted.label != UNDO and item.own is None
            is_other = item.label != (submitted.seen or "") or not item.is_by(submitted.seen_by)
            if is_other and not is_free:
                raise AnsweredError(item)
            # The answer that is shown is undone, for all rows that share it.
            undone = item.shared if submitted.label == UNDO else None
            row = item.row
            if undone is not None:
                with suppress(UnknownRowError):
                    row = self._row(undone.row)
            source = undone.source if undone else _source(submitted, item)
            answer = _answer(row, submitted.label, submitted.by, source)
            if undone is not None:
                answer = replace(answer, id=undone.row)
            labels.append(self._outbox, answer)
        self._follower.wake()
        if answer.label == UNDO:
            return self.item(submitted.id)  # an older answer may count now
        return replace(item, own=_given(answer), shared=None, same_file="")


def _given(answer: Answer) -> GivenAnswer:
    return GivenAnswer(answer.id, answer.label, answer.by, answer.source)


def _parse_given(found: tuple[int, str, str, str] | None) -> GivenAnswer | None:
    """Return the answer in the cells that a query found."""
    if found is None:
        return None
    number, *cells = found
    return GivenAnswer(ids.encode(number), *cells)


def _answer(row: dict[str, str], label: str, by: str, source: str) -> Answer:
    confidence = rows.parse_number(row["confidence"])  # a spreadsheet may have rewritten it
    return Answer(
        id=row["id"],
        sha256=row["sha256"],
        label=label,
        by=by[:_LONGEST_NAME],
        at=rows.timestamp(datetime.now(UTC)),
        model=row["model"],
        digit=row["digit"],
        confidence="" if confidence is None else f"{confidence:.6f}",
        source=source,
    )


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
