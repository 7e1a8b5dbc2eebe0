"""Measure how a model reads whole numbers, on a folder of images or a data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daemon.errors import DataError
from daemon.reading import model
from daemon.records import Reads
from daemon.training.evaluate import (
    Case,
    Prediction,
    Tally,
    choose_examples,
    count_refused,
    count_refused_by_trait,
    measure_calibration,
    read_cases,
    share,
    sort_mistakes,
    tally,
)

_LENGTHS = {"1": range(1, 2), "2-3": range(2, 4), "4-6": range(4, 7)}
_LONGER = "7+"


@dataclass(frozen=True, slots=True)
class NumberTally(Tally):
    """Images with a number, and the mistakes in their digits.

    Attributes:
        digits: of all labels together.
        edits: digits to substitute, delete or insert, so that each text has the label's digits.
    """

    digits: int
    edits: int

    @property
    def digit_error_rate(self) -> float | None:
        """Edits per digit."""
        return share(self.edits, self.digits)


@dataclass(frozen=True, slots=True)
class NumberEvaluation:
    """The figures.

    Attributes:
        total: all images with a number.
        calibration_error: expected, over 15 bins, 0 to 1; ``None`` if nothing was read.
        refused: of the images with no number, by label: (not ``ok``, count).
        refused_per_trait: the same by trait; empty without traits.
        per_length: the images with a number by its digits; lengths that do not occur are left out.
        per_trait: the same by trait; empty without traits.
        mistakes: the wrong predictions, the most confident first.
        examples: a few predictions, evenly spaced.
    """

    total: NumberTally
    calibration_error: float | None
    refused: dict[str, tuple[int, int]]
    refused_per_trait: dict[str, tuple[int, int]]
    per_length: dict[str, NumberTally]
    per_trait: dict[str, NumberTally]
    mistakes: tuple[Prediction, ...]
    examples: tuple[Prediction, ...]


def evaluate_numbers(
    network: model.Model,
    cases: Sequence[Case],
    on_prediction: Callable[[Prediction], object] = lambda _: None,
) -> NumberEvaluation:
    """Read all cases as numbers, as the daemon would, and count.

    Args:
        network: the model.
        cases: what to read; their labels are compared as they are written, with marks.
        on_prediction: called with each prediction, counted or not.

    Raises:
        DataError: there is not one image to count.
        ModelError: the model cannot read numbers.
    """
    predictions = read_cases(network, cases, Reads.NUMBER, on_prediction)
    counted = [prediction for prediction in predictions if prediction.is_counted]
    if not counted:
        raise DataError(
            "there is no image to measure on: labels are numbers such as 0471 or 7,5, or `none`"
        )
    return summarize_numbers(counted, choose_examples(predictions))


def summarize_numbers(
    predictions: Sequence[Prediction], examples: tuple[Prediction, ...]
) -> NumberEvaluation:
    """Count the predictions whose labels define a right answer."""
    numbers = [each for each in predictions if each.label is not None]
    others = [each for each in predictions if each.label is None]
    lengths = [_name_length(each) for each in numbers]
    traits = sorted({trait for each in numbers for trait in each.case.traits})
    return NumberEvaluation(
        total=tally_numbers(numbers),
        calibration_error=measure_calibration(numbers),
        refused=count_refused(others),
        refused_per_trait=count_refused_by_trait(others),
        per_length={
            length: tally_numbers(
                [each for each, its in zip(numbers, lengths, strict=True) if its == length]
            )
            for length in (*_LENGTHS, _LONGER)
            if length in lengths
        },
        per_trait={
            trait: tally_numbers([each for each in numbers if trait in each.case.traits])
            for trait in traits
        },
        mistakes=sort_mistakes(predictions),
        examples=examples,
    )


def tally_numbers(numbers: Sequence[Prediction]) -> NumberTally:
    """Count predictions whose labels are numbers."""
    all_alike = tally(numbers)
    labels = [_keep_digits(each.case.label) for each in numbers]
    texts = [_keep_digits(each.verdict.text or "") for each in numbers]
    return NumberTally(
        all_alike.count,
        all_alike.right,
        all_alike.ok,
        all_alike.ok_wrong,
        digits=sum(map(len, labels)),
        edits=sum(map(count_edits, texts, labels)),
    )


def count_edits(text: str, label: str) -> int:
    """Return the Levenshtein distance: characters to substitute, delete or insert."""
    row = list(range(len(label) + 1))
    for i, character in enumerate(text):
        diagonal, row[0] = row[0], i + 1
        for j, wanted in enumerate(label):
            substituted = diagonal + (character != wanted)
            diagonal = row[j + 1]
            row[j + 1] = min(substituted, diagonal + 1, row[j] + 1)
    return row[-1]


def _keep_digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _name_length(number: Prediction) -> str:
    digits = len(_keep_digits(number.case.label))
    return next((name for name, lengths in _LENGTHS.items() if digits in lengths), _LONGER)
