"""Measure a model through the real reader: on MNIST's test digits or a folder of images."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.errors import DataError, UnreadableError
from daemon.reading import model, reader
from daemon.records import DIGITS, Status, Verdict
from daemon.training import calibrate, data

LABELS = "labels.csv"
NO_DIGIT = frozenset({"none", "multi"})
"""Labels of images that must not be said to be a digit."""

_DIGIT_LABELS = frozenset(map(str, range(DIGITS)))
_MAX_MEGAPIXELS = 50.0  # config.yaml's default
_BATCH = 256
_EXAMPLES = 24


@dataclass(frozen=True, slots=True)
class Case:
    """One image to be read.

    Attributes:
        name: of the file.
        label: what is in it: a digit, "none", "multi" or another word.
        data: the whole file.
        traits: words about it.
    """

    name: str
    label: str
    data: bytes
    traits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cases:
    """What to measure on: how many images, and each of them, loaded when it is its turn."""

    count: int
    each: Iterable[Case]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of a case.

    Attributes:
        name: of the image.
        truth: its label.
        verdict: what the daemon would say of it.
        traits: words about the image.
        page: for pictures of the answer; ``None`` where the image could not be read, and where
            the answer is neither an example nor a mistake.
    """

    name: str
    truth: str
    traits: tuple[str, ...]
    verdict: Verdict
    page: reader.Page | None

    @property
    def label(self) -> int | None:
        """The digit in the image; ``None`` if the label is no digit from 0 to 9."""
        return int(self.truth) if self.truth in _DIGIT_LABELS else None

    @property
    def right(self) -> bool:
        """Whether the digit was read."""
        return self.label is not None and self.verdict.digit == self.label

    @property
    def ok(self) -> bool:
        """Whether the row would say ``ok``."""
        return self.verdict.status is Status.OK

    @property
    def is_counted(self) -> bool:
        """Whether the label says what should have been answered."""
        return self.label is not None or self.truth in NO_DIGIT

    @property
    def is_mistake(self) -> bool:
        """Whether a digit was misread, or something else taken for a digit."""
        return not self.right if self.label is not None else self.truth in NO_DIGIT and self.ok


@dataclass(frozen=True, slots=True)
class Trait:
    """Of the images with one digit and a trait: how many, right, ``ok``, and wrong yet ``ok``."""

    count: int
    right: int
    ok: int
    ok_wrong: int


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
        examples: a few answers, evenly spaced.
        per_trait: the digits with each trait, by trait; empty if there are none.
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
    per_trait: dict[str, Trait]

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


def cases(path: Path, skip_traits: Sequence[str] = ()) -> Cases:
    """Find what to read: an ``.npz`` set (MNIST's test digits) or a folder with labels.csv.

    Args:
        path: the file, or a folder in which ``labels.csv`` has columns ``file`` and ``label``
            and the images lie beside it or in ``images/``.
        skip_traits: leave out images that have one of these in their ``traits`` column, which
            holds words separated by semicolons.

    Raises:
        DataError: it is neither; while the images are loaded, one of them is missing.
    """
    if path.is_dir():
        return _of_folder(path, frozenset(skip_traits))
    return of(data.load_test(path))


def of(drawings: data.Drawings) -> Cases:
    """Return the files that a set's digits would be: PNGs, white ink on black."""
    return Cases(len(drawings.images), _encoded(drawings))


def _encoded(drawings: data.Drawings) -> Iterator[Case]:
    for index, (ink, label) in enumerate(zip(drawings.images, drawings.labels, strict=True)):
        png = cv2.imencode(".png", ink)[1].tobytes()
        yield Case(f"{drawings.name} {index}", str(int(label)), png)


