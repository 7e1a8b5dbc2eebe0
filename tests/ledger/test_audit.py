"""The audit of books that balance, and of each way in which they may not."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.config import Config
from daemon.intake.claims import Claims
from daemon.layout import TABLE
from daemon.ledger import rows
from daemon.ledger.audit import Audit, audit
from daemon.ledger.outbox import Outbox
from daemon.records import Job, Result, Status, Verdict

if TYPE_CHECKING:
    from pathlib import Path

SEVEN = Verdict(Status.OK, 7, 0.99, (0.09,) * 11)


class Books:
    """An inbox and an outbox, kept by the very parts that the daemon keeps them with."""

    def __init__(self, folder: Path) -> None:
        self.config = Config(inbox=folder / "inbox", outbox=folder / "outbox")
        self.config.inbox.mkdir()
        self.config.outbox.mkdir()
        self.table = self.config.outbox / TABLE
        self.work = self.config.inbox / ".digitd"
        self.claims = Claims(self.config.inbox)
        self.outbox = Outbox(self.config.outbox)
        self.open()

    def open(self) -> None:
        self.claims.tend()
        self.outbox.tend()

    def close(self) -> None:
        self.claims.close()
        self.outbox.close()

    def claim(self, name: str) -> Job:
        (self.config.inbox / name).write_bytes(name.encode())
        job = self.claims.claim(name)
        assert job is not None
        return job

    def commit(self, name: str) -> tuple[Job, rows.Row]:
        job = self.claim(name)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        job.picture_path.write_bytes(b"picture")
        (row,) = self.outbox.commit([Result(job, SEVEN, sha256, "m", has_picture=True)])
        return job, row

    def file(self, name: str) -> rows.Row:
        _, row = self.commit(name)
        self.outbox.publish(row.placement)
        return row

    def audit(self) -> Audit:
        return audit(self.config)

    @property
    def breaks(self) -> list[str]:
        return list(self.audit().breaks)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """Keep books of two files that balance, with no digitd running."""
    books = Books(tmp_path)
    books.file("digit1.png")
    books.file("digit2.png")
    books.close()
    return books


def only(breaks: list[str]) -> str:
    (one,) = breaks
    return one


def test_books_that_balance_have_no_break(books: Books) -> None:
    seen: list[int] = []
    assert audit(books.config, seen.append) == Audit(rows=2, files=2, in_work=0, breaks=())
    assert sum(seen) == 2


def test_nothing_at_all_balances(tmp_path: Path) -> None:
    config = Config(inbox=tmp_path / "a", outbox=tmp_path / "b")
    assert audit(config) == Audit(0, 0, 0, ())


@pytest.mark.parametrize("place", ["originals", "annotated"])
def test_a_missing_file_is_named_with_its_row(books: Books, place: str) -> None:
    (books.config.outbox / place / "digit1.png").unlink()
    said = only(books.breaks)
    assert f"{place}/digit1.png is missing" in said
    assert said.startswith("row d")


def test_a_picture_that_a_power_failure_emptied_is_named(books: Books) -> None:
    os.truncate(books.config.outbox / "annotated/digit1.png", 0)
    assert "annotated/digit1.png is missing or empty" in only(books.breaks)


def test_an_original_with_other_bytes_is_found_by_its_sha256(books: Books) -> None:
    (books.config.outbox / "originals/digit2.png").write_bytes(b"digit3.png")
    assert "originals/digit2.png is not the file that was read" in only(books.breaks)


@pytest.mark.parametrize("place", ["originals", "annotated", "failed"])
@pytest.mark.parametrize("name", ["mine.png", "mine.part", "zeile\n2.png"])
def test_a_file_without_a_row_is_named(books: Books, place: str, name: str) -> None:
    (books.config.outbox / place / name).write_bytes(b"")
    said = only(books.breaks)
    assert said.startswith(f"{place}/{rows.printable(name)}: no row names it")


def test_a_copy_in_the_making_is_no_stranger(books: Books) -> None:
    (books.config.outbox / "originals" / f".{ids.Ids().next()}.part").write_bytes(b"half")
    assert books.breaks == []


def test_a_doubled_row_is_named_once_for_its_id_and_once_for_its_file(books: Books) -> None:
    with books.table.open("ab") as file:
        file.write(books.table.read_bytes().splitlines(keepends=True)[-1])
    assert sorted(line.split(" the ")[1].split()[0] for line in books.breaks) == ["id", "original"]


def test_a_torn_last_row_is_named_and_its_file_is_a_stranger(books: Books) -> None:
    books.table.write_bytes(books.table.read_bytes()[:-30])
    assert any("a torn row" in line for line in books.breaks)
    assert any("originals/digit2.png: no row names it" in line for line in books.breaks)


def test_a_line_that_is_no_row_is_named_by_its_number(books: Books) -> None:
    with books.table.open("ab") as file:
        file.write(b"a note of mine\n")
    assert only(books.breaks) == f"{TABLE}, line 4: not a whole row; mend or remove the line"


def test_a_table_without_its_header_is_named(books: Books) -> None:
    lines = books.table.read_bytes().splitlines(keepends=True)
    books.table.write_bytes(b"mine\n" + b"".join(lines[1:]))
    assert only(books.breaks).startswith(f"{TABLE}: the first line is not the header")


@pytest.mark.parametrize("left", [None, b""], ids=["moved", "moved, an empty one made"])
def test_a_table_that_logrotate_moved_makes_no_strangers_of_its_files(
    books: Books, left: bytes | None
) -> None:
    books.table.rename(books.config.outbox / f"{TABLE}.1")
    if left is not None:
        books.table.write_bytes(left)
    assert books.breaks == []
    books.open()
    books.file("digit3.png")
    books.close()
    assert books.audit() == Audit(rows=1, files=3, in_work=0, breaks=())


@pytest.mark.parametrize("name", ["digit3.png", "family.name", "my.picture"])
def test_a_claimed_file_is_stuck_when_no_digitd_runs(books: Books, name: str) -> None:
    books.open()
    books.claim(name)
    running = books.audit()
    assert (running.in_work, running.breaks) == (1, ())
    books.close()
    assert "claimed and not read yet; the next start of digitd reads it" in only(books.breaks)


def test_a_committed_file_is_stuck_when_no_digitd_runs(books: Books) -> None:
    books.open()
    books.commit("digit3.png")
    running = books.audit()
    assert (running.rows, running.in_work, running.breaks) == (3, 1, ())
    books.close()
    assert any("has its row and was not published" in line for line in books.breaks)


def test_a_stranger_in_the_work_folder_is_named_running_or_not(books: Books) -> None:
    (books.work / "notes.txt").write_bytes(b"")
    assert "notes.txt: a stranger in the work folder" in only(books.breaks)
    books.open()
    assert "notes.txt: a stranger in the work folder" in only(books.breaks)
    books.close()
