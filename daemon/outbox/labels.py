"""labels.csv: what people answered; append an answer durably, read answers back."""

import fcntl
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from daemon import files, ids
from daemon.errors import add_path
from daemon.layout import LABELS
from daemon.outbox import rows
from daemon.outbox.spreadsheets import SavedTable
from daemon.records import LONGEST_NUMBER, Doubt, Reads, is_number
from daemon.text import count

log = logging.getLogger(__name__)

NOT_A_DIGIT = "none"  # nor a number
SEVERAL = "several"  # digits, where one was expected
UNDO = "undo"  # removes the row's answer
_WORDS = {
    Reads.DIGIT: (NOT_A_DIGIT, SEVERAL, UNDO),
    Reads.NUMBER: (NOT_A_DIGIT, UNDO),
}


class Source(StrEnum):
    """How the answer was given."""

    QUEUE = "queue"
    SAMPLE = "sample"  # the random sample of ``ok`` rows, which alone measures the accuracy
    GALLERY = "gallery"
    LOOK = "look"  # the look-through: a page of ``ok`` rows at once
    IMPORT = "import"
    TURNED = "turned"  # the view was turned: what the model saw lies on its side


@dataclass(frozen=True, slots=True)
class Answer:
    """One person's answer about one row; the fields are the columns of labels.csv.

    Attributes:
        id: the row's.
        sha256: of the row's original. The answer counts for all rows with this content that have
            no answer of their own; see ``AnswersInForce``.
        label: a digit, a number, ``none``, ``several`` or ``undo``.
        by: the person's name.
        at: ISO 8601 UTC.
        model: short hash of the model that read the file.
        digit: what the model read, also a number; may be empty.
        confidence: the model's, as in predictions.csv; may be empty.
        source: one of ``Source``. It is last so that no prefix of a row is a row.
    """

    id: str
    sha256: str
    label: str
    by: str
    at: str
    model: str
    digit: str
    confidence: str
    source: str


_OF_DIGITS = (Doubt.SEVERAL_DIGITS, Doubt.NOT_A_DIGIT)
_SOURCES = frozenset(Source)
COLUMNS = tuple(field.name for field in fields(Answer))
HEADER = rows.csv_line(COLUMNS)  # the first line of labels.csv
_REMEDY = f"move it away, or restore its first line, {HEADER.strip()}"


def is_label(text: str) -> bool:
    """Return whether a text is allowed in the column ``label``, whatever was read."""
    return is_number(text) or text in _WORDS[Reads.DIGIT]


def find_fault(label: str, reads: Reads) -> str:
    """Return why a person cannot give this label to what is read; empty if they can."""
    if label in _WORDS[reads]:
        return ""
    if reads is Reads.NUMBER:
        if is_number(label):
            return ""
        return (
            f"{label!r} is no answer: with reads: number in the config it must be a number of at "
            f"most {LONGEST_NUMBER} characters such as 0471, -3 or 7,5, or none or undo"
        )
    if len(label) == 1 and is_number(label):
        return ""
    return (
        f"{label!r} is no answer: with reads: digit in the config it must be one digit, none, "
        "several or undo"
    )


def may_be_number(answer: Answer, model: str, reason: str) -> bool:
    """Return whether an answer says ``none`` of an image that may have a number.

    No column has the mode. But a row has these reasons only where one digit was read, and there
    ``none`` may be the answer to a number.

    Args:
        answer: about a row.
        model: of this row, as in predictions.csv.
        reason: of this row, as in predictions.csv.
    """
    is_about_row = answer.model in {"", model}
    return answer.label == NOT_A_DIGIT and is_about_row and reason.startswith(_OF_DIGITS)


def parse(line: str) -> Answer | None:
    """Return the answer in one line; ``None`` if it is not a complete row."""
    cells = rows.split(line, len(COLUMNS))
    if len(cells) != len(COLUMNS):
        return None
    answer = Answer(*cells)
    whole = (
        ids.PATTERN.fullmatch(answer.id) and is_label(answer.label) and answer.source in _SOURCES
    )
    return answer if whole else None


