"""Measure a model through the real reader, on a data set or a folder of images."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.errors import DataError, UnreadableError
from daemon.reading import model, reader
from daemon.records import DIGITS, Reads, Status, Verdict, is_number
from daemon.text import printable
from daemon.training import data
from daemon.training.calibration import calibration_error

LABELS = "labels.csv"
NOTHING = {Reads.DIGIT: frozenset({"none", "multi"}), Reads.NUMBER: frozenset({"none"})}
"""Labels of images in which nothing must be read."""

# Labels that people give on purpose, in one mode or in an outbox: not counted elsewhere.
_WORDS = frozenset({"none", "multi", "several"})
_DIGIT_LABELS = frozenset(map(str, range(DIGITS)))
_MAX_MEGAPIXELS = 50.0  # config.yaml's default
_BATCH = 256
_EXAMPLES = 24
_MOST_NAMED = 10  # files in a message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case:
    """An image to read.

    Attributes:
        name: of the file.
        label: what is in it: a digit, a number as it is written, "none", "multi" or another word.
        load: returns the whole file.
        traits: words about it.
        line: of the table that has the label; 0 if there is none.
    """

    name: str
    label: str
    load: Callable[[], bytes]
    traits: tuple[str, ...] = ()
    line: int = 0

    def is_counted(self, reads: Reads) -> bool:
        """Return whether the label defines a right answer."""
        return self.text(reads) is not None or self.label in NOTHING[reads]

    def text(self, reads: Reads) -> str | None:
        """Return the digit or the number in the image; ``None`` if the label is something else."""
        is_read = is_number(self.label) if reads is Reads.NUMBER else self.label in _DIGIT_LABELS
        return self.label if is_read else None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's verdict on a case.

    Attributes:
        case: the image.
        verdict: what the daemon would record.
        image: decoded, to draw; ``None`` if it could not be read, and if the prediction
            is neither an example nor a mistake.
        reads: whether a digit or a number was read.
    """

    case: Case
    verdict: Verdict
    image: reader.DecodedImage | reader.DecodedNumber | None
    reads: Reads = Reads.DIGIT

    @property
    def label(self) -> str | None:
        """The digit or the number in the image; ``None`` if the label is something else."""
        return self.case.text(self.reads)

    @property
    def is_right(self) -> bool:
        """Whether the digit or the number was read."""
        return self.label is not None and self.verdict.text == self.label

    @property
    def is_ok(self) -> bool:
        """Whether the row would say ``ok``."""
        return self.verdict.status is Status.OK

    @property
    def is_counted(self) -> bool:
        """Whether the label defines a right answer."""
        return self.case.is_counted(self.reads)

    @property
    def is_mistake(self) -> bool:
        """Whether it was misread, or something else was read as a digit or a number."""
        if self.label is not None:
            return not self.is_right
        return self.is_counted and self.is_ok


def share(part: int, whole: int) -> float | None:
    """Return a share from 0 to 1; ``None`` of nothing."""
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class Tally:
    """Images with a digit or a number: how many, read right, ``ok``, and wrong yet ``ok``."""

    count: int
    right: int
    ok: int
    ok_wrong: int

    @property
    def ok_right(self) -> int:
        """How many were read right and ``ok``."""
        return self.ok - self.ok_wrong

    @property
    def accuracy(self) -> float | None:
        """Share that was read right."""
        return share(self.right, self.count)

    @property
    def coverage(self) -> float | None:
        """Share that was ``ok``."""
        return share(self.ok, self.count)

    @property
    def precision(self) -> float | None:
        """Share of the ``ok`` ones that was right."""
        return share(self.ok_right, self.ok)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures.

    Attributes:
        total: all images with one digit.
        per_digit: (right, count) of each digit.
        calibration_error: expected, over 15 bins, 0 to 1; ``None`` if nothing was read.
        refused: of the images with no digit or several, by label: (not ``ok``, count).
        refused_per_trait: the same by trait; empty without traits.
        confusion: (10, 11) int; rows are the digits drawn, the last column is "no digit".
        mistakes: the wrong predictions, the most confident first.
        examples: a few predictions, evenly spaced.
        per_trait: the images with one digit by trait; empty without traits.
    """

    total: Tally
    per_digit: tuple[tuple[int, int], ...]
    calibration_error: float | None
    refused: dict[str, tuple[int, int]]
    refused_per_trait: dict[str, tuple[int, int]]
    confusion: NDArray[np.int64]
    mistakes: tuple[Prediction, ...]
    examples: tuple[Prediction, ...]
    per_trait: dict[str, Tally]


def list_cases(path: Path, skip_traits: Sequence[str] = ()) -> list[Case]:
    """Return the cases of an ``.npz`` set, or of a folder of images with a labels.csv.

    Args:
        path: the file (of MNIST, the test digits), or a folder in which ``labels.csv`` has the
            columns ``file`` and ``label``; the images are next to it or in ``images/``.
        skip_traits: leave out images that have one of these in their ``traits`` column, which
            holds words separated by semicolons.

    Raises:
        DataError: it is neither; ``load`` of a case raises it if the image is missing.
    """
    if path.is_dir():
        return _list_folder(path, frozenset(skip_traits))
    if path.suffix.lower() == ".csv":
        raise DataError(f"{path}: is a table: name the folder that it is in, {path.parent}")
    return encode_set(data.load_test(path))


def find_left_out(cases: Sequence[Case], reads: Reads) -> list[Case]:
    """Return the cases that are not counted and whose label is no known word: likely mistakes."""
    return [case for case in cases if not case.is_counted(reads) and case.label not in _WORDS]


def encode_set(drawings: data.Drawings) -> list[Case]:
    """Return a set's digits as files: PNGs, white ink on black."""
    return [
        Case(f"{drawings.name} {index}", str(int(label)), partial(_encode, ink))
        for index, (ink, label) in enumerate(zip(drawings.images, drawings.labels, strict=True))
    ]


