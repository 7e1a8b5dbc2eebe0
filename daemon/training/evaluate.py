"""Measure a model through the real reader: on MNIST's test digits or a folder of images."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from daemon.errors import DataError, UnreadableError
from daemon.reading import image, model
from daemon.reading.reader import judge
from daemon.records import DIGITS, Status, Verdict
from daemon.training import calibrate, data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = "labels.csv"
NO_DIGIT = frozenset({"none", "multi"})
"""Labels of images that must not be said to be a digit."""

_DIGIT_LABELS = frozenset(map(str, range(DIGITS)))
_MAX_MEGAPIXELS = 50.0  # config.yaml's default
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Case:
    """One image to be read, and what is in it: a digit, "none", "multi" or another word."""

    name: str
    label: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of a case; ``prepared`` is ``None`` where it could not be read."""

    case: Case
    verdict: Verdict
    prepared: image.Prepared | None

    @property
    def label(self) -> int | None:
        """The digit in the image; ``None`` if the label is no digit from 0 to 9."""
        return int(self.case.label) if self.case.label in _DIGIT_LABELS else None

    @property
    def right(self) -> bool:
        """Whether the digit was read."""
        return self.label is not None and self.verdict.digit == self.label

    @property
    def ok(self) -> bool:
        """Whether the row would say ``ok``."""
        return self.verdict.status is Status.OK


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures.

    Attributes:
        count: images with one digit.
        right: of those, how many were read rightly, ``ok`` or not.
        per_digit: (right, count) of each digit.
        ok: images with one digit that were ``ok``.
        ok_right: of those, how many were right.
        calibration_error: expected, over 15 bins, 0 to 1.
        refused: of the images with no digit or several, by label: (not ``ok``, count).
        confusion: (10, 11) int; rows are what was drawn, the last column "no digit said".
        mistakes: the wrong answers, the surest first.
    """

    count: int
    right: int
    per_digit: tuple[tuple[int, int], ...]
    ok: int
    ok_right: int
    calibration_error: float
    refused: dict[str, tuple[int, int]]
    confusion: NDArray[np.int64]
    mistakes: tuple[Answer, ...]
    examples: tuple[Answer, ...]

    @property
    def accuracy(self) -> float:
        """Share of the digits that was read rightly; 0 if there were none."""
        return self.right / self.count if self.count else 0.0

    @property
    def coverage(self) -> float:
        """Share of the digits that was ``ok``."""
        return self.ok / self.count if self.count else 0.0

    @property
    def precision(self) -> float:
        """Share of the ``ok`` digits that was right; 1 if none was ``ok``."""
        return self.ok_right / self.ok if self.ok else 1.0


def cases(path: Path, skip_traits: Sequence[str] = ()) -> Iterator[Case]:
    """Find what to read: an ``.npz`` set (MNIST's test digits) or a folder with labels.csv.

    Args:
        path: the file, or a folder in which ``labels.csv`` has columns ``file`` and ``label``
            and the images lie beside it or in ``images/``.
        skip_traits: leave out images that have one of these in their ``traits`` column,
            where they are parted by semicolons.

    Raises:
        DataError: it is neither.
    """
    if path.is_dir():
        yield from _of_folder(path, frozenset(skip_traits))
        return
    yield from of(data.load_test(path))


def of(drawings: data.Drawings) -> Iterator[Case]:
    """Make the files that a set's digits would be: PNGs, white ink on black."""
    for index, (ink, label) in enumerate(zip(drawings.images, drawings.labels, strict=True)):
        png = cv2.imencode(".png", ink)[1].tobytes()
        yield Case(f"{drawings.name} {index}", str(int(label)), png)


def evaluate(
    reader: model.Model, found: Iterator[Case], unsure_below: float | None = None
) -> Evaluation:
    """Read all cases as the daemon would and count.

    Args:
        reader: the model.
        found: what to read.
        unsure_below: ``None`` takes the model's own.

    Raises:
        DataError: there is not one image to count.
    """
    threshold = reader.unsure_below if unsure_below is None else unsure_below
    answers: list[Answer] = []
    batch: list[Case] = []
    for case in found:
        batch.append(case)
        if len(batch) == _BATCH:
            answers += _answered(reader, batch, threshold)
            batch = []
    answers += _answered(reader, batch, threshold)
    digits = [answer for answer in answers if answer.label is not None]
    others = [answer for answer in answers if answer.case.label in NO_DIGIT]
    if not digits and not others:
        raise DataError("there is no image to measure on: labels are 0 to 9, `none` or `multi`")
    return _counted(digits, others)


def _of_folder(folder: Path, skipped: frozenset[str]) -> Iterator[Case]:
    table = folder / LABELS
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{table}: cannot be read: {error.strerror}") from error
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise DataError(f"{table}: needs the columns `file` and `label`, and rows")
    for row in rows:
        if skipped & set((row.get("traits") or "").split(";")):
            continue
        beside, within = folder / row["file"], folder / "images" / row["file"]
        try:
            content = (beside if beside.exists() else within).read_bytes()
        except OSError as error:
            raise DataError(f"{table}: {row['file']} cannot be read: {error.strerror}") from error
        yield Case(row["file"], row["label"].strip(), content)


def _answered(reader: model.Model, batch: Sequence[Case], threshold: float) -> list[Answer]:
    prepared = [_prepared(case) for case in batch]
    asked = [p.glyph for p in prepared if isinstance(p, image.Prepared) and not p.flaw]
    scores = iter(reader.scores(asked))
    answers = []
    for case, found in zip(batch, prepared, strict=True):
        if isinstance(found, str):
            answers.append(Answer(case, Verdict(Status.ERROR, reason=found), None))
            continue
        verdict = judge(found, None if found.flaw else next(scores), threshold)
        answers.append(Answer(case, verdict, found))
    return answers


def _prepared(case: Case) -> image.Prepared | str:
    try:
        return image.prepare(case.data, max_megapixels=_MAX_MEGAPIXELS)
    except UnreadableError as error:
        return str(error)


def _counted(digits: list[Answer], others: list[Answer]) -> Evaluation:
    confusion = np.zeros((DIGITS, DIGITS + 1), np.int64)
    for answer in digits:
        said = answer.verdict.digit
        confusion[answer.label, DIGITS if said is None else said] += 1
    sure = [(a.verdict.confidence, a.right) for a in digits if a.verdict.confidence is not None]
    confidence, right = zip(*sure, strict=True) if sure else ((), ())
    wrong = [a for a in digits if not a.right] + [a for a in others if a.ok]
    return Evaluation(
        count=len(digits),
        right=sum(answer.right for answer in digits),
        per_digit=tuple((int(confusion[d, d]), int(confusion[d].sum())) for d in range(DIGITS)),
        ok=sum(answer.ok for answer in digits),
        ok_right=sum(answer.ok and answer.right for answer in digits),
        calibration_error=calibrate.error(np.array(confidence), np.array(right)) if sure else 0.0,
        refused={
            label: (sum(not a.ok for a in others if a.case.label == label), count)
            for label, count in sorted(Counter(a.case.label for a in others).items())
        },
        confusion=confusion,
        mistakes=tuple(sorted(wrong, key=lambda a: -(a.verdict.confidence or 0.0))),
        examples=tuple(digits[:: max(1, len(digits) // 24)][:24]),
    )