def append(outbox: Path, answer: Answer) -> None:
    """Append an answer; see ``append_all``."""
    append_all(outbox, [answer])


def append_all(outbox: Path, answers: Iterable[Answer]) -> None:
    """Append answers with one write and one fsync; several processes may do so at once.

    A torn row at the end, left by a kill or a power failure, is cut off first.

    Raises:
        ConfigError: labels.csv is not digitd's.
        OSError: none of the answers is stored; they can be tried again.
    """
    path = outbox / LABELS
    descriptor = _open_locked(path)
    try:
        if not rows.has_header(os.pread(descriptor, rows.HEAD_BYTES, 0), HEADER, path, _REMEDY):
            os.ftruncate(descriptor, 0)
        if cut := files.cut_torn_lines(descriptor, lambda line: parse(line) is not None):
            log.warning("%s: cut a torn row of %d bytes", path, cut)
        size = os.fstat(descriptor).st_size
        lines = "".join(rows.csv_line(astuple(answer)) for answer in answers)
        try:
            files.append(descriptor, (lines if size else HEADER + lines).encode(), path)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        if not size:
            files.sync_folder(outbox)
    finally:
        os.close(descriptor)  # this also unlocks it


def read(outbox: Path) -> Iterator[Answer]:
    """Yield all answers in the order in which they were given; skip lines that are not rows.

    A last line that is incomplete may still be being written, and is skipped too.

    Raises:
        ConfigError: labels.csv is not digitd's.
        OSError: it cannot be read.
    """
    return (answer for _, answer in _read_lines(outbox / LABELS) if answer is not None)


def read_file(path: Path, remedy: str = _REMEDY) -> Iterator[Answer]:
    """Yield the answers in a file like labels.csv, none if it is missing; see ``read``.

    ``remedy`` says what to do about a file that is another one. At the end, warnings name lines
    that are no answers, and numbers that a spreadsheet may have changed.
    """
    left_out = []
    saved = SavedTable(path, "answer the files again")
    for number, answer in _read_lines(path, remedy):
        if answer is None:
            left_out.append(number)
            continue
        # Whoever imports answers may write the confidence in another way.
        if len(answer.label) > 1 and answer.label.isdecimal() and answer.source != Source.IMPORT:
            saved.add_number(number, answer.label, answer.confidence)
        yield answer
    if left_out:
        log.warning(
            "%s: left out %s, the first in line %d: an answer has the id of a row, a label such as "
            "7, `none` or `several`, and a source such as `import`",
            path,
            count(len(left_out), "line"),
            left_out[0],
        )
    for change in saved.describe():
        log.warning("%s", change)


def _read_lines(path: Path, remedy: str = _REMEDY) -> Iterator[tuple[int, Answer | None]]:
    """Yield the number and the answer of each line that is not empty; see ``parse``."""
    try:
        file = files.open_regular(path)
    except FileNotFoundError:
        return
    with file:
        rows.has_header(file.readline(rows.HEAD_BYTES), HEADER, path, remedy)
        number = 1
        for number, line in enumerate(files.complete_lines(file), 2):
            if line.strip(b",\r\n"):
                yield number, parse(line.decode("utf-8", "replace"))
        # An editor may have removed the last newline. Of a line that is being written, a part is no
        # answer.
        if (last := parse(file.read().decode("utf-8", "replace"))) is not None:
            yield number + 1, last


def is_table_of(folder: Path) -> bool:
    """Return whether a folder has a labels.csv of digitd's; other programs have such files, too."""
    try:
        with files.open_regular(folder / LABELS) as file:
            return not rows.find_header_fault(file.readline(rows.HEAD_BYTES), HEADER)
    except OSError:
        return False


