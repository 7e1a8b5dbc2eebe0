"""Evaluation on whole numbers: what is counted, and what the command prints and draws."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pandas as pd
import pytest

from benchmarks.numbers.__main__ import write
from benchmarks.pages.write import load
from daemon.assets import SHIPPED_MODEL
from daemon.reading import model
from daemon.records import Reads, Status, Verdict
from daemon.training import evaluate_numbers, report_numbers
from daemon.training.evaluate import Case, Prediction
from support.daemon import digitd

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
READS_NUMBERS = model.load(SHIPPED_MODEL).read_line is not None


def predict(
    label: str, text: str | None, confidence: float = 0.9, traits: tuple[str, ...] = ()
) -> Prediction:
    """Return a prediction that is ``ok`` from a confidence of 0.8."""
    status = Status.OK if text is not None and confidence >= 0.8 else Status.UNSURE
    verdict = Verdict(status, text, None if text is None else confidence)
    return Prediction(Case(f"{label}.png", label, bytes, traits), verdict, None, Reads.NUMBER)


PREDICTIONS = [
    predict("7", "7", traits=("photo",)),
    predict("3", "8", 0.5, traits=("photo", "thin")),
    predict("0471", "0471"),
    predict("0471", "471"),
    predict("7,5", "7.5", traits=("thin",)),
    predict("-3", "-3", 0.6),
    predict("19/10/2023", "19/10/2023"),
    predict("123456789", "12345678", 0.95),
    predict("88", None),
    predict("none", None),
    predict("none", "12"),
    predict("none", "12", 0.3, traits=("photo",)),
    predict("illegible", "1"),
    predict("multi", "1"),
    predict("7.", "7"),
]


@pytest.fixture
def measured() -> evaluate_numbers.NumberEvaluation:
    counted = [each for each in PREDICTIONS if each.is_counted]
    return evaluate_numbers.summarize_numbers(counted, ())


def test_numbers_are_compared_as_they_are_written(
    measured: evaluate_numbers.NumberEvaluation,
) -> None:
    total = measured.total
    assert (total.count, total.right, total.ok, total.ok_wrong) == (9, 4, 6, 3)
    # "3" substituted, a "0" and a "9" missing, and both digits of the one that was not read.
    assert (total.digits, total.edits) == (1 + 1 + 4 + 4 + 2 + 1 + 8 + 9 + 2, 1 + 1 + 1 + 2)
    assert measured.refused == {"none": (2, 3)}
    wrong = [each.case.label for each in measured.mistakes]
    assert wrong == ["123456789", "0471", "7,5", "none", "3", "88"]


def test_numbers_are_counted_by_length_and_by_trait(
    measured: evaluate_numbers.NumberEvaluation,
) -> None:
    counts = {name: (each.right, each.count) for name, each in measured.per_length.items()}
    assert counts == {"1": (2, 3), "2-3": (0, 2), "4-6": (1, 2), "7+": (1, 2)}
    traits = {name: (each.right, each.count) for name, each in measured.per_trait.items()}
    assert traits == {"photo": (1, 2), "thin": (0, 2)}
    assert measured.refused_per_trait == {"photo": (1, 1)}
    assert measured.per_trait["thin"].edits == 1


def test_figures_of_numbers_are_printed_as_a_table(
    measured: evaluate_numbers.NumberEvaluation,
) -> None:
    lines = report_numbers.format_numbers(measured).splitlines()
    assert lines[0] == f"{'exact match':23} {'44.44%':>8}  4 of 9"
    assert lines[1] == f"{'digit errors':23} {'15.62%':>8}  5 of 32"
    assert "no number, flagged        66.67%  2 of 3" in lines
    assert "  photo, flagged         100.00%  1 of 1" in lines
    (long,) = [line.split() for line in lines if line.startswith("7+")]
    assert long == ["7+", "2", "50.0%", "5.9%", "100.0%", "50.0%", "1"]
    figures = report_numbers.numbers_to_json(measured, "abc")
    assert figures["exact_match"] == pytest.approx(4 / 9)
    assert figures["digit_error_rate"] == pytest.approx(5 / 32)
    assert figures["per_length"]["4-6"]["right"] == 1
    assert figures["not_a_number"] == {"none": {"flagged": 2, "count": 3}}


def test_nothing_has_no_shares() -> None:
    nothing = evaluate_numbers.summarize_numbers([], ())
    figures = report_numbers.numbers_to_json(nothing, "abc")
    names = ("exact_match", "digit_error_rate", "coverage", "precision", "calibration_error")
    assert [figures[name] for name in names] == [None] * 5


@pytest.mark.parametrize(
    ("text", "label", "edits"),
    [
        *[("", "", 0), ("", "12", 2), ("12", "", 2), ("1234", "1234", 0), ("1234", "1334", 1)],
        *[("124", "1234", 1), ("12334", "1234", 1), ("2341", "1234", 2), ("999", "1234", 4)],
    ],
)
def test_edits_are_substitutions_deletions_and_insertions(
    text: str, label: str, edits: int
) -> None:
    assert evaluate_numbers.count_edits(text, label) == edits
    assert evaluate_numbers.count_edits(label, text) == edits


@pytest.mark.skipif(not READS_NUMBERS, reason="the shipped model cannot read numbers")
def test_evaluate_reads_numbers(tmp_path: Path) -> None:
    drawn, table = tmp_path / "seen", tmp_path / "answers.csv"
    names = list(write(load(SMALL), tmp_path / "numbers", each=3, seed=7))
    said = digitd(
        *("evaluate", tmp_path / "numbers", "--reads", "number", "--json"),
        *("--pictures", drawn, "--table", table),
    )
    assert said.returncode == 0, said.stderr
    figures = json.loads(said.stdout)
    # A struck number is none, and counts apart.
    numbers = [name for name in names if not name.startswith("struck")]
    assert figures["count"] == len(numbers)
    assert figures["exact_match"] > 0.7
    assert figures["digit_error_rate"] < 0.2
    assert sum(each["count"] for each in figures["per_length"].values()) == len(numbers)
    assert figures["per_trait"]["touching"]["count"] == 3
    rows = pd.read_csv(table, dtype="string")
    assert int((rows.digit == rows.label).sum()) == figures["right"]
    for name in ("mistakes", "examples"):
        picture = cv2.imread(str(drawn / f"{name}.png"))
        assert picture is not None
        assert min(picture.shape[:2]) > 100


def test_keras_classifier_is_not_measured_on_numbers() -> None:
    said = digitd("evaluate", SMALL, "--reads", "number", "--keras")
    assert said.returncode == 2
    assert "--keras measures the classifier of digits: omit --reads number" in said.stderr
