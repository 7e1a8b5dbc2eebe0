"""Attempts are counted on disk through the death of a worker or digitd, and on a full disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.inbox.attempts import Attempts
from support.daemon import files_limited_to
from support.factories import job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def opened(folder: Path, *ids: str) -> Attempts:
    """Open the attempts like a new run that finds these files in the work folder."""
    attempts = Attempts(folder)
    attempts.open(ids)
    return attempts


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Attempts]:
    attempts = opened(tmp_path)
    yield attempts
    attempts.close()


def log(folder: Path) -> list[str]:
    return (folder / "attempts").read_text().split("\n")[1:]


def test_attempt_is_on_disk_before_the_worker_gets_the_file(
    attempts: Attempts, tmp_path: Path
) -> None:
    one = job().id
    attempts.begin([one])
    assert log(tmp_path) == [f"{one} begun"]
    attempts.begin([one])
    assert log(tmp_path) == [f"{one} begun", f"{one} alone"]


def test_file_is_refused_after_two_workers_died(attempts: Attempts) -> None:
    guilty, neighbour = job().id, job().id
    assert not attempts.is_suspect(guilty)
    attempts.begin([guilty, neighbour])
    attempts.down([guilty, neighbour], "killed by SIGSEGV")
    assert attempts.is_suspect(guilty)
    assert attempts.is_suspect(neighbour)
    assert attempts.rejection(guilty) == ""
    attempts.begin([guilty])
    attempts.down([guilty], "killed by SIGSEGV")
    assert attempts.rejection(guilty) == "took its worker process down 2 times: killed by SIGSEGV"
    assert attempts.rejection(neighbour) == ""


def test_attempt_without_a_crash_makes_no_file_suspect(attempts: Attempts, tmp_path: Path) -> None:
    one = job().id
    for _ in range(5):  # for example, on a full disk the batch comes back unread
        attempts.begin([one])
        attempts.end([one])
    assert not attempts.is_suspect(one)
    assert attempts.rejection(one) == ""
    again = opened(tmp_path, one)
    assert not again.is_suspect(one)
    again.close()


def test_death_of_a_worker_is_remembered_by_the_next_run(
    attempts: Attempts, tmp_path: Path
) -> None:
    one = job().id
    attempts.begin([one])
    attempts.down([one], "took longer than 21 s")
    again = opened(tmp_path, one)
    assert again.is_suspect(one)
    assert again.rejection(one) == ""
    again.begin([one])
    again.down([one], "took longer than 21 s")
    again.close()
    third = opened(tmp_path, one)
    assert third.rejection(one).startswith("took its worker process down 2 times")
    third.close()


def test_reopening_counts_no_attempt_twice(attempts: Attempts) -> None:
    one = job().id
    attempts.begin([one])
    attempts.down([one], "died")
    for _ in range(3):
        attempts.open([one])
    assert attempts.is_suspect(one)
    assert attempts.rejection(one) == ""


def test_file_is_blamed_only_after_digitd_died_five_times_with_it_alone(
    tmp_path: Path,
) -> None:
    one, other = job().id, job().id
    first = opened(tmp_path, one, other)
    first.begin([one, other])
    first.close()
    for _ in range(5):
        run = opened(tmp_path, one, other)
        assert run.rejection(one) == ""
        run.begin([one])
        run.close()
    last = opened(tmp_path, one, other)
    assert last.rejection(one) == "digitd itself died 5 times while reading it"
    assert last.rejection(other) == ""
    last.close()


def test_line_cut_by_a_full_disk_does_not_corrupt_the_next(
    attempts: Attempts, tmp_path: Path
) -> None:
    one = job().id
    attempts.begin([one])
    with (tmp_path / "attempts").open("a") as file:
        file.write(f"\n{one} do")
    attempts.down([one], "died")
    again = opened(tmp_path, one)
    again.down([one], "died")
    assert again.rejection(one)
    again.close()


def test_attempt_that_cannot_be_logged_is_not_counted(attempts: Attempts) -> None:
    one = job().id
    with files_limited_to(10), pytest.raises(OSError, match=r"No space left|File too large"):
        attempts.begin([one])
    assert not attempts.is_suspect(one)


def test_job_that_left_the_work_folder_is_forgotten(attempts: Attempts, tmp_path: Path) -> None:
    first, second = job().id, job().id
    attempts.begin([first, second])
    attempts.forget(first)
    assert log(tmp_path) != []
    attempts.forget(second)
    assert (tmp_path / "attempts").stat().st_size == 0
    assert not attempts.is_suspect(first)


def test_log_of_a_daemon_that_is_never_idle_stays_short(attempts: Attempts, tmp_path: Path) -> None:
    crashed, waiting = job().id, job().id
    attempts.begin([crashed])
    attempts.down([crashed], "died")
    attempts.begin([crashed])
    attempts.begin([waiting])
    longest = 0
    for _ in range(2000):  # there is always a file in flight, as under constant load
        jobs = [job().id for _ in range(64)]
        attempts.begin(jobs)
        for one in jobs:
            attempts.forget(one)
        longest = max(longest, (tmp_path / "attempts").stat().st_size)
    assert longest < 1_100_000
    attempts.begin([job().id])  # still the log that the next start reads
    again = opened(tmp_path, crashed, waiting)
    assert again.is_suspect(waiting)
    again.down([crashed], "died")
    assert again.rejection(crashed).startswith("took its worker process down 2 times")
    again.close()
