"""`digitd results` on real tables: whose answer counts, the formats, the file it replaces."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from daemon.errors import ConfigError, DestinationError
from daemon.layout import LABELS, TABLE
from daemon.outbox import labels, results, rows
from daemon.outbox.labels import Answer
from daemon.outbox.results import COLUMNS, FinalRow, final_rows
from daemon.records import Status, Verdict
from support.daemon import ROOT, digitd
from support.factories import BLANK, SURE, job, row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOUBTFUL = Verdict(Status.UNSURE, "1", 0.5, (0.05,) * 11, "low confidence")
BROKEN = Verdict(Status.ERROR, reason='text, "not" an image')


@dataclass
class Ledger:
    """An outbox to write rows and answers into."""

    outbox: Path

    def __post_init__(self) -> None:
        self.outbox.mkdir()

    def add(self, name: str, verdict: Verdict, table: str = TABLE) -> str:
        """Append a row; return its id."""
        made = row(name, verdict)
        path = self.outbox / table
        if not path.exists():
            path.write_text(rows.HEADER)
        with path.open("a") as file:
            file.write(rows.format_row(made))
        return made.result.job.id

    def answer(self, row: str, *given: str) -> None:
        for label in given:
            answer = Answer(row, "ab" * 32, label, "Ana", "now", "model1", "1", "0.5", "queue")
            labels.append(self.outbox, answer)

    def final(self) -> list[tuple[str, str, str]]:
        """Return file, answer and answered_by of each result."""
        return [(one.cells[1], one.answer, one.answered_by) for one in final_rows(self.outbox)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "config.yaml").write_text("")
    return Ledger(tmp_path / "outbox")


@pytest.fixture
def four(ledger: Ledger) -> Ledger:
    """Return a ledger with rows of each kind, and no answers."""
    for number, verdict in enumerate((SURE, DOUBTFUL, BLANK, BROKEN), 1):
        ledger.add(f"digit{number}.png", verdict)
    return ledger


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_model_answers_ok_rows_only(four: Ledger) -> None:
    assert four.final() == [
        ("digit1.png", "7", "model"),
        ("digit2.png", "", ""),
        ("digit3.png", "", ""),
        ("digit4.png", "", ""),
    ]


def test_a_persons_newest_answer_counts(ledger: Ledger) -> None:
    for name, verdict, given in (
        ("agreed.png", SURE, ["7"]),
        ("corrected.png", SURE, ["1", "4"]),
        ("cleared.png", SURE, ["1", "undo"]),
        ("doubtful.png", DOUBTFUL, ["undo", "1"]),
        ("not_a_digit.png", BLANK, ["none"]),
        ("error.png", BROKEN, ["9"]),
        ("cleared_error.png", BROKEN, ["9", "undo"]),
    ):
        ledger.answer(ledger.add(name, verdict), *given)
    assert ledger.final() == [
        ("agreed.png", "7", "person"),
        ("corrected.png", "4", "person"),
        ("cleared.png", "7", "model"),
        ("doubtful.png", "1", "person"),
        ("not_a_digit.png", "none", "person"),
        ("error.png", "9", "person"),
        ("cleared_error.png", "", ""),
    ]


def test_answer_to_an_unknown_row_is_not_a_result(four: Ledger) -> None:
    four.answer(job().id, "7")
    assert len(four.final()) == 4


def test_rotated_tables_come_first_and_copies_count_once(ledger: Ledger) -> None:
    ledger.add("digit1.png", SURE, f"{TABLE}.1")
    ledger.add("digit2.png", SURE)
    (ledger.outbox / f"{TABLE}.bak").write_bytes((ledger.outbox / TABLE).read_bytes())
    ledger.add("digit3.png", SURE)
    assert [name for name, _, _ in ledger.final()] == ["digit1.png", "digit2.png", "digit3.png"]


def test_torn_and_malformed_lines_are_no_results(four: Ledger) -> None:
    whole = (four.outbox / TABLE).read_text()
    last = whole.splitlines(keepends=True)[-1]
    (four.outbox / TABLE).write_text(f'{whole}my note\n"unbalanced\n{last[:40]}')
    assert len(four.final()) == 4
    with (four.outbox / TABLE).open("a") as file:
        file.write("\n")
    four.add("digit5.png", SURE)
    assert four.final()[4:] == [("digit5.png", "7", "model")]


def test_command_prints_the_table_with_two_columns(four: Ledger, tmp_path: Path) -> None:
    done = digitd("results", "--config", tmp_path / "config.yaml")
    assert done.returncode == 0, done.stderr
    found = table(done.stdout)
    assert list(found[0]) == list(COLUMNS) == [*rows.COLUMNS, "answer", "answered_by"]
    with (four.outbox / TABLE).open(newline="") as lines:
        for row, original in zip(found, csv.DictReader(lines), strict=True):
            assert {key: row[key] for key in original} == original


@pytest.mark.parametrize("name", ["=1+1.png", 'a"b,c.png', "zwölf 七.png"])
def test_cells_stay_as_they_are_in_the_table(ledger: Ledger, name: str) -> None:
    ledger.add(name, BROKEN)
    (row,) = table(b"".join(results.csv_lines(final_rows(ledger.outbox))).decode())
    assert row["file"].removeprefix("'") == name
    assert not row["file"].startswith("=")
    assert row["reason"] == BROKEN.reason


@pytest.mark.usefixtures("four")
def test_json_lines_have_text_numbers_and_null(tmp_path: Path) -> None:
    done = digitd("results", "--format", "jsonl", "--config", tmp_path / "config.yaml")
    first, second, third, _ = map(json.loads, done.stdout.splitlines())
    assert (first["digit"], first["confidence"], first["answer"]) == ("7", 0.99, "7")
    assert (second["digit"], second["answer"], second["answered_by"]) == ("1", None, None)
    assert (third["digit"], third["confidence"], third["p0"]) == (None, None, None)


def test_json_lines_of_odd_rows_are_valid(ledger: Ledger) -> None:
    ledger.add('a"b\\\n<zwölf>.png', BROKEN)
    table = ledger.outbox / TABLE
    ledger.add("digit2.png", DOUBTFUL)
    edited = table.read_text().replace(",1,0.500000,0.050000,", ",007,NaN,1_0,")
    table.write_text(edited)
    out = io.BytesIO()
    results.write(final_rows(ledger.outbox), out, "jsonl")
    first, second = map(json.loads, out.getvalue().decode().splitlines())
    assert first["file"] == 'a"b\\\\n<zwölf>.png'
    assert first["reason"] == BROKEN.reason
    assert (second["digit"], second["confidence"], second["p0"]) == ("007", None, None)
    assert second["p1"] == 0.05


@pytest.mark.usefixtures("four")
def test_parquet_is_read_by_pandas(tmp_path: Path) -> None:
    out = tmp_path / "results.parquet"
    config = tmp_path / "config.yaml"
    done = digitd("results", "--format", "parquet", "--out", out, "--config", config)
    assert done.returncode == 0, done.stderr
    frame = pd.read_parquet(out)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["confidence"].tolist()[:2] == [0.99, 0.5]
    assert frame["answer"].tolist()[0] == "7"


@pytest.mark.usefixtures("four")
def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path) -> None:
    hidden = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from daemon.cli import main; main(prog_name='digitd')"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden, "results", "--format", "parquet", "--config", "config.yaml"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "digitd: pyarrow is not installed, and Parquet needs it: pip install "
        "'digitd[parquet]', or use another --format\n"
    )


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("results", "--format", "csv", "--out", "r.parquet"),
            "--out r.parquet: its ending is that of another format than --format csv: end it with",
        ),
        (("results", "--format", "parquet", "--out", "r.CSV"), "than --format parquet"),
        (("results", "--out", "r.ods"), "its ending names no format"),
        (("evaluate", ".", "--table", "r.xlsx"), "r.xlsx: a table is CSV: end its name with .csv"),
        (("train", "--out", "r.h5"), "r.h5: end the name of a model with .keras"),
    ],
)
def test_ending_that_contradicts_the_content_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = digitd(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.glob("r.*"))


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("name", ["r.csv", "r.txt", "r"])
def test_other_endings_are_allowed_with_a_format(tmp_path: Path, name: str) -> None:
    done = digitd("results", "--format", "csv", "--out", name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / name).read_text().splitlines()) == 5


def test_file_is_replaced_only_when_the_results_are_complete(four: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    out.write_text("old")
    finals = final_rows(four.outbox)

    def interrupted() -> Iterator[FinalRow]:
        yield next(finals)
        raise KeyboardInterrupt

    def save(finals: Iterable[FinalRow]) -> None:
        with results.open_output(out, four.outbox) as stream:
            results.write(finals, stream, "csv")

    with pytest.raises(KeyboardInterrupt):
        save(interrupted())
    assert out.read_text() == "old"
    save(final_rows(four.outbox))
    assert len(table(out.read_text())) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.yaml",
        "outbox",
        "results.csv",
    ]


def test_table_that_cannot_be_read_is_not_blamed_on_the_destination(
    four: Ledger, tmp_path: Path
) -> None:
    out = tmp_path / "results.csv"
    unreadable = PermissionError(errno.EACCES, "Permission denied", four.outbox / f"{TABLE}.1")
    with pytest.raises(PermissionError), results.open_output(out, four.outbox):
        raise unreadable
    full = OSError(errno.ENOSPC, "No space left on device")
    said = "results.csv: cannot be written: No space left on device"
    with pytest.raises(DestinationError, match=said), results.open_output(out, four.outbox):
        raise full


def test_fifo_is_written_to_and_not_replaced(four: Ledger, tmp_path: Path) -> None:
    fifo = tmp_path / "results.csv"
    os.mkfifo(fifo)
    ours = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        with results.open_output(fifo, four.outbox) as stream:
            results.write(final_rows(four.outbox), stream, "csv")
        assert fifo.is_fifo()
        assert len(table(os.read(ours, 1 << 16).decode())) == 4
    finally:
        os.close(ours)


@pytest.mark.parametrize("name", [TABLE, LABELS, f"{TABLE}.1", ".digitd.lock", "failed/out.csv"])
def test_own_files_are_never_replaced(four: Ledger, name: str) -> None:
    (four.outbox / "failed").mkdir()
    before = (four.outbox / TABLE).read_bytes()
    with (
        pytest.raises(DestinationError, match="one of digitd's own files"),
        results.open_output(four.outbox / name, four.outbox),
    ):
        pass
    assert (four.outbox / TABLE).read_bytes() == before


@pytest.mark.parametrize("name", ["config.yaml", "models/current", "inbox/out.csv"])
@pytest.mark.usefixtures("four")
def test_files_beside_the_outbox_are_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "inbox").mkdir(exist_ok=True)
    before = (tmp_path / "config.yaml").read_bytes()
    config = tmp_path / "config.yaml"
    said = digitd("results", "--config", config, "--format", "csv", "--out", tmp_path / name)
    assert said.returncode == 1
    assert "is one of digitd's own files: name another with --out" in said.stderr
    assert (tmp_path / "config.yaml").read_bytes() == before
    assert (tmp_path / name).exists() == (name == "config.yaml")


def test_outbox_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist: mount its disk, start `digitd run`"):
        next(final_rows(tmp_path / "outbox"))


def test_empty_outbox_has_a_header_and_no_rows(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.final() == []
    done = digitd("results", "--config", tmp_path / "config.yaml")
    assert done.stdout == ",".join(COLUMNS) + "\n"
