"""Measure models on people's answers: the cases of an outbox."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from daemon import files
from daemon.errors import DataError
from daemon.layout import ORIGINALS, TABLE
from daemon.outbox import labels, results, rows
from daemon.outbox.archive import original_path
from daemon.outbox.labels import SEVERAL, Answer, Source
from daemon.outbox.table import open_tables
from daemon.records import Reads
from daemon.training.evaluate import Case

_ID, _FILE, _REASON, _ORIGINAL, _SHA256, _MODEL = map(
    rows.COLUMNS.index, ("id", "file", "reason", "original", "sha256", "model")
)
_MULTI = "multi"  # the label of a data set for several digits


@dataclass(frozen=True, slots=True)
class AnsweredCases:
    """The answered images of an outbox; the traits of each are where the answer was given.

    Attributes:
        sample: of the random sample, which alone measures how good a model is.
        others: all others. People choose what they answer, mostly what a model was unsure about.
        gone: how many were left out because their originals are gone.
    """

    sample: list[Case]
    others: list[Case]
    gone: int


def is_outbox(path: Path) -> bool:
    """Return whether a path is an outbox, and not a set of images."""
    return (path / TABLE).is_file() or (path / ORIGINALS).is_dir() or labels.is_table_of(path)


def list_answers(outbox: Path, reads: Reads) -> AnsweredCases:
    """Return the images that people answered; an image with several rows is one case.

    Answers to a turned view are left out, because the models don't turn images, and so are those
    that are right in another mode only, such as 0471 where a digit is read, or ``none`` to several
    digits where a number is read.

    Raises:
        ConfigError: a table is not digitd's.
        DataError: there is no answer. ``load`` of a case raises it if its original is gone.
        OSError: a table cannot be read.
    """
    sample, others, gone = [], [], 0
    for source, case, original in _find_answered(outbox, reads):
        if not case.is_counted(reads):
            continue
        if original is None or not original.is_file():
            gone += 1
        elif source == Source.SAMPLE:
            sample.append(case)
        else:
            others.append(case)
    if not sample and not others:
        if gone:
            raise DataError(
                f"{outbox}: has nothing to measure on, the originals of all {gone} answers are "
                "gone: name a copy of the outbox that has them"
            )
        raise DataError(
            f"{outbox}: has no answers to measure on with --reads {reads}: answer some files with "
            "`digitd review`, or give another --reads"
        )
    return AnsweredCases(sample, others, gone)


def _find_answered(outbox: Path, reads: Reads) -> Iterator[tuple[str, Case, Path | None]]:
    """Yield where each answer was given, the case and its original; see ``original_path``."""
    given = {answer.id: answer for answer in labels.read(outbox)}
    of_digits = _find_answers_to_digits(outbox, given) if reads is Reads.NUMBER else set()
    contents = set[str]()
    for final in results.final_rows(outbox):
        content = final.cells[_SHA256]
        if final.answered_by != results.PERSON or content in contents:
            continue
        answered = final.same_as or final.cells[_ID]
        answer = given.get(answered)  # None if it was given just now
        if answer is None or answer.source == Source.TURNED or answered in of_digits:
            continue
        contents.add(content)
        original = original_path(outbox, final.cells[_ORIGINAL])
        label = _MULTI if final.answer == SEVERAL else final.answer
        case = Case(final.cells[_FILE], label, partial(_load, original), (answer.source,))
        yield answer.source, case, original


def _find_answers_to_digits(outbox: Path, given: dict[str, Answer]) -> set[str]:
    """Return the ids of the rows that were answered as digits, and may be numbers."""
    with open_tables(outbox) as tables:
        return {
            answer.id
            for row in results.parse_tables(tables)
            if (answer := given.get(row.cells[_ID])) is not None
            and labels.may_be_number(answer, row.cells[_MODEL], row.cells[_REASON])
        }


def _load(original: Path | None) -> bytes:
    if original is None:
        raise DataError("an original is in none of digitd's folders: restore predictions.csv")
    try:
        with os.fdopen(files.open_untrusted(original), "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{original}: cannot be read: {error.strerror}") from error
