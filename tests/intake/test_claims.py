"""Claims, attempts and what is left for the next start: all of it real files in a real inbox."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.errors import BusyError
from daemon.intake.claims import Spool
from daemon.intake.inbox import Found
from daemon.layout import NAME_SUFFIX, WORK_FOLDER
from daemon.records import Job, Parcel
from daemon.untrusted import Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def spool(inbox: Path) -> Iterator[Spool]:
    spool = opened(inbox)
    yield spool
    spool.close()


def opened(inbox: Path, max_file_mb: float = 1.0) -> Spool:
    spool = Spool(inbox, max_file_mb=max_file_mb)
    spool.open()
    return spool


def claim(spool: Spool, inbox: Path, name: str = "digit7.png", data: bytes = b"seven") -> Job:
    (inbox / name).write_bytes(data)
    job = spool.claim(Found(name, Stamp(len(data), 0)))
    assert job is not None
    return job


def load(spool: Spool, job: Job) -> Parcel:
    parcel = spool.load(job)
    assert parcel is not None
    return parcel


def test_a_claim_moves_the_very_file_out_of_the_inbox(spool: Spool, inbox: Path) -> None:
    (inbox / "digit7.png").write_bytes(b"seven")
    inode = (inbox / "digit7.png").stat().st_ino
    job = spool.claim(Found("digit7.png", Stamp(5, 0)))
    assert job is not None
    assert list(inbox.glob("*.png")) == []
    assert job.path.stat().st_ino == inode
    assert (job.name, job.size) == ("digit7.png", 5)
    assert job.path.name == f"{job.id}-digit7.png"


def test_the_same_name_again_is_another_job(spool: Spool, inbox: Path) -> None:
    first, second = claim(spool, inbox, data=b"first"), claim(spool, inbox, data=b"second")
    assert first.id < second.id
    assert first.path.read_bytes() == b"first"
    assert second.path.read_bytes() == b"second"


def test_a_file_that_vanished_before_its_claim_is_no_job(spool: Spool) -> None:
    assert spool.claim(Found("digit7.png", Stamp(5, 0))) is None


def test_a_claim_with_the_work_folder_gone_raises_and_leaves_the_file(
    spool: Spool, inbox: Path
) -> None:
    (inbox / "digit7.png").write_bytes(b"seven")
    shutil.rmtree(spool.folder)
    with pytest.raises(FileNotFoundError):
        spool.claim(Found("digit7.png", Stamp(5, 0)))
    assert (inbox / "digit7.png").read_bytes() == b"seven"


def test_a_parcel_is_the_whole_file_with_its_sha256(spool: Spool, inbox: Path) -> None:
    data = os.urandom(300_000)
    job = claim(spool, inbox, data=data)
    stamp = Stamp(300_000, job.path.stat().st_mtime_ns)
    sha256 = hashlib.sha256(data).hexdigest()
    assert load(spool, job) == Parcel("digit7.png", data, sha256, stamp=stamp)


def test_a_file_over_the_limit_is_refused_unread_but_has_its_sha256(inbox: Path) -> None:
    spool = opened(inbox, max_file_mb=0.001)
    parcel = load(spool, claim(spool, inbox, "digit1.png", bytes(1001)))
    assert parcel.data == b""
    assert parcel.refusal == "too large: 0.0 MB, allowed are 0.001 MB"
    assert parcel.sha256 == hashlib.sha256(bytes(1001)).hexdigest()
    assert load(spool, claim(spool, inbox, "digit2.png", bytes(1000))).data == bytes(1000)
    spool.close()


def test_a_job_whose_file_was_taken_away_has_no_parcel(spool: Spool, inbox: Path) -> None:
    job = claim(spool, inbox)
    job.path.unlink()
    assert spool.load(job) is None


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_took_a_files_place_before_its_claim_is_not_read(
    spool: Spool, inbox: Path, tmp_path: Path, kind: str
) -> None:
    place = inbox / "digit7.png"
    if kind == "link":
        (tmp_path / "secret").write_bytes(b"secret")
        place.symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    job = spool.claim(Found("digit7.png", Stamp(6, 0)))
    assert job is not None
    parcel = load(spool, job)
    assert parcel.data == b""
    assert parcel.sha256 == ""
    expected = "cannot be opened: " if kind == "link" else "is not a regular file"
    assert parcel.refusal.startswith(expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_refused_with_the_reason(spool: Spool, inbox: Path) -> None:
    job = claim(spool, inbox)
    job.path.chmod(0)
    assert load(spool, job).refusal == "cannot be opened: Permission denied"


def test_files_left_by_an_earlier_run_come_back_oldest_first(spool: Spool, inbox: Path) -> None:
    names = [
        "digit10.png",
        "digit2.png",
        "=1.png",
        "a-b-c.png",
        "zeile\n2.png",
        "b\udcff\udc80.png",
    ]
    jobs = [claim(spool, inbox, name) for name in names]
    spool.close()
    again = opened(inbox)
    assert again.leftovers() == jobs
    again.close()


def test_ids_of_a_new_run_follow_those_of_the_files_left_behind(inbox: Path) -> None:
    # As after the clock was set back by a day.
    spool = opened(inbox)
    later = ids.encode(ids.decode(ids.Ids().next()) + (86_400_000 << 12))
    (spool.folder / f"{later}-digit1.png").write_bytes(b"one")
    assert [job.id for job in spool.leftovers()] == [later]
    assert claim(spool, inbox).id > later
    spool.close()


def test_strangers_in_the_work_folder_are_no_jobs_and_stay(spool: Spool) -> None:
    (spool.folder / "notes.txt").write_bytes(b"mine")
    (spool.folder / "notes.picture").write_bytes(b"mine")
    (spool.folder / "not-an-id.png").write_bytes(b"mine")
    assert spool.leftovers() == []
    spool.sweep([])
    assert sorted(path.name for path in spool.folder.iterdir()) == [
        "attempts",
        "lock",
        "not-an-id.png",
        "notes.picture",
        "notes.txt",
    ]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "x" * 241, "x" * 242, "x" * 240])
def test_a_name_as_long_as_the_file_system_allows_is_claimed_and_comes_back_whole(
    spool: Spool, inbox: Path, name: str
) -> None:
    job = claim(spool, inbox, name)
    spool.close()
    again = opened(inbox)
    assert again.leftovers() == [job]
    assert again.leftovers()[0].name == name
    again.sweep([job])
    assert again.leftovers() == [job]
    job.path.unlink()
    again.forget(job)
    assert [path.name for path in again.folder.iterdir() if path.suffix == NAME_SUFFIX] == []
    again.close()


def test_a_long_name_lost_to_a_power_failure_leaves_the_cut_one(spool: Spool, inbox: Path) -> None:
    job = claim(spool, inbox, "x" * 255)
    (spool.folder / f"{job.id}{NAME_SUFFIX}").write_bytes(b"")
    assert spool.leftovers()[0].name == "x" * (255 - len(f"{job.id}-"))


def test_the_sweep_removes_pictures_and_names_without_a_file_and_no_others(
    spool: Spool, inbox: Path
) -> None:
    kept, gone = claim(spool, inbox, "x" * 255), claim(spool, inbox, "y" * 255)
    for job in (kept, gone):
        job.picture.write_bytes(b"picture")
    gone.path.unlink()
    before = set(spool.folder.iterdir())
    spool.sweep([kept])
    assert before - set(spool.folder.iterdir()) == {
        gone.picture,
        spool.folder / f"{gone.id}{NAME_SUFFIX}",
    }


@pytest.mark.parametrize("name", ["holiday.picture", "family.name"])
def test_the_sweep_removes_no_dropped_file_however_it_is_called(
    spool: Spool, inbox: Path, name: str
) -> None:
    job = claim(spool, inbox, name)
    spool.sweep(spool.leftovers())
    assert job.path.read_bytes() == b"seven"
    spool.sweep([])
    assert job.path.read_bytes() == b"seven"


def test_two_deaths_of_a_worker_make_a_file_hopeless_and_its_bytes_stay_here(
    spool: Spool, inbox: Path
) -> None:
    guilty, neighbour = claim(spool, inbox, "digit1.png"), claim(spool, inbox, "digit2.png")
    spool.begin([guilty, neighbour])
    spool.down([guilty, neighbour], "killed by SIGSEGV")
    assert not spool.hopeless(guilty)
    assert spool.suspect(guilty)
    assert spool.suspect(neighbour)
    spool.begin([guilty])
    spool.down([guilty], "killed by SIGSEGV")
    assert spool.hopeless(guilty)
    assert not spool.hopeless(neighbour)
    parcel = load(spool, guilty)
    assert parcel.data == b""
    assert parcel.refusal == "took its worker process down 2 times: killed by SIGSEGV"
    assert parcel.sha256 == hashlib.sha256(b"seven").hexdigest()
    assert load(spool, neighbour).data == b"seven"


def test_a_workers_death_is_remembered_by_the_next_run(spool: Spool, inbox: Path) -> None:
    job = claim(spool, inbox)
    spool.begin([job])
    spool.down([job], "took longer than 21 s")
    spool.close()
    again = opened(inbox)
    assert again.suspect(job)
    assert not again.hopeless(job)
    again.begin([job])
    again.down([job], "took longer than 21 s")
    again.close()
    third = opened(inbox)
    assert third.hopeless(job)
    assert load(third, job).refusal.startswith("took its worker process down 2 times")
    third.close()


def test_opening_again_counts_no_attempt_twice(spool: Spool, inbox: Path) -> None:
    job = claim(spool, inbox)
    spool.begin([job])
    spool.down([job], "died")
    for _ in range(3):
        spool.open()
    assert spool.suspect(job)
    assert not spool.hopeless(job)


def test_a_digitd_that_died_blames_a_file_only_when_it_was_alone_in_hand_three_times(
    inbox: Path,
) -> None:
    first = opened(inbox)
    job, other = claim(first, inbox), claim(first, inbox, "digit8.png")
    first.begin([job, other])
    first.close()
    for _ in range(2):
        run = opened(inbox)
        run.begin([job])
        run.close()
    run = opened(inbox)
    assert not run.hopeless(job)
    run.begin([job])
    run.close()
    last = opened(inbox)
    assert last.hopeless(job)
    assert not last.hopeless(other)
    assert load(last, job).refusal == "digitd itself ended 3 times while reading it"
    last.close()


def test_an_attempt_is_on_disk_before_the_worker_gets_the_file(spool: Spool, inbox: Path) -> None:
    job = claim(spool, inbox)
    spool.begin([job])
    assert (spool.folder / "attempts").read_text().split() == [job.id, "begun"]
    spool.begin([job])
    assert (spool.folder / "attempts").read_text().split() == [job.id, "begun", job.id, "alone"]


def test_an_attempt_that_a_full_disk_cut_off_spoils_none_after_it(
    spool: Spool, inbox: Path
) -> None:
    job = claim(spool, inbox)
    spool.begin([job])
    attempts = spool.folder / "attempts"
    with attempts.open("a") as file:
        file.write(f"\n{job.id} do")
    spool.down([job], "died")
    spool.close()
    again = opened(inbox)
    again.down([job], "died")
    assert again.hopeless(job)
    again.close()


def test_the_attempts_of_published_files_are_forgotten(spool: Spool, inbox: Path) -> None:
    first, second = claim(spool, inbox, "digit1.png"), claim(spool, inbox, "digit2.png")
    spool.begin([first, second])
    spool.forget(first)
    assert (spool.folder / "attempts").stat().st_size > 0
    spool.forget(second)
    assert (spool.folder / "attempts").stat().st_size == 0
    assert not spool.suspect(first)


def test_forgetting_never_loses_the_attempt_that_a_lane_begins_meanwhile(
    spool: Spool, inbox: Path
) -> None:
    done = claim(spool, inbox, "digit1.png")
    jobs = [claim(spool, inbox, f"digit{number}.png") for number in range(2, 152)]
    stop = threading.Event()

    def forget() -> None:
        while not stop.is_set():
            spool.forget(done)

    loop = threading.Thread(target=forget)
    loop.start()
    try:
        for job in jobs:
            spool.begin([job])
            assert job.id in (spool.folder / "attempts").read_text()
            spool.forget(job)
    finally:
        stop.set()
        loop.join()


def test_a_second_digitd_cannot_hold_the_same_inbox(spool: Spool, inbox: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number
    with pytest.raises(BusyError, match="another digitd holds"):
        Spool(inbox, max_file_mb=1.0).open()
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    spool.close()
    opened(inbox).close()


def test_a_start_that_failed_half_way_can_be_tried_again(inbox: Path) -> None:
    spool = Spool(inbox, max_file_mb=1.0)
    blocked = inbox / WORK_FOLDER / "attempts"
    blocked.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            spool.tend()
    blocked.rmdir()
    assert spool.tend()
    job = claim(spool, inbox)
    spool.begin([job])
    assert job.id in blocked.read_text()
    spool.close()


def test_an_inbox_that_is_gone_for_a_while_and_made_again_is_held_again(
    spool: Spool, inbox: Path
) -> None:
    claim(spool, inbox)
    shutil.rmtree(inbox)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            spool.tend()
    inbox.mkdir()
    assert spool.tend()
    assert not spool.tend()
    job = claim(spool, inbox)
    spool.begin([job])
    with pytest.raises(BusyError):
        Spool(inbox, max_file_mb=1.0).open()


def test_an_inbox_that_was_moved_away_and_back_gives_its_claimed_files_back(
    spool: Spool, inbox: Path, tmp_path: Path
) -> None:
    job = claim(spool, inbox)
    inbox.rename(tmp_path / "elsewhere")
    inbox.mkdir()
    assert spool.tend()
    assert spool.leftovers() == []
    shutil.rmtree(inbox)
    (tmp_path / "elsewhere").rename(inbox)
    assert spool.tend()
    assert spool.leftovers() == [job]


def test_a_work_folder_that_is_a_link_is_refused(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (inbox / WORK_FOLDER).symlink_to(tmp_path / "other")
    with pytest.raises(NotADirectoryError):
        Spool(inbox, max_file_mb=1.0).open()
    assert list((tmp_path / "other").iterdir()) == []
