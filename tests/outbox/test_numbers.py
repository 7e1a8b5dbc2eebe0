"""Whole numbers stay as they are written: in rows, status, results, answers and the audit."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from daemon import config
from daemon.layout import LABELS, TABLE
from daemon.loop.status import read_status
from daemon.outbox import labels, results, rows
from daemon.outbox.audit import find_discrepancies
from daemon.records import DIGITS, Reads, Status, is_number
from support.daemon import digitd
from support.factories import NUMBERS, SHA256, number, own_labels, row

if TYPE_CHECKING:
    from pathlib import Path

    from support.site import Site

PROBABILITIES = [*(f"p{digit}" for digit in range(DIGITS)), "p_none"]


def read_table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def answer(outbox: Path, job_id: str, text: str, label: str) -> labels.Answer:
    given = labels.Answer(job_id, SHA256, label, "Ana", "now", "model1", text, "0.99", "import")
    labels.append(outbox, given)
    return given


@pytest.fixture
def numbers(site: Site) -> Site:
    """Return a site with a sure row for each number, and an unsure one for each."""
    for status in (Status.OK, Status.UNSURE):
        site.add_all([(f"{each}.png".replace("/", "_"), number(each, status)) for each in NUMBERS])
    return site


@pytest.mark.parametrize("text", NUMBERS)
def test_number_is_written_as_it_is_and_read_back(text: str) -> None:
    line = rows.format_row(row(verdict=number(text)))
    assert (f',ok,"{text}",' if "," in text else f",ok,{text},") in line
    fields = rows.parse(line)
    assert fields is not None
    assert fields["digit"] == text
    assert row(verdict=number(text)).fields()["digit"] == text
    assert [cell[1:] for cell in next(csv.reader([line])) if cell == f"'{text}"] == []
    is_digit = len(text) == 1
    assert {bool(fields[name]) for name in PROBABILITIES} == {is_digit}
    frame = pd.read_csv(io.StringIO(rows.HEADER + line), dtype={"digit": str})
    assert frame["digit"].tolist() == [text]
    assert not [cut for cut in range(len(line) - 1) if rows.parse(line[:cut])]


@pytest.mark.parametrize("text", NUMBERS)
def test_status_shows_a_number_as_text(site: Site, text: str) -> None:
    site.add("digit1.png", number(text))
    found = read_status(config.load(site.config))
    assert (found["ok"], found["last"]["digit"]) == (1, text)


def test_command_shows_a_number(site: Site) -> None:
    site.add("digit1.png", number("7,5"))
    done = digitd("status", "--config", site.config)
    assert (done.returncode, done.stderr) == (3, "")
    assert "7,5" in done.stdout


def test_results_are_the_numbers_in_every_format(numbers: Site, tmp_path: Path) -> None:
    first = {one.cells[0]: one.answer for one in results.final_rows(numbers.outbox)}
    assert list(first.values()) == [*NUMBERS, *[""] * len(NUMBERS)]
    for job_id, text in zip(list(first)[len(NUMBERS) :], NUMBERS, strict=True):
        answer(numbers.outbox, job_id, text, text)
    expected = [(text, text) for text in NUMBERS * 2]

    csv_ = digitd("results", "--config", numbers.config).stdout
    assert [(one["digit"], one["answer"]) for one in read_table(csv_)] == expected
    assert {one["answered_by"] for one in read_table(csv_)} == {"model", "person"}
    assert {tuple(one) for one in read_table(csv_)} == {results.COLUMNS}

    lines = io.BytesIO()
    results.write(results.final_rows(numbers.outbox), lines, "jsonl")
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(one["digit"], one["answer"]) for one in found] == expected
    assert {type(one["confidence"]) for one in found} == {float}

    out = tmp_path / "results.parquet"
    done = digitd("results", "--format", "parquet", "--out", out, "--config", numbers.config)
    assert (done.returncode, done.stderr) == (0, "")
    frame = pd.read_parquet(out)
    assert list(zip(frame["digit"], frame["answer"], strict=True)) == expected
    assert frame["confidence"].tolist() == [0.99] * len(expected)


def test_audit_accounts_for_numbers(numbers: Site) -> None:
    found = find_discrepancies(config.load(numbers.config))
    assert (found.rows, found.files) == (2 * len(NUMBERS), 2 * len(NUMBERS))
    assert (found.discrepancies, found.notes) == ((), ())


def test_answers_are_read_back_as_they_were_given(numbers: Site) -> None:
    job_ids = [one.cells[0] for one in results.final_rows(numbers.outbox)][: len(NUMBERS)]
    given = [
        answer(numbers.outbox, job_id, text, text)
        for job_id, text in zip(job_ids, NUMBERS, strict=True)
    ]
    assert list(labels.read(numbers.outbox)) == given
    assert list(own_labels(numbers.outbox).values()) == list(NUMBERS)
    table = (numbers.outbox / LABELS).read_text()
    assert [one["label"] for one in read_table(table)] == list(NUMBERS)
    assert "'" not in table
    answer(numbers.outbox, job_ids[0], NUMBERS[0], "undo")
    assert job_ids[0] not in own_labels(numbers.outbox)


def test_tables_that_a_spreadsheet_quoted_have_the_same_numbers(numbers: Site) -> None:
    for name in (TABLE, LABELS):
        if name == LABELS:
            (first, *_) = results.final_rows(numbers.outbox)
            answer(numbers.outbox, first.cells[0], "0471", "7,5")
        out = io.StringIO()
        quoted = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        quoted.writerows(csv.reader(io.StringIO((numbers.outbox / name).read_text())))
        (numbers.outbox / name).write_text("\ufeff" + out.getvalue(), newline="")
    found = read_table(digitd("results", "--config", numbers.config).stdout)
    assert [one["digit"] for one in found] == list(NUMBERS * 2)
    assert found[0]["answer"] == "7,5"


@pytest.mark.parametrize("text", [*NUMBERS, "1" * 32, "1,2.3/4:5-6"])
def test_numbers_are(text: str) -> None:
    assert is_number(text)
    assert labels.is_label(text)
    assert labels.find_fault(text, Reads.NUMBER) == ""
    assert (labels.find_fault(text, Reads.DIGIT) == "") is (text == "0")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "--3",
        "+3",
        "7,",
        ",5",
        "7,,5",
        "1e5",
        "7 5",
        "7\n",
        "٣",
        "³",
        "=1",
        "1" * 33,
        "0x1",
    ],
)
def test_other_texts_are_no_numbers(text: str) -> None:
    assert not is_number(text)
    assert not labels.is_label(text)
    assert labels.find_fault(text, Reads.NUMBER)
    assert labels.find_fault(text, Reads.DIGIT)


@pytest.mark.parametrize(
    ("label", "digit", "whole"),
    [
        ("none", True, True),
        ("undo", True, True),
        ("several", True, False),
        ("7", True, True),
        ("10", False, True),
    ],
)
def test_words_depend_on_what_is_read(label: str, *, digit: bool, whole: bool) -> None:
    assert labels.is_label(label)
    assert (labels.find_fault(label, Reads.DIGIT) == "") is digit
    assert (labels.find_fault(label, Reads.NUMBER) == "") is whole