def _encode(ink: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", ink)[1].tobytes()


def _list_folder(folder: Path, skipped: frozenset[str]) -> list[Case]:
    table = folder / LABELS
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a mark
            lines = csv.DictReader(file)
            columns = [column or "" for column in lines.fieldnames or ()]
            rows = [(lines.line_num, row) for row in lines]
    except OSError as error:
        raise DataError(
            f"{table}: cannot be read: {error.strerror}: name a folder of images with a table of "
            "their labels, or an outbox with answers"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: is not CSV in UTF-8: save it as that: {error}") from error
    if not {"file", "label"} <= set(columns):
        found = ", ".join(f"`{printable(column)}`" for column in columns) or "nothing"
        raise DataError(
            f"{table}: needs the columns `file` and `label`, separated by commas; its first line "
            f"has {found}"
        )
    if not rows:
        raise DataError(f"{table}: needs rows below its columns: one for each image")
    cases = [
        Case(
            name=row["file"] or "",
            label=(row["label"] or "").strip(),  # None if the line ends before it
            load=partial(_load, folder, row["file"] or ""),
            traits=tuple(word for word in (row.get("traits") or "").split(";") if word),
            line=line,
        )
        for line, row in rows
    ]
    _check_cases(table, cases)
    return [case for case in cases if not skipped.intersection(case.traits)]


def _check_cases(table: Path, cases: Sequence[Case]) -> None:
    """Raise DataError, which names the lines, if files are missing, or named twice."""
    if missing := [case for case in cases if not _locate(table.parent, case.name).is_file()]:
        named = _list_lines(missing)
        raise DataError(
            f"{table}: files that are not there: {named}: correct their names, or remove the lines"
        )
    first = {case.name: case for case in reversed(cases)}
    if twice := [case for case in cases if first[case.name] is not case]:
        named = _list_lines(twice)
        raise DataError(
            f"{table}: files that an earlier line has named: {named}: keep one line for each file"
        )


def _list_lines(cases: Sequence[Case]) -> str:
    named = [f"{printable(case.name)} (line {case.line})" for case in cases[:_MOST_NAMED]]
    if len(cases) > _MOST_NAMED:
        named.append(f"{len(cases) - _MOST_NAMED} more")
    return ", ".join(named)


def _locate(folder: Path, name: str) -> Path:
    file = folder / name
    return file if file.exists() else folder / "images" / name


def _load(folder: Path, name: str) -> bytes:
    try:
        return _locate(folder, name).read_bytes()
    except OSError as error:
        raise DataError(f"{folder / LABELS}: {name} cannot be read: {error.strerror}") from error


def evaluate(
    network: model.Model,
    cases: Sequence[Case],
    on_prediction: Callable[[Prediction], object] = lambda _: None,
) -> Evaluation:
    """Read all cases as digits, as the daemon would, and count.

    Args:
        network: the model.
        cases: what to read.
        on_prediction: called with each prediction, counted or not.

    Raises:
        DataError: there is not one image to count.
    """
    predictions = read_cases(network, cases, Reads.DIGIT, on_prediction)
    counted = [prediction for prediction in predictions if prediction.is_counted]
    if not counted:
        raise DataError("there is no image to measure on: labels are 0 to 9, `none` or `multi`")
    return _summarize(counted, choose_examples(predictions))


def read_cases(
    network: model.Model,
    cases: Sequence[Case],
    reads: Reads,
    on_prediction: Callable[[Prediction], object],
) -> list[Prediction]:
    """Read all cases as the daemon would; see ``evaluate``."""
    predictions: list[Prediction] = []
    examples = set(choose_examples(range(len(cases))))
    for start in range(0, len(cases), _BATCH):
        batch = cases[start : start + _BATCH]
        images = [_find(network, case, reads) for case in batch]
        verdicts = reader.judge_all(network, images)
        for case, image, verdict in zip(batch, images, verdicts, strict=True):
            decoded = None if isinstance(image, UnreadableError) else image
            prediction = Prediction(case, verdict, decoded, reads)
            on_prediction(prediction)
            # The images of a large folder may not fit into memory: keep those that may be drawn.
            is_drawn = prediction.is_mistake or len(predictions) in examples
            predictions.append(prediction if is_drawn else replace(prediction, image=None))
    return predictions


def choose_examples(cases: Sequence[T]) -> tuple[T, ...]:
    """Return a few, evenly spaced."""
    every = max(1, len(cases) // _EXAMPLES)
    return tuple(cases[::every][:_EXAMPLES])


def _find(
    network: model.Model, case: Case, reads: Reads
) -> reader.DecodedImage | reader.DecodedNumber | UnreadableError:
    try:
        return reader.find(network, case.load(), reads, max_megapixels=_MAX_MEGAPIXELS)
    except UnreadableError as error:
        return error


def _summarize(predictions: Sequence[Prediction], examples: tuple[Prediction, ...]) -> Evaluation:
    digits = [each for each in predictions if each.label is not None]
    others = [each for each in predictions if each.label is None]
    confusion = np.zeros((DIGITS, DIGITS + 1), np.int64)
    for each in digits:
        column = DIGITS if each.verdict.text is None else int(each.verdict.text)
        confusion[int(each.case.label), column] += 1
    return Evaluation(
        total=tally(digits),
        per_digit=tuple((int(confusion[d, d]), int(confusion[d].sum())) for d in range(DIGITS)),
        calibration_error=measure_calibration(digits),
        refused=count_refused(others),
        refused_per_trait=count_refused_by_trait(others),
        confusion=confusion,
        mistakes=sort_mistakes(predictions),
        examples=examples,
        per_trait={
            trait: tally([each for each in digits if trait in each.case.traits])
            for trait in sorted({trait for each in digits for trait in each.case.traits})
        },
    )


def tally(predictions: Sequence[Prediction]) -> Tally:
    """Count predictions whose labels are digits or numbers."""
    return Tally(
        count=len(predictions),
        right=sum(each.is_right for each in predictions),
        ok=sum(each.is_ok for each in predictions),
        ok_wrong=sum(each.is_ok and not each.is_right for each in predictions),
    )


def measure_calibration(predictions: Sequence[Prediction]) -> float | None:
    """Return the calibration error of those that have a confidence; ``None`` if none has."""
    read = [each for each in predictions if each.verdict.confidence is not None]
    if not read:
        return None
    return calibration_error(
        np.array([each.verdict.confidence for each in read], np.float64),
        np.array([each.is_right for each in read], np.bool_),
    )


def count_refused(predictions: Sequence[Prediction]) -> dict[str, tuple[int, int]]:
    """Return how many were not ``ok``, and how many there are, for each label."""
    return _count_flagged((each.case.label, each) for each in predictions)


def count_refused_by_trait(predictions: Sequence[Prediction]) -> dict[str, tuple[int, int]]:
    """Return how many were not ``ok``, and how many there are, for each trait."""
    return _count_flagged((trait, each) for each in predictions for trait in each.case.traits)


def _count_flagged(named: Iterable[tuple[str, Prediction]]) -> dict[str, tuple[int, int]]:
    flagged, counts = Counter[str](), Counter[str]()
    for name, each in named:
        flagged[name] += not each.is_ok
        counts[name] += 1
    return {name: (flagged[name], count) for name, count in sorted(counts.items())}


def sort_mistakes(predictions: Sequence[Prediction]) -> tuple[Prediction, ...]:
    """Return the mistakes, the most confident first."""
    wrong = [each for each in predictions if each.is_mistake]
    return tuple(sorted(wrong, key=lambda each: -(each.verdict.confidence or 0.0)))
