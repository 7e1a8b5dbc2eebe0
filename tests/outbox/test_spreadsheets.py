"""Tables that a spreadsheet or an editor has saved: used as they are, or refused unchanged."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from daemon.config import load
from daemon.errors import ConfigError
from daemon.layout import LABELS, TABLE
from daemon.loop.startup import check_folders
from daemon.loop.status import read_status
from daemon.outbox import labels
from daemon.outbox.audit import find_discrepancies
from daemon.outbox.outbox import Outbox
from daemon.outbox.results import final_rows
from support.daemon import STAND_IN, Daemon, digitd, run_once
from support.factories import number
from support.stand_in import png_like
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.daemon import Box
    from support.site import Site

BOM = b"\xef\xbb\xbf"


def excel(table: bytes) -> bytes:
    return BOM + table.replace(b"\n", b"\r\n")


def quote_all(table: bytes) -> bytes:
    out = io.StringIO()
    rows = csv.reader(io.StringIO(table.decode()))
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def add_empty_columns(table: bytes) -> bytes:
    return table.replace(b"\n", b",,\r\n")


def reformat_numbers(table: bytes) -> bytes:
    return table.replace(b"0.990000", b'"9,90E-01"').replace(b"0.090000", b"9.00E-02")


def cut_last_newline(table: bytes) -> bytes:
    return table.removesuffix(b"\n")


@pytest.fixture
def read(box: Box) -> Box:
    """Return a box with two rows and an answer to the first."""
    for name in ("Zähler 1.png", "b, c.png"):
        box.drop(name, png_like(f"good {name}"))
    run_once(box)
    row = box.row("Zähler 1.png")
    given = (row["id"], row["sha256"], "4", "Ana", "now", row["model"], "7", "0.99", "import")
    labels.append(box.outbox, labels.Answer(*given))
    return box


@pytest.mark.parametrize(
    "save",
    [
        excel,
        lambda table: add_empty_columns(quote_all(table)),
        lambda table: cut_last_newline(reformat_numbers(table)),
    ],
)
def test_saved_tables_are_used_as_they_are(read: Box, save: Callable[[bytes], bytes]) -> None:
    saved = {}
    for name in (TABLE, LABELS):
        path = read.outbox / name
        path.write_bytes(save(path.read_bytes()))
        saved[path] = path.read_bytes()
    read.drop("digit3.png", png_like("good digit3.png"))
    run_once(read)
    third = json.loads(
        digitd("results", "--format", "jsonl", "--config", read.config).stdout.splitlines()[2]
    )
    given = (third["id"], third["sha256"], "5", "Ana", "now", "m", "7", "0.99", "import")
    labels.append(read.outbox, labels.Answer(*given))
    for path, content in saved.items():
        assert path.read_bytes().startswith(content)
    csv_ = digitd("results", "--config", read.config)
    json_ = digitd("results", "--format", "jsonl", "--config", read.config)
    answers = [
        [(one["file"], one["answer"], one["p0"]) for one in rows]
        for rows in (
            csv.DictReader(io.StringIO(csv_.stdout)),
            map(json.loads, json_.stdout.splitlines()),
        )
    ]
    assert answers[1] == [
        ("Zähler 1.png", "4", 0.09),
        ("b, c.png", "7", 0.09),
        ("digit3.png", "5", 0.09),
    ]
    assert [one[:2] for one in answers[0]] == [one[:2] for one in answers[1]]
    assert not csv_.stderr + json_.stderr
    audit = digitd("audit", "--config", read.config)
    assert audit.returncode == 0, audit.stdout
    status = json.loads(digitd("status", "--json", "--config", read.config).stdout)
    assert (status["ok"], status["last"]["confidence"]) == (3, 0.99)


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (lambda table: table.decode().encode("utf-16"), "it is not UTF-8"),
        (lambda table: table.replace(b",", b";"), "its columns are not separated by commas"),
        (lambda table: table.replace(b",", b"\t"), "its columns are not separated by commas"),
        (lambda table: table.replace(b"\n", b"\r"), "its lines end with CR alone"),
        (lambda table: table.partition(b"\n")[2], "its first line is missing"),
        (lambda table: b"\n" + table, "it is another file"),
        (lambda table: table.replace(b"id,", b"ID,", 1), "it lacks id and has also 'ID'"),
        (lambda table: table.replace(b"\n", b",seen\n", 1), "it has also 'seen'"),
        (lambda table: quote_all(table).split(b"\n")[0], "no line"),
    ],
)
@pytest.mark.parametrize("name", [TABLE, LABELS])
def test_saved_table_that_cannot_be_used_is_refused_unchanged(
    site: Site, name: str, save: Callable[[bytes], bytes], said: str
) -> None:
    row = site.add("digit1.png")
    answer = labels.Answer(row, "", "5", "Ana", "now", "m", "7", "0.99", "import")
    labels.append(site.outbox, answer)
    path = site.outbox / name
    path.write_bytes(save(path.read_bytes()))
    before = path.read_bytes()
    config = load(site.config)
    message = re.escape(f"{path}: does not begin with digitd's columns ({said}")
    with pytest.raises(ConfigError, match=message):
        next(final_rows(site.outbox))
    if name == TABLE:
        with pytest.raises(ConfigError, match=message):
            check_folders(config)
        with pytest.raises(ConfigError, match=message):
            Outbox(site.outbox).ensure_open()
        assert find_discrepancies(config).discrepancies
    else:
        with pytest.raises(ConfigError, match=message):
            labels.append(site.outbox, answer)
    read_status(config)
    assert path.read_bytes() == before


def test_start_on_a_table_of_a_spreadsheet_says_what_to_do(read: Box) -> None:
    read.table.write_bytes(read.table.read_bytes().replace(b",", b";"))
    done = digitd("run", "--once", "--config", read.config)
    assert done.returncode == 78
    assert done.stderr.splitlines()[-1] == (
        f"digitd: {read.table}: does not begin with digitd's columns (its columns are not "
        "separated by commas): save it as CSV in UTF-8 with commas and these columns, move it "
        "away, or name another outbox"
    )


def test_rows_that_a_spreadsheet_spoilt_are_named(read: Box) -> None:
    text = read.table.read_bytes()
    dates = re.sub(rb"(\d{4})-(\d\d)-(\d\d)T", rb"\3.\2.\1 ", text.splitlines()[2])
    read.table.write_bytes(text.replace(text.splitlines()[2], dates).replace("ä".encode(), b"\xe4"))
    results = digitd("results", "--config", read.config)
    assert len(results.stdout.splitlines()) == 2
    assert results.stderr.startswith("digitd: ")
    command = f"`digitd audit --config {read.config}`"
    assert f"left out 1 line that is not a row: {command} says which" in results.stderr
    audit = digitd("audit", "--config", read.config)
    assert audit.returncode == 1
    assert "predictions.csv, line 2: is not UTF-8, a spreadsheet may have saved it" in audit.stdout
    assert "predictions.csv, line 3: not a complete row; fix or remove the line" in audit.stdout


def test_lines_that_are_no_answers_are_mentioned(read: Box) -> None:
    row = read.rows()[0]
    answer = f"{row['id']},{row['sha256']},LABEL,Ana,2026-11-25T09:05:07Z,,,,import\n"
    lines = [answer.replace("LABEL", each) for each in ("4", "4 0", "seven", "None")]
    empty = ",,,,,,,,\n"
    table = read.outbox / LABELS
    table.write_text(labels.HEADER + lines[0] + empty + "".join(lines[1:]) + "x,y,4\n")
    results = digitd("results", "--config", read.config)
    assert results.returncode == 0
    assert results.stdout.splitlines()[1].endswith(",4,person")
    assert f"{table}: left out 4 lines, the first in line 4: an answer has" in results.stderr
    table.write_text(labels.HEADER + lines[0] + empty)
    assert not digitd("results", "--config", read.config).stderr


def save_numbers(table: bytes) -> bytes:
    """Return a table as a spreadsheet saves it that takes cells for numbers and dates."""
    text = re.sub(r"(?<=,)[01]\.[0-9]{6}(?=,)", lambda cell: f"{float(cell[0]):g}", table.decode())
    text = re.sub(r"(?<=,)0+(?=[1-9][0-9]*,)", "", text)
    return text.replace(",3/4,", ",03. Apr,").replace(",-3,", ",#NAME?,").encode()


@pytest.fixture
def numbers(site: Site) -> Site:
    """Return a box in which numbers were read, and saved by a spreadsheet."""
    site.configure(reads="number")
    for name, text in (("a", "10"), ("b", "3/4"), ("c", "0471"), ("d", "05"), ("e", "-3")):
        site.add(f"{name}.png", number(text))
    assert not digitd("results", "--config", site.config).stderr
    site.table.write_bytes(save_numbers(site.table.read_bytes()))
    site.add("f.png", number("077"))
    return site


def test_cells_that_are_no_numbers_any_more_are_named_and_give_no_answer(numbers: Site) -> None:
    done = digitd("results", "--format", "jsonl", "--config", numbers.config)
    assert done.returncode == 0
    found = {one["file"][0]: one for one in map(json.loads, done.stdout.splitlines())}
    given = {name: (one["digit"], one["answer"], one["status"]) for name, one in found.items()}
    assert given["b"] == given["e"] == (None, None, "ok")
    assert given["f"] == ("077", "077", "ok")
    command = f"`digitd reread --config {numbers.config}`"
    first, second = done.stderr.splitlines()
    assert first == (
        f"digitd: {numbers.table}: 2 rows without a digit, the first in line 3: '03. Apr' is no "
        "number, a spreadsheet may have changed it; restore the cell, or read the files again "
        f"with {command}"
    )
    assert second.startswith(
        f"digitd: {numbers.table}: was saved by a spreadsheet, which wrote the confidence 0.99 in "
        "line 5: it may have taken leading zeros from 3 numbers up to there; restore the table"
    )
    table = digitd("results", "--config", numbers.config).stdout
    assert "Apr" not in table
    assert "NAME" not in table
    audit = digitd("audit", "--config", numbers.config)
    assert audit.returncode == 1
    lines = [line for line in audit.stdout.splitlines() if "is no number" in line]
    assert [line.partition(": ")[0] for line in lines] == [
        "predictions.csv, line 3",
        "predictions.csv, line 6",
    ]


def test_answers_and_rereads_replace_cells_that_are_no_numbers(numbers: Site) -> None:
    right = {"a": "10", "c": "0471", "d": "05", "e": "-3"}
    numbers.reread("a" * 12, {f"{name}.png": number(text) for name, text in right.items()})
    row = numbers.row("b.png")
    given = (row["id"], row["sha256"], "3/4", "Ana", "now", "m", "", "0.990000", "queue")
    labels.append(numbers.outbox, labels.Answer(*given))
    done = digitd("results", "--format", "jsonl", "--config", numbers.config)
    answers = {one["file"][0]: one["answer"] for one in map(json.loads, done.stdout.splitlines())}
    assert answers == right | {"b": "3/4", "f": "077"}
    assert not done.stderr


def test_table_whose_zeros_are_still_there_is_not_suspected(site: Site) -> None:
    for name, text in (("a", "0471"), ("b", "10")):
        site.add(f"{name}.png", number(text))
    saved = re.sub(rb"0\.990000", b"0.99", site.table.read_bytes())
    site.table.write_bytes(saved)
    assert not digitd("results", "--config", site.config).stderr


def test_answers_that_may_have_lost_zeros_are_named(site: Site) -> None:
    for name, text in (("a", "0471"), ("b", "0815")):
        site.add(f"{name}.png", number(text))
    for row in site.rows():
        cells = (row["id"], row["sha256"], row["digit"], "Ana", "now", "m", row["digit"])
        labels.append(site.outbox, labels.Answer(*cells, row["confidence"], "queue"))
    table = site.outbox / LABELS
    table.write_bytes(save_numbers(table.read_bytes()))
    done = digitd("results", "--config", site.config)
    assert (
        f"{table}: was saved by a spreadsheet, which wrote the confidence 0.99 in line 3: it may "
        "have taken leading zeros from 2 numbers up to there; restore the table, or answer the "
        "files again"
    ) in done.stderr


def test_table_that_is_saved_wrongly_while_digitd_runs_pauses_it(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        box.drop("digit1.png", png_like("good"))
        box.wait_for_rows(1)
        table = box.outbox / TABLE
        good, written_at = table.read_bytes(), table.stat().st_mtime_ns

        def has_saved() -> bool:
            table.write_bytes(good.replace(b",", b";"))
            return table.stat().st_mtime_ns != written_at

        # digitd sees a change of the same size by its time, which may have steps of 10 ms.
        until(has_saved, "a later time")
        box.drop("digit2.png", png_like("good"))
        running.wait_for_log("paused, files stay in the inbox")
        # The status is written after the log.
        until(
            lambda: "not separated by commas" in str(read_status(load(box.config))["why"]),
            lambda: f"the reason, and not {read_status(load(box.config))}",
        )
        assert table.read_bytes() == good.replace(b",", b";")
        table.write_bytes(good)
        assert [row["file"] for row in box.wait_for_rows(2)] == ["digit1.png", "digit2.png"]
        running.wait_for_log("resumed")


@pytest.mark.parametrize("how", ["saved", "replaced", "broken", "emptied"])
def test_rows_that_an_older_copy_overwrites_are_reported(box: Box, how: str) -> None:
    with Daemon(box, STAND_IN) as running:
        box.drop("digit1.png", png_like("good"))
        box.wait_for_rows(1)
        table = box.outbox / TABLE
        older = table.read_bytes()
        box.drop("digit2.png", png_like("good"))
        lost = box.wait_for_rows(2)[-1]["id"]
        match how:
            case "saved":
                table.write_bytes(older)
            case "replaced":
                copy = table.with_name("saving")
                copy.write_bytes(older)
                copy.rename(table)
            case "broken":
                table.write_bytes(older.replace(b",", b";"))
            case "emptied":
                table.write_bytes(b"")
        box.drop("digit3.png", png_like("good"))
        if how == "broken":
            running.wait_for_log("paused, files stay in the inbox")
            table.write_bytes(older)
        running.wait_for_log(f"without its newest rows, up to {lost}")
        files = ["digit3.png"] if how == "emptied" else ["digit1.png", "digit3.png"]
        assert [row["file"] for row in box.wait_for_rows(len(files))] == files
