"""`digitd results` on a terminal, and the format that the ending of --out says."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from daemon.outbox import labels
from daemon.outbox.labels import Answer
from daemon.records import Status, Verdict
from support.daemon import DIGITD, ROOT, digitd
from support.factories import SURE
from support.site import Site

if TYPE_CHECKING:
    from pathlib import Path

DOUBTFUL = Verdict(Status.UNSURE, reason="several digits: 2 touch")
BROKEN = Verdict(Status.ERROR, reason="not an image")
SHARED = ("id", "sha256", "model", "digit", "confidence")  # columns of a row and its answer
GIVEN = {"label": "7", "by": "Ana", "at": "2026-11-25T09:00:00.000Z", "source": "queue"}


@pytest.fixture
def filled(site: Site) -> Site:
    """Return a site with a hundred rows, the last ones of each kind."""
    names = [f"digit{number}.png" for number in range(97)]
    verdicts = [(name, SURE) for name in names]
    site.add_all([*verdicts, ("scan of the third box.png", DOUBTFUL), ("last.png", BROKEN)])
    site.add("数字.png")
    return site


def on_terminal(site: Site, width: int, height: int, *arguments: str) -> list[str]:
    """Return the lines that `digitd results` prints on a terminal of this size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    env = {name: value for name, value in env.items() if name not in {"COLUMNS", "LINES"}}
    command = [*DIGITD, "results", "--config", str(site.config), *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        text = b""
        try:
            while block := os.read(ours, 4096):
                text += block
        except OSError:  # the terminal's other end was closed
            pass
    os.close(ours)
    assert process.returncode == 0, text
    return text.decode().splitlines()


def columns_of(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def test_terminal_shows_the_newest_rows_and_how_to_get_all(filled: Site) -> None:
    lines = on_terminal(filled, 80, 24)
    assert len(lines) < 24
    assert columns_of(lines[0]) == ["file", "answer", "by", "status"]
    table = lines[1 : lines.index("")]
    assert columns_of(table[-4]) == ["digit96.png", "7", "model", "ok"]
    assert columns_of(table[-3]) == [
        "scan of the third box.png",
        "unsure: several digits: 2 touch",
    ]
    assert columns_of(table[-2]) == ["last.png", "error: not an image"]
    assert columns_of(table[-1]) == ["数字.png", "7", "model", "ok"]
    note = f"2 rows without an answer: `digitd review --config {filled.config}`"
    # A path that is longer than a line is cut.
    assert "".join(lines[lines.index("") + 1 : -1]).replace(" ", "") == note.replace(" ", "")
    wide = on_terminal(filled, 400, 24)
    assert wide[wide.index("") + 1] == note
    assert lines[-1:] == [
        f"{100 - len(table)} older rows not shown: --out results.csv writes all 100",
    ]


def test_row_of_a_file_that_was_put_back_needs_no_answer(filled: Site) -> None:
    filled.inbox.mkdir(exist_ok=True)
    assert digitd("retry", "last.png", "--config", filled.config).returncode == 0
    assert any(line.startswith("1 row without an answer") for line in on_terminal(filled, 80, 24))


@pytest.mark.parametrize("width", [20, 40, 61])
def test_table_fits_the_width(filled: Site, width: int) -> None:
    lines = on_terminal(filled, width, 12)
    wide = {line: len(line) + 2 * line.count("数字") for line in lines}
    assert [line for line, needed in wide.items() if needed > width] == []
    assert any(line.startswith("sc") and "…" in line for line in lines)


def test_shared_answer_names_the_file_that_was_answered(filled: Site) -> None:
    for name in ("first.png", "second.png"):
        filled.add(name, DOUBTFUL, b"the same bytes")
    first = filled.row("first.png")
    labels.append(filled.outbox, Answer(**{name: first[name] for name in SHARED}, **GIVEN))
    lines = on_terminal(filled, 80, 24)
    assert columns_of(lines[lines.index("") - 1]) == [
        "second.png",
        "7",
        "person",
        "unsure: same file as first.png",
    ]


def test_empty_outbox_says_so(site: Site) -> None:
    site.outbox.mkdir(exist_ok=True)
    assert on_terminal(site, 80, 24) == ["No file has been read yet."]


def test_format_on_a_terminal_prints_every_row(filled: Site) -> None:
    lines = on_terminal(filled, 80, 24, "--format", "csv")
    assert lines == digitd("results", "--config", filled.config).stdout.splitlines()
    assert len(lines) == 101


def test_ending_of_the_file_is_its_format(filled: Site, tmp_path: Path) -> None:
    for name, read in (
        ("a.csv", pd.read_csv),
        ("a.JSONL", lambda path: pd.read_json(path, lines=True)),
        ("a.parquet", pd.read_parquet),
    ):
        done = digitd("results", "--config", filled.config, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert len(read(tmp_path / name)) == 100


@pytest.mark.parametrize("name", ["results.xls", "results", "results.json", ".csv"])
def test_unknown_ending_is_refused(filled: Site, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    done = digitd("results", "--config", filled.config, "--out", out)
    assert done.returncode == 2
    assert f"--out {out}: its ending names no format: use one of .csv, .jsonl" in done.stderr
    assert not out.exists()
    done = digitd("results", "--config", filled.config, "--out", out, "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(out)) == 100
