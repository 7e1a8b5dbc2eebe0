"""Which rows are too old, when clocks were wrong while they were written."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest

from daemon.outbox import expiry
from daemon.outbox.clock import FIRST_RELEASE
from daemon.outbox.expiry import Expired, ExpiredFiles, find_expired, find_files
from daemon.outbox.rows import HEADER, format_row, timestamp
from support import factories

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from daemon.outbox.rows import Row

Returned = TypeVar("Returned")

KEPT, NOW = 30, 100  # days; rows before day 70 are too old


def day(number: float) -> str:
    return timestamp(FIRST_RELEASE + timedelta(days=number))


def run(steps: Generator[None, None, Returned]) -> Returned:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            returned: Returned = end.value
            return returned


def rows_on(days: Sequence[float]) -> list[Row]:
    """Return a row for each day."""
    dates = (FIRST_RELEASE + timedelta(days=number) for number in days)
    return [factories.row(f"digit{n}.png", at=date) for n, date in enumerate(dates, 1)]


def write(table: Path, rows: Sequence[Row]) -> None:
    table.write_text(HEADER + "".join(map(format_row, rows)))


def expired(outbox: Path) -> Expired | None:
    return run(find_expired(outbox, day(NOW - KEPT), day(NOW)))


@pytest.mark.parametrize(
    ("days", "count"),
    [
        pytest.param([], 0, id="no rows"),
        pytest.param([10, 20, 80, 99], 2, id="a clock that was always right"),
        pytest.param([10, 20, 20, 20], 4, id="all are old"),
        pytest.param([10, 400, 20, 80], 3, id="ahead once"),
        pytest.param([10, 400, 401, 402, 20, 80], 5, id="ahead for some rows"),
        pytest.param([10, 60, 20, 80], 3, id="ahead, but not of now"),
        pytest.param([10, 400, 401], 1, id="ahead until the end"),
        pytest.param([400, 401], 0, id="always ahead"),
        pytest.param([10, 80, 20, 30, 90], 4, id="ahead by less than its age"),
        pytest.param([78, 79, 80, 15, 16, 95], 0, id="behind"),
        pytest.param([10, -20_000, -19_999, 20, 80], 4, id="in 1970"),
        pytest.param([-20_000, -19_999, 80], 0, id="in 1970 until a row that is kept"),
        pytest.param([-2, -1], 0, id="only before the first release"),
    ],
)
@pytest.mark.parametrize("rotated", [0, 1, 2])
def test_old_rows_are_the_first_ones(
    tmp_path: Path, days: list[float], count: int, rotated: int
) -> None:
    rows = rows_on(days)
    if rotated:
        write(tmp_path / "predictions.csv.1", rows[:rotated])
        os.utime(tmp_path / "predictions.csv.1", (4e9, 4e9))  # its time does not count
    write(tmp_path / "predictions.csv", rows[rotated:])
    found = expired(tmp_path)
    ids = [row.result.job.id for row in rows]
    assert (found and found.last) == (ids[count - 1] if count else None)
    assert found is None or found.highest == max(ids[:count])


def test_files_of_old_rows_are_found_a_pass_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "_MOST_FILES", 2)
    rows = rows_on([10, 11, 12, 80])
    (tmp_path / "originals").mkdir()
    for number in (1, 2, 3, 4):
        (tmp_path / "originals" / f"digit{number}.png").touch()
    write(tmp_path / "predictions.csv", rows)
    _, second, third, _ = (row.result.job.id for row in rows)
    assert run(find_files(tmp_path, "", third)) == ExpiredFiles(
        ["originals/digit1.png", "originals/digit2.png"], second
    )
    assert run(find_files(tmp_path, second, third)) == ExpiredFiles(["originals/digit3.png"], third)
    assert run(find_files(tmp_path, "d0", third)).through == ""
    assert run(find_files(tmp_path, third, "d0")).paths == []


def test_file_that_a_newer_row_names_too_is_not_found(tmp_path: Path) -> None:
    old, new = rows_on([10, 80])
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals" / "digit1.png").touch()
    line = format_row(new).replace("originals/digit2.png", "originals/digit1.png")
    (tmp_path / "predictions.csv").write_text(HEADER + format_row(old) + line)
    assert run(find_files(tmp_path, "", old.result.job.id)).paths == []
    # A copy of the table is not a newer row.
    write(tmp_path / "predictions.csv", [old, old])
    assert run(find_files(tmp_path, "", old.result.job.id)).paths == ["originals/digit1.png"]


@pytest.mark.parametrize(
    "path",
    [
        "failed/digit1.png",
        "originals/../failed/digit1.png",
        "originals/2026-11-24/digit1.png",
        "originals/digit2.png",
        "predictions.csv",
        "/etc/hostname",
        "originals/",
        "",
    ],
)
def test_only_published_originals_and_pictures_are_found(tmp_path: Path, path: str) -> None:
    (row,) = rows_on([10])
    for folder in ("originals", "failed", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "digit1.png").touch()
    (tmp_path / "originals" / "2026-11-24").symlink_to(tmp_path / "elsewhere")
    line = format_row(row).replace("originals/digit1.png", path)
    (tmp_path / "predictions.csv").write_text(HEADER + line)
    assert run(find_files(tmp_path, "", row.result.job.id)).paths == []
