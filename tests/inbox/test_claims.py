"""Claims and leftovers of earlier runs, with real files in a real inbox."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.errors import BusyError
from daemon.inbox.claims import Claims
from daemon.layout import NAME_SUFFIX, WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.records import Job


@pytest.fixture
def claims(inbox: Path) -> Iterator[Claims]:
    claims = opened(inbox)
    yield claims
    claims.close()


def opened(inbox: Path) -> Claims:
    claims = Claims(inbox)
    claims.ensure_open()
    return claims


def claim(claims: Claims, inbox: Path, name: str = "digit7.png", data: bytes = b"seven") -> Job:
    (inbox / name).write_bytes(data)
    job = claims.claim(name)
    assert job is not None
    return job


def test_claim_moves_the_file_out_of_the_inbox(claims: Claims, inbox: Path) -> None:
    (inbox / "digit7.png").write_bytes(b"seven")
    inode = (inbox / "digit7.png").stat().st_ino
    job = claims.claim("digit7.png")
    assert job is not None
    assert list(inbox.glob("*.png")) == []
    assert job.path.stat().st_ino == inode
    assert (job.name, job.size) == ("digit7.png", 5)
    assert job.path.name == f"{job.id}-digit7.png"


def test_same_name_again_is_another_job(claims: Claims, inbox: Path) -> None:
    first, second = claim(claims, inbox, data=b"first"), claim(claims, inbox, data=b"second")
    assert first.id < second.id
    assert first.path.read_bytes() == b"first"
    assert second.path.read_bytes() == b"second"


def test_file_that_vanished_before_its_claim_is_not_a_job(claims: Claims) -> None:
    assert claims.claim("digit7.png") is None


def test_file_with_a_long_name_that_vanished_leaves_no_name_behind(claims: Claims) -> None:
    assert claims.claim("x" * 255) is None
    assert [path for path in claims.folder.iterdir() if path.suffix == NAME_SUFFIX] == []


def test_claim_without_the_work_folder_raises_and_leaves_the_file(
    claims: Claims, inbox: Path
) -> None:
    (inbox / "digit7.png").write_bytes(b"seven")
    shutil.rmtree(claims.folder)
    with pytest.raises(FileNotFoundError):
        claims.claim("digit7.png")
    assert (inbox / "digit7.png").read_bytes() == b"seven"


def test_files_left_by_an_earlier_run_are_returned_oldest_first(
    claims: Claims, inbox: Path
) -> None:
    names = [
        "digit10.png",
        "digit2.png",
        "=1.png",
        "a-b-c.png",
        "zeile\n2.png",
        "b\udcff\udc80.png",
    ]
    jobs = [claim(claims, inbox, name) for name in names]
    claims.close()
    again = opened(inbox)
    assert again.leftovers() == jobs
    again.close()


def test_ids_of_a_new_run_are_greater_than_those_of_leftovers(inbox: Path) -> None:
    # As if the clock was set back by a day.
    claims = opened(inbox)
    later = ids.encode(ids.decode(ids.Ids().next()) + (86_400_000 << 12))
    (claims.folder / f"{later}-digit1.png").write_bytes(b"one")
    assert [job.id for job in claims.leftovers()] == [later]
    assert claim(claims, inbox).id > later
    claims.close()


def test_foreign_files_in_the_work_folder_are_not_jobs_and_stay(claims: Claims) -> None:
    (claims.folder / "notes.txt").write_bytes(b"mine")
    (claims.folder / "notes.picture").write_bytes(b"mine")
    (claims.folder / "not-an-id.png").write_bytes(b"mine")
    assert claims.leftovers() == []
    claims.sweep(set())
    assert sorted(path.name for path in claims.folder.iterdir()) == [
        "attempts",
        "lock",
        "not-an-id.png",
        "notes.picture",
        "notes.txt",
    ]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "x" * 241, "x" * 242, "x" * 240])
def test_name_of_maximum_length_is_claimed_and_restored(
    claims: Claims, inbox: Path, name: str
) -> None:
    job = claim(claims, inbox, name)
    claims.close()
    again = opened(inbox)
    assert again.leftovers() == [job]
    assert again.leftovers()[0].name == name
    again.sweep({job.id})
    assert again.leftovers() == [job]
    job.path.unlink()
    again.forget(job)
    assert [path.name for path in again.folder.iterdir() if path.suffix == NAME_SUFFIX] == []
    again.close()


def test_truncated_name_is_used_if_the_name_file_is_empty(claims: Claims, inbox: Path) -> None:
    job = claim(claims, inbox, "x" * 255)
    (claims.folder / f"{job.id}{NAME_SUFFIX}").write_bytes(b"")
    assert claims.leftovers()[0].name == "x" * (255 - len(f"{job.id}-"))


def test_sweep_removes_only_pictures_and_name_files_without_a_claimed_file(
    claims: Claims, inbox: Path
) -> None:
    kept, gone = claim(claims, inbox, "x" * 255), claim(claims, inbox, "y" * 255)
    for job in (kept, gone):
        job.picture_path.write_bytes(b"picture")
    gone.path.unlink()
    before = set(claims.folder.iterdir())
    claims.sweep({kept.id})
    assert before - set(claims.folder.iterdir()) == {
        gone.picture_path,
        claims.folder / f"{gone.id}{NAME_SUFFIX}",
    }


@pytest.mark.parametrize("name", ["holiday.picture", "family.name"])
def test_sweep_removes_no_dropped_file_whatever_its_name(
    claims: Claims, inbox: Path, name: str
) -> None:
    job = claim(claims, inbox, name)
    claims.sweep({job.id for job in claims.leftovers()})
    assert job.path.read_bytes() == b"seven"
    claims.sweep(set())
    assert job.path.read_bytes() == b"seven"


def test_second_digitd_cannot_lock_the_same_inbox(claims: Claims, inbox: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number
    with pytest.raises(BusyError, match="another digitd holds"):
        Claims(inbox).ensure_open()
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    claims.close()
    opened(inbox).close()


def test_failed_open_can_be_retried(inbox: Path) -> None:
    claims = Claims(inbox)
    blocked = inbox / WORK_FOLDER / "attempts"
    blocked.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            claims.ensure_open()
    blocked.rmdir()
    assert claims.ensure_open()
    job = claim(claims, inbox)
    claims.attempts.begin([job.id])
    assert job.id in blocked.read_text()
    claims.close()


def test_recreated_inbox_is_locked_again(claims: Claims, inbox: Path) -> None:
    claim(claims, inbox)
    shutil.rmtree(inbox)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            claims.ensure_open()
    inbox.mkdir()
    assert claims.ensure_open()
    assert not claims.ensure_open()
    job = claim(claims, inbox)
    claims.attempts.begin([job.id])
    with pytest.raises(BusyError):
        Claims(inbox).ensure_open()


def test_claimed_files_are_recovered_when_a_moved_inbox_returns(
    claims: Claims, inbox: Path, tmp_path: Path
) -> None:
    job = claim(claims, inbox)
    inbox.rename(tmp_path / "elsewhere")
    inbox.mkdir()
    assert claims.ensure_open()
    assert claims.leftovers() == []
    shutil.rmtree(inbox)
    (tmp_path / "elsewhere").rename(inbox)
    assert claims.ensure_open()
    assert claims.leftovers() == [job]


def test_work_folder_that_is_a_symlink_is_refused(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (inbox / WORK_FOLDER).symlink_to(tmp_path / "other")
    with pytest.raises(NotADirectoryError):
        Claims(inbox).ensure_open()
    assert list((tmp_path / "other").iterdir()) == []