def evaluate(
    network: model.Model,
    found: Cases,
    unsure_below: float | None = None,
    on_answer: Callable[[Answer], object] = lambda _: None,
) -> Evaluation:
    """Read all cases as the daemon would and count.

    Args:
        network: the model.
        found: what to read.
        unsure_below: ``None`` takes the model's own.
        on_answer: gets each answer, counted or not.

    Raises:
        DataError: there is not one image to count.
    """
    threshold = network.unsure_below if unsure_below is None else unsure_below
    answers: list[Answer] = []
    every = max(1, found.count // _EXAMPLES)
    cases = iter(found.each)
    while batch := list(islice(cases, _BATCH)):
        for answer in _answered(network, batch, threshold):
            on_answer(answer)
            # Of a large folder not every image fits into memory: keep those that may be drawn.
            is_drawn = answer.is_mistake or len(answers) % every == 0
            answers.append(answer if is_drawn else replace(answer, page=None))
    counted = [answer for answer in answers if answer.is_counted]
    if not counted:
        raise DataError("there is no image to measure on: labels are 0 to 9, `none` or `multi`")
    return _counted(counted, tuple(answers[::every][:_EXAMPLES]))


def _of_folder(folder: Path, skipped: frozenset[str]) -> Cases:
    table = folder / LABELS
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{table}: cannot be read: {error.strerror}") from error
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise DataError(f"{table}: needs the columns `file` and `label`, and rows")
    kept = [row for row in rows if not skipped.intersection(_traits(row))]
    return Cases(len(kept), _loaded(folder, kept))


def _loaded(folder: Path, rows: Iterable[dict[str, str]]) -> Iterator[Case]:
    for row in rows:
        beside, within = folder / row["file"], folder / "images" / row["file"]
        try:
            content = (beside if beside.exists() else within).read_bytes()
        except OSError as error:
            raise DataError(
                f"{folder / LABELS}: {row['file']} cannot be read: {error.strerror}"
            ) from error
        yield Case(row["file"], row["label"].strip(), content, _traits(row))


def _traits(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(word for word in (row.get("traits") or "").split(";") if word)


def _answered(network: model.Model, batch: Sequence[Case], threshold: float) -> list[Answer]:
    seen = [_look_at(network, case) for case in batch]
    verdicts = reader.judge_all(network, seen, threshold)
    return [
        Answer(
            case.name,
            case.label,
            case.traits,
            verdict,
            page if isinstance(page, reader.Page) else None,
        )
        for case, page, verdict in zip(batch, seen, verdicts, strict=True)
    ]


def _look_at(network: model.Model, case: Case) -> reader.Page | UnreadableError:
    try:
        return reader.look_at(network, case.data, max_megapixels=_MAX_MEGAPIXELS)
    except UnreadableError as error:
        return error


def _counted(answers: Sequence[Answer], examples: tuple[Answer, ...]) -> Evaluation:
    digits = [answer for answer in answers if answer.label is not None]
    others = [answer for answer in answers if answer.label is None]
    confusion = np.zeros((DIGITS, DIGITS + 1), np.int64)
    for answer in digits:
        said = answer.verdict.digit
        confusion[answer.label, DIGITS if said is None else said] += 1
    sure = [(a.verdict.confidence, a.right) for a in digits if a.verdict.confidence is not None]
    confidence, right = zip(*sure, strict=True) if sure else ((), ())
    wrong = [answer for answer in answers if answer.is_mistake]
    return Evaluation(
        count=len(digits),
        right=sum(answer.right for answer in digits),
        per_digit=tuple((int(confusion[d, d]), int(confusion[d].sum())) for d in range(DIGITS)),
        ok=sum(answer.ok for answer in digits),
        ok_right=sum(answer.ok and answer.right for answer in digits),
        calibration_error=calibrate.error(np.array(confidence), np.array(right)) if sure else 0.0,
        refused={
            label: (sum(not a.ok for a in others if a.truth == label), count)
            for label, count in sorted(Counter(a.truth for a in others).items())
        },
        confusion=confusion,
        mistakes=tuple(sorted(wrong, key=lambda a: -(a.verdict.confidence or 0.0))),
        examples=examples,
        per_trait={
            trait: _trait([answer for answer in digits if trait in answer.traits])
            for trait in sorted({trait for answer in digits for trait in answer.traits})
        },
    )


def _trait(answers: Sequence[Answer]) -> Trait:
    return Trait(
        count=len(answers),
        right=sum(answer.right for answer in answers),
        ok=sum(answer.ok for answer in answers),
        ok_wrong=sum(answer.ok and not answer.right for answer in answers),
    )
