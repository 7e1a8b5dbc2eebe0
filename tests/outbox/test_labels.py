"""Answers are appended durably by real processes that are killed, and read back."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon import ids
from daemon.errors import ConfigError
from daemon.layout import LABELS
from daemon.outbox import labels, rows
from daemon.outbox.labels import Answer
from support.daemon import ROOT, files_limited_to
from support.factories import own_labels
from support.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = (ids.encode(number << 12) for number in (1, 2))
SEVEN = Answer(
    FIRST, "ab" * 32, "7", "Ana", "2026-11-25T09:05:07.042Z", "model1", "1", "0.512345", "queue"
)
ROW = f"{FIRST},{'ab' * 32},7,Ana,2026-11-25T09:05:07.042Z,model1,1,0.512345,queue\n"
# Appends answers for ever, and prints each id after its answer is stored.
APPENDER = """
import sys
from dataclasses import replace
from pathlib import Path
from daemon import ids
from daemon.outbox import labels, rows
from tests.outbox.test_labels import SEVEN
issued = ids.Ids()
while True:
    answer = replace(SEVEN, id=issued.next(), by=sys.argv[2])
    labels.append(Path(sys.argv[1]), answer)
    print(answer.id, flush=True)
"""


def text(outbox: Path) -> str:
    return (outbox / LABELS).read_text(encoding="utf-8")


def test_columns_match_the_documented_format() -> None:
    assert labels.HEADER == "id,sha256,label,by,at,model,digit,confidence,source\n"


def test_first_answer_creates_the_file_with_its_header(tmp_path: Path) -> None:
    labels.append(tmp_path, SEVEN)
    assert text(tmp_path) == labels.HEADER + ROW
    assert list(labels.read(tmp_path)) == [SEVEN]


def test_last_answer_for_a_row_wins_and_undo_removes_it(tmp_path: Path) -> None:
    for row, label in ((FIRST, "7"), (SECOND, "none"), (FIRST, "1"), (SECOND, "undo")):
        labels.append(tmp_path, replace(SEVEN, id=row, label=label))
    assert own_labels(tmp_path) == {FIRST: "1"}
    labels.append(tmp_path, replace(SEVEN, id=SECOND, label="0471"))
    assert own_labels(tmp_path) == {FIRST: "1", SECOND: "0471"}


def test_missing_file_has_no_answers(tmp_path: Path) -> None:
    assert own_labels(tmp_path) == {}


@pytest.mark.parametrize("label", ["7", "0", "0471", "-1", "1.5", "none", "several", "undo"])
def test_documented_labels_are_allowed(label: str) -> None:
    assert labels.is_label(label)


@pytest.mark.parametrize("label", ["", "x", "1-", "1..5", "٣", "7 ", "7\n", "None", "1" * 33])
def test_other_labels_are_refused(label: str) -> None:
    assert not labels.is_label(label)
    assert labels.parse(ROW.replace(",7,", f",{label},")) is None


def test_no_prefix_of_a_row_is_parsed_as_a_row() -> None:
    row = ROW.rstrip("\n")
    assert labels.parse(row) == SEVEN
    assert not [cut for cut in range(len(row)) if labels.parse(row[:cut])]


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(), max_size=30))
@example("=HYPERLINK(1)")
@example('","\r\n')
@example("\u2028\x00")
def test_no_name_can_break_a_line_or_be_a_formula(name: str) -> None:
    row = rows.csv_line(astuple(replace(SEVEN, by=name)))
    assert len(row.splitlines()) == 1
    cells = next(csv.reader(io.StringIO(row)))
    assert not cells[3].startswith(("=", "+", "-", "@", "\t", "\r"))
    answer = labels.parse(row)
    assert answer is not None
    assert replace(answer, by="Ana") == SEVEN
    frame = pd.read_csv(io.StringIO(labels.HEADER + row), dtype=str, keep_default_na=False)
    assert frame.to_numpy().tolist() == [cells]


def test_row_torn_at_any_byte_is_skipped_and_then_cut_off(tmp_path: Path) -> None:
    whole = labels.HEADER + ROW
    torn = ROW.replace(FIRST, SECOND)
    for cut in range(len(torn) - 1):
        (tmp_path / LABELS).write_text(whole + torn[:cut])
        assert own_labels(tmp_path) == {FIRST: "7"}
        labels.append(tmp_path, replace(SEVEN, label="8"))
        assert text(tmp_path) == whole + ROW.replace(",7,", ",8,")


def test_header_torn_at_any_byte_is_written_again(tmp_path: Path) -> None:
    for cut in range(len(labels.HEADER)):
        (tmp_path / LABELS).write_text(labels.HEADER[:cut])
        assert own_labels(tmp_path) == {}
        labels.append(tmp_path, SEVEN)
        assert text(tmp_path) == labels.HEADER + ROW


def test_blocks_of_zeros_after_a_power_failure_are_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / LABELS).write_text(labels.HEADER + ROW + "\0" * 5000)
    assert own_labels(tmp_path) == {FIRST: "7"}
    labels.append(tmp_path, SEVEN)
    assert text(tmp_path) == labels.HEADER + 2 * ROW
    assert "cut a torn row of 5000 bytes" in caplog.text


def test_file_from_an_editor_without_a_last_newline_loses_no_answer(tmp_path: Path) -> None:
    (tmp_path / LABELS).write_text(labels.HEADER + ROW.rstrip("\n"))
    assert own_labels(tmp_path) == {FIRST: "7"}
    labels.append(tmp_path, replace(SEVEN, id=SECOND))
    assert own_labels(tmp_path) == {FIRST: "7", SECOND: "7"}


def test_fifo_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LABELS)
    with pytest.raises(OSError, match="it is not a regular file"):
        own_labels(tmp_path)


def test_file_with_other_columns_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / LABELS).write_text("name;label\nmine;7")
    for use in (lambda: labels.append(tmp_path, SEVEN), lambda: own_labels(tmp_path)):
        with pytest.raises(ConfigError, match=r"labels\.csv: does not begin with digitd's columns"):
            use()
    assert text(tmp_path) == "name;label\nmine;7"


def test_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / LABELS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        labels.append(tmp_path, SEVEN)
    assert not (tmp_path / "elsewhere").exists()


def test_answer_that_the_disk_has_no_room_for_leaves_no_trace(tmp_path: Path) -> None:
    labels.append(tmp_path, SEVEN)
    before = text(tmp_path)
    with files_limited_to(len(before) + 30), pytest.raises(OSError, match="No space left"):
        labels.append(tmp_path, replace(SEVEN, id=SECOND))
    assert text(tmp_path) == before
    labels.append(tmp_path, replace(SEVEN, id=SECOND))
    assert text(tmp_path) == before + ROW.replace(FIRST, SECOND)


def test_answer_goes_into_the_file_that_is_there_now(tmp_path: Path) -> None:
    labels.append(tmp_path, SEVEN)
    (tmp_path / LABELS).rename(tmp_path / "moved.csv")
    labels.append(tmp_path, replace(SEVEN, id=SECOND))
    assert own_labels(tmp_path) == {SECOND: "7"}


def test_threads_append_at_once(tmp_path: Path) -> None:
    issued = ids.Ids()
    answers = [replace(SEVEN, id=issued.next()) for _ in range(64)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda answer: labels.append(tmp_path, answer), answers))
    assert sorted(answer.id for answer in labels.read(tmp_path)) == [one.id for one in answers]
    assert text(tmp_path).count("id,sha256") == 1


def test_killed_processes_lose_no_acknowledged_answer_and_leave_no_torn_row(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for round_number in range(3):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", APPENDER, str(tmp_path), f"person{number}"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]
        for process in running:
            assert process.stdout is not None
            for _ in range(20 + round_number):
                said = process.stdout.readline().strip()
                assert ids.PATTERN.fullmatch(said), "the process has ended"
                acknowledged.add(said)
        for process in running:
            process.send_signal(signal.SIGKILL)
        for process in running:
            # Through the buffer of readline, which may hold the first part of a line.
            assert process.stdout is not None
            said = process.stdout.read()
            process.stdout.close()
            process.wait(DEADLINE_SECONDS)
            acknowledged |= {line for line in said.split("\n")[:-1] if line}
    assert acknowledged <= own_labels(tmp_path).keys()
    labels.append(tmp_path, replace(SEVEN, id=FIRST))
    lines = text(tmp_path).splitlines(keepends=True)
    assert all(labels.parse(line) for line in lines[1:])
    assert os.path.getsize(tmp_path / LABELS) == sum(len(line) for line in lines)  # noqa: PTH202
