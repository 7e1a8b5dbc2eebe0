"""The audit of a consistent outbox, and of each possible discrepancy."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.config import Config
from daemon.inbox.claims import Claims
from daemon.layout import TABLE
from daemon.outbox import rows
from daemon.outbox.audit import Audit, find_discrepancies
from daemon.outbox.outbox import Outbox
from daemon.records import Job, Result
from daemon.text import printable
from support.factories import SURE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Books:
    """An inbox and an outbox, filled with the same code as in the daemon."""

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
        self.claims.ensure_open()
        self.outbox.ensure_open()

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
        (row,) = self.outbox.commit([Result(job, SURE, sha256, "m", has_picture=True)])
        return job, row

    def file(self, name: str) -> rows.Row:
        _, row = self.commit(name)
        self.outbox.publish(row.result.job, row.placement)
        return row

    def audit(self) -> Audit:
        return find_discrepancies(self.config)

    @property
    def discrepancies(self) -> list[str]:
        return list(self.audit().discrepancies)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """Return consistent folders with two published files and no digitd running."""
    books = Books(tmp_path)
    books.file("digit1.png")
    books.file("digit2.png")
    books.close()
    return books


def only(discrepancies: list[str]) -> str:
    (one,) = discrepancies
    return one


def test_consistent_outbox_has_no_discrepancies(books: Books) -> None:
    seen: list[int] = []
    assert find_discrepancies(books.config, seen.append) == Audit(rows=2, files=2, in_flight=0)
    assert sum(seen) == 2


def test_missing_folders_have_no_discrepancies(tmp_path: Path) -> None:
    config = Config(inbox=tmp_path / "a", outbox=tmp_path / "b")
    assert find_discrepancies(config) == Audit(0, 0, 0, ())


def test_missing_inbox_is_a_discrepancy(books: Books, tmp_path: Path) -> None:
    books.config.inbox.rename(tmp_path / "away")
    found = only(list(find_discrepancies(books.config).discrepancies))
    assert found.startswith(
        f"inbox: {books.config.inbox} is missing, so the files in it are not counted; mount"
    )


@pytest.mark.parametrize("place", ["originals", "annotated"])
def test_missing_file_is_reported_with_its_row(books: Books, place: str) -> None:
    (books.config.outbox / place / "digit1.png").unlink()
    said = only(books.discrepancies)
    assert f"{place}/digit1.png is missing" in said
    assert said.startswith("row d")


def test_empty_picture_is_reported(books: Books) -> None:
    os.truncate(books.config.outbox / "annotated/digit1.png", 0)
    assert "annotated/digit1.png is missing or empty" in only(books.discrepancies)


def test_changed_original_is_reported(books: Books) -> None:
    (books.config.outbox / "originals/digit2.png").write_bytes(b"digit3.png")
    assert "originals/digit2.png is not the file that was read" in only(books.discrepancies)


@pytest.mark.parametrize("place", ["originals", "annotated", "failed"])
@pytest.mark.parametrize("name", ["mine.png", "mine.part", "zeile\n2.png"])
def test_file_without_a_row_is_reported(books: Books, place: str, name: str) -> None:
    (books.config.outbox / place / name).write_bytes(b"")
    said = only(books.discrepancies)
    assert said.startswith(f"{place}/{printable(name)}: no row names it")


def test_unfinished_copy_is_not_reported(books: Books) -> None:
    (books.config.outbox / "originals" / f".{ids.Ids().next()}.part").write_bytes(b"half")
    assert books.discrepancies == []


def test_duplicate_row_is_reported_for_its_id_and_for_its_original(books: Books) -> None:
    with books.table.open("ab") as file:
        file.write(books.table.read_bytes().splitlines(keepends=True)[-1])
    found = books.discrepancies
    assert sorted(line.split(" the ")[1].split()[0] for line in found) == ["id", "original"]


def test_torn_last_row_is_reported_and_so_is_its_file(books: Books) -> None:
    books.table.write_bytes(books.table.read_bytes()[:-30])
    assert any("a torn row" in line for line in books.discrepancies)
    assert any("originals/digit2.png: no row names it" in line for line in books.discrepancies)


def test_row_that_lacks_only_its_newline_is_a_row(books: Books) -> None:
    books.table.write_bytes(books.table.read_bytes()[:-1])
    assert only(books.discrepancies) == (
        f"{TABLE}: the last line has no newline; digitd adds it at the next start, and until then "
        "`results` leaves the row out"
    )
    books.table.rename(books.table.with_name(f"{TABLE}.1"))
    said = only([line for line in books.discrepancies if "newline" in line])
    assert said.startswith(f"{TABLE}.1: the last line has no newline; add it, and until then")


def test_malformed_line_is_reported_by_its_number(books: Books) -> None:
    with books.table.open("ab") as file:
        file.write(b"a note of mine\n")
    said = only(books.discrepancies)
    assert said == f"{TABLE}, line 4: not a complete row; fix or remove the line"


def test_table_without_a_header_is_reported(books: Books) -> None:
    lines = books.table.read_bytes().splitlines(keepends=True)
    books.table.write_bytes(b"mine\n" + b"".join(lines[1:]))
    assert only(books.discrepancies).startswith(f"{TABLE}: the first line is not the header")


@pytest.mark.parametrize("left", [None, b""], ids=["moved", "moved, an empty one made"])
def test_rotated_table_is_checked_too(books: Books, left: bytes | None) -> None:
    moved = books.config.outbox / f"{TABLE}.1"
    books.table.rename(moved)
    if left is not None:
        books.table.write_bytes(left)
    assert books.audit() == Audit(rows=2, files=2, in_flight=0)
    books.open()
    books.file("digit3.png")
    books.close()
    assert books.audit() == Audit(rows=3, files=3, in_flight=0)
    (books.config.outbox / "originals/digit1.png").unlink()
    assert "originals/digit1.png is missing" in only(books.discrepancies)
    with moved.open("ab") as file:
        file.write(b"a note of mine\n")
    assert books.discrepancies[0].startswith(f"{moved.name}, line 4: not a complete row")


def test_copy_of_a_table_adds_no_rows(books: Books) -> None:
    (books.config.outbox / f"{TABLE}.bak").write_bytes(books.table.read_bytes())
    assert books.audit() == Audit(rows=2, files=2, in_flight=0)


@pytest.mark.parametrize("name", ["digit3.png", "family.name", "my.picture"])
def test_claimed_file_is_reported_if_digitd_is_not_running(books: Books, name: str) -> None:
    books.open()
    books.claim(name)
    running = books.audit()
    assert (running.in_flight, running.discrepancies) == (1, ())
    books.close()
    said = only(books.discrepancies)
    assert "claimed but not read yet; digitd reads it at the next start" in said


def test_unpublished_file_is_reported_if_digitd_is_not_running(books: Books) -> None:
    books.open()
    books.commit("digit3.png")
    running = books.audit()
    assert (running.rows, running.in_flight, running.discrepancies) == (3, 1, ())
    books.close()
    assert any("has a row but is not published" in line for line in books.discrepancies)


def test_foreign_file_in_the_work_folder_is_always_reported(books: Books) -> None:
    (books.work / "notes.txt").write_bytes(b"")
    assert "notes.txt: does not belong in the work folder" in only(books.discrepancies)
    books.open()
    assert "notes.txt: does not belong in the work folder" in only(books.discrepancies)
    books.close()


def test_files_of_other_programs_are_notes(books: Books) -> None:
    foreign = [
        "status (conflicted copy 2026-11-28 101010)",
        "attempts.sync-conflict-20261128-101010-ABCDEFG",
        "attempts_conflict-20261128-101010",
        "attempts (конфликтующая копия 2026-11-28)",
        "status (1)",
        "attempts 2",
        "attempts-LAPTOP-7",
        ".stfolder",
        ".owncloudsync.log",
        ".syncthing.status.tmp",
        "~$status",
        ".DS_Store",
        ".nfs000000000001",
    ]
    for name in foreign:
        (books.work / name).write_bytes(b"theirs")
    (books.config.outbox / "annotated/.DS_Store").write_bytes(b"theirs")
    (books.config.outbox / "originals/Thumbs.db").write_bytes(b"theirs")
    for running in (True, False):
        books.open() if running else books.close()
        audit = books.audit()
        assert audit.discrepancies == ()
        assert len(audit.notes) == len(foreign) + 2
        assert f".digitd/{foreign[0]}: was left by a sync program" in "".join(audit.notes)


def test_copies_of_claimed_files_are_notes_and_left_alone(
    books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    books.open()
    job, row = books.commit("digit3.png")
    waiting = books.claim("digit4.png")
    copies = [f"{job.id}-digit3 (conflicted copy).png", f"{waiting.id}-digit4 (conflict) 2.png"]
    for name in copies:
        (books.work / name).write_bytes(b"theirs")
    books.close()
    books.open()
    assert [one.path for one in books.claims.leftovers()] == [job.path, waiting.path]
    assert caplog.text.count("has the id of another claimed file and is left alone") == 2
    books.outbox.publish(job, row.placement)
    # The copy is all that is left of the id, as after a kill and a start.
    (left,) = (one for one in books.claims.leftovers() if one.id == job.id)
    books.outbox.publish(left, row.placement)
    assert (books.config.outbox / row.original).read_bytes() == b"digit3.png"
    assert "a sync program has copied a file that is published" in caplog.text
    books.close()
    audit = books.audit()
    assert "claimed but not read yet" in only(list(audit.discrepancies))
    assert len(audit.notes) == 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda table: table.replace(b",", b";"),
            "none of its 2 lines is a row: its columns are not separated by commas",
        ),
        (
            lambda table: table.decode().encode("utf-16"),
            "it is not UTF-8: a spreadsheet may have saved it as Unicode, which is UTF-16",
        ),
        (
            lambda table: table.replace(b"\n", b"\r"),
            "has no row: its lines end with CR alone: save it with LF or CRLF",
        ),
        (lambda table: table.replace(b"T", b" "), "none of its 2 lines is a row; save it as CSV"),
    ],
)
def test_table_of_which_nothing_can_be_read_is_two_lines(
    books: Books, spoil: Callable[[bytes], bytes], said: str
) -> None:
    books.table.write_bytes(spoil(books.table.read_bytes()))
    table, others = books.discrepancies
    assert table.startswith(f"{TABLE}: {said}")
    assert table.endswith("save it as CSV in UTF-8 with commas, or restore it from a backup")
    assert others.startswith(f"4 files without a row: run this again when {TABLE} can be read")


def test_rows_of_other_tables_are_checked_beside_one_that_cannot_be_read(books: Books) -> None:
    books.table.rename(books.config.outbox / f"{TABLE}.1")
    books.open()
    books.file("digit3.png")
    books.close()
    books.table.write_bytes(books.table.read_bytes().replace(b",", b"\t"))
    (books.config.outbox / "originals/digit1.png").unlink()
    table, row, others = books.discrepancies
    assert table.startswith(f"{TABLE}: none of its 1 line is a row: its columns are not separated")
    assert "originals/digit1.png is missing" in row
    assert others.startswith("2 files without a row")


def test_missing_table_is_one_line(books: Books) -> None:
    books.table.unlink()
    said = only(books.discrepancies)
    assert said == f"{TABLE}: has no rows, and there are 4 files: restore it from a backup"


@pytest.mark.parametrize("folder", ["originals", "annotated"])
def test_missing_folder_is_one_line(books: Books, folder: str) -> None:
    (books.config.outbox / folder).rename(books.config.outbox.parent / folder)
    said = only(books.discrepancies)
    assert said.startswith(f"{folder}/: is missing, with 2 files that rows name; put it back")


def test_malformed_lines_after_each_other_are_one_line(books: Books) -> None:
    with books.table.open("ab") as file:
        file.write(b"a note\nof mine\n")
    said = only(books.discrepancies)
    assert said == f"{TABLE}, lines 4 to 5: not a complete row; fix or remove the lines"