def check_header(descriptor: int, path: Path) -> None:
    """Check that an open file begins as labels.csv does, if only with a part of its header.

    Raises:
        ConfigError: it is not digitd's.
        OSError: it cannot be read.
    """
    rows.has_header(os.pread(descriptor, rows.HEAD_BYTES, 0), HEADER, path, _REMEDY)


class AnswerInForce(NamedTuple):
    """The answer that counts for a row.

    Attributes:
        label: any but ``undo``.
        given_to: the id of the row that it was given to: the row itself, or another row with the
            same content.
    """

    label: str
    given_to: str


class AnswersInForce:
    """The answers that count after all that were added, oldest first.

    The newest answer to the row counts, or else the newest answer to a row with the same content.
    ``undo`` removes the answer of one row; older answers to rows with its content remain.
    """

    def __init__(self) -> None:
        self._by_row: dict[str, tuple[str, bytes | None]] = {}  # its label and its content
        # The rows that were answered, newest last. A row that was answered again or undone is still
        # where it was, as removing it would take long; but the last one has an answer.
        self._by_content: dict[bytes, list[str]] = {}

    def add(self, answer: Answer) -> None:
        """Apply the next answer."""
        _, before = self._by_row.pop(answer.id, (UNDO, None))
        if answer.label != UNDO:
            content = rows.parse_sha256(answer.sha256)
            # One string for all rows with this label: 50 bytes a row less.
            self._by_row[answer.id] = sys.intern(answer.label), content
            if content is not None:
                same = self._by_content.setdefault(content, [])
                if not same or same[-1] != answer.id:
                    same.append(answer.id)
        if before is not None:
            self._drop_last(before)

    def part(self, job_ids: set[str], contents: set[bytes]) -> "AnswersInForce":
        """Return a copy of what ``find`` needs for the rows with some ids or contents."""
        part = AnswersInForce()
        part._by_content = {
            content: self._by_content[content].copy()
            for content in contents
            if content in self._by_content
        }
        wanted = job_ids.union(*part._by_content.values())
        part._by_row = {one: self._by_row[one] for one in wanted if one in self._by_row}
        return part

    def content_of(self, job_id: str) -> bytes | None:
        """Return the content that the answer to a row is for; ``None`` if there is none."""
        return self._by_row.get(job_id, (UNDO, None))[1]

    def _drop_last(self, content: bytes) -> None:
        """Remove the last rows of a content while their answer is not in force or for another."""
        same = self._by_content[content]
        while same and self._by_row.get(same[-1], (UNDO, None))[1] != content:
            same.pop()

    def find(self, job_id: str, sha256: str) -> AnswerInForce | None:
        """Return the answer that counts for a row with an id and a content; ``None`` if none."""
        if job_id in self._by_row:
            return AnswerInForce(self._by_row[job_id][0], job_id)
        if not self._by_content:
            return None  # parsing the hash would take 0.3 us for each of a million rows
        content = rows.parse_sha256(sha256)
        same = self._by_content.get(content) if content is not None else None
        return AnswerInForce(self._by_row[same[-1]][0], same[-1]) if same else None


def load(outbox: Path) -> AnswersInForce:
    """Return the answers that count, with the warnings of ``read_file``.

    Raises:
        ConfigError: labels.csv is not digitd's.
        OSError: it cannot be read.
    """
    return gather(read_file(outbox / LABELS))


def gather(answers: Iterable[Answer]) -> AnswersInForce:
    """Return those of some answers that count, given all of them, oldest first."""
    in_force = AnswersInForce()
    for answer in answers:
        in_force.add(answer)
    return in_force


def _open_locked(path: Path) -> int:
    """Open and lock labels.csv; open it again if it is replaced meanwhile."""
    while True:
        descriptor = files.open_to_append(path)
        try:
            with add_path(path):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if files.is_open_at(descriptor, path):
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
