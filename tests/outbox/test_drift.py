"""What counts as a difference between today's rows and the first ones."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from daemon.outbox import drift
from daemon.outbox.drift import (
    FEWEST,
    REFERENCE_ROWS,
    DriftMonitor,
    Record,
    Sample,
    differences,
)
from daemon.records import Reads
from support.daemon import Box, digitd, run_once
from support.factories import BROKEN, NUMBERS, number, row
from support.stand_in import png_like

if TYPE_CHECKING:
    from numpy.random import Generator

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def sample(
    rng: Generator, rows: int, *, unsure: float = 0.04, error: float = 0.01, worse: float = 0.0
) -> Sample:
    """Return the counts of random rows; ``worse`` makes the confidence lower."""
    unsure_rows, error_rows = int(rng.binomial(rows, unsure)), int(rng.binomial(rows, error))
    digits = np.bincount(rng.integers(0, 10, rows - error_rows), minlength=10)
    confidence = (1 - rng.beta(1, 20, rows - error_rows)) * (1 - worse)
    bins = np.bincount((confidence * drift.BINS).astype(int), minlength=drift.BINS)
    return Sample(rows, unsure_rows, error_rows, digits.tolist(), bins.tolist())


def record(reference: Sample, today: Sample) -> Record:
    return Record("m", reference, "2026-11-24", today)


def test_equal_days_differ_by_chance_about_once_in_a_thousand_tests() -> None:
    rng = np.random.default_rng(1)
    days = [
        record(sample(rng, REFERENCE_ROWS), sample(rng, int(rng.integers(FEWEST, 3000))))
        for _ in range(1000)
    ]
    assert sum(len(differences(day)) for day in days) <= 12  # of 4,000 tests


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unsure": 0.15}, "unsure: "),
        ({"error": 0.1}, "error: "),
        ({"worse": 0.1}, "confidence: median "),
    ],
)
def test_change_is_named_with_both_figures(change: dict[str, float], said: str) -> None:
    rng = np.random.default_rng(2)
    (line,) = differences(record(sample(rng, 2000), sample(rng, 500, **change)))
    assert line.startswith(said)
    assert " today, " in line


def test_digit_that_became_more_frequent_is_named() -> None:
    rng = np.random.default_rng(3)
    today = sample(rng, 500)
    ones = [count + (150 if digit == 1 else 0) for digit, count in enumerate(today.digits)]
    (line,) = differences(record(sample(rng, 2000), replace(today, digits=ones)))
    assert line.endswith("% are a 1 today, 9.3% before")


def test_statistics_have_the_values_of_a_textbook() -> None:
    # Two proportions of 0.6 and 0.5 of 100 each: z = 0.1 / sqrt(0.55 * 0.45 * 0.02).
    assert drift.two_proportion_z(60, 100, 50, 100) == pytest.approx(1.4213, abs=1e-4)
    # The table ((10, 20), (30, 40)): chi-squared without a correction is 0.7937.
    assert drift.chi_squared((10, 20), (30, 40)) == pytest.approx(0.7937, abs=1e-4)
    distance, limit = drift.kolmogorov_smirnov((10, 0, 0), (5, 5, 0))
    assert distance == pytest.approx(0.5)
    assert limit == pytest.approx(1.9495 * 0.2**0.5)


@pytest.mark.parametrize(("reference", "today"), [(REFERENCE_ROWS - 1, 500), (3000, FEWEST - 1)])
def test_too_few_rows_say_nothing(reference: int, today: int) -> None:
    rng = np.random.default_rng(4)
    assert differences(record(sample(rng, reference), sample(rng, today, unsure=0.9))) == []


def test_reference_is_frozen_and_today_begins_at_midnight() -> None:
    kept = Record()
    for _ in range(REFERENCE_ROWS + 5):
        kept.add(row(at=NOON))
    assert (kept.reference.rows, kept.today.rows) == (REFERENCE_ROWS, REFERENCE_ROWS + 5)
    assert kept.reference.digits[7] == kept.reference.confidence[-1] == REFERENCE_ROWS
    kept.add(row(at=NOON + timedelta(hours=12)))
    assert (kept.day, kept.reference.rows, kept.today.rows) == ("2026-11-25", REFERENCE_ROWS, 1)


def test_new_model_begins_a_new_reference() -> None:
    kept = Record()
    kept.add(row(at=NOON))
    kept.add(row(at=NOON, model="other"))
    assert (kept.model, kept.reference.rows, kept.today.rows) == ("other", 1, 1)
    # A file that was not read has no model.
    kept.add(row(verdict=BROKEN, at=NOON, model=""))
    assert (kept.model, kept.reference.rows, kept.reference.error) == ("other", 2, 1)


def test_each_digit_of_a_number_is_counted() -> None:
    kept = Record()
    for text in NUMBERS:
        kept.add(row(verdict=number(text), at=NOON))
    counts = Counter(digit for text in NUMBERS for digit in text if digit.isdecimal())
    assert kept.reference.digits == [counts[f"{digit}"] for digit in range(10)]
    assert sum(kept.reference.confidence) == len(NUMBERS)


def test_confidence_of_too_few_numbers_is_not_compared() -> None:
    rng = np.random.default_rng(6)
    numbers, dates = sample(rng, 2000), sample(rng, FEWEST // 2, worse=0.5)
    today = replace(dates, rows=FEWEST, unsure=8, digits=[8 * n for n in dates.digits])
    assert differences(record(numbers, today)) == []


def test_change_of_what_is_read_begins_a_new_reference(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    drift.save(tmp_path, record(sample(rng, 2000), sample(rng, 500, unsure=0.2)))
    for reads, rows in ((Reads.DIGIT, 2000), (Reads.NUMBER, 1), (Reads.NUMBER, 2)):
        monitor = DriftMonitor(tmp_path, reads)
        monitor.open()
        monitor.count(row(verdict=number("7,5"), model="m", at=NOON))
        monitor.save()
        assert (drift.load(tmp_path).reads, drift.load(tmp_path).reference.rows) == (reads, rows)


def test_record_of_0_1_0_is_of_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    drift.save(tmp_path, record(sample(rng, 2000), sample(rng, 500)))
    file = tmp_path / ".digitd.drift.json"
    data = json.loads(file.read_text())
    del data["reads"]
    file.write_text(json.dumps(data))
    assert (drift.load(tmp_path).reads, drift.load(tmp_path).reference.rows) == (Reads.DIGIT, 2000)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"model": 1', '{"model": "m", "today": 5}'])
def test_damaged_record_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / ".digitd.drift.json").write_text(text)
    assert drift.load(tmp_path) == Record()


def test_daemon_keeps_the_record_over_a_restart_and_status_shows_a_difference(
    box: Box,
) -> None:
    for count in (1, 2):
        box.drop(f"digit{count}.png", png_like(f"fine {count}"))
        run_once(box)
        assert drift.load(box.outbox).reference.rows == count
    rng = np.random.default_rng(5)
    drift.save(box.outbox, record(sample(rng, 2000), sample(rng, 500, unsure=0.2)))
    done = digitd("status", "--json", "--config", box.config)
    (line,) = json.loads(done.stdout)["drift"]
    assert line.startswith("unsure: ")
    assert f"drift:       {line}\n" in digitd("status", "--config", box.config).stdout
